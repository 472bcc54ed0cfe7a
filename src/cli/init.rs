//! `init`: writes a commented App of a Deployment in the cluster, a Helm chart, a Kustomize folder,
//! or rendered YAML; with `--lane-group` also a LaneGroup, and a Lane where there is a gray version.
//! It changes nothing: `apply` does.

mod folder;

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use color_eyre::eyre::{Result, WrapErr, bail};

use kube::Api;
use serde_json::Value;

use super::{
    Global,
    adopt::{find_workload, images_of, parse_kind_and_name, resolve_group_values},
    new_app_args::NewAppArgs,
    objects, output,
    session::{self, api_error, usage_error},
    variables,
};
use crate::{
    api::App,
    cluster::{agent::Agent, connect},
    domain::{
        adopt::{self, GrayVersion},
        command_line::CommandLine,
        init::{self, BASELINE_STAGE, LaneNames, NewApp, Wanted},
        text::join_lines,
        workflow::render_objects,
    },
};

#[derive(Debug, Args)]
pub struct InitArgs {
    /// What the App is made of: deployment/NAME in the cluster, the folder of a Helm chart
    /// (Chart.yaml), or that of a Kustomize base or overlay (kustomization.yaml); app/NAME for the
    /// lane group of an App that is there
    #[arg(value_name = "SOURCE", required_unless_present = "file")]
    source: Option<String>,
    /// Instead: YAML that was rendered already; - is stdin
    #[arg(
        long = "file",
        short = 'f',
        value_name = "FILE",
        conflicts_with = "source"
    )]
    file: Option<PathBuf>,
    #[command(flatten)]
    new: NewAppArgs,
    /// The Deployment, where several are rendered
    #[arg(long, value_name = "NAME")]
    deployment: Option<String>,
    /// Also a LaneGroup of this name with the App in it, and a Lane to its gray version
    #[arg(long, value_name = "NAME", requires = "gateway")]
    lane_group: Option<String>,
    /// The Gateway where requests come in
    #[arg(long, value_name = "NAME", requires = "lane_group")]
    gateway: Option<String>,
    /// The path prefix that leads to the App [default: /]
    #[arg(long, value_name = "PREFIX", requires = "lane_group")]
    path: Option<String>,
    /// Values for a Helm chart, as `helm template --values` takes them
    #[arg(long, value_name = "FILE")]
    values: Vec<PathBuf>,
    /// A value for a Helm chart, as `helm template --set` takes it
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Write to this file, which must not exist yet [default: stdout]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub(super) async fn write_first_app(global: &Global, args: InitArgs) -> Result<()> {
    if let Some(name) = args.source.as_deref().and_then(|s| s.strip_prefix("app/")) {
        return write_lane_group(global, &args, name).await;
    }
    let running = args.source.as_deref().filter(|s| names_deployment(s));
    let (app, is_running) = match running {
        Some(workload) => (read_running(global, &args, workload).await?, true),
        None => (read_rendered(global, &args).await?, false),
    };
    let mut text = init::write_app(&app);
    for document in lane_objects(&args, &app, args.new.gray())? {
        text.push_str("---\n");
        text.push_str(&document);
    }
    write_file(args.to.as_deref(), &text)?;
    for note in &app.notes {
        say!("Note: {note}");
    }
    say!("{}", describe_next(&args, &app, is_running));
    Ok(())
}

/// The lane group of an App that is there.
async fn write_lane_group(global: &Global, args: &InitArgs, name: &str) -> Result<()> {
    if args.lane_group.is_none() {
        return Err(usage_error(format!(
            "app/{name}: the App exists already; name a lane group to write with --lane-group and --gateway"
        )));
    }
    let session = session::open(global).await?;
    let apps: Api<App> = Api::namespaced(session.client.clone(), &session.namespace);
    let app = apps
        .get_opt(name)
        .await
        .map_err(api_error(format!("reading App {name}")))?;
    let Some(app) = app else {
        bail!("there is no App {name} in namespace {}", session.namespace);
    };
    let environment = objects::find_environment(&app, &args.new.environment)?;
    let groups = variables::list_groups(&session).await?;
    let shared = resolve_group_values(&app, environment, &groups)?;
    let images = images_of(&app, &args.new.environment);
    let objects = render_objects(&app, environment, &shared, &images);
    let objects = objects.map_err(|all| color_eyre::Report::msg(join_lines(&all)))?;
    let named = |o: &&Value| {
        args.new
            .service
            .as_ref()
            .is_none_or(|s| o["metadata"]["name"] == *s)
    };
    let mut services = objects
        .iter()
        .filter(|o| o["kind"] == "Service")
        .filter(named);
    let service = services.next().and_then(init::service_port);
    if services.next().is_some() {
        bail!("app {name} has several Services: name the one that callers use with --service");
    }
    let tag = app.spec.environments.iter().find_map(|e| e.lane.clone());
    let known = NewApp {
        name: name.into(),
        namespace: session.namespace.clone(),
        spec: app.spec.clone(),
        service,
        notes: vec![],
    };
    let documents = lane_objects(args, &known, tag.as_deref())?;
    write_file(args.to.as_deref(), &documents.join("---\n"))?;
    let file = args.to.as_ref().map(|to| to.display().to_string());
    let apply = CommandLine::graylane("apply").option("-f", file.as_deref().unwrap_or("FILE"));
    say!("Next: `{apply}`");
    Ok(())
}

