//! `rescue [WORKLOAD] [--finish|--abort]`: finds Deployments and StatefulSets that a rollout left
//! unfinished, with the patch that finishes each or restores its old version. For use when the
//! release is gone.

mod act;

use clap::{Args, ValueEnum};
use color_eyre::eyre::{Result, bail};
use futures::future::join_all;
use jiff::SignedDuration;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, ResourceExt, api::ListParams};
use serde::Serialize;
use serde_json::Value;

use super::{
    Global, get,
    output::{self, Format},
    places::{self, Place},
    session::{self, Session, told},
};
use crate::{
    api::{InventoryItem, Release, RolloutRecord},
    cluster::error,
    domain::{
        batches::{Records, Ways, is_on, rescue, stateful},
        command_line::CommandLine,
        observe::{self, DeploymentSeen},
        text::Clean,
        world::Key,
    },
};

#[derive(Debug, Args)]
pub struct RescueArgs {
    /// Only this one: NAME, NAMESPACE/NAME or CONTEXT/NAMESPACE/NAME [default: wherever
    /// environments are]
    workload: Option<String>,
    /// Only of this kind
    #[arg(long)]
    kind: Option<Kind>,
    /// Let the new version finish, with the settings it is to have
    #[arg(long, requires = "workload", conflicts_with = "abort")]
    finish: bool,
    /// Bring the old version and its settings back
    #[arg(long, requires = "workload")]
    abort: bool,
    /// Do it though its release is still under way
    #[arg(long)]
    force: bool,
    /// How to print it
    #[arg(long, short, default_value = "table")]
    output: Format,
}

/// Kinds that are rolled out in batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[value(alias = "deploy")]
    Deployment,
    #[value(name = "statefulset", alias = "sts")]
    StatefulSet,
}

/// A workload with an unfinished rollout.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    kind: Kind,
    name: String,
    /// `None` for the home cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
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

pub(super) async fn run(global: &Global, args: RescueArgs) -> Result<()> {
    look(&session::open(global).await?, args).await
}

async fn look(session: &Session, args: RescueArgs) -> Result<()> {
    let releases: Vec<Release> = get::list_if_installed(session).await?;
    let (place, name) = args
        .workload
        .as_deref()
        .map(|text| places::said(session, text))
        .unzip();
    let mut seen = match place.flatten() {
        Some(place) => named(session, place, &releases).await?,
        None => anywhere(session, &releases).await?,
    };
    seen.found.retain(|(_, f)| {
        name.is_none_or(|name| f.name == name) && args.kind.is_none_or(|kind| f.kind == kind)
    });
    if args.finish || args.abort {
        return act::act(session, args, seen).await;
    }
    let Seen { found, unseen } = seen;
    tell(&found, &unseen, args.output)?;
    match unseen.as_slice() {
        [] => Ok(()),
        unseen => bail!("{}: half-way ones may stand there", not_looked_at(unseen)),
    }
}

/// Workloads that were found, and namespaces that could not be read.
#[derive(Debug, Default)]
struct Seen {
    found: Vec<(Place, Found)>,
    unseen: Vec<Place>,
}

/// Searches the named namespace. That it cannot be read is an error.
async fn named(session: &Session, place: Place, releases: &[Release]) -> Result<Seen> {
    let all = half_way(session, &place, releases)
        .await
        .map_err(told(format!("looking at {}", place.full("*"))))?;
    Ok(Seen {
        found: all
            .into_iter()
            .map(|found| (place.clone(), found))
            .collect(),
        unseen: vec![],
    })
}

/// Searches all namespaces of environments at the same time.
async fn anywhere(session: &Session, releases: &[Release]) -> Result<Seen> {
    let mut seen = Seen::default();
    let looks = places::all(session).await?.into_iter().map(async |place| {
        let found = half_way(session, &place, releases).await;
        (place, found)
    });
    for (place, found) in join_all(looks).await {
        match found {
            Ok(all) => seen
                .found
                .extend(all.into_iter().map(|found| (place.clone(), found))),
            Err(e) if place == places::home(session) => return Err(told("listing workloads")(e)),
            Err(e) => {
                say!(
                    "warning: not looked at: {}: {}",
                    place.full("*"),
                    error::words(&e)
                );
                seen.unseen.push(place);
            }
        }
    }
    Ok(seen)
}

fn not_looked_at(unseen: &[Place]) -> String {
    match unseen {
        [one] => format!("{} could not be looked at", one.full("*")),
        many => format!("{} places could not be looked at", many.len()),
    }
}

fn tell(found: &[(Place, Found)], unseen: &[Place], format: Format) -> Result<()> {
    output::print(&match format {
        Format::Json | Format::Yaml => {
            output::data(&found.iter().map(|(_, f)| f).collect::<Vec<_>>(), format)?
        }
        Format::Name => found
            .iter()
            .map(|(place, f)| place.full(&f.name) + "\n")
            .collect(),
        Format::Table | Format::Wide if !found.is_empty() => found
            .iter()
            .map(|(_, f)| words(f))
            .collect::<Vec<_>>()
            .join("\n"),
        Format::Table | Format::Wide if unseen.is_empty() => "no workload is half-way\n".into(),
        Format::Table | Format::Wide => String::new(),
    })
}

impl Kind {
    /// The name that kubectl accepts.
    const fn word(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
        }
    }
}

/// A kubectl command line for this namespace.
fn kubectl(context: Option<&str>, namespace: &str) -> CommandLine {
    CommandLine::kubectl("")
        .option_if("--context", context)
        .option("-n", namespace)
}

