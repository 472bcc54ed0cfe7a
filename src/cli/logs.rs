//! `logs`: prints logs of a pod, or of all pods of an App, an environment or a version, without
//! control sequences, so that they cannot move the cursor.

use std::{pin::pin, sync::Arc};

use clap::{ArgGroup, Args};
use color_eyre::eyre::{Result, bail};
use futures::{Stream, StreamExt, future::join_all};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::sync::watch;

use super::{
    Global, namespace_ref, output,
    session::{self, Session},
    world_watch,
};
use crate::{
    api::NamespaceRef,
    cluster::{error, logs},
    domain::{
        log::{ContainerChoice, LogEvent, LogLine, LogRequest},
        pod_selection::{PodSelection, PodVersion},
        text::format_count,
        world::{ObjectKey, World},
    },
};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).multiple(true)))]
pub struct LogsArgs {
    /// The pod, or NAMESPACE/POD, or CONTEXT/NAMESPACE/POD [default: wherever an environment has a
    /// pod of that name]
    #[arg(group = "which", conflicts_with_all = ["app", "environment", "version"])]
    pod: Option<String>,
    /// All pods of this App, each line led by its pod
    #[arg(long, value_name = "NAME", group = "which")]
    app: Option<String>,
    /// All pods of this environment
    #[arg(long, value_name = "NAME", group = "which")]
    environment: Option<String>,
    /// All pods of this version: base, a lane's tag, or new or old while a release is rolled out
    #[arg(long, value_name = "VERSION", group = "which")]
    version: Option<String>,
    /// Only this container; can be repeated [default: all containers of each pod]
    #[arg(long, short, value_name = "NAME")]
    container: Vec<String>,
    /// All containers of each pod, as without --container; of several, each line is led by pod and
    /// container
    #[arg(long, conflicts_with = "container")]
    all_containers: bool,
    /// Keep printing new lines, also of pods that come later
    #[arg(long, short)]
    follow: bool,
    /// The log of the run before the last restart; of several pods, of those that have one
    #[arg(long, short, conflicts_with = "follow")]
    previous: bool,
    /// Only the last lines of each pod
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Only lines of this last time, such as 5m or 1h
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<u32>,
    /// Lead each line by its time
    #[arg(long)]
    timestamps: bool,
}

/// A text does not say how long ago.
#[derive(Debug, thiserror::Error)]
#[error("write a time such as 90s, 5m or 1h")]
struct SinceError;

/// Seconds of a duration such as `90s`, `5m` or `1h`.
fn parse_since(text: &str) -> Result<u32, SinceError> {
    let parsed: Result<SignedDuration, _> = text.parse();
    parsed
        .ok()
        .and_then(|time| u32::try_from(time.as_secs()).ok())
        .filter(|seconds| *seconds > 0)
        .ok_or(SinceError)
}

pub(super) async fn print_logs(global: &Global, args: LogsArgs) -> Result<()> {
    let session = session::open(global).await?;
    match &args.pod {
        Some(pod) => print_pod_log(&session, pod, &args).await,
        None => print_selected_logs(&session, &args).await,
    }
}

async fn print_pod_log(session: &Session, path: &str, args: &LogsArgs) -> Result<()> {
    let (place, pod) = namespace_ref::parse_object_path(session, path);
    let place = match place {
        Some(place) => place,
        None => find_pod(session, pod).await?,
    };
    let key = ObjectKey::new(session.clusters.normalize_namespace(&place), pod);
    let mut request = args.request_for(PodSelection::of_pod(key));
    if request.containers == ContainerChoice::All {
        request.containers = find_containers(session, &place, pod).await;
    }
    let printer = LogPrinter {
        what: path,
        label: None,
        is_one_log: !matches!(&request.containers, ContainerChoice::Named(names) if names.len() > 1),
        timestamps: args.timestamps,
    };
    // The log of one pod ends with the pod, whatever else happens.
    let (_sender, worlds) = watch::channel(World::default());
    if args.follow {
        let events = logs::follow_logs(Arc::new(session.clusters.clone()), worlds, request);
        return printer.print_events(events).await;
    }
    let world = worlds.borrow().clone();
    let events = logs::read_logs(&session.clusters, &world, &request).await;
    printer.print_events(events).await
}

/// The containers of a pod. Where the pod cannot be read the server decides, or says why not.
async fn find_containers(session: &Session, place: &NamespaceRef, pod: &str) -> ContainerChoice {
    let pods: Api<Pod> = Api::namespaced(session.clusters.client_for(&place.cluster), &place.name);
    let spec = pods.get(pod).await.ok().and_then(|pod| pod.spec);
    let names = spec.into_iter().flat_map(|spec| spec.containers);
    match names.map(|container| container.name).collect::<Vec<_>>() {
        none if none.is_empty() => ContainerChoice::First,
        names => ContainerChoice::Named(names),
    }
}

