//! `rescue [WORKLOAD] [--finish|--abort]`: finds Deployments and StatefulSets that a rollout left
//! unfinished, with the patch that finishes each or restores its old version. For use when the
//! release is gone.

mod act;

use clap::{Args, ValueEnum};
use color_eyre::eyre::{Result, bail};
use futures::future::join_all;
use jiff::SignedDuration;
use k8s_openapi::{
    api::apps::v1::{Deployment, StatefulSet},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde::Serialize;
use serde_json::Value;

use super::{
    Global, namespace_ref, objects,
    output::{self, Format},
    session::{self, Session, api_error},
};
use crate::{
    api::{ClusterName, InventoryItem, NamespaceRef, Release, RolloutRecord, Uid},
    cluster::error,
    domain::{
        batches::{Records, RescueError, RescuePatches, is_latch_on, plan_rescue, stateful},
        command_line::CommandLine,
        observe::{self, DeploymentSeen, ObservedPod, ObservedSet},
        text::Clean,
        world::ObjectKey,
    },
};

#[derive(Debug, Args)]
pub struct RescueArgs {
    /// Only this one: NAME, NAMESPACE/NAME or CONTEXT/NAMESPACE/NAME [default: wherever
    /// environments are]
    workload: Option<String>,
    /// Only of this kind
    #[arg(long)]
    kind: Option<WorkloadKind>,
    /// Finish the rollout of the new version, with the settings of its manifest
    #[arg(long, requires = "workload", conflicts_with = "abort")]
    finish: bool,
    /// Bring back the old version and its settings
    #[arg(long, requires = "workload")]
    abort: bool,
    /// Do it even while its release is running
    #[arg(long)]
    force: bool,
    /// How to print it
    #[arg(long, short, default_value = "table")]
    output: Format,
}

/// Kinds that are rolled out in batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum WorkloadKind {
    #[value(alias = "deploy")]
    Deployment,
    #[value(name = "statefulset", alias = "sts")]
    StatefulSet,
}

/// A workload with an unfinished rollout.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct StuckWorkload {
    kind: WorkloadKind,
    name: String,
    #[serde(rename = "context", skip_serializing_if = "ClusterName::is_home")]
    cluster: ClusterName,
    namespace: String,
    /// Release that began the rollout.
    release: String,
    task: String,
    /// The release still exists and is not final: finish or abort it instead.
    under_way: bool,
    /// What to know before finishing or aborting.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// Why the annotation cannot be read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Merge patch that finishes the rollout.
    finish: Value,
    /// Merge patch that restores the old version.
    abort: Value,
    /// Pods of a StatefulSet's new version that are not ready: going back waits until they are
    /// deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    in_the_way: Vec<String>,
}

impl StuckWorkload {
    fn place(&self) -> NamespaceRef {
        NamespaceRef::new(self.cluster.clone(), self.namespace.as_str())
    }
}

pub(super) async fn rescue_workloads(global: &Global, args: RescueArgs) -> Result<()> {
    search_and_rescue(&session::open(global).await?, args).await
}

async fn search_and_rescue(session: &Session, args: RescueArgs) -> Result<()> {
    let releases: Vec<Release> = objects::list_if_installed(session).await?;
    let (place, name) = args
        .workload
        .as_deref()
        .map(|text| namespace_ref::parse_object_path(session, text))
        .unzip();
    let mut seen = match place.flatten() {
        Some(place) => search_namespace(session, place, &releases).await?,
        None => search_everywhere(session, &releases).await?,
    };
    seen.found.retain(|(_, f)| {
        name.is_none_or(|name| f.name == name) && args.kind.is_none_or(|kind| f.kind == kind)
    });
    if args.finish || args.abort {
        return act::rescue_one(session, args, seen).await;
    }
    let SearchResult { found, unseen } = seen;
    print_found(&found, &unseen, args.output)?;
    match unseen.as_slice() {
        [] => Ok(()),
        unseen => bail!(
            "{}: there may be half-way ones",
            describe_unsearched(unseen)
        ),
    }
}

/// Workloads that were found, and namespaces that could not be read.
#[derive(Debug, Default)]
struct SearchResult {
    found: Vec<(NamespaceRef, StuckWorkload)>,
    unseen: Vec<NamespaceRef>,
}

/// Searches the named namespace. That it cannot be read is an error.
async fn search_namespace(
    session: &Session,
    place: NamespaceRef,
    releases: &[Release],
) -> Result<SearchResult> {
    let all = find_stuck(session, &place, releases)
        .await
        .map_err(api_error(format!("looking at {}", place.qualify_name("*"))))?;
    Ok(SearchResult {
        found: all
            .into_iter()
            .map(|found| (place.clone(), found))
            .collect(),
        unseen: vec![],
    })
}

