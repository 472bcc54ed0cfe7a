//! `completions SHELL`.

use clap::Args;
use clap_complete::Shell;
use color_eyre::eyre::Result;

use super::output;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn print_completions(args: &CompletionsArgs, command: &mut clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "graylane", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
