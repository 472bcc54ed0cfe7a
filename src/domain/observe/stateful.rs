//! StatefulSets as a rollout sees them: which positions hold a new pod, which an old one, and which
//! none.
//!
//! Positions are counted from 0, as `partition` counts them, wherever the ordinals start. Only the
//! controller can tell which revision is the new one, and only once it has observed the current
//! template: until then it is the one that the rollout has recorded, or none at the beginning.

use k8s_openapi::api::apps::v1::StatefulSet;

use jiff::SignedDuration;

use super::{
    ObservedPod, PodSeen, VersionPods, is_observed, is_owned_by, observe_pod, replicas_or_default,
    to_u32,
};
use crate::domain::batches::RolloutMark;

/// Label of a pod that names its revision.
pub const REVISION_LABEL: &str = "controller-revision-hash";

/// Most replicas that are looked at one by one; no cluster holds so many pods.
pub const MAX_STATEFUL_REPLICAS: u32 = 100_000;

/// One StatefulSet with its pods.
#[derive(Clone, Debug, Default)]
pub struct StatefulSeen {
    /// The StatefulSet as read from the API server.
    pub live: StatefulSet,
    /// Pods of the current template that are neither finished nor terminating, in wanted positions.
    pub new: VersionPods,
    /// Such pods of all other templates.
    pub old: VersionPods,
    /// Pods that still exist in positions that are no longer wanted.
    pub beyond: u32,
}

/// Content of one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodSlot<'a> {
    /// No pod, or one that is finished or terminating.
    Empty,
    /// Pod of an older version.
    Old(&'a PodSeen),
    /// Pod of the current version.
    New(&'a PodSeen),
}

/// Combines a StatefulSet with its pods. `pods` may include pods of other owners; `ready` says how
/// long a Ready pod has been Ready.
pub fn observe_stateful_set<'a>(
    live: &StatefulSet,
    pods: impl IntoIterator<Item = &'a ObservedPod>,
    ready: &dyn Fn(&ObservedPod) -> SignedDuration,
) -> StatefulSeen {
    let mut seen = StatefulSeen {
        live: live.clone(),
        ..StatefulSeen::default()
    };
    let update = live.status.as_ref().and_then(|s| s.update_revision.clone());
    seen.new.hash = if seen.is_observed() {
        update
    } else {
        known_revision(live)
    };
    for pod in pods
        .into_iter()
        .filter(|p| is_owned_by(&p.metadata, &live.metadata))
    {
        let told = observe_pod(pod, ready);
        match seen.slot_of(&told.name) {
            Some(place) if place < seen.replicas() => {}
            Some(_) => {
                seen.beyond += 1;
                continue;
            }
            None => continue,
        }
        if pod.metadata.deletion_timestamp.is_some() || pod.is_finished {
            continue;
        }
        let revision = pod
            .metadata
            .labels
            .as_ref()
            .and_then(|l| l.get(REVISION_LABEL));
        let is_new = revision.is_some() && revision == seen.new.hash.as_ref();
        let side = if is_new { &mut seen.new } else { &mut seen.old };
        side.pods.push(told);
    }
    for side in [&mut seen.new, &mut seen.old] {
        side.wanted = to_u32(side.pods.len());
    }
    seen
}

/// Revision that an earlier step of the rollout has recorded.
fn known_revision(live: &StatefulSet) -> Option<String> {
    RolloutMark::from_meta(&live.metadata).ok().flatten()?.hash
}

impl StatefulSeen {
    /// `spec.replicas` of the StatefulSet.
    pub fn replicas(&self) -> u32 {
        replicas_or_default(self.live.spec.as_ref().and_then(|s| s.replicas))
    }

    /// Position of a pod, from its name.
    pub fn slot_of(&self, pod: &str) -> Option<u32> {
        let name = self.live.metadata.name.as_deref()?;
        let ordinal: u32 = pod.strip_prefix(name)?.strip_prefix('-')?.parse().ok()?;
        let start = self
            .live
            .spec
            .as_ref()
            .and_then(|s| s.ordinals.as_ref()?.start)
            .unwrap_or(0);
        // An ordinal below the start is as unwanted as one above the end.
        Some(
            ordinal
                .checked_sub(u32::try_from(start).unwrap_or(0))
                .unwrap_or(u32::MAX),
        )
    }

    /// Content of all wanted positions, from 0; at most [`MAX_STATEFUL_REPLICAS`].
    pub fn pod_slots(&self) -> Vec<PodSlot<'_>> {
        let mut places = vec![PodSlot::Empty; self.replicas().min(MAX_STATEFUL_REPLICAS) as usize];
        let mut put = |pod: &PodSeen, what| {
            let place = self
                .slot_of(&pod.name)
                .and_then(|p| places.get_mut(p as usize));
            place.into_iter().for_each(|place| *place = what);
        };
        for pod in &self.old.pods {
            put(pod, PodSlot::Old(pod));
        }
        for pod in &self.new.pods {
            put(pod, PodSlot::New(pod));
        }
        places
    }

    /// Whether the controller has observed the current spec.
    pub fn is_observed(&self) -> bool {
        is_observed(
            &self.live.metadata,
            self.live
                .status
                .as_ref()
                .and_then(|s| s.observed_generation),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::label;

    fn pod(name: &str, revision: &str, more: Value) -> ObservedPod {
        let mut pod = json!({"metadata": {"name": name, "labels": {REVISION_LABEL: revision}, "ownerReferences":
            [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "controller": true}]}});
        json_patch::merge(&mut pod, &more);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn places_are_counted_from_where_the_ordinals_start() {
        let live = |generation: i64, latch: Value| -> StatefulSet {
            serde_json::from_value(json!({
                "metadata": {"name": "db", "uid": "u", "generation": generation, "annotations": {label::LATCH: latch.to_string()}},
                "spec": {"replicas": 4, "ordinals": {"start": 5}, "selector": {}, "serviceName": "db", "template": {}},
                "status": {"replicas": 4, "observedGeneration": 3, "updateRevision": "db-2"},
            }))
            .unwrap()
        };
        let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let mut pods = vec![
            pod("db-8", "db-2", json!({})),
            pod("db-7", "db-2", going),
            pod("db-5", "db-1", json!({})),
            pod("db-9", "db-1", json!({})),
            pod("db-4", "db-1", json!({})),
            pod("db-x", "db-1", json!({})),
        ];
        let stranger = json!({"metadata": {"ownerReferences": null}});
        pods.push(pod("db-6", "db-1", stranger));
        let told = |seen: &StatefulSeen| -> String {
            let sign = |p: &PodSlot| match p {
                PodSlot::Empty => '.',
                PodSlot::Old(_) => 'o',
                PodSlot::New(_) => 'n',
            };
            seen.pod_slots().iter().map(sign).collect()
        };
        let seen = observe_stateful_set(&live(3, json!({})), &pods, &|_| SignedDuration::ZERO);
        assert_eq!((told(&seen).as_str(), seen.beyond), ("o..n", 2));
        assert_eq!(
            told(&observe_stateful_set(&live(4, json!({})), &pods, &|_| {
                SignedDuration::ZERO
            })),
            "o..o",
            "what is new is not known yet"
        );
        assert_eq!(
            told(&observe_stateful_set(
                &live(
                    4,
                    json!({"release": "r", "releaseUid": "u", "task": "t", "batches": [], "hash": "db-2"})
                ),
                &pods,
                &|_| SignedDuration::ZERO
            )),
            "o..n"
        );
    }
}
