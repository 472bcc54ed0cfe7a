//! `release diff NAME`.

use clap::Args;
use color_eyre::eyre::{Result, bail, eyre};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    api::Release,
    cli::{
        objects,
        output::{self, Format},
        proposal::{list_releases, list_revisions},
        session::Session,
    },
    cluster::revision,
    domain::{text::join_lines, workflow::compare_release},
};

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The release
    name: String,
    /// How to print it: table is a unified diff, json and yaml list each difference
    #[arg(long, short, default_value = "table")]
    output: Format,
}

pub(super) async fn compare_with_old(session: &Session, args: DiffArgs) -> Result<()> {
    let release: Release = objects::get_object(session, &args.name).await?;
    let (app, _) = revision::read_frozen_app(&session.client, &session.namespace, &release).await?;
    let of = &release.spec.app;
    let revisions = list_revisions(session, of).await?;
    let releases = list_releases(session, of).await?;
    let diff = compare_release(&app, &release, releases.iter(), |name| {
        revisions.get(name).cloned()
    })
    .map_err(|all| eyre!(join_lines(&all)))?;
    let differing = diff.environments.iter().filter(|e| !e.is_empty());
    let text = match args.output {
        Format::Json | Format::Yaml => {
            let told = json!({
                "release": release.name_any(),
                "app": diff.app,
                "same": diff.is_empty(),
                "environments": diff.environments,
            });
            output::format_value(&told, args.output)?
        }
        Format::Name => differing
            .clone()
            .flat_map(|e| e.objects.iter().map(|o| format!("{}\n", o.object)))
            .collect(),
        Format::Table | Format::Wide => diff.to_unified_text(),
    };
    output::print(&text)?;
    let names: Vec<&str> = differing.map(|e| e.environment.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    bail!("release {} changes {}", args.name, names.join(", "))
}