/// A `rescue` command line with the full name of a workload.
fn ours(context: Option<&str>, namespace: &str, name: &str, kind: Kind) -> CommandLine {
    let full = Key::of(context, namespace, name);
    CommandLine::graylane("rescue")
        .arg(format!("{}/{name}", full.namespace))
        .flag("--kind")
        .flag(kind.word())
}

/// All workloads of a namespace with an unfinished rollout.
async fn half_way(
    session: &Session,
    place: &Place,
    releases: &[Release],
) -> kube::Result<Vec<Found>> {
    let (client, context) = (place.client(session), place.context.as_deref());
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &place.namespace);
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &place.namespace);
    let all = ListParams::default();
    let mut found = vec![];
    let under_way: Vec<&str> = releases
        .iter()
        .filter(|r| is_under_way(r))
        .filter_map(|r| r.metadata.uid.as_deref())
        .collect();
    let under_way = under_way.as_slice();
    for live in deployments.list(&all).await?.items {
        let kept = record(Kind::Deployment, &live.metadata, context, releases);
        let mut seen = DeploymentSeen {
            live,
            ..DeploymentSeen::default()
        };
        if is_on(&seen.live) && kept.is_none() {
            // Without a record, only what still runs tells the version before.
            let sets = Api::<ReplicaSet>::namespaced(client.clone(), &place.namespace)
                .list(&all)
                .await?
                .items;
            seen = observe::deployment(&seen.live, &sets, [], &|_| SignedDuration::ZERO);
        }
        let ways = rescue(&seen, &Records { kept, under_way });
        found.extend(found_in(
            Kind::Deployment,
            &seen.live.metadata,
            context,
            ways,
            releases,
        ));
    }
    let mut pods = None;
    for live in sets.list(&all).await?.items {
        let kept = record(Kind::StatefulSet, &live.metadata, context, releases);
        let pods = match &mut pods {
            Some(pods) => pods,
            none => none.insert(
                Api::<Pod>::namespaced(client.clone(), &place.namespace)
                    .list(&all)
                    .await?
                    .items,
            ),
        };
        let seen = observe::stateful(&live, &*pods, &|_| SignedDuration::ZERO);
        let ways = stateful::rescue(&seen, &Records { kept, under_way });
        let one = found_in(Kind::StatefulSet, &live.metadata, context, ways, releases);
        let Some(mut one) = one else { continue };
        let lame = seen.new.pods.iter().filter(|p| p.ready.is_none());
        one.in_the_way = lame
            .map(|p| Clean::from_untrusted(&p.name).into_string())
            .collect();
        found.push(one);
    }
    Ok(found)
}

fn is_under_way(release: &Release) -> bool {
    !release.status.as_ref().is_some_and(|s| s.phase.is_final())
}

/// The record of a workload in the newest release that rolled it out.
fn record<'a>(
    kind: Kind,
    meta: &ObjectMeta,
    context: Option<&str>,
    releases: &'a [Release],
) -> Option<&'a RolloutRecord> {
    let place = Key::of(
        context,
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    );
    let is = |i: &InventoryItem| {
        i.kind.eq_ignore_ascii_case(kind.word())
            && (&*i.namespace, &*i.name) == (&*place.namespace, &*place.name)
            && meta.uid.as_ref() == Some(&i.uid)
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
fn found_in(
    kind: Kind,
    meta: &ObjectMeta,
    context: Option<&str>,
    ways: Result<Option<Ways>, String>,
    releases: &[Release],
) -> Option<Found> {
    let mut found = Found {
        kind,
        context: context.map(str::to_owned),
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
        Err(why) => found.problem = Some(Clean::from_untrusted(&why).into_string()),
        Ok(Some(Ways {
            of: mark,
            finish,
            abort,
            note,
        })) => {
            let of = releases
                .iter()
                .find(|r| r.uid().as_deref() == Some(&mark.release_uid));
            found.under_way = of.is_some_and(is_under_way);
            found.note = note.map(str::to_owned);
            found.release = Clean::from_untrusted(&mark.release).into_string();
            found.task = Clean::from_untrusted(&mark.task).into_string();
            (found.finish, found.abort) = (finish, abort);
        }
    }
    Some(found)
}

fn words(found: &Found) -> String {
    let Found {
        name,
        context,
        namespace,
        release,
        task,
        ..
    } = found;
    let kind = found.kind.word();
    if let Some(problem) = &found.problem {
        return format!("{kind} {name}: {problem}\n");
    }
    let state = if found.under_way {
        "under way: finish or abort the release"
    } else {
        "over, or gone"
    };
    let kubectl = kubectl(context.as_deref(), namespace);
    // The resource version would be outdated by the time the command is run.
    let command = |patch: &Value| {
        let mut patch = patch.clone();
        if let Some(metadata) = patch["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        kubectl
            .clone()
            .flag("patch")
            .flag(kind)
            .arg(name)
            .flag("--type merge")
            .json("-p", &patch)
    };
    let ours = |way| ours(context.as_deref(), namespace, name, found.kind).flag(way);
    let clear = match found.in_the_way.as_slice() {
        [] => String::new(),
        pods => {
            let line = kubectl.clone().flag("delete pod").args(pods);
            format!("    {line}   (not ready: the way back would wait for them)\n")
        }
    };
    let whose = if release.is_empty() {
        "the latch of a rollout is on, and nothing tells of which".to_owned()
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

#[cfg(test)]
mod tests;
