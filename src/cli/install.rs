//! `install`, `uninstall`: adds and removes the objects that graylane needs in a cluster.

use std::io::IsTerminal;

use clap::Args;
use color_eyre::eyre::{Result, bail};

use super::{
    Global,
    output::{self, Format, Table},
    session::{self, usage_error},
};
use crate::{
    cluster::install::{self, AppliedObject, EngineDeployment, InstallSpec, ObjectChange, Removal},
    domain::command_line::CommandLine,
};

#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Only print the objects, as YAML for `kubectl apply`; no cluster is asked
    #[arg(long)]
    print: bool,
    /// Run the engine in the cluster, from this image (see Dockerfile) [default: it runs elsewhere]
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    /// Number of engines: one acts, the others stand by
    #[arg(long, value_name = "N", default_value_t = 2, requires = "image", value_parser = clap::value_parser!(u32).range(1..=9))]
    engine_replicas: u32,
    /// Where the engine runs; no App may be deployed there
    #[arg(long, value_name = "NAMESPACE", default_value = install::ENGINE_NAMESPACE, requires = "image")]
    engine_namespace: String,
    /// Let the engines receive spans and access logs over OTLP, through the Service graylane-hops
    #[arg(long, requires = "image")]
    otlp: bool,
    /// Namespaces that Apps are deployed to, besides that of the releases (-n): each gets the
    /// account graylane-deployer
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    deploy_to: Vec<String>,
    /// Take over fields that somebody else has changed
    #[arg(long, conflicts_with = "print")]
    force_conflicts: bool,
    /// How to print what was done
    #[arg(long, short, default_value = "table")]
    output: Format,
}

#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Do it; without this, only say what would be removed
    #[arg(long, short)]
    yes: bool,
    /// Also remove the resource definitions, and with them every App, Release, Approval and Lane
    #[arg(long)]
    definitions: bool,
    /// How to print what was done
    #[arg(long, short, default_value = "table")]
    output: Format,
}

fn install_spec(args: &InstallArgs, namespace: String) -> InstallSpec {
    let engine = args.image.clone().map(|image| EngineDeployment {
        image,
        replicas: args.engine_replicas,
        namespace: args.engine_namespace.clone(),
        otlp: args.otlp,
    });
    InstallSpec {
        namespace,
        deploy_to: args.deploy_to.clone(),
        engine,
    }
}

/// No App may be deployed to the engine's namespace: a user who deploys there could change the
/// engine.
fn check_engine_namespace(args: &InstallArgs, home: &str) -> Result<()> {
    let engine = &args.engine_namespace;
    if args.image.is_some() && (home == engine || args.deploy_to.contains(engine)) {
        return Err(usage_error(format!(
            "the engine runs in {engine}, and no App may be deployed there: name another one with --engine-namespace"
        )));
    }
    Ok(())
}

pub(super) async fn install(global: &Global, args: InstallArgs) -> Result<()> {
    check_namespaces(global, &args)?;
    if args.print {
        let config = session::load_config(global)?;
        let namespace = config.namespace.unwrap_or_else(|| "default".into());
        check_engine_namespace(&args, &namespace)?;
        let texts: Vec<String> = install::render_objects(&install_spec(&args, namespace))
            .iter()
            .map(kube_yaml::to_yaml)
            .collect();
        return output::print(&texts.join("---\n"));
    }
    let session = session::open(global).await?;
    check_engine_namespace(&args, &session.namespace)?;
    let wanted = install_spec(&args, session.namespace.clone());
    let done = install::apply_objects(&session.client, &wanted, args.force_conflicts).await?;
    match args.output {
        Format::Json | Format::Yaml => {
            return output::print(&output::format_value(&done, args.output)?);
        }
        Format::Name => {
            return output::print(
                &done
                    .iter()
                    .map(|d| format!("{}\n", d.object))
                    .collect::<String>(),
            );
        }
        Format::Table | Format::Wide => {}
    }
    output::print(&change_table(&done).render())?;
    let skipped = done.iter().any(|d| d.done == ObjectChange::Skipped);
    if skipped {
        say!("A pocket has one user: roles and admission policies mean nothing there.");
    }
    if wanted.engine.is_none() && !skipped {
        say_no_engine(&session.namespace);
    }
    if !skipped {
        say!(
            "Now bind people to {}, {}, {} or {} (see `kubectl create rolebinding --help`); `graylane doctor` checks it all.",
            install::names::VIEWER,
            install::names::OPERATOR,
            install::names::ADMIN,
            install::names::APPROVER
        );
    }
    Ok(())
}