/// Whether a source names a Deployment of the cluster, and not a folder.
fn names_deployment(source: &str) -> bool {
    let kind = parse_kind_and_name(source).map(|(kind, _)| kind);
    source.contains('/') && !Path::new(source).exists() && kind.is_ok_and(|k| k == "deployment")
}

/// The App of a Deployment that runs.
async fn read_running(global: &Global, args: &InitArgs, workload: &str) -> Result<NewApp> {
    let (_, name) = parse_kind_and_name(workload)?;
    let session = session::open(global).await?;
    let found = find_workload(&session, name, args.new.service.as_deref()).await?;
    let app = args
        .new
        .app
        .clone()
        .unwrap_or_else(|| adopt::default_app_name(name, &args.new.environment));
    let adoption = adopt::adopt_workload(&found, &app, &args.new.environment)?;
    let mut spec = adoption.spec;
    if let Some(gray) = args.new.gray() {
        let version = GrayVersion {
            beside: &args.new.environment,
            environment: gray,
            tag: gray,
        };
        spec = adopt::add_gray(&spec, &version)?;
        init::check_apart(&spec, &app, &adoption.images, &version, &found.others)?;
    }
    let mut notes = adoption.notes;
    notes.extend(adopt::note_other_services(&found));
    Ok(NewApp {
        name: app,
        namespace: session.namespace.clone(),
        spec,
        service: found.service.as_ref().and_then(init::service_port),
        notes,
    })
}

/// The App of rendered objects. No cluster is asked.
async fn read_rendered(global: &Global, args: &InitArgs) -> Result<NewApp> {
    let namespace = default_namespace(global)?;
    let (label, text) = match (&args.file, &args.source) {
        (Some(file), _) => (file.display().to_string(), read_text(file)?),
        (None, source) => {
            let folder = PathBuf::from(source.as_deref().unwrap_or_default());
            let text = folder::render_folder(&folder, args, &namespace).await?;
            (folder.display().to_string(), text)
        }
    };
    let read = kube_yaml::read_objects(&label, &text);
    let objects = read.map_err(|all| color_eyre::Report::msg(join_lines(&all)))?;
    let wanted = Wanted {
        deployment: args.deployment.as_deref(),
        service: args.new.service.as_deref(),
        namespace: &namespace,
    };
    let objects = objects.into_iter().map(|d| d.value).collect();
    let selected = init::select_objects(objects, &wanted).wrap_err_with(|| label.clone())?;
    let app = init::build_app(
        args.new.app.as_deref(),
        &args.new.environment,
        args.new.gray(),
        selected,
    );
    app.wrap_err(label)
}

/// The namespace of objects that name none: the one that other commands would use.
fn default_namespace(global: &Global) -> Result<String> {
    let config = session::load_config(global)?;
    if let Some(named) = &config.namespace {
        return Ok(named.clone());
    }
    let source = session::resolve_source(global, &config)?;
    let known = connect::prepare_client(&source, None, Agent::Cli);
    Ok(known.map_or_else(|_| "default".to_owned(), |c| c.namespace))
}

fn read_text(file: &Path) -> Result<String> {
    if file.as_os_str() != "-" {
        return std::fs::read_to_string(file).wrap_err_with(|| file.display().to_string());
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .read_to_string(&mut text)
        .wrap_err("stdin")?;
    Ok(text)
}

fn lane_objects(args: &InitArgs, app: &NewApp, tag: Option<&str>) -> Result<Vec<String>> {
    let (Some(group), Some(gateway)) = (&args.lane_group, &args.gateway) else {
        return Ok(vec![]);
    };
    let Some((service, port)) = &app.service else {
        bail!("no Service leads to {}: a lane group needs one", app.name);
    };
    Ok(init::build_lane_objects(&LaneNames {
        namespace: &app.namespace,
        group,
        gateway,
        path: args.path.as_deref().unwrap_or("/"),
        app: &app.name,
        service: (service, *port),
        tag,
    }))
}

/// Writes a new file, or to stdout. What is there is never overwritten.
fn write_file(to: Option<&Path>, text: &str) -> Result<()> {
    let Some(to) = to else {
        return output::print(text);
    };
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(to);
    let mut file = opened.wrap_err_with(|| to.display().to_string())?;
    file.write_all(text.as_bytes())
        .wrap_err_with(|| to.display().to_string())
}

/// What to do with the file.
fn describe_next(args: &InitArgs, app: &NewApp, is_running: bool) -> String {
    let file = args.to.as_ref().map(|to| to.display().to_string());
    let apply = CommandLine::graylane("apply").option("-f", file.as_deref().unwrap_or("FILE"));
    let (apply, stage) = if is_running {
        (apply.fixed_args("--adopt"), "production")
    } else {
        (apply, BASELINE_STAGE)
    };
    let start = CommandLine::graylane("release start")
        .arg(&app.name)
        .option("--stage", stage);
    let what = if is_running {
        "takes what runs as the App's"
    } else {
        "makes the App, which runs nothing yet"
    };
    let then = if is_running {
        "starts its first release"
    } else {
        "brings its first version"
    };
    format!("Next: `{apply}` {what}; `{start}` {then}")
}