/// Searches all namespaces of environments at the same time.
async fn search_everywhere(session: &Session, releases: &[Release]) -> Result<SearchResult> {
    let mut seen = SearchResult::default();
    let looks = namespace_ref::all_namespaces(session)
        .await?
        .into_iter()
        .map(async |place| {
            let found = find_stuck(session, &place, releases).await;
            (place, found)
        });
    for (place, found) in join_all(looks).await {
        match found {
            Ok(all) => seen
                .found
                .extend(all.into_iter().map(|found| (place.clone(), found))),
            Err(e) if place == namespace_ref::home_namespace(session) => {
                return Err(api_error("listing workloads")(e));
            }
            Err(e) => {
                say!(
                    "warning: not checked: {}: {}",
                    place.qualify_name("*"),
                    error::describe_error(&e)
                );
                seen.unseen.push(place);
            }
        }
    }
    Ok(seen)
}

fn describe_unsearched(unseen: &[NamespaceRef]) -> String {
    match unseen {
        [one] => format!("{} could not be checked", one.qualify_name("*")),
        many => format!("{} places could not be checked", many.len()),
    }
}

fn print_found(
    found: &[(NamespaceRef, StuckWorkload)],
    unseen: &[NamespaceRef],
    format: Format,
) -> Result<()> {
    output::print(&match format {
        Format::Json | Format::Yaml => {
            output::format_value(&found.iter().map(|(_, f)| f).collect::<Vec<_>>(), format)?
        }
        Format::Name => found
            .iter()
            .map(|(place, f)| place.qualify_name(&f.name) + "\n")
            .collect(),
        Format::Table | Format::Wide if !found.is_empty() => found
            .iter()
            .map(|(_, f)| describe_stuck(f))
            .collect::<Vec<_>>()
            .join("\n"),
        Format::Table | Format::Wide if unseen.is_empty() => "no workload is half-way\n".into(),
        Format::Table | Format::Wide => String::new(),
    })
}

impl WorkloadKind {
    /// The name that kubectl accepts.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
        }
    }
}

/// A kubectl command line for this namespace.
fn kubectl_command(place: &NamespaceRef) -> CommandLine {
    CommandLine::kubectl("")
        .option_if("--context", place.cluster.context())
        .option("-n", &*place.name)
}

/// A `rescue` command line with the full name of a workload.
fn rescue_command(place: &NamespaceRef, name: &str, kind: WorkloadKind) -> CommandLine {
    CommandLine::graylane("rescue")
        .arg(place.qualify_name(name))
        .fixed_args("--kind")
        .fixed_args(kind.as_str())
}

/// All workloads of a namespace with an unfinished rollout.
async fn find_stuck(
    session: &Session,
    place: &NamespaceRef,
    releases: &[Release],
) -> kube::Result<Vec<StuckWorkload>> {
    let (client, cluster) = (session.clusters.client_for(&place.cluster), &place.cluster);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &place.name);
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &place.name);
    let all = ListParams::default();
    let mut found = vec![];
    let under_way: Vec<Uid> = releases
        .iter()
        .filter(|r| is_under_way(r))
        .filter_map(|r| Uid::from_meta(&r.metadata).known())
        .collect();
    let under_way = under_way.as_slice();
    for live in deployments.list(&all).await?.items {
        let kept = find_rollout_record(WorkloadKind::Deployment, &live.metadata, cluster, releases);
        let seen = observe_latch(&client, place, live, kept.is_some()).await?;
        let ways = plan_rescue(&seen, &Records { kept, under_way });
        found.extend(to_stuck_workload(
            WorkloadKind::Deployment,
            &seen.live.metadata,
            cluster,
            ways,
            releases,
        ));
    }
    let mut pods = None;
    for live in sets.list(&all).await?.items {
        let kept =
            find_rollout_record(WorkloadKind::StatefulSet, &live.metadata, cluster, releases);
        let pods = match &mut pods {
            Some(pods) => pods,
            none => none.insert(
                Api::<ObservedPod>::namespaced(client.clone(), &place.name)
                    .list(&all)
                    .await?
                    .items,
            ),
        };
        let seen = observe::observe_stateful_set(&live, &*pods, &|_| SignedDuration::ZERO);
        let ways = stateful::plan_rescue(&seen, &Records { kept, under_way });
        let one = to_stuck_workload(
            WorkloadKind::StatefulSet,
            &live.metadata,
            cluster,
            ways,
            releases,
        );
        let Some(mut one) = one else { continue };
        let lame = seen.new.pods.iter().filter(|p| p.ready.is_none());
        one.in_the_way = lame
            .map(|p| Clean::from_untrusted(&p.name).into_string())
            .collect();
        found.push(one);
    }
    Ok(found)
}

