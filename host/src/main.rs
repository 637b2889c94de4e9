//! The `wasmill` command.

fn main() -> std::process::ExitCode {
    wasmill::cli::main()
}
