//! `release show|diff|wait|list|start`.

mod diff;
mod show;
mod start;
pub(super) mod wait;

use clap::{Args, Subcommand};
use color_eyre::eyre::Result;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Global, objects,
    output::{self, Format},
    session, tables,
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
    /// Show what a release changes, old against new: images, values and objects (exit code 1 when
    /// it changes any)
    Diff(diff::DiffArgs),
    /// List releases, oldest first
    List(ListArgs),
    /// Wait until a release, one of its tasks or a batch reaches a phase
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
    pub(super) const fn is_list(&self) -> bool {
        matches!(self.command, ReleaseCommand::List(_))
    }

    /// The intent of this command; only `start` has one.
    pub(super) fn into_intent(self) -> Result<Intent> {
        match self.command {
            ReleaseCommand::Start(args) => args.into_intent(),
            _ => Err(session::usage_error("it only looks".to_owned())),
        }
    }
}

pub(super) async fn run_release_command(global: &Global, args: ReleaseArgs) -> Result<()> {
    let session = session::open(global).await?;
    match args.command {
        ReleaseCommand::Show(args) => {
            let mut release: Release = objects::get_object(&session, &args.name).await?;
            release.metadata.managed_fields = None;
            output::print(&match args.output {
                Format::Json | Format::Yaml => output::format_value(&release, args.output)?,
                Format::Name => release.name_any(),
                Format::Table | Format::Wide => {
                    show::describe_release(&release, Timestamp::now())
                        + &show::describe_pending(&session, &release).await
                }
            })
        }
        ReleaseCommand::Diff(args) => diff::compare_with_old(&session, args).await,
        ReleaseCommand::List(args) => {
            let mut releases: Vec<Release> = objects::list_objects(&session).await?;
            releases.retain(|r| args.app.as_ref().is_none_or(|a| r.spec.app == *a));
            let wide = args.output == Format::Wide;
            output::print(&match args.output {
                Format::Json | Format::Yaml => {
                    releases
                        .iter_mut()
                        .for_each(|r| r.metadata.managed_fields = None);
                    output::format_list(&releases, args.output)?
                }
                Format::Name => objects::list_names(&session, &releases),
                Format::Table | Format::Wide => {
                    let of = |items: &[Release], _: &str| {
                        tables::releases_table(items, wide, Timestamp::now())
                    };
                    tables::by_namespace(&session, &releases, of).render()
                }
            })
        }
        ReleaseCommand::Start(args) => start::start_release(&session, args).await,
        ReleaseCommand::Wait(args) => wait::wait_for_release(&session, args).await,
    }
}
