//! `rescue [WORKLOAD] [--finish|--abort]`: Deployments and StatefulSets that a rollout left half-way, and the one patch
//! that finishes each or brings its old version back. For when a release is gone and its workloads are not in order.

use std::time::Duration;

use clap::{Args, ValueEnum};
use color_eyre::eyre::{Result, bail, eyre};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Global,
    output::{self, Format},
    places::{self, Place},
    session::{self, Session, told, usage},
};
use crate::{
    api::{FIELD_MANAGER, Release},
    cluster::error,
    domain::{
        batches::{Mark, rescue, stateful},
        observe,
        text::Clean,
        world::Key,
    },
};

/// How long a controller is waited for to see a patch.
const SEEN: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub struct RescueArgs {
    /// Only this one: NAME, NAMESPACE/NAME or CONTEXT/NAMESPACE/NAME [default: wherever environments are]
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

/// What is rolled out in batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[value(alias = "deploy")]
    Deployment,
    #[value(name = "statefulset", alias = "sts")]
    StatefulSet,
}

/// One workload that is half-way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    kind: Kind,
    name: String,
    /// None is the cluster of graylane's own resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    namespace: String,
    /// The Release that began it.
    release: String,
    task: String,
    /// It is there, and not at its end: finish or abort that one.
    under_way: bool,
    /// In words, when the annotation cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The merge patch that finishes it.
    finish: Value,
    /// The merge patch that brings the old version back.
    abort: Value,
    /// Pods of a StatefulSet's new version that are not ready: the way back waits for them until they are deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    in_the_way: Vec<String>,
}

pub(super) async fn run(global: &Global, args: RescueArgs) -> Result<()> {
    let session = session::open(global).await?;
    let releases: Api<Release> = Api::namespaced(session.client.clone(), &session.namespace);
    let releases = releases.list(&ListParams::default()).await?.items;
    let (place, name) = args.workload.as_deref().map(|text| places::said(&session, text)).unzip();
    let places = match place.flatten() {
        Some(place) => vec![place],
        None => places::all(&session).await?,
    };
    let mut found = vec![];
    for place in places {
        let mut all = match half_way(&session, &place, &releases).await {
            Ok(all) => all,
            Err(e) if place.context.is_none() && place.namespace == session.namespace => {
                return Err(told("listing workloads")(e));
            }
            // What is not seen is told: half-way ones may stand there.
            Err(e) => {
                eprintln!("warning: not looked at: {}: {}", place.full("*"), error::words(&e));
                continue;
            }
        };
        all.retain(|f| name.is_none_or(|name| f.name == name) && args.kind.is_none_or(|kind| f.kind == kind));
        found.extend(all.into_iter().map(|f| (place.clone(), f)));
    }
    act(&session, args, found).await
}

/// Tells them, or does what was asked for with one of them.
async fn act(session: &Session, args: RescueArgs, mut found: Vec<(Place, Found)>) -> Result<()> {
    if !args.finish && !args.abort {
        let found: Vec<Found> = found.into_iter().map(|(_, found)| found).collect();
        return output::print(&match args.output {
            Format::Json | Format::Yaml => output::data(&found, args.output)?,
            Format::Name => found.iter().map(|f| format!("{}\n", f.name)).collect(),
            Format::Table | Format::Wide if found.is_empty() => "no workload is half-way\n".into(),
            Format::Table | Format::Wide => found.iter().map(words).collect::<Vec<_>>().join("\n"),
        });
    }
    let wanted = args.workload.unwrap_or_default();
    if found.len() > 1 {
        let all: Vec<String> =
            found.iter().map(|(place, f)| format!("{} --kind {}", place.full(&f.name), f.kind.word())).collect();
        return Err(usage(format!("several are called so: {}; name one of them so", all.join(", "))));
    }
    let (place, one) = found.pop().ok_or_else(|| eyre!("{wanted} is not half-way: nothing to do"))?;
    let named = format!("{} {}", one.kind.word(), one.name);
    if let Some(problem) = one.problem {
        bail!("{named}: {problem}");
    }
    if one.under_way && !args.force {
        let verb = if args.finish { "proceed" } else { "abort" };
        return Err(usage(format!(
            "release {release} is still under way: `graylane {verb} {release}`, or --force to go past it",
            release = one.release
        )));
    }
    let patch = Patch::Merge(if args.finish { &one.finish } else { &one.abort });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let client = place.client(session);
    let trying = told(format!("patching {} {}", one.kind.word(), place.full(&one.name)));
    match one.kind {
        Kind::Deployment => {
            let api: Api<Deployment> = Api::namespaced(client, &place.namespace);
            api.patch(&one.name, &params, &patch).await.map_err(trying)?;
        }
        Kind::StatefulSet => {
            let api: Api<StatefulSet> = Api::namespaced(client.clone(), &place.namespace);
            let written = api.patch(&one.name, &params, &patch).await.map_err(trying)?;
            if args.abort && !one.in_the_way.is_empty() {
                clear(&client, &api, &written).await?;
            }
        }
    }
    let what = if args.finish { "goes on to its end" } else { "goes back" };
    let kubectl = kubectl(one.context.as_deref(), &one.namespace);
    output::print(&format!("{named} {what}; `{kubectl} rollout status {named}` tells when\n"))
}

