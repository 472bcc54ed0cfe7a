//! `variables APP [--environment ENV]`: shows what its manifests read as `.Values`, where each
//! value comes from, and what the next release would change.

use std::collections::BTreeMap;

use clap::Args;
use color_eyre::eyre::{Result, eyre};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    Global, objects,
    output::{self, Format, Table},
    session::{self, Session},
};
use crate::{
    api::{App, Environment, Release, VariableGroup},
    domain::variables::{self, EffectiveValue, PendingChange},
};

#[derive(Debug, Args)]
pub struct VariablesArgs {
    /// The App
    app: String,
    /// Only this environment
    #[arg(long, short, value_name = "NAME")]
    environment: Option<String>,
    /// How to print it
    #[arg(long, short, default_value = "table")]
    output: Format,
}

/// Variable groups by name.
pub(super) type Groups = BTreeMap<String, VariableGroup>;

/// The variable groups of the namespace. Empty if the cluster does not serve the kind.
pub(super) async fn list_groups(session: &Session) -> Result<Groups> {
    let all = objects::list_if_installed::<VariableGroup>(session).await?;
    Ok(all.into_iter().map(|g| (g.name_any(), g)).collect())
}

pub(super) async fn print_variables(global: &Global, args: VariablesArgs) -> Result<()> {
    let session = session::open(global).await?;
    let app: App = objects::get_object(&session, &args.app).await?;
    let groups = list_groups(&session).await?;
    let releases: Vec<Release> = objects::list_objects(&session).await?;
    let wanted: Vec<&Environment> = match &args.environment {
        Some(name) => vec![objects::find_environment(&app, name)?],
        None => app.spec.environments.iter().collect(),
    };
    let (mut rows, mut problems) = (vec![], vec![]);
    for environment in wanted {
        match variables::resolve_effective_values(&args.app, &app.spec, environment, |name| {
            groups.get(name)
        }) {
            Ok(values) => {
                let last = variables::deployed_release(&app, &environment.name)
                    .and_then(|name| releases.iter().find(|r| r.name_any() == name));
                rows.push((
                    environment,
                    values.clone(),
                    variables::pending_changes(&values, last, &environment.name),
                ));
            }
            Err(all) => problems.extend(all),
        }
    }
    if !problems.is_empty() {
        return Err(eyre!(variables::format_unresolved(&problems)));
    }
    output::print(&match args.output {
        Format::Table | Format::Wide => variables_table(&args.app, &rows),
        Format::Name => rows
            .iter()
            .flat_map(|(e, v, _)| v.iter().map(|v| format!("{}/{}\n", e.name, v.key)))
            .collect(),
        format => {
            let of = |(e, values, pending): &(
                &Environment,
                Vec<EffectiveValue>,
                Vec<PendingChange>,
            )| json!({"name": e.name, "values": values, "pending": pending});
            let environments: Vec<Value> = rows.iter().map(of).collect();
            output::format_value(
                &json!({"app": args.app, "environments": environments}),
                format,
            )?
        }
    })
}

fn variables_table(
    app: &str,
    rows: &[(&Environment, Vec<EffectiveValue>, Vec<PendingChange>)],
) -> String {
    let mut table = Table::new(&["ENVIRONMENT", "KEY", "VALUE", "FROM", "OVER"]);
    let mut notes = String::new();
    for (environment, values, pending) in rows {
        for value in values {
            let over: Vec<String> = value.over.iter().map(ToString::to_string).collect();
            let shown = variables::format_value(&value.value);
            table.add_row([
                environment.name.clone(),
                value.key.clone(),
                shown,
                value.from.to_string(),
                over.join("; "),
            ]);
        }
        for change in pending {
            notes.push_str(&format!(
                "The next release of {app} to {} changes {change}\n",
                environment.name
            ));
        }
    }
    if notes.is_empty() {
        table.render()
    } else {
        format!("{}\n{notes}", table.render())
    }
}
