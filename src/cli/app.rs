//! `app create NAME… --template T` creates Apps; `app diff NAME` compares an App with its template.

mod create;
mod diff;

use clap::{Args, Subcommand};
use color_eyre::eyre::Result;

use super::{Global, session};

#[derive(Debug, Args)]
pub struct AppArgs {
    #[command(subcommand)]
    command: AppCommand,
}

#[derive(Debug, Subcommand)]
enum AppCommand {
    /// Make Apps from a template; all are checked before the first is made
    Create(create::CreateArgs),
    /// Show how an App differs from its template; exit code 0 only when it does not
    Diff(diff::DiffArgs),
}

pub(super) async fn run_app_command(global: &Global, args: AppArgs) -> Result<()> {
    let session = session::open(global).await?;
    match args.command {
        AppCommand::Create(args) => create::create_apps(&session, args).await,
        AppCommand::Diff(args) => diff::compare_with_template(&session, args).await,
    }
}
