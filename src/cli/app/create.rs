//! `app create NAME… --template T [--set KEY=VALUE]…`.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use color_eyre::eyre::{Result, bail};
use kube::ResourceExt;
use serde_json::Value;

use crate::{
    api::{App, Uid},
    cli::{
        adopt::describe_app,
        output::{self, Format},
        session::{Session, usage_error},
    },
    cluster::perform,
    domain::{
        apps::Setting,
        intent::{Intent, SeenObject},
    },
};

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The new Apps
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The AppTemplate they are made from
    #[arg(long, short, value_name = "NAME")]
    template: String,
    /// A value of their environments, read as YAML: KEY=VALUE in all of them, ENVIRONMENT/KEY=VALUE
    /// in one, APP:KEY=VALUE or APP:ENVIRONMENT/KEY=VALUE of one App; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Check and show only
    #[arg(long)]
    dry_run: bool,
    /// Do not ask (without a terminal nobody is asked)
    #[arg(long, short)]
    yes: bool,
    /// How to print what was made; json and yaml print the Apps
    #[arg(long, short, default_value = "table")]
    output: Format,
}

pub(super) async fn create_apps(session: &Session, args: CreateArgs) -> Result<()> {
    let settings = parse_settings(&args.set)?;
    let (template, names) = (&args.template, &args.names);
    let (apps, found) = perform::plan_apps(
        &session.client,
        &session.namespace,
        template,
        names,
        &settings,
    )
    .await?;
    let is_table = matches!(args.output, Format::Table | Format::Wide);
    if args.dry_run {
        return output::print(&if is_table {
            let each: String = apps
                .iter()
                .map(|app| describe_app(&app.name_any(), &app.spec))
                .collect();
            format!(
                "{each}{} can be made from template {template} (dry run)\n",
                names.join(", ")
            )
        } else {
            format_apps(session, &apps, args.output)?
        });
    }
    if !args.yes && std::io::stdin().is_terminal() && !confirm_creation(&apps, template)? {
        bail!("nothing was made");
    }
    // Create only what was shown: if the template has changed meanwhile, the intent is refused.
    let seen = SeenObject {
        uid: Uid::from_meta(&found.metadata),
        version: found.resource_version(),
        state: None,
    };
    let intent = Intent::CreateApps {
        template: template.clone(),
        seen: Some(seen),
        names: names.clone(),
        settings,
    };
    let done =
        perform::perform_intent(&session.client, &session.namespace, &session.by, intent).await?;
    output::print(&if is_table {
        done.message
    } else {
        format_apps(session, &apps, args.output)?
    })
}

fn parse_settings(given: &[String]) -> Result<Vec<Setting>> {
    let (settings, wrong): (Vec<_>, Vec<_>) = given
        .iter()
        .map(|text| text.parse::<Setting>())
        .partition(Result::is_ok);
    let wrong: Vec<String> = wrong
        .into_iter()
        .filter_map(Result::err)
        .map(|why| format!("--set {why}"))
        .collect();
    if !wrong.is_empty() {
        return Err(usage_error(wrong.join("\n")));
    }
    Ok(settings.into_iter().flatten().collect())
}

fn format_apps(session: &Session, apps: &[App], format: Format) -> Result<String> {
    if format == Format::Name {
        return Ok(apps.iter().map(|app| app.name_any() + "\n").collect());
    }
    let with_namespace = |app: &App| {
        let mut app = app.clone();
        app.metadata.namespace = Some(session.namespace.clone());
        serde_json::to_value(app)
    };
    let items: Vec<Value> = apps.iter().map(with_namespace).collect::<Result<_, _>>()?;
    output::format_list(&items, format)
}

fn confirm_creation(apps: &[App], template: &str) -> Result<bool> {
    for app in apps {
        eprint!("{}", describe_app(&app.name_any(), &app.spec));
    }
    let count = if let [_] = apps {
        "this App".to_owned()
    } else {
        format!("these {} Apps", apps.len())
    };
    eprint!("Nothing of it runs before a release. Make {count} from template {template}? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
