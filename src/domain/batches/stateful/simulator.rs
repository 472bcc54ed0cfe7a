//! A small cluster for tests: the native StatefulSet controller as in kube-controller-manager
//! (ordered; and parallel in the harder case, where it counts unavailable pods), one write at a
//! time, so that a test can look in between.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Value, json};

use super::super::{simulator::object, template};
use crate::{
    api::Uid,
    domain::observe::{self, ObservedPod, REVISION_LABEL, StatefulSeen},
};

#[derive(Clone, Debug)]
pub(crate) struct SimPod {
    pub(crate) id: u32,
    pub(crate) place: usize,
    pub(crate) revision: String,
    pub(crate) image: String,
    pub(crate) ready: Option<i64>,
    pub(crate) going: bool,
    /// Incremented with each change.
    version: u32,
}

/// One StatefulSet with everything its controller creates for it.
#[derive(Clone)]
pub(crate) struct Sim {
    pub(crate) live: Value,
    pub(crate) pods: Vec<SimPod>,
    pub(crate) now: i64,
    pub(crate) broken: Vec<String>,
    /// Number of pods that the controller has replaced because of their version.
    pub(crate) replaced: u32,
    revisions: Vec<Value>,
    ids: u32,
}

impl Sim {
    pub(crate) fn create(manifest: &Value, uid: &str, now: i64) -> Self {
        let mut live = object::create_object(manifest, uid);
        if live["spec"]["updateStrategy"].is_null() {
            live["spec"]["updateStrategy"] =
                json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
        }
        Self {
            live,
            pods: vec![],
            now,
            broken: vec![],
            replaced: 0,
            revisions: vec![],
            ids: 0,
        }
    }

    /// Takes over what another StatefulSet of the same name left behind when it was deleted alone:
    /// pods and their revisions.
    pub(crate) fn adopt(&mut self, left: Self) {
        (self.pods, self.revisions, self.ids) = (left.pods, left.revisions, left.ids);
    }

    pub(crate) fn to_stateful_set(&self) -> StatefulSet {
        serde_json::from_value(self.live.clone()).unwrap()
    }

    pub(crate) fn replicas(&self) -> usize {
        self.live["spec"]["replicas"].as_u64().unwrap_or(1) as usize
    }

    pub(crate) fn partition(&self) -> usize {
        self.live["spec"]["updateStrategy"]["rollingUpdate"]["partition"]
            .as_u64()
            .unwrap_or(0) as usize
    }