impl Kind {
    /// As kubectl takes it.
    const fn word(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
        }
    }
}

/// kubectl, at that place.
fn kubectl(context: Option<&str>, namespace: &str) -> String {
    let context = context.map_or_else(String::new, |c| format!(" --context '{c}'"));
    format!("kubectl{context} -n {namespace}")
}

/// All workloads of a place that stand half-way.
async fn half_way(session: &Session, place: &Place, releases: &[Release]) -> kube::Result<Vec<Found>> {
    let (client, context) = (place.client(session), place.context.as_deref());
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &place.namespace);
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &place.namespace);
    let all = ListParams::default();
    let mut found = vec![];
    for live in deployments.list(&all).await?.items {
        found.extend(found_in(Kind::Deployment, &live.metadata, context, rescue(&live), releases));
    }
    for live in sets.list(&all).await?.items {
        let one = found_in(Kind::StatefulSet, &live.metadata, context, stateful::rescue(&live), releases);
        let Some(mut one) = one else { continue };
        let pods = Api::<Pod>::namespaced(client.clone(), &place.namespace).list(&all).await?.items;
        let seen = observe::stateful(&live, &pods);
        let lame = seen.new.pods.iter().filter(|p| p.ready.is_none());
        one.in_the_way = lame.map(|p| Clean::from_untrusted(&p.name).into_string()).collect();
        found.push(one);
    }
    Ok(found)
}

/// What stands half-way in a workload, with the patches that finish and abort it.
fn found_in(
    kind: Kind,
    meta: &ObjectMeta,
    context: Option<&str>,
    patches: Result<Option<(Value, Value)>, String>,
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
        problem: None,
        finish: Value::Null,
        abort: Value::Null,
        in_the_way: vec![],
    };
    match (Mark::of(meta), patches) {
        (Ok(None), _) | (_, Ok(None)) => return None,
        (Err(why), _) | (_, Err(why)) => found.problem = Some(why),
        (Ok(Some(mark)), Ok(Some((finish, abort)))) => {
            let of = releases.iter().find(|r| r.uid().as_deref() == Some(&mark.release_uid));
            found.under_way = of.is_some_and(|r| !r.status.as_ref().is_some_and(|s| s.phase.is_final()));
            found.release = Clean::from_untrusted(&mark.release).into_string();
            found.task = Clean::from_untrusted(&mark.task).into_string();
            (found.finish, found.abort) = (finish, abort);
        }
    }
    Some(found)
}

