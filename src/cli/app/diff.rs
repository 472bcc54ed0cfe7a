//! `app diff NAME [--template T]`.

use clap::Args;
use color_eyre::eyre::{Result, bail};
use serde_json::json;

use crate::{
    api::{App, AppTemplate},
    cli::{
        objects,
        output::{self, Format},
        session::{Session, usage_error},
    },
    domain::{
        apps::{self, Comparison},
        text::unified_diff,
    },
};

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The App
    name: String,
    /// The AppTemplate to compare with [default: the one it was made from]
    #[arg(long, short, value_name = "NAME")]
    template: Option<String>,
    /// How to print it: table is a diff, json and yaml list each place
    #[arg(long, short, default_value = "table")]
    output: Format,
}

pub(super) async fn compare_with_template(session: &Session, args: DiffArgs) -> Result<()> {
    let app: App = objects::get_object(session, &args.name).await?;
    let Some(name) = args
        .template
        .as_deref()
        .or_else(|| apps::template_name(&app))
    else {
        return Err(usage_error(format!(
            "app {} was made from no template: name one with --template",
            args.name
        )));
    };
    let template: AppTemplate = objects::get_object(session, name).await?;
    let Comparison {
        template: wanted,
        app: found,
        changes,
    } = apps::compare_with_template(&template, &app, &apps::recorded_settings(&app, name))?;
    let text = match args.output {
        Format::Json | Format::Yaml => {
            let told = json!({"app": args.name, "template": name, "same": changes.is_empty(), "changes": changes});
            output::format_value(&told, args.output)?
        }
        Format::Name => changes.iter().map(|c| c.path.clone() + "\n").collect(),
        Format::Table | Format::Wide if changes.is_empty() => {
            format!("app {} is what template {name} makes\n", args.name)
        }
        Format::Table | Format::Wide => {
            let (old, new) = (
                output::format_value(&wanted, Format::Yaml)?,
                output::format_value(&found, Format::Yaml)?,
            );
            format!(
                "--- template {name}\n+++ app {}\n{}",
                args.name,
                unified_diff(&old, &new)
            )
        }
    };
    output::print(&text)?;
    match changes.len() {
        0 => Ok(()),
        1 => bail!("app {} differs from template {name} in 1 place", args.name),
        n => bail!(
            "app {} differs from template {name} in {n} places",
            args.name
        ),
    }
}
