//! A workload that somebody else has deleted. Its batches were allowed on the assumption that the
//! old version runs beside them, so the whole workload is not simply created with the new version.
//! The task stops and says so, and then does what a person asks for.

use super::{Deploy, workloads::Rolled};
use crate::{
    api::{Amount, InventoryItem, RolloutRecord, RolloutState},
    domain::{
        account::Account,
        batches::{self, WorkloadSeen, restored},
        owner::is_same,
        workflow::{Step, environment::told, run::Run},
    },
};

const GONE: &str = "it is gone";
const SEEN: &str = "seen so at ";

/// When it was first seen to be missing: from the task's message, or now.
fn first_seen(run: &Run, index: usize, item: &InventoryItem) -> String {
    let told = run.status.tasks[index]
        .message
        .as_deref()
        .unwrap_or_default();
    let of_it = told.strip_prefix(&format!("{} {}: {GONE}", item.kind, item.name));
    let at = of_it
        .and_then(|rest| rest.split_once(SEEN))
        .and_then(|(_, rest)| rest.split_once(". "));
    at.map_or_else(|| run.at(), |(at, _)| at.to_owned())
}

/// What to do about a missing workload.
pub(super) enum Gone {
    /// Create it: it never existed, or somebody has asked for it.
    Make,
    /// Recreate it with its old version; the batches start over.
    Again(Box<Step>),
    /// Stop with this message.
    Stop(String),
}

/// Decides about a workload that does not exist. `lets_through` says whether all of the given
/// number of batches are allowed.
pub(super) fn look(
    deploy: &Deploy,
    run: &mut Run,
    rolled: &Rolled,
    lets_through: &dyn Fn(usize) -> bool,
) -> Gone {
    let Rolled {
        item,
        object,
        manifest,
    } = rolled;
    let attempt = run.status.tasks[deploy.index].attempt;
    let (retry, abort, at) = (
        run.command("retry"),
        run.command("abort"),
        first_seen(run, deploy.index, item),
    );
    let known = run.record(deploy.index, item).cloned();
    let Some(record) = known else {
        let plan: &[Amount] = &deploy.environment.rollout.batches;
        let was = told(deploy.app, &deploy.environment.name).inventory;
        let was = was
            .into_iter()
            .find(|i| !i.uid.is_empty() && is_same(i, item));
        let gates = batches::batches(plan, &[manifest.size(None)]).len();
        let Some(was) = was.filter(|_| !lets_through(gates)) else {
            return Gone::Make;
        };
        let record = RolloutRecord {
            workload: was,
            attempt,
            state: RolloutState::Gone,
            latch: String::new(),
        };
        run.keep(deploy.index, record);
        return Gone::Stop(format!(
            "{GONE}, and was not taken away by any release: {SEEN}{at}. Kubernetes does not tell by whom (its audit log \
             does). With nothing beside it no batch can be held: `{retry}` makes it with all pods of the new version at \
             once, `{abort}` ends the release"
        ));
    };
    let again = |run: &mut Run| {
        let object = restored(object, &record.latch)?;
        let workload = crate::api::InventoryItem {
            uid: String::new(),
            ..item.clone()
        };
        let latch = record.latch.clone();
        run.keep(
            deploy.index,
            RolloutRecord {
                workload,
                attempt,
                state: RolloutState::Restores,
                latch,
            },
        );
        let by = Account::of(deploy.environment, item);
        Some(Gone::Again(Box::new(Step::Apply {
            object,
            seen: None,
            force: false,
            by,
        })))
    };
    match record.state {
        RolloutState::Gone if attempt > record.attempt => return Gone::Make,
        RolloutState::Restores => {}
        _ if attempt > record.attempt => {}
        _ => return Gone::Stop(in_the_middle(run, &at)),
    }
    again(run).unwrap_or_else(|| {
        Gone::Stop("it is gone, and its record cannot be read: apply it by hand, and retry".into())
    })
}

fn in_the_middle(run: &Run, at: &str) -> String {
    let (retry, abort) = (run.command("retry"), run.command("abort"));
    format!(
        "{GONE} in the middle of its rollout: {SEEN}{at}. Kubernetes does not tell by whom (its audit log does). No batch \
         goes on by that: `{retry}` makes it again with its old version and begins the batches anew, `{abort}` makes it \
         again with its old version and ends the release"
    )
}

/// Message about a missing workload while the rollout is held, if it was in progress.
pub(super) fn held(run: &Run, index: usize, item: &InventoryItem) -> Option<String> {
    let record = run
        .record(index, item)
        .filter(|r| r.state != RolloutState::Gone)?;
    let asked =
        run.status.tasks[index].attempt > record.attempt || record.state == RolloutState::Restores;
    (!asked).then(|| in_the_middle(run, &first_seen(run, index, item)))
}

/// Message about a workload that is being deleted while its rollout is in progress.
pub(super) fn going(
    run: &Run,
    index: usize,
    rolled: &Rolled,
    seen: Option<&WorkloadSeen>,
) -> Option<String> {
    let known = run.known(index, &rolled.item);
    let own = run
        .record(index, &rolled.item)
        .is_some_and(|r| r.state != RolloutState::Gone);
    if !own || known.is_asked_anew(run.status.tasks[index].attempt) {
        return None;
    }
    let since = seen
        .and_then(|s| s.meta().deletion_timestamp.as_ref())
        .map(|t| format!(" since {}", t.0));
    Some(format!(
        "it is being deleted{} in the middle of its rollout. No batch goes on by that: `{}` makes it again with its \
         old version, when it is gone, and begins the batches anew, `{}` makes it again and ends the release",
        since.unwrap_or_default(),
        run.command("retry"),
        run.command("abort")
    ))
}