async fn print_selected_logs(session: &Session, args: &LogsArgs) -> Result<()> {
    let selection = PodSelection {
        pod: None,
        app: args.app.clone(),
        environment: args.environment.clone(),
        version: args.version.as_deref().map(PodVersion::from_word),
    };
    let watched = world_watch::watch_world(session, "its pods are not listed", |_| true).await?;
    let worlds = watched.worlds.clone();
    let world = worlds.borrow().clone();
    if selection.select_pods(&world).is_empty() && !args.follow {
        bail!("there are no pods of {selection}; `graylane get envs` shows what there is");
    }
    let request = args.request_for(selection.clone());
    let label = |key: &ObjectKey| {
        let world = worlds.borrow();
        selection.label_pod(&world, key, str::to_owned)
    };
    let what = selection.to_string();
    let printer = LogPrinter {
        what: &what,
        label: Some(&label),
        is_one_log: false,
        timestamps: args.timestamps,
    };
    if args.follow {
        let opener = Arc::new(session.clusters.clone());
        let events = logs::follow_logs(opener, watched.worlds.clone(), request);
        return printer.print_events(events).await;
    }
    let events = logs::read_logs(&session.clusters, &world, &request).await;
    printer.print_events(events).await
}

impl LogsArgs {
    fn request_for(&self, selection: PodSelection) -> LogRequest {
        LogRequest {
            selection,
            containers: match self.container.as_slice() {
                [] => ContainerChoice::All,
                names => ContainerChoice::Named(names.to_vec()),
            },
            since: self.since,
            tail: self.tail,
            previous: self.previous,
        }
    }
}

/// Prints logs.
struct LogPrinter<'a> {
    /// What was asked for.
    what: &'a str,
    /// Names the pods, where several were chosen.
    label: Option<PodLabel<'a>>,
    /// It is one log, which ends with its first failure.
    is_one_log: bool,
    timestamps: bool,
}

/// Names a pod among several.
type PodLabel<'a> = &'a dyn Fn(&ObjectKey) -> String;

impl LogPrinter<'_> {
    /// Prints lines as they come, and what is to be known of them on stderr.
    async fn print_events(&self, events: impl Stream<Item = LogEvent>) -> Result<()> {
        let what = self.what;
        let mut events = pin!(events);
        let (mut lines, mut failed, mut never_restarted) = (0_u64, None, 0);
        while let Some(event) = events.next().await {
            match event {
                LogEvent::Line(line) => {
                    lines += 1;
                    output::print(&format_line(&line, self.label, self.timestamps))?;
                }
                LogEvent::Came(pod) => say!("{}: a new pod", pod.name),
                LogEvent::Gone(pod) if self.label.is_some() => {
                    say!("{}: this pod is gone", pod.name);
                }
                LogEvent::Gone(_) => {}
                LogEvent::Failed(_, why) if self.is_one_log => bail!("logs of {what}: {why}"),
                LogEvent::Failed(pod, why) => {
                    say!("warning: logs of {}: {why}", pod.name);
                    failed = Some(why);
                }
                LogEvent::LeftOut(0) => {}
                LogEvent::LeftOut(logs) => say!(
                    "warning: {logs} more logs are not read; --environment, --version or \
                     --container chooses fewer"
                ),
                LogEvent::NoRunBefore(_) => never_restarted += 1,
            }
        }
        match failed {
            Some(why) if lines == 0 => bail!("logs of {what}: {why}"),
            _ if never_restarted > 0 && lines == 0 => {
                bail!("no container of {what} was restarted")
            }
            _ => {}
        }
        if never_restarted > 0 {
            let containers = format_count(never_restarted, "container");
            say!("{containers} of {what} never restarted");
        }
        Ok(())
    }
}

/// A line, led by its pod where several were chosen, and by pod and container where several of it
/// are read.
fn format_line(line: &LogLine, label: Option<PodLabel<'_>>, timestamps: bool) -> String {
    let pod = match (label, &line.container) {
        (Some(label), _) => Some(label(&line.pod)),
        (None, Some(_)) => Some(line.pod.name.clone()),
        (None, None) => None,
    };
    let container = line.container.as_deref().map(str::to_owned);
    let time = line.time.filter(|_| timestamps).map(|t| t.to_string());
    let lead = [pod, container, time].into_iter().flatten();
    let lead: String = lead.map(|part| part + " ").collect();
    format!("{lead}{}\n", line.text)
}

/// Where the pod runs: the home namespace, or the only environment that has it. If none has it, the
/// home namespace, whose server reports the error.
async fn find_pod(session: &Session, pod: &str) -> Result<NamespaceRef> {
    let home = namespace_ref::home_namespace(session);
    match has_pod(session, &home, pod).await {
        Ok(true) => return Ok(home),
        // If pods are not readable here, reading the log reports that.
        Err(e) if error::status_code(&e) != Some(403) => {
            return Err(session::api_error(format!("logs of {pod}"))(e));
        }
        Ok(false) | Err(_) => {}
    }
    let others = namespace_ref::all_namespaces(session)
        .await?
        .into_iter()
        .filter(|p| *p != home);
    let looks = others.map(async |place| {
        let has = has_pod(session, &place, pod).await;
        (place, has)
    });
    let mut found = vec![];
    for (place, has) in join_all(looks).await {
        match has {
            Ok(true) => found.push(place),
            Ok(false) => {}
            // An unreachable cluster does not hide pods of others.
            Err(e) => say!(
                "warning: not looked for: {}: {}",
                place.qualify_name(pod),
                error::describe_error(&e)
            ),
        }
    }
    match found.as_slice() {
        [] => Ok(home),
        [one] => {
            say!("{}:", one.qualify_name(pod));
            Ok(one.clone())
        }
        many => {
            let all: Vec<String> = many.iter().map(|place| place.qualify_name(pod)).collect();
            Err(session::usage_error(format!(
                "several pods have this name: {}; name one of them like this",
                all.join(", ")
            )))
        }
    }
}

