//! `doctor`: checks whether the cluster is fit for graylane, and says what to do about each
//! finding. Exit code 1 if a check fails.

mod trace;

use clap::Args;
use color_eyre::eyre::{Result, bail};

use super::{
    Global,
    output::{self, Format},
    session, world_watch,
};
use crate::{
    cluster::doctor::{self, Level},
    domain::world::World,
    probe::Via,
};

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// How to print what was found
    #[arg(long, short, default_value = "table")]
    output: Format,
    /// Check only whether requests of this lane group are seen: sends a tagged and an untagged one,
    /// and says which source reported each hop
    #[arg(long, value_name = "GROUP")]
    trace: Option<String>,
}

pub(super) async fn check_cluster(global: &Global, args: DoctorArgs) -> Result<()> {
    let found = if let Some(group) = &args.trace {
        check_tracing(global, group).await?
    } else {
        let session = session::open(global).await?;
        doctor::run_checks(&session.client, &session.namespace).await
    };
    match args.output {
        Format::Json | Format::Yaml => output::print(&output::format_value(&found, args.output)?)?,
        Format::Name => output::print(
            &found
                .iter()
                .map(|f| format!("{}\n", f.check))
                .collect::<String>(),
        )?,
        Format::Table | Format::Wide => {
            let width = found
                .iter()
                .map(|f| f.check.len())
                .max()
                .unwrap_or_default();
            let mut text = String::new();
            for finding in &found {
                let word = match finding.level {
                    Level::Ok => "ok  ",
                    Level::Warn => "warn",
                    Level::Fail => "FAIL",
                };
                text += &format!("{word}  {:width$}  {}\n", finding.check, finding.found);
                if let Some(remedy) = &finding.remedy {
                    for (i, line) in remedy.lines().enumerate() {
                        let arrow = if i == 0 { "-> " } else { "     " };
                        text += &format!("      {:width$}  {arrow}{line}\n", "");
                    }
                }
            }
            output::print(&text)?;
        }
    }
    let failed = found.iter().filter(|f| f.level == Level::Fail).count();
    if failed > 0 {
        bail!("{failed} of {} checks failed", found.len());
    }
    Ok(())
}

async fn check_tracing(global: &Global, group: &str) -> Result<Vec<doctor::Finding>> {
    let config = session::load_config(global)?;
    let session = session::open_as(global, &config).await?;
    let via = session::resolve_via(global, &config)?
        .map_or(Via::Entry, |way| way.into_via(&session.client));
    let shown = |world: &World| world.groups.contains_key(group);
    let live = world_watch::watch_world(&session, "there is no such lane group", shown).await?;
    Ok(trace::check_lane_group(&session.client, &live, group, &via).await)
}
