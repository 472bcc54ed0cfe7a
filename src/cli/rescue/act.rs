//! Finishes or aborts the unfinished rollout of one workload.

use std::time::Duration;

use color_eyre::eyre::{Result, bail, eyre};
use jiff::SignedDuration;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Pod,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use tokio::time::Instant;

use super::{Found, Kind, RescueArgs, Seen, kubectl, not_looked_at, ours};
use crate::{
    api::FIELD_MANAGER,
    cli::{
        output,
        places::Place,
        session::{Session, told, usage},
    },
    cluster::error,
    domain::{
        batches::stateful::{Own, in_the_way},
        command_line::CommandLine,
        observe::{self, StatefulSeen},
        text::Clean,
    },
};

/// Time limit for the controller to see the patch and for the pods in the way to be deleted.
const SEEN: Duration = Duration::from_secs(20);
/// Time between two reads.
const GAP: Duration = Duration::from_millis(200);

pub(super) async fn act(session: &Session, args: RescueArgs, seen: Seen) -> Result<()> {
    let (place, one) = the_one(args.workload.as_deref().unwrap_or_default(), seen)?;
    let named = format!("{} {}", one.kind.word(), one.name);
    if let Some(problem) = one.problem {
        bail!("{named}: {problem}");
    }
    if one.under_way && !args.force {
        let release = &one.release;
        let command =
            CommandLine::graylane(if args.finish { "proceed" } else { "abort" }).arg(release);
        return Err(usage(format!(
            "release {release} is still under way: `{command}`, or --force to go past it"
        )));
    }
    let patch = Patch::Merge(if args.finish { &one.finish } else { &one.abort });
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    let client = place.client(session);
    let trying = told(format!(
        "patching {} {}",
        one.kind.word(),
        place.full(&one.name)
    ));
    match one.kind {
        Kind::Deployment => {
            let api: Api<Deployment> = Api::namespaced(client, &place.namespace);
            api.patch(&one.name, &params, &patch)
                .await
                .map_err(trying)?;
        }
        Kind::StatefulSet => {
            let api: Api<StatefulSet> = Api::namespaced(client.clone(), &place.namespace);
            let written = api
                .patch(&one.name, &params, &patch)
                .await
                .map_err(trying)?;
            if args.abort {
                clear(&client, &place, &written).await?;
            }
        }
    }
    let what = if args.finish {
        "goes on to its end"
    } else {
        "goes back"
    };
    let kubectl = kubectl(one.context.as_deref(), &one.namespace);
    let status = kubectl
        .flag("rollout status")
        .flag(one.kind.word())
        .arg(&one.name);
    output::print(&format!("{named} {what}; `{status}` tells when\n"))
}

/// The workload that was named. Ambiguous if a namespace could not be read, as it may hold a
/// namesake.
fn the_one(wanted: &str, Seen { mut found, unseen }: Seen) -> Result<(Place, Found)> {
    let full = |(place, f): &(Place, Found)| {
        let command = ours(place.context.as_deref(), &place.namespace, &f.name, f.kind);
        format!("`{command}`")
    };
    if found.len() > 1 {
        let all: Vec<String> = found.iter().map(full).collect();
        return Err(usage(format!(
            "several are called so; say which: {}",
            all.join(", ")
        )));
    }
    match (found.pop(), unseen.as_slice()) {
        (Some(one), []) => Ok(one),
        (Some(one), unseen) => Err(usage(format!(
            "{}: another {wanted} may stand there; if this one is meant, say {}",
            not_looked_at(unseen),
            full(&one)
        ))),
        (None, []) => Err(eyre!("{wanted} is not half-way: nothing to do")),
        (None, unseen) => Err(eyre!(
            "{wanted} was not found half-way, but {}",
            not_looked_at(unseen)
        )),
    }
}

/// Deletes the pods that going back would wait for, one after the other as the engine does. Waits
/// first until the controller has seen the patch: before, it would create the same pods again.
async fn clear(client: &Client, place: &Place, written: &StatefulSet) -> Result<()> {
    let name = written.name_any();
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &place.namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &place.namespace);
    let end = Instant::now() + SEEN;
    loop {
        let live = sets
            .get(&name)
            .await
            .map_err(told(format!("reading statefulset {}", place.full(&name))))?;
        let all = pods
            .list(&ListParams::default())
            .await
            .map_err(told(format!("listing {}", place.full("pods"))))?;
        let seen = observe::stateful(&live, &all.items, &|_| SignedDuration::ZERO);
        let lame = lame(&seen);
        if seen.observed() && lame.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            if !seen.observed() {
                bail!(
                    "statefulset {name} was patched, but its controller has not seen it for {} s",
                    SEEN.as_secs()
                );
            }
            let kubectl = kubectl(place.context.as_deref(), &place.namespace);
            let delete = kubectl.flag("delete pod").args(lame);
            say!(
                "warning: not ready, and to be deleted if the way back comes to wait for it: `{delete}`"
            );
            return Ok(());
        }
        if let Some(pod) = in_the_way(&seen) {
            let preconditions = Some(Preconditions {
                uid: Some(pod.uid.clone()),
                resource_version: Some(pod.version.clone()),
            });
            match pods
                .delete(
                    &pod.name,
                    &DeleteParams {
                        preconditions,
                        ..DeleteParams::default()
                    },
                )
                .await
            {
                // The pod is gone or has changed, and may be ready by now.
                Err(why) if matches!(error::code(&why), Some(404 | 409)) => {}
                done => {
                    drop(done.map_err(told(format!("deleting pod {}", place.full(&pod.name))))?)
                }
            }
        }
        tokio::time::sleep(GAP).await;
    }
}

/// Pods that are not ready and will be replaced on the way back.
fn lame(seen: &StatefulSeen) -> Vec<String> {
    let from = Own::of(&seen.live).partition();
    let of_it = |pod: &str| seen.place_of(pod).is_some_and(|place| place >= from);
    let lame = seen
        .old
        .pods
        .iter()
        .filter(|p| p.ready.is_none() && of_it(&p.name));
    lame.map(|p| Clean::from_untrusted(&p.name).into_string())
        .collect()
}
