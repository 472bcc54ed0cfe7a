//! `rescue [DEPLOYMENT] [--finish|--abort]`: Deployments that a rollout left half-way, and the one patch that
//! finishes each or brings its old version back. For when a release is gone and its Deployments are not in order.

use clap::Args;
use color_eyre::eyre::{Result, bail, eyre};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Global,
    output::{self, Format},
    places::{self, Place},
    session::{self, Session, usage},
};
use crate::{
    api::{FIELD_MANAGER, Release},
    cluster::error,
    domain::{
        batches::{Latch, rescue},
        text::Clean,
        world::Key,
    },
};

#[derive(Debug, Args)]
pub struct RescueArgs {
    /// Only this Deployment: NAME, NAMESPACE/NAME or CONTEXT/NAMESPACE/NAME [default: wherever environments are]
    deployment: Option<String>,
    /// Let the new version finish, with the settings it is to have
    #[arg(long, requires = "deployment", conflicts_with = "abort")]
    finish: bool,
    /// Bring the old version and its settings back
    #[arg(long, requires = "deployment")]
    abort: bool,
    /// Do it though its release is still under way
    #[arg(long)]
    force: bool,
    /// How to print it
    #[arg(long, short, default_value = "table")]
    output: Format,
}

/// One Deployment that is half-way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    deployment: String,
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
}

pub(super) async fn run(global: &Global, args: RescueArgs) -> Result<()> {
    let session = session::open(global).await?;
    let releases: Api<Release> = Api::namespaced(session.client.clone(), &session.namespace);
    let releases = releases.list(&ListParams::default()).await?.items;
    let (place, name) = args.deployment.as_deref().map(|text| places::said(&session, text)).unzip();
    let places = match place.flatten() {
        Some(place) => vec![place],
        None => places::all(&session).await?,
    };
    let mut found = vec![];
    for place in places {
        let api: Api<Deployment> = Api::namespaced(place.client(&session), &place.namespace);
        let all = match api.list(&ListParams::default()).await {
            Ok(all) => all.items,
            Err(e) if place.context.is_none() && place.namespace == session.namespace => {
                return Err(session::told("listing Deployments")(e));
            }
            // What is not seen is told: half-way ones may stand there.
            Err(e) => {
                eprintln!("warning: not looked at: {}: {}", place.full("*"), error::words(&e));
                continue;
            }
        };
        let named = all.iter().filter(|d| name.is_none_or(|name| d.name_any() == name));
        let half_way = named.filter_map(|d| half_way(d, place.context.as_deref(), &releases));
        found.extend(half_way.map(|f| (place.clone(), f)));
    }
    act(&session, args, found).await
}

/// Tells them, or does what was asked for with one of them.
async fn act(session: &Session, args: RescueArgs, found: Vec<(Place, Found)>) -> Result<()> {
    if !args.finish && !args.abort {
        let found: Vec<Found> = found.into_iter().map(|(_, found)| found).collect();
        return output::print(&match args.output {
            Format::Json | Format::Yaml => output::data(&found, args.output)?,
            Format::Name => found.iter().map(|f| format!("{}\n", f.deployment)).collect(),
            Format::Table | Format::Wide if found.is_empty() => "no Deployment is half-way\n".into(),
            Format::Table | Format::Wide => found.iter().map(words).collect::<Vec<_>>().join("\n"),
        });
    }
    let name = args.deployment.unwrap_or_default();
    if found.len() > 1 {
        let all: Vec<String> = found.iter().map(|(place, f)| place.full(&f.deployment)).collect();
        return Err(usage(format!("several are called so: {}; name one of them so", all.join(", "))));
    }
    let one = found.into_iter().next();
    let (place, one) = one.ok_or_else(|| eyre!("Deployment {name} is not half-way: nothing to do"))?;
    if let Some(problem) = one.problem {
        bail!("Deployment {name}: {problem}");
    }
    if one.under_way && !args.force {
        let verb = if args.finish { "proceed" } else { "abort" };
        return Err(usage(format!(
            "release {release} is still under way: `graylane {verb} {release}`, or --force to go past it",
            release = one.release
        )));
    }
    let patch = if args.finish { one.finish } else { one.abort };
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let api: Api<Deployment> = Api::namespaced(place.client(session), &place.namespace);
    let (name, kubectl) = (&one.deployment, kubectl(one.context.as_deref(), &one.namespace));
    let what = format!("patching Deployment {}", place.full(name));
    api.patch(name, &params, &Patch::Merge(&patch)).await.map_err(session::told(what))?;
    let what = if args.finish { "goes on to its end" } else { "goes back" };
    output::print(&format!("deployment {name} {what}; `{kubectl} rollout status deployment {name}` tells when\n"))
}

