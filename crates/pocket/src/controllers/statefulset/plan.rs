//! Plans one reconcile of a StatefulSet: which pods to create or delete, and the status. Pure, and
//! follows Kubernetes' algorithm step by step.

use super::super::pods::{phase, time_until_available};
use super::history::RevisionPair;
use super::model::{
    self, is_running_and_available, is_running_and_ready, is_terminating, is_unavailable,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct ReconcileInput<'a> {
    pub set: &'a StatefulSet,
    pub pair: &'a RevisionPair,
    pub collisions: i32,
    /// Pods of the set, in any order.
    pub pods: &'a [Arc<Pod>],
    pub now: Timestamp,
}

#[derive(Debug)]
pub(super) enum Action {
    Create(Box<Pod>),
    Delete(Arc<Pod>),
    /// Restores the identity labels of a pod.
    Relabel {
        pod: Arc<Pod>,
        labels: BTreeMap<String, String>,
    },
}

#[derive(Debug)]
pub(super) struct ReconcilePlan {
    pub actions: Vec<Action>,
    pub status: StatefulSetStatus,
    /// Time until the next pod becomes available without any other change.
    pub requeue: Option<Duration>,
}

/// Something must happen first; in an ordered set nothing else is done until then.
struct MustWait;
type OrderedResult = Result<(), MustWait>;

struct Planner<'a> {
    input: &'a ReconcileInput<'a>,
    ordered: bool,
    /// One slot per ordinal.
    slots: Vec<Option<&'a Arc<Pod>>>,
    /// Pods without a slot, highest ordinal first.
    condemned: Vec<&'a Arc<Pod>>,
    actions: Vec<Action>,
}

pub(super) fn plan_reconcile(input: &ReconcileInput) -> ReconcilePlan {
    let set = input.set;
    let count = usize::try_from(model::replicas(set)).unwrap_or(0);
    let mut look = Planner {
        input,
        ordered: model::is_ordered(set),
        slots: vec![None; count],
        condemned: vec![],
        actions: vec![],
    };
    for pod in input.pods {
        let Some(ordinal) = model::ordinal(set, pod) else {
            continue;
        };
        let at = usize::try_from(ordinal.saturating_sub(model::first_ordinal(set))).ok();
        match at.and_then(|at| look.slots.get_mut(at)) {
            Some(place) => *place = Some(pod),
            None => look.condemned.push(pod),
        }
    }
    look.condemned
        .sort_by_key(|pod| std::cmp::Reverse(model::ordinal(set, pod)));
    let mut status = calculate_status(input);
    if set.metadata.deletion_timestamp.is_none() {
        let replaced = look
            .fill_slots()
            .and_then(|()| look.scale_down())
            .map(|()| look.delete_outdated());
        if matches!(replaced, Ok(true)) {
            // The pod to be deleted no longer counts as current.
            status.current_replicas = status.current_replicas.map(|n| n - 1).filter(|n| *n > 0);
        }
    }
    complete_rolling_update(set, &mut status);
    ReconcilePlan {
        actions: look.actions,
        status,
        requeue: next_requeue(input),
    }
}