/// Without a record, only what still runs tells the version before.
async fn observe_latch(
    client: &Client,
    place: &NamespaceRef,
    live: Deployment,
    recorded: bool,
) -> kube::Result<DeploymentSeen> {
    if recorded || !is_latch_on(&live) {
        return Ok(DeploymentSeen {
            live,
            ..DeploymentSeen::default()
        });
    }
    let sets = Api::<ObservedSet>::namespaced(client.clone(), &place.name)
        .list(&ListParams::default())
        .await?
        .items;
    Ok(observe::observe_deployment(&live, &sets, [], &|_| {
        SignedDuration::ZERO
    }))
}

fn is_under_way(release: &Release) -> bool {
    !release.status.as_ref().is_some_and(|s| s.phase.is_final())
}

/// The record of a workload in the newest release that rolled it out.
fn find_rollout_record<'a>(
    kind: WorkloadKind,
    meta: &ObjectMeta,
    cluster: &ClusterName,
    releases: &'a [Release],
) -> Option<&'a RolloutRecord> {
    let place = NamespaceRef::new(
        cluster.clone(),
        meta.namespace.as_deref().unwrap_or_default(),
    );
    let key = ObjectKey::new(place, meta.name.as_deref().unwrap_or_default());
    let is = |InventoryItem { object, uid }: &InventoryItem| {
        object.kind.eq_ignore_ascii_case(kind.as_str()) && object.key == key && uid.is_of(meta)
    };
    let of = |r: &'a Release| {
        r.status
            .iter()
            .flat_map(|s| &s.tasks)
            .flat_map(|t| &t.rollouts)
            .find(|r| is(&r.workload))
    };
    let all = releases
        .iter()
        .filter_map(|r| Some((r.creation_timestamp().map(|t| t.0), of(r)?)));
    all.max_by_key(|(made, _)| *made).map(|(_, record)| record)
}

/// The unfinished rollout of a workload, with the patches that finish and abort it.
fn to_stuck_workload(
    kind: WorkloadKind,
    meta: &ObjectMeta,
    cluster: &ClusterName,
    ways: Result<Option<RescuePatches>, RescueError>,
    releases: &[Release],
) -> Option<StuckWorkload> {
    let mut found = StuckWorkload {
        kind,
        cluster: cluster.clone(),
        name: meta.name.clone().unwrap_or_default(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        release: String::new(),
        task: String::new(),
        under_way: false,
        note: None,
        problem: None,
        finish: Value::Null,
        abort: Value::Null,
        in_the_way: vec![],
    };
    match ways {
        Ok(None) => return None,
        Err(why) => found.problem = Some(Clean::from_untrusted(&why.to_string()).into_string()),
        Ok(Some(RescuePatches {
            of: mark,
            finish,
            abort,
            note,
        })) => {
            let of = releases
                .iter()
                .find(|r| mark.release_uid.is_of(&r.metadata));
            found.under_way = of.is_some_and(is_under_way);
            found.note = note.map(str::to_owned);
            found.release = Clean::from_untrusted(&mark.release).into_string();
            found.task = Clean::from_untrusted(&mark.task).into_string();
            (found.finish, found.abort) = (finish, abort);
        }
    }
    Some(found)
}

fn describe_stuck(found: &StuckWorkload) -> String {
    let StuckWorkload {
        name,
        release,
        task,
        ..
    } = found;
    let place = found.place();
    let kind = found.kind.as_str();
    if let Some(problem) = &found.problem {
        return format!("{kind} {name}: {problem}\n");
    }
    let state = if found.under_way {
        "under way: finish or abort the release"
    } else {
        "over, or gone"
    };
    let kubectl = kubectl_command(&place);
    let command = |patch: &Value| kubectl_patch(&kubectl, kind, name, patch);
    let ours = |way| rescue_command(&place, name, found.kind).fixed_args(way);
    let clear = match found.in_the_way.as_slice() {
        [] => String::new(),
        pods => {
            let line = kubectl.clone().fixed_args("delete pod").args(pods);
            format!("    {line}   (not ready: a rollback would wait for them)\n")
        }
    };
    let whose = if release.is_empty() {
        "it has the latch of a rollout, and nothing says of which".to_owned()
    } else {
        format!("half-way in task {task} of release {release}, which is {state}")
    };
    let note = found
        .note
        .as_ref()
        .map(|note| format!("  {note}\n"))
        .unwrap_or_default();
    format!(
        "{kind} {name}: {whose}\n{note}  \
         {}\n    {}\n  {}\n    {}\n{clear}",
        ours("--finish"),
        command(&found.finish),
        ours("--abort"),
        command(&found.abort)
    )
}

/// The command that patches a workload. Without the resource version, which would be outdated by
/// the time it is run.
fn kubectl_patch(
    kubectl: &CommandLine,
    kind: &'static str,
    name: &str,
    patch: &Value,
) -> CommandLine {
    let mut patch = patch.clone();
    if let Some(metadata) = patch["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    kubectl
        .clone()
        .fixed_args("patch")
        .fixed_args(kind)
        .arg(name)
        .fixed_args("--type merge")
        .json_option("-p", &patch)
}

#[cfg(all(test, feature = "pocket"))]
mod tests;
