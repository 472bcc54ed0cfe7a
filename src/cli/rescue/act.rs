//! Finishes or aborts the unfinished rollout of one workload.

use std::time::Duration;

use color_eyre::eyre::{Result, bail, eyre};
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use tokio::time::Instant;

use super::{
    RescueArgs, SearchResult, StuckWorkload, WorkloadKind, describe_unsearched, kubectl_command,
    rescue_command,
};
use crate::{
    api::{FIELD_MANAGER, NamespaceRef},
    cli::{
        output,
        session::{Session, api_error, usage_error},
    },
    cluster::error,
    domain::{
        batches::stateful::{StatefulSettings, find_blocking_pod},
        command_line::CommandLine,
        observe::{self, ObservedPod, PodSeen, StatefulSeen},
        text::Clean,
    },
};

/// Time limit for the controller to see the patch and for the pods in the way to be deleted.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(20);
/// Time between two reads.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

pub(super) async fn rescue_one(
    session: &Session,
    args: RescueArgs,
    seen: SearchResult,
) -> Result<()> {
    let (place, one) = select_workload(args.workload.as_deref().unwrap_or_default(), seen)?;
    let named = format!("{} {}", one.kind.as_str(), one.name);
    if let Some(problem) = one.problem {
        bail!("{named}: {problem}");
    }
    if one.under_way && !args.force {
        let release = &one.release;
        let command =
            CommandLine::graylane(if args.finish { "proceed" } else { "abort" }).arg(release);
        return Err(usage_error(format!(
            "release {release} is still under way: `{command}`, or use --force"
        )));
    }
    let patch = Patch::Merge(if args.finish { &one.finish } else { &one.abort });
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    let client = session.clusters.client_for(&place.cluster);
    let trying = api_error(format!(
        "patching {} {}",
        one.kind.as_str(),
        place.qualify_name(&one.name)
    ));
    match one.kind {
        WorkloadKind::Deployment => {
            let api: Api<Deployment> = Api::namespaced(client, &place.name);
            api.patch(&one.name, &params, &patch)
                .await
                .map_err(trying)?;
        }
        WorkloadKind::StatefulSet => {
            let api: Api<StatefulSet> = Api::namespaced(client.clone(), &place.name);
            let written = api
                .patch(&one.name, &params, &patch)
                .await
                .map_err(trying)?;
            if args.abort {
                delete_unready_pods(&client, &place, &written).await?;
            }
        }
    }
    let what = if args.finish {
        "is being finished"
    } else {
        "goes back"
    };
    let kubectl = kubectl_command(&place);
    let status = kubectl
        .fixed_args("rollout status")
        .fixed_args(one.kind.as_str())
        .arg(&one.name);
    output::print(&format!("{named} {what}; `{status}` shows the progress\n"))
}

/// The workload that was named. Ambiguous if a namespace could not be read, as it may hold a
/// namesake.
fn select_workload(
    wanted: &str,
    SearchResult { mut found, unseen }: SearchResult,
) -> Result<(NamespaceRef, StuckWorkload)> {
    let full = |(place, f): &(NamespaceRef, StuckWorkload)| {
        let command = rescue_command(place, &f.name, f.kind);
        format!("`{command}`")
    };
    if found.len() > 1 {
        let all: Vec<String> = found.iter().map(full).collect();
        return Err(usage_error(format!(
            "several have this name; say which: {}",
            all.join(", ")
        )));
    }
    match (found.pop(), unseen.as_slice()) {
        (Some(one), []) => Ok(one),
        (Some(one), unseen) => Err(usage_error(format!(
            "{}: another {wanted} may stand there; if this one is meant, say {}",
            describe_unsearched(unseen),
            full(&one)
        ))),
        (None, []) => Err(eyre!("{wanted} is not half-way: nothing to do")),
        (None, unseen) => Err(eyre!(
            "{wanted} was not found half-way, but {}",
            describe_unsearched(unseen)
        )),
    }
}

/// Deletes a pod unless it has changed meanwhile.
async fn delete_blocking_pod(
    pods: &Api<ObservedPod>,
    place: &NamespaceRef,
    pod: &PodSeen,
) -> Result<()> {
    let preconditions = Some(Preconditions {
        uid: Some(pod.uid.clone().into()),
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
        Err(why) if matches!(error::status_code(&why), Some(404 | 409)) => {}
        done => drop(done.map_err(api_error(format!(
            "deleting pod {}",
            place.qualify_name(&pod.name)
        )))?),
    }
    Ok(())
}

/// Deletes the pods that going back would wait for, one after the other as the engine does. Waits
/// first until the controller has seen the patch: before, it would create the same pods again.
async fn delete_unready_pods(
    client: &Client,
    place: &NamespaceRef,
    written: &StatefulSet,
) -> Result<()> {
    let name = written.name_any();
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &place.name);
    let pods: Api<ObservedPod> = Api::namespaced(client.clone(), &place.name);
    let end = Instant::now() + CONTROLLER_TIMEOUT;
    loop {
        let live = sets.get(&name).await.map_err(api_error(format!(
            "reading statefulset {}",
            place.qualify_name(&name)
        )))?;
        let all = pods
            .list(&ListParams::default())
            .await
            .map_err(api_error(format!("listing {}", place.qualify_name("pods"))))?;
        let seen = observe::observe_stateful_set(&live, &all.items, &|_| SignedDuration::ZERO);
        let lame = unready_pods(&seen);
        if seen.is_observed() && lame.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            if !seen.is_observed() {
                bail!(
                    "statefulset {name} was patched, but its controller has not seen it for {} s",
                    CONTROLLER_TIMEOUT.as_secs()
                );
            }
            let kubectl = kubectl_command(place);
            let delete = kubectl.fixed_args("delete pod").args(lame);
            say!("warning: not ready; delete it if the rollback waits for it: `{delete}`");
            return Ok(());
        }
        if let Some(pod) = find_blocking_pod(&seen) {
            delete_blocking_pod(&pods, place, pod).await?;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Pods that are not ready and will be replaced on the way back.
fn unready_pods(seen: &StatefulSeen) -> Vec<String> {
    let from = StatefulSettings::from_stateful_set(&seen.live).partition();
    let of_it = |pod: &str| seen.slot_of(pod).is_some_and(|place| place >= from);
    let lame = seen
        .old
        .pods
        .iter()
        .filter(|p| p.ready.is_none() && of_it(&p.name));
    lame.map(|p| Clean::from_untrusted(&p.name).into_string())
        .collect()
}