fn check_namespaces(global: &Global, args: &InstallArgs) -> Result<()> {
    for name in args
        .deploy_to
        .iter()
        .chain([&args.engine_namespace])
        .chain(&global.namespace)
    {
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 40 || !name.chars().all(label) {
            return Err(usage_error(format!(
                "{name:?} cannot be the namespace of an engine: up to 40 of a-z, 0-9 and '-'"
            )));
        }
    }
    Ok(())
}

fn change_table(done: &[AppliedObject]) -> Table {
    let mut table = Table::new(&["OBJECT", "NAMESPACE", "DONE"]);
    for applied in done {
        let word = match applied.done {
            ObjectChange::Created => "created",
            ObjectChange::Changed => "changed",
            ObjectChange::Unchanged => "unchanged",
            ObjectChange::Skipped => "left out: this server does not serve it",
            ObjectChange::Removed => "removed: an earlier install made it",
        };
        table.add_row([
            applied.object.clone(),
            applied.namespace.clone().unwrap_or_default(),
            word.into(),
        ]);
    }
    table
}

fn say_no_engine(namespace: &str) {
    say!(
        "No engine was installed: releases of namespace {namespace} do nothing until one runs. Run\n  \
             {}    in the cluster, from an image made with the Dockerfile; or\n  \
             {}  anywhere, with the rights of {} there and of {} where it deploys.",
        CommandLine::graylane("install")
            .option("-n", namespace)
            .fixed_args("--image REF"),
        CommandLine::graylane("engine")
            .option("-n", namespace)
            .fixed_args("--context NAME"),
        install::names::ENGINE,
        install::names::IMPERSONATOR
    );
}

pub(super) async fn uninstall(global: &Global, args: UninstallArgs) -> Result<()> {
    let session = session::open(global).await?;
    let found = install::find_installed(&session.client, args.definitions).await?;
    if found.is_empty() {
        return output::print("nothing of graylane's is installed");
    }
    let mut table = Table::new(&["KIND", "NAMESPACE", "NAME", ""]);
    for what in &found {
        let holds = what
            .holds
            .map(|n| format!("and {n} of its objects"))
            .unwrap_or_default();
        table.add_row([
            what.kind.clone(),
            what.namespace.clone(),
            what.name.clone(),
            holds,
        ]);
    }
    if !args.yes {
        eprint!("{}", table.render());
        let word = if std::io::stdin().is_terminal() {
            "look at it, then say"
        } else {
            "this needs"
        };
        bail!(
            "nothing was removed: {word} `graylane uninstall --yes`{}",
            definitions_flag(args.definitions)
        );
    }
    for what in &found {
        install::remove_object(&session.client, what).await?;
    }
    print_removed(&found, &table, &args)
}

fn definitions_flag(definitions: bool) -> &'static str {
    if definitions {
        " with --definitions"
    } else {
        ""
    }
}

fn print_removed(found: &[Removal], table: &Table, args: &UninstallArgs) -> Result<()> {
    match args.output {
        Format::Json | Format::Yaml => output::print(&output::format_value(&found, args.output)?)?,
        Format::Name => {
            output::print(
                &found
                    .iter()
                    .map(|f| format!("{}/{}\n", f.kind, f.name))
                    .collect::<String>(),
            )?;
        }
        Format::Table | Format::Wide => output::print(&format!("removed\n{}", table.render()))?,
    }
    if args.definitions {
        say!(
            "Kept: what Apps run (Deployments, Services and the like), the namespaces, people's own role bindings."
        );
    } else {
        say!(
            "Kept: the resource definitions with every App, Release, Approval and Lane (--definitions removes them), \
             what Apps run,\nthe engine's Lease, the namespaces, people's own role bindings."
        );
    }
    Ok(())
}
