//! The `wasmill` command.

fn main() -> std::process::ExitCode {
    // Failpoints come from the environment, in a build for crash tests only.
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    wasmill::cli::main()
}