/// kubectl, at that place.
fn kubectl(context: Option<&str>, namespace: &str) -> String {
    let context = context.map_or_else(String::new, |c| format!(" --context '{c}'"));
    format!("kubectl{context} -n {namespace}")
}

/// What stands half-way in a Deployment.
fn half_way(live: &Deployment, context: Option<&str>, releases: &[Release]) -> Option<Found> {
    let mut found = Found {
        context: context.map(str::to_owned),
        deployment: live.name_any(),
        namespace: live.namespace().unwrap_or_default(),
        release: String::new(),
        task: String::new(),
        under_way: false,
        problem: None,
        finish: Value::Null,
        abort: Value::Null,
    };
    match (Latch::of(live), rescue(live)) {
        (Ok(None), _) | (_, Ok(None)) => return None,
        (Err(why), _) | (_, Err(why)) => found.problem = Some(why),
        (Ok(Some(latch)), Ok(Some((finish, abort)))) => {
            let of = releases.iter().find(|r| r.uid().as_deref() == Some(&latch.release_uid));
            found.under_way = of.is_some_and(|r| !r.status.as_ref().is_some_and(|s| s.phase.is_final()));
            found.release = Clean::from_untrusted(&latch.release).into_string();
            found.task = Clean::from_untrusted(&latch.task).into_string();
            (found.finish, found.abort) = (finish, abort);
        }
    }
    Some(found)
}

fn words(found: &Found) -> String {
    let Found { deployment, context, namespace, release, task, .. } = found;
    if let Some(problem) = &found.problem {
        return format!("deployment {deployment}: {problem}\n");
    }
    let state = if found.under_way { "under way: finish or abort the release" } else { "over, or gone" };
    // The version it was made from is old by the time anybody has copied it.
    let command = |patch: &Value| {
        let mut patch = patch.clone();
        if let Some(metadata) = patch["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        let text = patch.to_string().replace('\'', "'\\''");
        let kubectl = kubectl(context.as_deref(), namespace);
        format!("{kubectl} patch deployment {deployment} --type merge -p '{text}'")
    };
    let full = Key::of(context.as_deref(), namespace, "").namespace;
    format!(
        "deployment {deployment}: half-way in task {task} of release {release}, which is {state}\n  \
         graylane rescue {full}/{deployment} --finish\n    {}\n  graylane rescue {full}/{deployment} --abort\n    {}\n",
        command(&found.finish),
        command(&found.abort)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::label;

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
        assert_eq!(half_way(&deployment(None), None, &[]), None);
        let latch = Latch { release: "r".into(), release_uid: "u".into(), task: "t".into(), ..Latch::default() };
        let mut latch = serde_json::to_value(latch).unwrap();
        latch["before"]["template"] = json!({"metadata": {"labels": {"v": "1"}}});
        let found = half_way(&deployment(Some(latch)), None, &[]).unwrap();
        assert!(!found.under_way && found.problem.is_none(), "{found:?}");
        assert_eq!(found.abort["spec"]["template"]["metadata"]["labels"]["v"], "1");
        assert_eq!(found.finish["spec"].get("template"), None, "{}", found.finish);
        let text = words(&found);
        assert!(text.contains("release r, which is over, or gone") && !text.contains("resourceVersion"), "{text}");
        let broken = half_way(&deployment(Some(json!("nonsense"))), Some("far"), &[]).unwrap();
        assert!(words(&broken).contains("a-prod"), "{broken:?}");
    }
}
