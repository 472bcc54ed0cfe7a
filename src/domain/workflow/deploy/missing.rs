//! A workload that somebody else has deleted. Its batches were allowed on the assumption that the
//! old version runs beside them, so the whole workload is not simply created with the new version.
//! The task stops and says so, and then does what a person asks for.

use super::{Deploy, workloads::WorkloadRollout};
use crate::{
    api::{Amount, InventoryItem, RolloutRecord, RolloutState},
    domain::{
        account::Account,
        batches::{self, WorkloadSeen, restore_object},
        owner::is_same,
        workflow::{ReleaseStep, environment::environment_status, reconciliation::Reconciliation},
    },
};

const GONE_TEXT: &str = "it is gone";
const SEEN_AT_TEXT: &str = "noticed at ";

/// When it was first seen to be missing: from the task's message, or now.
fn first_seen_missing(run: &Reconciliation, index: usize, item: &InventoryItem) -> String {
    let told = run.status.tasks[index]
        .message
        .as_deref()
        .unwrap_or_default();
    let of_it = told.strip_prefix(&format!("{} {}: {GONE_TEXT}", item.kind, item.name));
    let at = of_it
        .and_then(|rest| rest.split_once(SEEN_AT_TEXT))
        .and_then(|(_, rest)| rest.split_once(". "));
    at.map_or_else(|| run.format_now(), |(at, _)| at.to_owned())
}

/// What to do about a missing workload.
pub(super) enum MissingAction {
    /// Create it: it never existed, or somebody has asked for it.
    Create,
    /// Recreate it with its old version; the batches start over.
    Recreate(Box<ReleaseStep>),
    /// Stop with this message.
    Stop(String),
}

/// Decides about a workload that does not exist. `lets_through` says whether all of the given
/// number of batches are allowed.
pub(super) fn handle_missing(
    deploy: &Deploy,
    run: &mut Reconciliation,
    rolled: &WorkloadRollout,
    lets_through: &dyn Fn(usize) -> bool,
) -> MissingAction {
    let WorkloadRollout { item, object, .. } = rolled;
    let attempt = run.status.tasks[deploy.index].attempt;
    let at = first_seen_missing(run, deploy.index, item);
    let Some(record) = run.find_record(deploy.index, item).cloned() else {
        return handle_unrecorded(deploy, run, rolled, lets_through);
    };
    let again = |run: &mut Reconciliation| {
        let object = restore_object(object, &record.latch)?;
        let workload = crate::api::InventoryItem {
            uid: String::new(),
            ..item.clone()
        };
        let latch = record.latch.clone();
        run.keep_record(
            deploy.index,
            RolloutRecord {
                workload,
                attempt,
                state: RolloutState::Restores,
                latch,
            },
        );
        let by = Account::for_object(deploy.environment, item);
        Some(MissingAction::Recreate(Box::new(ReleaseStep::Apply {
            object,
            seen: None,
            force: false,
            by,
        })))
    };
    match record.state {
        RolloutState::Gone if attempt > record.attempt => return MissingAction::Create,
        RolloutState::Restores => {}
        _ if attempt > record.attempt => {}
        _ => return MissingAction::Stop(describe_midway(run, &at)),
    }
    again(run).unwrap_or_else(|| {
        MissingAction::Stop(
            "it is gone, and its record cannot be read: apply it by hand, and retry".into(),
        )
    })
}

/// Decides about a missing workload of which no rollout has begun.
fn handle_unrecorded(
    deploy: &Deploy,
    run: &mut Reconciliation,
    WorkloadRollout { item, manifest, .. }: &WorkloadRollout,
    lets_through: &dyn Fn(usize) -> bool,
) -> MissingAction {
    let attempt = run.status.tasks[deploy.index].attempt;
    let (retry, abort, at) = (
        run.command("retry"),
        run.command("abort"),
        first_seen_missing(run, deploy.index, item),
    );
    let plan: &[Amount] = &deploy.environment.rollout.batches;
    let was = environment_status(deploy.app, &deploy.environment.name).inventory;
    let was = was
        .into_iter()
        .find(|i| !i.uid.is_empty() && is_same(i, item));
    let gates = batches::plan_batches(plan, &[manifest.rollout_size(None)]).len();
    let Some(was) = was.filter(|_| !lets_through(gates)) else {
        return MissingAction::Create;
    };
    let record = RolloutRecord {
        workload: was,
        attempt,
        state: RolloutState::Gone,
        latch: String::new(),
    };
    run.keep_record(deploy.index, record);
    MissingAction::Stop(format!(
        "{GONE_TEXT}, and no release deleted it: {SEEN_AT_TEXT}{at}. Kubernetes does not say by whom (its audit log \
        does). Without old pods there can be no batches: `{retry}` creates it with all pods of the new version at once, `{abort}` ends the release"
    ))
}

fn describe_midway(run: &Reconciliation, at: &str) -> String {
    let (retry, abort) = (run.command("retry"), run.command("abort"));
    format!(
        "{GONE_TEXT} in the middle of its rollout: {SEEN_AT_TEXT}{at}. Kubernetes does not say by whom (its audit \
        log does). The batches stop here: `{retry}` recreates it with its old version and starts the batches over, `{abort}` recreates it with its old version and ends the release"
    )
}

/// Message about a missing workload while the rollout is held, if it was in progress.
pub(super) fn describe_missing(
    run: &Reconciliation,
    index: usize,
    item: &InventoryItem,
) -> Option<String> {
    let record = run
        .find_record(index, item)
        .filter(|r| r.state != RolloutState::Gone)?;
    let asked =
        run.status.tasks[index].attempt > record.attempt || record.state == RolloutState::Restores;
    (!asked).then(|| describe_midway(run, &first_seen_missing(run, index, item)))
}

/// Message about a workload that is being deleted while its rollout is in progress.
pub(super) fn describe_terminating(
    run: &Reconciliation,
    index: usize,
    rolled: &WorkloadRollout,
    seen: Option<&WorkloadSeen>,
) -> Option<String> {
    let known = run.known_records(index, &rolled.item);
    let own = run
        .find_record(index, &rolled.item)
        .is_some_and(|r| r.state != RolloutState::Gone);
    if !own || known.is_asked_anew(run.status.tasks[index].attempt) {
        return None;
    }
    let since = seen
        .and_then(|s| s.meta().deletion_timestamp.as_ref())
        .map(|t| format!(" since {}", t.0));
    Some(format!(
        "it is being deleted{} in the middle of its rollout. The batches stop here: once it is gone, `{}` recreates \
        it with its old version and starts the batches over, `{}` recreates it and ends the release",
        since.unwrap_or_default(),
        run.command("retry"),
        run.command("abort")
    ))
}
