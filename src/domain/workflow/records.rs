//! A release's own records of the workloads that it rolls out: written into its status before a
//! workload is touched, and read when somebody else has removed the workload's annotation, or the
//! workload itself.

use serde_json::Value;

use super::view::TaskView;
use crate::{
    api::{InventoryItem, ObjectRef, RolloutRecord, RolloutState, Uid, label},
    domain::batches::{Records, WorkloadSeen},
};

/// What is recorded about one workload.
pub(super) struct KnownRecords<'a> {
    pub(super) kept: Option<&'a RolloutRecord>,
    under_way: Vec<Uid>,
}

impl KnownRecords<'_> {
    pub(super) fn as_records(&self) -> Records<'_> {
        Records {
            kept: self.kept,
            under_way: &self.under_way,
        }
    }

    /// Whether this attempt was asked for after the record was written, and so may act anew.
    pub(super) fn is_asked_anew(&self, attempt: u32) -> bool {
        self.kept.is_some_and(|r| attempt > r.attempt)
    }
}

fn is_record_of(record: &RolloutRecord, workload: &ObjectRef) -> bool {
    record.workload.object == *workload
}

/// Uid of a workload; empty when it does not exist.
fn live_uid(seen: Option<&WorkloadSeen>) -> Uid {
    seen.map(|s| Uid::from_meta(s.meta())).unwrap_or_default()
}

/// Records with these added, or put in the place of those about the same workloads.
pub(super) fn merge_records(
    mut all: Vec<RolloutRecord>,
    new: impl IntoIterator<Item = RolloutRecord>,
) -> Vec<RolloutRecord> {
    for record in new {
        match all
            .iter_mut()
            .find(|r| is_record_of(r, &record.workload.object))
        {
            Some(known) => *known = record,
            None => all.push(record),
        }
    }
    all
}

impl<'a> TaskView<'a> {
    /// What is recorded about a workload: by this task, by another task of this release, or by an
    /// earlier release.
    pub(super) fn known_records(&self, workload: &ObjectRef) -> KnownRecords<'a> {
        let others = self.release.tasks.iter().flat_map(|t| &t.rollouts);
        let kept = self
            .find_record(workload)
            .or_else(|| others.into_iter().find(|r| is_record_of(r, workload)))
            .or_else(|| self.observed.facts.records.get(workload));
        let under_way = self
            .observed
            .others
            .iter()
            .filter_map(|r| Uid::from_meta(&r.metadata).known())
            .collect();
        KnownRecords { kept, under_way }
    }

    /// This task's own record of a workload.
    pub(super) fn find_record(&self, workload: &ObjectRef) -> Option<&'a RolloutRecord> {
        self.task
            .rollouts
            .iter()
            .find(|r| is_record_of(r, workload))
    }

    /// Record of this attempt about a workload with this uid; without one, it does not exist.
    pub(super) fn record_rollout(
        &self,
        workload: &ObjectRef,
        uid: Uid,
        state: RolloutState,
        latch: impl Into<String>,
    ) -> RolloutRecord {
        RolloutRecord {
            workload: InventoryItem::new(workload.clone(), uid),
            attempt: self.task.attempt,
            state,
            latch: latch.into(),
        }
    }

    /// Record of the latch that a workload carries for this rollout.
    pub(super) fn record_seen(
        &self,
        workload: &ObjectRef,
        seen: &WorkloadSeen,
    ) -> Option<RolloutRecord> {
        let meta = seen.meta();
        let latch = meta.annotations.as_ref()?.get(label::LATCH)?;
        seen.mark()
            .filter(|m| m.release_uid == self.release_uid() && m.task == self.task.name)?;
        let uid = live_uid(Some(seen));
        let before = self.find_record(workload);
        let another =
            before.is_some_and(|r| r.state == RolloutState::Begun && r.workload.uid != uid);
        // The annotation is that of an older attempt, not what the new one wrote.
        let older = before.is_some_and(|r| r.state == RolloutState::Takes)
            && attempt_of(latch) != Some(self.task.attempt);
        if another || older {
            return None;
        }
        let record = self.record_rollout(workload, uid, RolloutState::Begun, latch);
        Some(RolloutRecord {
            attempt: before.map_or(record.attempt, |r| r.attempt),
            ..record
        })
    }

    /// Record of what a patch is about to begin, or to take over; `None` when it is recorded already.
    pub(super) fn record_patch(
        &self,
        workload: &ObjectRef,
        seen: Option<&WorkloadSeen>,
        patch: &Value,
    ) -> Option<RolloutRecord> {
        let path = format!("/metadata/annotations/{}", label::LATCH.replace('/', "~1"));
        let latch = patch.pointer(&path).and_then(Value::as_str)?;
        let attempt = self.task.attempt;
        let known = self.known_records(workload);
        let shows = seen.is_some_and(|s| {
            s.mark_of(&self.release_uid(), &known.as_records())
                .is_some()
        });
        let state = match self.find_record(workload).map(|r| (r.state, r.attempt)) {
            Some((RolloutState::Begun | RolloutState::Takes, before)) if before < attempt => {
                RolloutState::Takes
            }
            Some((RolloutState::Begins, before)) if before < attempt && shows => {
                RolloutState::Takes
            }
            // A later step of a rollout that is already recorded.
            Some((RolloutState::Begun, _)) => return None,
            Some((RolloutState::Takes, _)) => RolloutState::Takes,
            // It was not restored yet, so it does not begin anew.
            Some((RolloutState::Restores, _)) if shows => RolloutState::Takes,
            _ => RolloutState::Begins,
        };
        Some(self.record_rollout(workload, live_uid(seen), state, latch))
    }

    /// Record that a workload without running pods is restored with its old version.
    pub(super) fn record_restored(
        &self,
        workload: &ObjectRef,
        seen: Option<&WorkloadSeen>,
        latch: String,
    ) -> RolloutRecord {
        self.record_rollout(workload, live_uid(seen), RolloutState::Restores, latch)
    }
}

fn attempt_of(latch: &str) -> Option<u32> {
    let latch: Value = serde_json::from_str(latch).ok()?;
    latch["attempt"]
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
}
