//! `pocket serve|kubeconfig`: the embedded cluster by itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use color_eyre::eyre::{Result, WrapErr, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::{Global, logging, output, session};
use crate::{
    cluster::connect::{self, Source},
    demo::state,
    pocket::run::Pocket,
};

#[derive(Debug, Args)]
pub struct PocketArgs {
    #[command(subcommand)]
    command: PocketCommand,
}

#[derive(Debug, Subcommand)]
enum PocketCommand {
    /// Run the pocket of the state folder until SIGTERM; prints `ready` when it serves
    Serve,
    /// Print the file with which kubectl reaches it
    Kubeconfig(KubeconfigArgs),
}

#[derive(Debug, Args)]
struct KubeconfigArgs {
    /// Print the file's name instead of its text
    #[arg(long)]
    path: bool,
}

pub(super) async fn run(global: &Global, args: PocketArgs) -> Result<()> {
    let dir = dir(global)?;
    match args.command {
        PocketCommand::Serve => {
            let dir = state::open(&dir)?;
            let _log = logging::start(&dir)?;
            let pocket = match Pocket::start(&dir).await {
                Err(why) if why.is_running_elsewhere() => bail!("a pocket runs in {} already", dir.display()),
                started => started?,
            };
            let ended = ended();
            eprintln!("KUBECONFIG={}", connect::kubeconfig_of(&dir).display());
            output::print("ready\n")?;
            ended?.await;
            pocket.stop().await;
            Ok(())
        }
        PocketCommand::Kubeconfig(args) => {
            // Only one that answers is of use.
            connect::connect(&Source::State(dir.clone()), None).await?;
            let file = connect::kubeconfig_of(&dir);
            if args.path {
                return output::print(&file.display().to_string());
            }
            output::print(&std::fs::read_to_string(&file).wrap_err_with(|| file.display().to_string())?)
        }
    }
}

/// The state folder that was asked for.
pub(super) fn dir(global: &Global) -> Result<PathBuf> {
    if global.context.is_some() || global.kubeconfig.is_some() {
        return Err(session::usage("a pocket lives in a state folder: --state instead of --context or --kubeconfig"));
    }
    Ok(session::config(global)?.state()?)
}

/// Until SIGTERM or SIGINT.
pub(super) fn ended() -> Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}
