//! A workload that somebody else has deleted. Its batches were allowed on the assumption that the
//! old version runs beside them, so the whole workload is not simply created with the new version.
//! The task stops and says so, and then does what a person asks for.

use super::{
    Deploy,
    workloads::{WorkloadMove, WorkloadView},
};
use crate::{
    api::{Amount, ObjectRef, RolloutState, Uid},
    domain::{
        batches::{self, restore_object},
        owner::is_same,
        workflow::{ReleaseStep, environment::environment_status, view::TaskView},
    },
};

const GONE_TEXT: &str = "it is gone";
const SEEN_AT_TEXT: &str = "noticed at ";

/// When it was first seen to be missing: from the task's message, or now.
fn first_seen_missing(view: &TaskView, workload: &ObjectRef) -> String {
    let told = view.task.message.as_deref().unwrap_or_default();
    let of_it = told.strip_prefix(&format!("{}: {GONE_TEXT}", workload.kind_and_name()));
    let at = of_it
        .and_then(|rest| rest.split_once(SEEN_AT_TEXT))
        .and_then(|(_, rest)| rest.split_once(". "));
    at.map_or_else(
        || view.observed.recorded_now().to_string(),
        |(at, _)| at.to_owned(),
    )
}

/// Decides about a workload that does not exist: it is created when it never existed, or when
/// somebody has asked for it; it is recreated with its old version, and the batches start over; or
/// the task stops.
pub(super) fn create_missing(
    deploy: &Deploy,
    view: &TaskView,
    workload: &WorkloadView,
) -> WorkloadMove {
    let WorkloadView {
        object_ref, object, ..
    } = workload;
    let attempt = view.task.attempt;
    let Some(record) = view.find_record(object_ref) else {
        return create_unrecorded(deploy, view, workload);
    };
    match record.state {
        RolloutState::Gone if attempt > record.attempt => return create_new(workload),
        RolloutState::Restores => {}
        _ if attempt > record.attempt => {}
        _ => {
            let at = first_seen_missing(view, object_ref);
            return WorkloadMove::stops(describe_midway(view, &at));
        }
    }
    let Some(object) = restore_object(object, &record.latch) else {
        let why = "it is gone, and its record cannot be read: apply it by hand, and retry";
        return WorkloadMove::stops(why.into());
    };
    let what = object_ref.kind_and_name();
    WorkloadMove {
        begins_anew: true,
        record: Some(view.record_rollout(
            object_ref,
            Uid::default(),
            RolloutState::Restores,
            &record.latch,
        )),
        ..WorkloadMove::takes(
            ReleaseStep::create(object, workload.by.clone()),
            format!("recreates {what} with its old version"),
        )
    }
}

fn create_new(workload: &WorkloadView) -> WorkloadMove {
    let WorkloadView {
        object_ref, object, ..
    } = workload;
    let step = ReleaseStep::create(object.clone(), workload.by.clone());
    WorkloadMove::takes(step, format!("makes {}", object_ref.kind_and_name()))
}

/// Decides about a missing workload of which no rollout has begun.
fn create_unrecorded(deploy: &Deploy, view: &TaskView, workload: &WorkloadView) -> WorkloadMove {
    let WorkloadView {
        object_ref,
        manifest,
        ..
    } = workload;
    let plan: &[Amount] = &deploy.environment.rollout.batches;
    let was = environment_status(deploy.app, &deploy.environment.name).inventory;
    let was = was
        .into_iter()
        .find(|i| !i.uid.is_empty() && is_same(&i.object, object_ref));
    // Nobody is asked about batches that are all allowed.
    let gates = batches::plan_batches(plan, &[manifest.rollout_size(None)]).len();
    let all_allowed = deploy.allowed_batch(view, gates) == gates;
    let Some(was) = was.filter(|_| !all_allowed) else {
        return create_new(workload);
    };
    let (retry, abort, at) = (
        view.command("retry"),
        view.command("abort"),
        first_seen_missing(view, object_ref),
    );
    WorkloadMove {
        record: Some(view.record_rollout(&was.object, was.uid, RolloutState::Gone, "")),
        ..WorkloadMove::stops(format!(
            "{GONE_TEXT}, and no release deleted it: {SEEN_AT_TEXT}{at}. Kubernetes does not say by whom (its audit log \
            does). Without old pods there can be no batches: `{retry}` creates it with all pods of the new version at once, `{abort}` ends the release"
        ))
    }
}

fn describe_midway(view: &TaskView, at: &str) -> String {
    let (retry, abort) = (view.command("retry"), view.command("abort"));
    format!(
        "{GONE_TEXT} in the middle of its rollout: {SEEN_AT_TEXT}{at}. Kubernetes does not say by whom (its audit \
        log does). The batches stop here: `{retry}` recreates it with its old version and starts the batches over, `{abort}` recreates it with its old version and ends the release"
    )
}

/// Message about a missing workload while the rollout is held, if it was in progress.
pub(super) fn describe_missing(view: &TaskView, workload: &ObjectRef) -> Option<String> {
    let record = view
        .find_record(workload)
        .filter(|r| r.state != RolloutState::Gone)?;
    let asked = view.task.attempt > record.attempt || record.state == RolloutState::Restores;
    (!asked).then(|| describe_midway(view, &first_seen_missing(view, workload)))
}

/// Message about a workload that is being deleted while its rollout is in progress.
pub(super) fn describe_terminating(view: &TaskView, workload: &WorkloadView) -> Option<String> {
    let own = view
        .find_record(&workload.object_ref)
        .is_some_and(|r| r.state != RolloutState::Gone);
    if !own || workload.records.is_asked_anew(view.task.attempt) {
        return None;
    }
    let since = workload
        .seen
        .and_then(|s| s.meta().deletion_timestamp.as_ref())
        .map(|t| format!(" since {}", t.0));
    Some(format!(
        "it is being deleted{} in the middle of its rollout. The batches stop here: once it is gone, `{}` recreates \
        it with its old version and starts the batches over, `{}` recreates it and ends the release",
        since.unwrap_or_default(),
        view.command("retry"),
        view.command("abort")
    ))
}