    /// Merge patch as a client sends it: a stale one is refused.
    pub(crate) fn patch(&mut self, patch: &Value) -> Result<(), &'static str> {
        let before = self.live["spec"].clone();
        object::merge_patch(&mut self.live, patch)?;
        for fixed in [
            "selector",
            "serviceName",
            "podManagementPolicy",
            "volumeClaimTemplates",
        ] {
            assert_eq!(
                before[fixed], self.live["spec"][fixed],
                "validation: {fixed} is immutable"
            );
        }
        Ok(())
    }

    /// Deletes a pod if it is still the one that was seen.
    pub(crate) fn delete_pod(&mut self, uid: &Uid, version: &str) -> Result<(), &'static str> {
        let known = |p: &&mut SimPod| {
            format!("pod-{}", p.id) == uid.as_str() && p.version.to_string() == version
        };
        let pod = self.pods.iter_mut().find(known).ok_or("409")?;
        pod.going = true;
        pod.version += 1;
        Ok(())
    }

    pub(crate) fn seen(&self) -> StatefulSeen {
        let pods: Vec<ObservedPod> = self.pods.iter().map(|p| self.pod_object(p)).collect();
        observe::observe_stateful_set(&self.to_stateful_set(), &pods, &|pod| {
            object::ready_duration(pod, self.now)
        })
    }

    fn pod_object(&self, pod: &SimPod) -> ObservedPod {
        let mut object = json!({
            "metadata": {"name": format!("{}-{}", self.live["metadata"]["name"].as_str().unwrap(), pod.place), "uid": format!("pod-{}", pod.id),
                "resourceVersion": pod.version.to_string(), "labels": {REVISION_LABEL: pod.revision},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "controller": true,
                    "uid": self.live["metadata"]["uid"]}]},
            "status": object::pod_status(pod.ready, self.broken.contains(&pod.image)),
        });
        if pod.going {
            object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        serde_json::from_value(object).unwrap()
    }

    /// Pods with this image that are not terminating, and how many of them are Ready.
    pub(crate) fn count_by_image(&self, image: &str) -> (u32, u32) {
        let own = self.pods.iter().filter(|p| p.image == image && !p.going);
        (
            own.clone().count() as u32,
            own.filter(|p| p.ready.is_some()).count() as u32,
        )
    }

    /// Number of pods that are Ready and not terminating.
    pub(crate) fn ready(&self) -> u32 {
        self.pods
            .iter()
            .filter(|p| p.ready.is_some() && !p.going)
            .count() as u32
    }

    fn update_revision(&mut self) -> String {
        let wanted = template::normalize_template(&self.live["spec"]["template"]);
        let known = self
            .revisions
            .iter()
            .position(|t| *t == wanted)
            .unwrap_or_else(|| {
                self.revisions.push(wanted);
                self.revisions.len() - 1
            });
        format!("s-{known}")
    }

    fn image_of(&self, revision: &str) -> String {
        let known: usize = revision.strip_prefix("s-").unwrap().parse().unwrap();
        self.revisions[known]["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn is_available(&self, pod: &SimPod) -> bool {
        let min_ready = self.live["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
        !pod.going && pod.ready.is_some_and(|r| r + min_ready <= self.now)
    }

    /// One pass of the StatefulSet controller.
    pub(crate) fn sync(&mut self) {
        let update = self.update_revision();
        let current = self.live["status"]["currentRevision"]
            .as_str()
            .unwrap_or(&update)
            .to_owned();
        let all = self.replicas();
        self.sync_replicas(&current, &update);
        let own = |p: &&SimPod| p.place < all && !p.going && p.revision == update;
        let whole = self
            .pods
            .iter()
            .filter(own)
            .filter(|p| p.ready.is_some())
            .count()
            == all;
        let current = if whole { update.clone() } else { current };
        self.live["status"] = json!({"observedGeneration": self.live["metadata"]["generation"], "replicas": self.pods.len(),
            "currentRevision": current, "updateRevision": update});
        object::bump_version(&mut self.live);
    }

    fn sync_replicas(&mut self, current: &str, update: &str) {
        let (all, partition) = (self.replicas(), self.partition());
        let ordered = self.live["spec"]["podManagementPolicy"] != "Parallel";
        for place in 0..all {
            let Some(pod) = self.pods.iter().find(|p| p.place == place) else {
                let revision = if place < partition { current } else { update }.to_owned();
                self.ids += 1;
                let image = self.image_of(&revision);
                self.pods.push(SimPod {
                    id: self.ids,
                    place,
                    revision,
                    image,
                    ready: None,
                    going: false,
                    version: 1,
                });
                if ordered {
                    return;
                }
                continue;
            };
            if ordered && !self.is_available(pod) {
                return;
            }
        }
        if let Some(extra) = self
            .pods
            .iter_mut()
            .filter(|p| p.place >= all && !p.going)
            .max_by_key(|p| p.place)
        {
            extra.going = true;
            extra.version += 1;
            return;
        }
        if self.pods.iter().any(|p| p.place >= all && p.going) && ordered {
            return;
        }
        if self.live["spec"]["updateStrategy"]["type"] == "OnDelete" {
            return;
        }
        let there = self
            .pods
            .iter()
            .filter(|p| p.place < all && self.is_available(p))
            .count();
        if there < all {
            return;
        }
        let old = |p: &&mut SimPod| {
            p.place >= partition && p.place < all && p.revision != update && !p.going
        };
        if let Some(next) = self.pods.iter_mut().filter(old).max_by_key(|p| p.place) {
            next.going = true;
            next.version += 1;
            self.replaced += 1;
        }
    }

    /// The kubelets remove terminating pods.
    pub(crate) fn remove_terminating(&mut self) {
        self.pods.retain(|p| !p.going);
    }

    /// Makes the `n`-th possible pod Ready; false when none is left.
    pub(crate) fn ready_up(&mut self, n: usize) -> bool {
        let (now, broken) = (self.now, self.broken.clone());
        let can = |p: &&mut SimPod| p.ready.is_none() && !p.going && !broken.contains(&p.image);
        let mut can: Vec<&mut SimPod> = self.pods.iter_mut().filter(can).collect();
        let Some(i) = n.checked_rem(can.len()) else {
            return false;
        };
        can[i].ready = Some(now);
        can[i].version += 1;
        true
    }

    /// A node is lost together with the `n`-th pod.
    pub(crate) fn lose_pod(&mut self, n: usize) {
        if let Some(i) = n.checked_rem(self.pods.len()) {
            self.pods.remove(i);
        }
    }

    /// The `n`-th pod stops being Ready.
    pub(crate) fn fail_pod(&mut self, n: usize) {
        if let Some(i) = n.checked_rem(self.pods.len()) {
            self.pods[i].ready = None;
            self.pods[i].version += 1;
        }
    }

    /// Runs everything until nothing changes.
    pub(crate) fn settle(&mut self) {
        let state = |s: &Self| (s.ids, s.pods.len(), s.ready());
        let mut still = 0;
        for _ in 0..2000 {
            let before = state(self);
            self.sync();
            self.remove_terminating();
            while self.ready_up(0) {}
            self.now += 1;
            still = if before == state(self) { still + 1 } else { 0 };
            if still > 1 + self.live["spec"]["minReadySeconds"].as_u64().unwrap_or(0) {
                return;
            }
        }
        panic!("never settles");
    }
}