async fn has_pod(session: &Session, place: &NamespaceRef, pod: &str) -> kube::Result<bool> {
    let pods: Api<Pod> = Api::namespaced(session.clusters.client_for(&place.cluster), &place.name);
    Ok(pods.get_metadata_opt(pod).await?.is_some())
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use kube::api::PostParams;
    use serde_json::json;

    use super::*;
    use crate::{api::App, cli::session::tests::on_pocket};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        logs: LogsArgs,
    }

    #[test]
    fn logs_are_of_a_pod_or_of_a_choice_of_pods() {
        let read = |line: &str| {
            let words = std::iter::once("logs").chain(line.split_whitespace());
            <Line as clap::Parser>::try_parse_from(words).map(|line| line.logs)
        };
        assert!(read("db-0").is_ok_and(|args| args.pod.as_deref() == Some("db-0")));
        let chosen = read("--app shop --environment prod --version new -f --since 5m").unwrap();
        assert_eq!(
            (chosen.version.as_deref(), chosen.since),
            (Some("new"), Some(300))
        );
        let containers = |line: &str| {
            let request = read(line).map(|args| args.request_for(PodSelection::default()));
            request.map(|request| request.containers).unwrap()
        };
        assert_eq!(containers("db-0"), ContainerChoice::All);
        assert_eq!(containers("db-0 --all-containers"), ContainerChoice::All);
        let named = ContainerChoice::Named(vec!["app".into(), "proxy".into()]);
        assert_eq!(containers("db-0 -c app --container proxy"), named);
        for wrong in [
            "",
            "-f",
            "db-0 --app shop",
            "--app shop -f -p",
            "db-0 --since soon",
            "db-0 -c app --all-containers",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_tells_what_tells_it_apart() {
        let key = Arc::new(ObjectKey::at_home("demo", "db-0"));
        let line = LogLine::parse_line(&key, "2026-01-02T03:04:05Z hello");
        let by_container = LogLine {
            container: Some("proxy".into()),
            ..line.clone()
        };
        let label = |_: &ObjectKey| "db/0".to_owned();
        assert_eq!(format_line(&line, None, false), "hello\n");
        assert_eq!(format_line(&line, Some(&label), false), "db/0 hello\n");
        assert_eq!(
            format_line(&by_container, None, false),
            "db-0 proxy hello\n"
        );
        assert_eq!(
            format_line(&by_container, Some(&label), true),
            "db/0 proxy 2026-01-02T03:04:05Z hello\n"
        );
    }

    #[test]
    fn a_time_is_told_in_its_usual_units() {
        let read = ["90s", "5m", "1h", "1h30m"].map(|text| parse_since(text).unwrap());
        assert_eq!(read, [90, 300, 3600, 5400]);
        for wrong in ["", "5", "-5m", "0s", "soon"] {
            assert!(parse_since(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn of_several_pods_of_one_name_none_is_taken_silently() {
        let dir = tempfile::tempdir().unwrap();
        let session = on_pocket(dir.path()).await;
        let app = json!({"metadata": {"name": "a"}, "spec": {"manifests": [], "environments": [
            {"name": "test", "namespace": "default"}, {"name": "prod", "namespace": "kube-system"}]}});
        let apps: Api<App> = Api::namespaced(session.client.clone(), "demo");
        apps.create(
            &PostParams::default(),
            &serde_json::from_value(app).unwrap(),
        )
        .await
        .unwrap();
        let run = async |namespace: &str| {
            let pod = json!({"metadata": {"name": "db-0"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
            let pods: Api<Pod> = Api::namespaced(session.client.clone(), namespace);
            pods.create(
                &PostParams::default(),
                &serde_json::from_value(pod).unwrap(),
            )
            .await
            .unwrap();
        };
        let found = async || {
            find_pod(&session, "db-0")
                .await
                .map(|place| place.to_string())
        };
        assert_eq!(found().await.unwrap(), "demo", "nobody has it");
        run("kube-system").await;
        assert_eq!(found().await.unwrap(), "kube-system");
        run("default").await;
        let told = found().await.unwrap_err().to_string();
        assert!(
            told.contains("several pods have this name: default/db-0, kube-system/db-0;"),
            "{told}"
        );
        run("demo").await;
        assert_eq!(
            found().await.unwrap(),
            "demo",
            "a bare name is home's first"
        );
    }
}