impl Planner<'_> {
    fn is_unavailable(&self, pod: &Pod) -> bool {
        is_unavailable(self.input.set, pod, self.input.now)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        is_running_and_available(self.input.set, pod, self.input.now)
    }

    fn wait_if_ordered(&self, reason: bool) -> OrderedResult {
        if reason && self.ordered {
            Err(MustWait)
        } else {
            Ok(())
        }
    }

    /// Ensures that every slot has a pod; in an ordered set each must be available before the next
    /// is handled.
    fn fill_slots(&mut self) -> OrderedResult {
        for at in 0..self.slots.len() {
            self.reconcile_slot(at)?;
        }
        Ok(())
    }

    fn reconcile_slot(&mut self, at: usize) -> OrderedResult {
        let ReconcileInput { set, pair, .. } = self.input;
        let ordinal =
            model::first_ordinal(set).saturating_add(i32::try_from(at).unwrap_or(i32::MAX));
        let Some(pod) = self.slots[at] else {
            let of = if model::uses_current_revision(set, ordinal) {
                &pair.current
            } else {
                &pair.update
            };
            let new = model::new_pod(set, &of.template, &of.name, ordinal);
            self.actions.push(Action::Create(Box::new(new)));
            return self.wait_if_ordered(true);
        };
        if matches!(phase(pod), "Failed" | "Succeeded") {
            if !is_terminating(pod) {
                self.actions.push(Action::Delete(pod.clone()));
            }
            return self.wait_if_ordered(true);
        }
        self.wait_if_ordered(is_terminating(pod) || !self.is_available(pod))?;
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let identity = model::identity_labels(set, ordinal);
        if identity
            .iter()
            .any(|(key, value)| labels.get(key) != Some(value))
        {
            self.actions.push(Action::Relabel {
                pod: pod.clone(),
                labels: identity,
            });
        }
        Ok(())
    }

    /// Deletes pods without a slot; in an ordered set one after the other, highest ordinal first.
    fn scale_down(&mut self) -> OrderedResult {
        let first_unavailable = match self.slots.iter().flatten().find(|p| self.is_unavailable(p)) {
            Some(pod) => Some(*pod),
            None => self
                .condemned
                .iter()
                .rev()
                .find(|p| self.is_unavailable(p))
                .copied(),
        };
        for pod in self.condemned.clone() {
            if is_terminating(pod) {
                self.wait_if_ordered(true)?;
                continue;
            }
            let first = first_unavailable.is_some_and(|first| Arc::ptr_eq(first, pod));
            self.wait_if_ordered(!self.is_available(pod) && !first)?;
            self.actions.push(Action::Delete(pod.clone()));
            self.wait_if_ordered(true)?;
        }
        Ok(())
    }

    /// Deletes the highest pod that is not up to date if all pods above it are available. Returns
    /// whether a pod was deleted.
    fn delete_outdated(&mut self) -> bool {
        if model::is_on_delete(self.input.set) {
            return false;
        }
        let from = usize::try_from(model::partition(self.input.set)).unwrap_or(0);
        for place in self.slots.iter().skip(from).rev() {
            // A pod that is being created is waited for.
            let Some(pod) = *place else { return false };
            if model::revision(pod) != self.input.pair.update.name && !is_terminating(pod) {
                let going = self
                    .actions
                    .iter()
                    .any(|a| matches!(a, Action::Delete(p) if Arc::ptr_eq(p, pod)));
                if !going {
                    self.actions.push(Action::Delete(pod.clone()));
                }
                return true;
            }
            if self.is_unavailable(pod) {
                return false;
            }
        }
        false
    }
}

fn calculate_status(input: &ReconcileInput) -> StatefulSetStatus {
    let ReconcileInput {
        set,
        pair,
        pods,
        now,
        ..
    } = input;
    let count = |wanted: &dyn Fn(&Pod) -> bool| {
        i32::try_from(pods.iter().filter(|pod| wanted(pod)).count()).unwrap_or(i32::MAX)
    };
    // Zero counts are omitted.
    let some = |n: i32| (n > 0).then_some(n);
    let of = |name: &str| {
        some(count(&|pod| {
            !is_terminating(pod) && model::revision(pod) == name
        }))
    };
    StatefulSetStatus {
        replicas: count(&|_| true),
        ready_replicas: some(count(&is_running_and_ready)),
        available_replicas: Some(count(&|pod| is_running_and_available(set, pod, *now))),
        current_replicas: of(&pair.current.name),
        updated_replicas: of(&pair.update.name),
        current_revision: Some(pair.current.name.clone()),
        update_revision: Some(pair.update.name.clone()),
        observed_generation: set.metadata.generation,
        collision_count: Some(input.collisions),
        conditions: None,
    }
}

/// When all pods are updated and ready, the update revision becomes the current one.
fn complete_rolling_update(set: &StatefulSet, status: &mut StatefulSetStatus) {
    let all = model::replicas(set);
    let is_all = |n: Option<i32>| n.unwrap_or(0) == all;
    if !model::is_on_delete(set)
        && status.replicas == all
        && is_all(status.updated_replicas)
        && is_all(status.ready_replicas)
    {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
}

fn next_requeue(input: &ReconcileInput) -> Option<Duration> {
    let wait = model::min_ready_seconds(input.set);
    let left = input
        .pods
        .iter()
        .filter_map(|pod| time_until_available(pod, wait, input.now))
        .filter(|left| !left.is_zero());
    // A duration of a month needs no timer.
    left.min()
        .map(|left| left + Duration::from_millis(1))
        .filter(|left| *left < Duration::from_hours(24 * 30))
}
