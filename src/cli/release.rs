//! `release show|wait|list|start`.

mod show;
mod start;
pub(super) mod wait;

use clap::{Args, Subcommand};
use color_eyre::eyre::Result;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Global, get,
    output::{self, Format},
    session,
};
use crate::{api::Release, domain::intent::Intent};

#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(subcommand)]
    command: ReleaseCommand,
}

#[derive(Debug, Subcommand)]
enum ReleaseCommand {
    /// Start a release of one stage; prints its name
    Start(start::StartArgs),
    /// Show one release: its tasks, batches and history
    Show(ShowArgs),
    /// List releases, oldest first
    List(ListArgs),
    /// Wait until a release, one of its tasks or a batch is in a phase
    Wait(wait::WaitArgs),
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// Its name
    name: String,
    /// How to print it
    #[arg(long, short, default_value = "table")]
    output: Format,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only releases of this App
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// How to print them
    #[arg(long, short, default_value = "table")]
    output: Format,
}

impl ReleaseArgs {
    /// The intent of this command; only `start` has one.
    pub(super) fn intent(self) -> Result<Intent> {
        match self.command {
            ReleaseCommand::Start(args) => args.intent(),
            _ => Err(session::usage("it only looks".to_owned())),
        }
    }
}

pub(super) async fn run(global: &Global, args: ReleaseArgs) -> Result<()> {
    let session = session::open(global).await?;
    match args.command {
        ReleaseCommand::Show(args) => {
            let mut release: Release = get::one(&session, &args.name).await?;
            release.metadata.managed_fields = None;
            output::print(&match args.output {
                Format::Json | Format::Yaml => output::data(&release, args.output)?,
                Format::Name => release.name_any(),
                Format::Table | Format::Wide => {
                    show::text(&release, Timestamp::now())
                        + &show::proposed(&session, &release).await
                }
            })
        }
        ReleaseCommand::List(args) => {
            let mut releases: Vec<Release> = get::list(&session).await?;
            releases.retain(|r| args.app.as_ref().is_none_or(|a| r.spec.app == *a));
            let wide = args.output == Format::Wide;
            output::print(&match args.output {
                Format::Json | Format::Yaml => {
                    releases
                        .iter_mut()
                        .for_each(|r| r.metadata.managed_fields = None);
                    output::list(&releases, args.output)?
                }
                Format::Name => releases.iter().map(|r| r.name_any() + "\n").collect(),
                Format::Table | Format::Wide => {
                    get::tables::releases(&releases, wide, Timestamp::now()).render()
                }
            })
        }
        ReleaseCommand::Start(args) => start::run(&session, args).await,
        ReleaseCommand::Wait(args) => wait::run(&session, args).await,
    }
}
