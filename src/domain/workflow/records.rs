//! A release's own records of the workloads that it rolls out: written into its status before a
//! workload is touched, and read when somebody else has removed the workload's annotation, or the
//! workload itself.

use super::reconciliation::Reconciliation;
use crate::{
    api::{InventoryItem, RolloutRecord, RolloutState, label},
    domain::batches::{Records, WorkloadSeen},
};

/// What is recorded about one workload, as an owned copy.
pub(super) struct KnownRecords<'a> {
    pub(super) kept: Option<RolloutRecord>,
    under_way: Vec<&'a str>,
}

impl KnownRecords<'_> {
    pub(super) fn as_records(&self) -> Records<'_> {
        Records {
            kept: self.kept.as_ref(),
            under_way: &self.under_way,
        }
    }

    /// Whether this attempt was asked for after the record was written, and so may act anew.
    pub(super) fn is_asked_anew(&self, attempt: u32) -> bool {
        self.kept.as_ref().is_some_and(|r| attempt > r.attempt)
    }
}

fn is_record_of(record: &RolloutRecord, item: &InventoryItem) -> bool {
    InventoryItem {
        uid: String::new(),
        ..record.workload.clone()
    } == InventoryItem {
        uid: String::new(),
        ..item.clone()
    }
}

impl<'a> Reconciliation<'a> {
    /// What is recorded about a workload: by this task, by another task of this release, or by an
    /// earlier release.
    pub(super) fn known_records(&self, index: usize, item: &InventoryItem) -> KnownRecords<'a> {
        let own = self.status.tasks[index].rollouts.iter();
        let mut all = own.chain(self.status.tasks.iter().flat_map(|t| &t.rollouts));
        let item = &InventoryItem {
            uid: String::new(),
            ..item.clone()
        };
        let kept = all
            .find(|r| is_record_of(r, item))
            .or_else(|| self.observed.records.get(item))
            .cloned();
        let under_way = self
            .observed
            .others
            .iter()
            .filter_map(|r| r.metadata.uid.as_deref())
            .collect();
        KnownRecords { kept, under_way }
    }

    /// This task's own record of a workload.
    pub(super) fn find_record(&self, index: usize, item: &InventoryItem) -> Option<&RolloutRecord> {
        self.status.tasks[index]
            .rollouts
            .iter()
            .find(|r| is_record_of(r, item))
    }

    /// Adds or replaces the record of a workload.
    pub(super) fn keep_record(&mut self, index: usize, record: RolloutRecord) {
        let all = &mut self.status.tasks[index].rollouts;
        match all.iter_mut().find(|r| is_record_of(r, &record.workload)) {
            Some(known) => *known = record,
            None => all.push(record),
        }
    }

    /// Records the latch that a workload carries for this rollout.
    pub(super) fn keep_as_seen(&mut self, index: usize, item: &InventoryItem, seen: &WorkloadSeen) {
        let meta = seen.meta();
        let Some(latch) = meta.annotations.as_ref().and_then(|a| a.get(label::LATCH)) else {
            return;
        };
        let task = &self.status.tasks[index];
        if !seen
            .mark()
            .is_some_and(|m| m.release_uid == self.uid() && m.task == task.name)
        {
            return;
        }
        let uid = meta.uid.clone().unwrap_or_default();
        let before = self.find_record(index, item);
        let another =
            before.is_some_and(|r| r.state == RolloutState::Begun && r.workload.uid != uid);
        // The annotation is that of an older attempt, not what the new one wrote.
        let older = before.is_some_and(|r| r.state == RolloutState::Takes)
            && attempt_of(latch) != Some(task.attempt);
        if another || older {
            return;
        }
        let attempt = before.map_or(task.attempt, |r| r.attempt);
        let workload = InventoryItem {
            uid,
            ..item.clone()
        };
        self.keep_record(
            index,
            RolloutRecord {
                workload,
                attempt,
                state: RolloutState::Begun,
                latch: latch.clone(),
            },
        );
    }

    /// Records what a patch is about to begin, or to take over.
    pub(super) fn keep_as_written(
        &mut self,
        index: usize,
        item: &InventoryItem,
        seen: Option<&WorkloadSeen>,
        patch: &serde_json::Value,
    ) {
        let path = format!("/metadata/annotations/{}", label::LATCH.replace('/', "~1"));
        let Some(latch) = patch.pointer(&path).and_then(serde_json::Value::as_str) else {
            return;
        };
        let attempt = self.status.tasks[index].attempt;
        let known = self.known_records(index, item);
        let shows = seen.is_some_and(|s| s.mark_of(self.uid(), &known.as_records()).is_some());
        let state = match self.find_record(index, item).map(|r| (r.state, r.attempt)) {
            Some((RolloutState::Begun | RolloutState::Takes, before)) if before < attempt => {
                RolloutState::Takes
            }
            Some((RolloutState::Begins, before)) if before < attempt && shows => {
                RolloutState::Takes
            }
            // A later step of a rollout that is already recorded.
            Some((RolloutState::Begun, _)) => return,
            Some((RolloutState::Takes, _)) => RolloutState::Takes,
            // It was not restored yet, so it does not begin anew.
            Some((RolloutState::Restores, _)) if shows => RolloutState::Takes,
            _ => RolloutState::Begins,
        };
        let uid = seen.and_then(|s| s.meta().uid.clone()).unwrap_or_default();
        let workload = InventoryItem {
            uid,
            ..item.clone()
        };
        self.keep_record(
            index,
            RolloutRecord {
                workload,
                attempt,
                state,
                latch: latch.to_owned(),
            },
        );
    }

    /// Records that a workload without running pods is restored with its old version.
    pub(super) fn keep_as_restored(
        &mut self,
        index: usize,
        item: &InventoryItem,
        seen: Option<&WorkloadSeen>,
        latch: String,
    ) {
        let attempt = self.status.tasks[index].attempt;
        let uid = seen.and_then(|s| s.meta().uid.clone()).unwrap_or_default();
        let workload = InventoryItem {
            uid,
            ..item.clone()
        };
        self.keep_record(
            index,
            RolloutRecord {
                workload,
                attempt,
                state: RolloutState::Restores,
                latch,
            },
        );
    }
}

fn attempt_of(latch: &str) -> Option<u32> {
    let latch: serde_json::Value = serde_json::from_str(latch).ok()?;
    latch["attempt"]
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
}
