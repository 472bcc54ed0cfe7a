//! `pocket serve|kubeconfig|build|images`: the embedded cluster on its own.

use std::path::{Path, PathBuf};

use ::pocket::orphans::{MARK_VARIABLE, NO_MARK};
use clap::{Args, Subcommand};
use color_eyre::eyre::{Result, WrapErr, bail};

use super::{
    Global,
    logging::{self, LogTarget},
    output::{self, Format, Table},
    session, shutdown,
};
use crate::{
    cluster::{
        agent::Agent,
        connect::{self, ClusterSource},
    },
    demo::state,
    embedded,
};

#[derive(Debug, Args)]
pub struct PocketArgs {
    #[command(subcommand)]
    command: PocketCommand,
}

impl PocketArgs {
    pub(super) fn is_serve(&self) -> bool {
        matches!(self.command, PocketCommand::Serve)
    }
}

#[derive(Debug, Subcommand)]
enum PocketCommand {
    /// Run the pocket of the state folder until SIGTERM; prints `ready` when it serves
    Serve,
    /// Print the kubeconfig with which kubectl reaches it
    Kubeconfig(KubeconfigArgs),
    /// Build an image from a folder with an image.yaml
    Build(BuildArgs),
    /// List the images
    Images(ImagesArgs),
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// The folder
    #[arg(value_name = "CONTEXT")]
    folder: PathBuf,
    /// The image's name, as NAME:TAG
    #[arg(long, short)]
    tag: String,
}

#[derive(Debug, Args)]
struct ImagesArgs {
    /// How to print them
    #[arg(long, short, default_value = "table")]
    output: Format,
}

#[derive(Debug, Args)]
struct KubeconfigArgs {
    /// Print the file's name instead of its text
    #[arg(long)]
    path: bool,
}

pub(super) async fn run_pocket_command(global: &Global, args: PocketArgs) -> Result<()> {
    let dir = state_dir(global)?;
    match args.command {
        PocketCommand::Serve => {
            let dir = state::open(&dir)?;
            state::make_private(&dir)?;
            let _log = logging::start_logging(&global.logging, LogTarget::Folder(&dir))?;
            let pocket = match embedded::start(&dir, None).await {
                Err(why) if why.is_running_elsewhere() => {
                    bail!("a pocket runs in {} already", dir.display())
                }
                started => started?,
            };
            let ended = shutdown::shutdown_signal();
            say!("KUBECONFIG={}", connect::kubeconfig_path(&dir).display());
            output::print("ready\n")?;
            ended?.await;
            pocket.stop().await;
            Ok(())
        }
        PocketCommand::Kubeconfig(args) => {
            // A kubeconfig is of use only if its server responds.
            connect::connect(&ClusterSource::State(dir.clone()), None, Agent::Cli).await?;
            let file = connect::kubeconfig_path(&dir);
            if args.path {
                return output::print(&file.display().to_string());
            }
            output::print(
                &std::fs::read_to_string(&file).wrap_err_with(|| file.display().to_string())?,
            )
        }
        PocketCommand::Build(args) => {
            let images = embedded::open_images(&state::open(&dir)?)?;
            // In a pod this is the build task of a release, which uses a new name each time.
            let image = if std::env::var_os(MARK_VARIABLE).is_some_and(|run| run != NO_MARK) {
                images.build_for_release(&args.folder, &args.tag)?
            } else {
                images.build(&args.folder, &args.tag)?
            };
            output::print(&format!("{} {}", args.tag, image.digest))
        }
        PocketCommand::Images(args) => print_images(&dir, args.output),
    }
}

fn print_images(dir: &Path, format: Format) -> Result<()> {
    let images = embedded::open_images(&state::open(dir)?)?;
    let tags = images.tags()?;
    output::print(&match format {
        Format::Json | Format::Yaml => output::format_value(&tags, format)?,
        Format::Name => tags.keys().map(|name| format!("{name}\n")).collect(),
        Format::Table | Format::Wide => {
            let mut table = Table::new(&["NAME", "DIGEST", "RUNS"]);
            for (name, digest) in &tags {
                let short = digest.get(..19).unwrap_or(digest).to_owned();
                let digest = if format == Format::Wide {
                    digest.clone()
                } else {
                    short
                };
                let runs = images
                    .get(name)
                    .map_or_else(|e| e.to_string(), |i| i.manifest.entrypoint.join(" "));
                table.add_row([name.clone(), digest, runs]);
            }
            table.render()
        }
    })
}

/// The state folder from the configuration. Fails if a real cluster was requested.
pub(super) fn state_dir(global: &Global) -> Result<PathBuf> {
    if global.context.is_some() || global.kubeconfig.is_some() {
        return Err(session::usage_error(
            "a pocket lives in a state folder: --state instead of --context or --kubeconfig",
        ));
    }
    Ok(session::load_config(global)?.state_folder()?)
}
