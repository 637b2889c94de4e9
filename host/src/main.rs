//! The `wasmill` command.

/// A batch is some buffers of a megabyte each, which glibc would ask of the system and give back one by one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Failpoints come from the environment, in a build for crash tests only.
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    wasmill::cli::main()
}