/// Deletes the pods that the way back of a StatefulSet would wait for, once its controller knows that it goes back: before
/// that it would only make them again.
async fn clear(client: &Client, api: &Api<StatefulSet>, written: &StatefulSet) -> Result<()> {
    let (name, namespace) = (written.name_any(), written.namespace().unwrap_or_default());
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let end = tokio::time::Instant::now() + SEEN;
    let live = loop {
        let live = api.get(&name).await?;
        let seen = live.status.as_ref().and_then(|s| s.observed_generation);
        if seen >= written.metadata.generation {
            break live;
        }
        if tokio::time::Instant::now() > end {
            bail!("statefulset {name} was patched, but its controller has not seen it for {} s", SEEN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let seen = observe::stateful(&live, &pods.list(&ListParams::default()).await?.items);
    for pod in seen.old.pods.iter().filter(|p| p.ready.is_none()) {
        let preconditions =
            Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: Some(pod.version.clone()) });
        match pods.delete(&pod.name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
            // It is gone, or it has moved on: perhaps it is Ready now.
            Err(why) if matches!(error::code(&why), Some(404 | 409)) => {}
            done => drop(done.map_err(told(format!("deleting pod {}", pod.name)))?),
        }
    }
    Ok(())
}

fn words(found: &Found) -> String {
    let Found { name, context, namespace, release, task, .. } = found;
    let kind = found.kind.word();
    if let Some(problem) = &found.problem {
        return format!("{kind} {name}: {problem}\n");
    }
    let state = if found.under_way { "under way: finish or abort the release" } else { "over, or gone" };
    let kubectl = kubectl(context.as_deref(), namespace);
    // The version it was made from is old by the time anybody has copied it.
    let command = |patch: &Value| {
        let mut patch = patch.clone();
        if let Some(metadata) = patch["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        let text = patch.to_string().replace('\'', "'\\''");
        format!("{kubectl} patch {kind} {name} --type merge -p '{text}'")
    };
    let full = Key::of(context.as_deref(), namespace, name);
    let of_kind = if found.kind == Kind::StatefulSet { " --kind statefulset" } else { "" };
    let ours = format!("graylane rescue {}/{name}{of_kind}", full.namespace);
    let clear = match found.in_the_way.join(" ") {
        pods if pods.is_empty() => String::new(),
        pods => format!("    {kubectl} delete pod {pods}   (not ready: the way back would wait for them)\n"),
    };
    format!(
        "{kind} {name}: half-way in task {task} of release {release}, which is {state}\n  \
         {ours} --finish\n    {}\n  {ours} --abort\n    {}\n{clear}",
        command(&found.finish),
        command(&found.abort)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{api::label, domain::batches::Latch};

    fn deployment(latch: Option<Value>) -> Deployment {
        let annotations: Value = latch.map(|l| json!({label::LATCH: l.to_string()})).unwrap_or_else(|| json!({}));
        serde_json::from_value(json!({
            "metadata": {"name": "a-prod", "namespace": "demo", "resourceVersion": "7", "annotations": annotations},
            "spec": {"paused": true, "minReadySeconds": 2_147_483_646, "replicas": 4, "selector": {},
                     "template": {"metadata": {"labels": {"v": "2"}}}},
        }))
        .unwrap()
    }

    #[test]
    fn half_way_ones_are_found_with_both_ways_out() {
        let half_way = |d: &Deployment| found_in(Kind::Deployment, &d.metadata, Some("far"), rescue(d), &[]);
        assert_eq!(half_way(&deployment(None)), None);
        let latch: Latch = Latch { release: "r".into(), release_uid: "u".into(), task: "t".into(), ..Latch::default() };
        let mut latch = serde_json::to_value(latch).unwrap();
        latch["before"]["template"] = json!({"metadata": {"labels": {"v": "1"}}});
        let found = half_way(&deployment(Some(latch))).unwrap();
        assert!(!found.under_way && found.problem.is_none(), "{found:?}");
        assert_eq!(found.abort["spec"]["template"]["metadata"]["labels"]["v"], "1");
        assert_eq!(found.finish["spec"].get("template"), None, "{}", found.finish);
        let text = words(&found);
        assert!(text.contains("release r, which is over, or gone") && !text.contains("resourceVersion"), "{text}");
        let stuck = Found { kind: Kind::StatefulSet, in_the_way: vec!["a-prod-3".into()], ..found };
        assert!(words(&stuck).contains("kubectl --context 'far' -n demo delete pod a-prod-3"), "{}", words(&stuck));
        let broken = half_way(&deployment(Some(json!("nonsense")))).unwrap();
        assert!(words(&broken).contains("a-prod"), "{broken:?}");
    }
}
