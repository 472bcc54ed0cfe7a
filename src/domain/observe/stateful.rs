//! StatefulSets as a rollout sees them: which of their places hold a new pod, which an old one, which none.
//!
//! Places are counted from 0, as `partition` counts them, wherever the ordinals start. Which version is the new one
//! only the controller can tell, and only once it has seen the template as it is: until then it is the one that the
//! rollout knows from before, and in the beginning none.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};

use jiff::SignedDuration;

use super::{PodSeen, Side, count, finished, observed, owned_by, pod_seen, replicas};
use crate::domain::batches::Mark;

/// By which a pod says of which revision it is.
pub const REVISION: &str = "controller-revision-hash";

/// A StatefulSet of more is not looked at place by place: no cluster holds so many pods.
pub const MOST: u32 = 100_000;

/// One StatefulSet with its pods.
#[derive(Clone, Debug, Default)]
pub struct StatefulSeen {
    /// As the API server has it.
    pub live: StatefulSet,
    /// Of the present template. Pods that are neither finished nor terminating, in places that are wanted.
    pub new: Side,
    /// Of every other one.
    pub old: Side,
    /// Pods that are still there in places that are not wanted any more.
    pub beyond: u32,
}

/// What is in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Nothing, or what is going.
    Empty,
    /// A pod of an older version.
    Old(&'a PodSeen),
    /// A pod of the present one.
    New(&'a PodSeen),
}

/// Puts a StatefulSet together with its pods. `pods` may hold others' too; `ready` says for how long a Ready pod has been
/// so.
pub fn stateful<'a>(
    live: &StatefulSet,
    pods: impl IntoIterator<Item = &'a Pod>,
    ready: &dyn Fn(&Pod) -> SignedDuration,
) -> StatefulSeen {
    let mut seen = StatefulSeen {
        live: live.clone(),
        ..StatefulSeen::default()
    };
    let update = live.status.as_ref().and_then(|s| s.update_revision.clone());
    seen.new.hash = if seen.observed() {
        update
    } else {
        known_before(live)
    };
    for pod in pods
        .into_iter()
        .filter(|p| owned_by(&p.metadata, &live.metadata))
    {
        let told = pod_seen(pod, ready);
        match seen.place_of(&told.name) {
            Some(place) if place < seen.replicas() => {}
            Some(_) => {
                seen.beyond += 1;
                continue;
            }
            None => continue,
        }
        if pod.metadata.deletion_timestamp.is_some() || finished(pod) {
            continue;
        }
        let revision = pod.metadata.labels.as_ref().and_then(|l| l.get(REVISION));
        let is_new = revision.is_some() && revision == seen.new.hash.as_ref();
        let side = if is_new { &mut seen.new } else { &mut seen.old };
        side.pods.push(told);
    }
    for side in [&mut seen.new, &mut seen.old] {
        side.wanted = count(side.pods.len());
    }
    seen
}

/// The revision that an earlier step of the rollout has seen.
fn known_before(live: &StatefulSet) -> Option<String> {
    Mark::of(&live.metadata).ok().flatten()?.hash
}

impl StatefulSeen {
    /// `spec.replicas`.
    pub fn replicas(&self) -> u32 {
        replicas(self.live.spec.as_ref().and_then(|s| s.replicas))
    }

    /// The place of a pod, by its name.
    pub fn place_of(&self, pod: &str) -> Option<u32> {
        let name = self.live.metadata.name.as_deref()?;
        let ordinal: u32 = pod.strip_prefix(name)?.strip_prefix('-')?.parse().ok()?;
        let start = self
            .live
            .spec
            .as_ref()
            .and_then(|s| s.ordinals.as_ref()?.start)
            .unwrap_or(0);
        // Below the start it is as little wanted as above the end.
        Some(
            ordinal
                .checked_sub(u32::try_from(start).unwrap_or(0))
                .unwrap_or(u32::MAX),
        )
    }

    /// All places that are wanted, from 0; no more than [`MOST`].
    pub fn places(&self) -> Vec<Place<'_>> {
        let mut places = vec![Place::Empty; self.replicas().min(MOST) as usize];
        let mut put = |pod: &PodSeen, what| {
            let place = self
                .place_of(&pod.name)
                .and_then(|p| places.get_mut(p as usize));
            place.into_iter().for_each(|place| *place = what);
        };
        for pod in &self.old.pods {
            put(pod, Place::Old(pod));
        }
        for pod in &self.new.pods {
            put(pod, Place::New(pod));
        }
        places
    }

    /// The controller has acted on the spec as it is now.
    pub fn observed(&self) -> bool {
        observed(
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

    fn pod(name: &str, revision: &str, more: Value) -> Pod {
        let mut pod = json!({"metadata": {"name": name, "labels": {REVISION: revision}, "ownerReferences":
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
            let sign = |p: &Place| match p {
                Place::Empty => '.',
                Place::Old(_) => 'o',
                Place::New(_) => 'n',
            };
            seen.places().iter().map(sign).collect()
        };
        let seen = stateful(&live(3, json!({})), &pods, &|_| SignedDuration::ZERO);
        assert_eq!((told(&seen).as_str(), seen.beyond), ("o..n", 2));
        assert_eq!(
            told(&stateful(&live(4, json!({})), &pods, &|_| {
                SignedDuration::ZERO
            })),
            "o..o",
            "what is new is not known yet"
        );
        assert_eq!(
            told(&stateful(
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
