//! `wasmill completions`: scripts that let a shell complete the command line.

use clap_complete::Shell;

use super::output;

/// Print a script that lets a shell complete wasmill's command line
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  wasmill completions bash > ~/.local/share/bash-completion/completions/wasmill
  wasmill completions zsh > ~/.zfunc/_wasmill
  wasmill completions fish > ~/.config/fish/completions/wasmill.fish")]
pub struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    /// Prints the script for `command`.
    ///
    /// # Errors
    /// When standard output is gone.
    pub fn run(self, mut command: clap::Command) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "wasmill", &mut script);
        output::write(&script)
    }
}
