//! Positions of a StatefulSet above a partition: which pods are replaced, which are not yet, and
//! which pod blocks the others.

use jiff::SignedDuration;

use super::{super::goal::describe_readiness, settings::StatefulSettings};
use crate::domain::observe::{PodSeen, PodSlot, StatefulSeen};

/// The positions, and from which one on they are to be new.
pub(super) struct SlotTable<'a> {
    places: Vec<PodSlot<'a>>,
    from: usize,
    ordered: bool,
}

impl<'a> SlotTable<'a> {
    pub(super) fn from_observed(seen: &'a StatefulSeen, from: u32) -> Self {
        let policy = seen
            .live
            .spec
            .as_ref()
            .and_then(|s| s.pod_management_policy.as_deref());
        Self {
            places: seen.pod_slots(),
            from: from as usize,
            ordered: policy != Some("Parallel"),
        }
    }

    /// Lowest position from there on that holds a new pod, or is empty and will hold one.
    pub(super) fn lowest_reached(&self) -> u32 {
        let all = self.places.iter().enumerate().skip(self.from);
        let reached = all
            .filter(|(_, p)| !matches!(p, PodSlot::Old(_)))
            .map(|(i, _)| i)
            .min();
        u32::try_from(reached.unwrap_or(self.places.len())).unwrap_or(u32::MAX)
    }

    /// Lowest position of all that holds a new pod.
    pub(super) fn lowest_new(&self) -> Option<u32> {
        let found = self
            .places
            .iter()
            .position(|p| matches!(p, PodSlot::New(_)));
        found.and_then(|i| u32::try_from(i).ok())
    }

    /// Whether some old pod is still to be replaced.
    pub(super) fn has_old_pods(&self) -> bool {
        self.places
            .iter()
            .skip(self.from)
            .any(|p| matches!(p, PodSlot::Old(_)))
    }

    /// Whether all pods from there on are new, and have been Ready for `min_ready` seconds.
    pub(super) fn is_all_new(&self, min_ready: u32) -> bool {
        let ready = |p: &PodSlot| matches!(p, PodSlot::New(pod) if pod.is_ready_for(min_ready));
        self.places.iter().skip(self.from).all(ready)
    }

    /// Pod that is to be replaced but is not Ready, and before which the controller touches no
    /// other: it waits for every pod to be Ready, in order unless the pod management is parallel.
    /// Only pods that pass `may` are considered.
    pub(super) fn find_blocking_pod(&self, may: impl Fn(&PodSeen) -> bool) -> Option<&'a PodSeen> {
        for (i, place) in self.places.iter().enumerate() {
            match place {
                PodSlot::Old(pod) if pod.ready.is_none() && i >= self.from && may(pod) => {
                    return Some(pod);
                }
                PodSlot::Old(pod) | PodSlot::New(pod) if pod.ready.is_some() => {}
                _ if self.ordered => return None,
                _ => {}
            }
        }
        None
    }
}

impl StatefulSeen {
    /// Whether every position has a pod that has been Ready long enough, and all pods that the user
    /// wants new are; `Err` says what is missing, and when it may change.
    pub(super) fn check_settled(
        &self,
        own: &StatefulSettings,
    ) -> Result<(), (String, Option<SignedDuration>)> {
        let (min_ready, all) = (own.min_ready(), self.replicas());
        let ready = self
            .new
            .ready_pods(min_ready)
            .saturating_add(self.old.ready_pods(min_ready));
        let open = SlotTable::from_observed(self, own.partition()).has_old_pods();
        if self.is_observed() && self.beyond == 0 && ready >= all && !open {
            return Ok(());
        }
        Err(self.describe_waiting(all.saturating_sub(own.partition()), min_ready))
    }

    /// Describes what is missing until `want` pods are new, and after what time that could change
    /// by itself.
    pub(super) fn describe_waiting(
        &self,
        want: u32,
        min_ready: u32,
    ) -> (String, Option<SignedDuration>) {
        if !self.is_observed() {
            return ("waiting for the StatefulSet controller".into(), None);
        }
        let new = self.new.ready_pods(min_ready);
        let lame = self
            .new
            .first_unready()
            .is_none()
            .then(|| self.old.first_unready())
            .flatten();
        let mut words = describe_readiness(&self.new, want, min_ready);
        if let Some(pod) = lame.filter(|_| new >= want.min(self.new.active_pods())) {
            words += &format!(", waiting for {}", pod.name);
            words.extend(pod.trouble.iter().map(|t| format!(": {t}")));
        }
        if self.beyond > 0 {
            words += &format!(", {} beyond the replicas to go", self.beyond);
        }
        let sides = [&self.new, &self.old];
        (
            words,
            sides.iter().filter_map(|s| s.next_ready(min_ready)).min(),
        )
    }
}
