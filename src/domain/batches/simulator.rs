//! A small cluster for tests: the native Deployment and ReplicaSet controllers as in
//! kube-controller-manager 1.36 (sync, scale, rolling, recreate), one write at a time, so that a
//! test can look in between.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::util::intstr::IntOrString};
use serde_json::{Value, json};

use super::template;
use crate::domain::observe::{self, DeploymentSeen, ObservedPod, ObservedSet};

pub(super) mod object;

pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) template: Value,
    pub(crate) replicas: u32,
    annotations: Value,
    min_ready: i64,
    max: u32,
    desired: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct SimPod {
    pub(crate) id: u32,
    pub(crate) set: String,
    pub(crate) image: String,
    pub(crate) ready: Option<i64>,
}

/// One Deployment with everything its controllers create for it.
pub(crate) struct Sim {
    pub(crate) live: Value,
    pub(crate) sets: Vec<Set>,
    pub(crate) pods: Vec<SimPod>,
    pub(crate) now: i64,
    pub(crate) broken: Vec<String>,
    ids: u32,
}

impl Sim {
    pub(crate) fn create(manifest: &Value, uid: &str, now: i64) -> Self {
        let live = object::create_object(manifest, uid);
        Self {
            live,
            sets: vec![],
            pods: vec![],
            now,
            broken: vec![],
            ids: 0,
        }
    }

    /// Takes over what another Deployment of the same name left behind when it was deleted alone.
    pub(crate) fn adopt(&mut self, left: Self) {
        (self.sets, self.pods, self.ids) = (left.sets, left.pods, left.ids);
    }

    pub(crate) fn to_deployment(&self) -> Deployment {
        serde_json::from_value(self.live.clone()).unwrap()
    }

    pub(crate) fn replicas(&self) -> u32 {
        self.live["spec"]["replicas"].as_u64().unwrap_or(1) as u32
    }

    /// Merge patch as a client sends it: a stale one is refused.
    pub(crate) fn patch(&mut self, patch: &Value) -> Result<(), &'static str> {
        object::merge_patch(&mut self.live, patch)?;
        let rolling = &self.live["spec"]["strategy"]["rollingUpdate"];
        assert!(
            rolling["maxSurge"] != 0 || rolling["maxUnavailable"] != 0,
            "validation: both 0"
        );
        Ok(())
    }

    /// `kubectl rollout undo`: restores the template and all annotations of the version before.
    /// Refused while paused.
    pub(crate) fn undo(&mut self) -> bool {
        let new = self.new_set();
        let before = (0..self.sets.len()).rev().find(|i| Some(*i) != new);
        let Some(before) = before.filter(|_| self.live["spec"]["paused"] != true) else {
            return false;
        };
        self.live["spec"]["template"] = self.sets[before].template.clone();
        self.live["metadata"]["annotations"] = self.sets[before].annotations.clone();
        let generation = self.live["metadata"]["generation"].as_i64().unwrap() + 1;
        self.live["metadata"]["generation"] = generation.into();
        object::bump_version(&mut self.live);
        true
    }

    pub(crate) fn seen(&self) -> DeploymentSeen {
        let sets: Vec<ObservedSet> = self.sets.iter().map(|s| self.set_object(s)).collect();
        let pods: Vec<ObservedPod> = self.pods.iter().map(|p| self.pod_object(p)).collect();
        observe::observe_deployment(&self.to_deployment(), &sets, &pods, &|pod| {
            object::ready_duration(pod, self.now)
        })
    }

    fn set_object(&self, set: &Set) -> ObservedSet {
        let mut template = set.template.clone();
        template["metadata"]["labels"][template::HASH_LABEL] = set.name.as_str().into();
        serde_json::from_value(json!({
            "metadata": {"name": set.name, "uid": set.name, "labels": {template::HASH_LABEL: set.name},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "controller": true,
                    "uid": self.live["metadata"]["uid"]}]},
            "spec": {"replicas": set.replicas, "selector": {}, "template": template},
        }))
        .unwrap()
    }

    fn pod_object(&self, pod: &SimPod) -> ObservedPod {
        serde_json::from_value(json!({
            "metadata": {"name": format!("pod-{}", pod.id), "uid": format!("pod-{}", pod.id),
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": pod.set, "uid": pod.set,
                    "controller": true}]},
            "status": object::pod_status(pod.ready, self.broken.contains(&pod.image)),
        }))
        .unwrap()
    }

    /// Pods with this image, and how many of them are Ready.
    pub(crate) fn count_by_image(&self, image: &str) -> (u32, u32) {
        let own = self.pods.iter().filter(|p| p.image == image);
        (
            own.clone().count() as u32,
            own.filter(|p| p.ready.is_some()).count() as u32,
        )
    }

    pub(crate) fn ready(&self) -> u32 {
        self.pods.iter().filter(|p| p.ready.is_some()).count() as u32
    }

    fn surge_and_unavailable(&self) -> (u32, u32) {
        let d = self.to_deployment();
        let strategy = d.spec.unwrap().strategy.unwrap_or_default();
        if strategy.type_.as_deref() == Some("Recreate") {
            return (0, 0);
        }
        let rolling = strategy.rolling_update.unwrap_or_default();
        let of = |v: Option<IntOrString>, up: bool| match v
            .unwrap_or(IntOrString::String("25%".into()))
        {
            IntOrString::Int(n) => n as u32,
            IntOrString::String(s) => {
                let product = s.trim_end_matches('%').parse::<u32>().unwrap() * self.replicas();
                if up {
                    product.div_ceil(100)
                } else {
                    product / 100
                }
            }
        };
        let (surge, down) = (
            of(rolling.max_surge, true),
            of(rolling.max_unavailable, false),
        );
        if surge == 0 && down == 0 {
            (0, 1)
        } else {
            (surge, down)
        }
    }

    fn available_pods(&self, set: &Set) -> u32 {
        let own = self.pods.iter().filter(|p| p.set == set.name);
        own.filter(|p| p.ready.is_some_and(|r| r + set.min_ready <= self.now))
            .count() as u32
    }

    fn total_replicas(&self) -> u32 {
        self.sets.iter().map(|s| s.replicas).sum()
    }

    fn new_set(&self) -> Option<usize> {
        let wanted = template::normalize_template(&self.live["spec"]["template"]);
        self.sets
            .iter()
            .position(|s| template::normalize_template(&s.template) == wanted)
    }

    /// One pass of the Deployment controller.
    pub(crate) fn sync(&mut self) {
        let (surge, down) = self.surge_and_unavailable();
        let replicas = self.replicas();
        let paused = self.live["spec"]["paused"] == true;
        if let Some(new) = self.new_set() {
            self.sets[new].min_ready = self.live["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
            // Annotations are added and changed, never removed.
            json_patch::merge(
                &mut self.sets[new].annotations,
                &self.live["metadata"]["annotations"],
            );
        }
        let scaling = self
            .sets
            .iter()
            .any(|s| s.replicas > 0 && s.desired != replicas);
        if paused || scaling {
            self.sync_scale(replicas, surge);
        } else if self.live["spec"]["strategy"]["type"] == "Recreate" {
            self.sync_recreate(replicas);
        } else {
            self.sync_rolling(replicas, surge, down.min(replicas));
        }
        for set in &mut self.sets {
            (set.desired, set.max) = (replicas, replicas + surge);
        }
        self.live["status"] = json!({"observedGeneration": self.live["metadata"]["generation"], "replicas": self.total_replicas()});
        object::bump_version(&mut self.live);
    }

    fn ensure_new_set(&mut self, replicas: u32) -> usize {
        self.new_set().unwrap_or_else(|| {
            self.ids += 1;
            let min_ready = self.live["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
            let template = self.live["spec"]["template"].clone();
            let name = format!(
                "{}-rs{}",
                self.live["metadata"]["uid"].as_str().unwrap(),
                self.ids
            );
            let annotations = self.live["metadata"]["annotations"].clone();
            self.sets.push(Set {
                name,
                template,
                replicas: 0,
                annotations,
                min_ready,
                max: 0,
                desired: replicas,
            });
            self.sets.len() - 1
        })
    }

    fn sync_recreate(&mut self, replicas: u32) {
        let new = self.new_set();
        let old: Vec<usize> = (0..self.sets.len())
            .filter(|i| Some(*i) != new && self.sets[*i].replicas > 0)
            .collect();
        for i in &old {
            self.sets[*i].replicas = 0;
        }
        let names: Vec<&String> = self
            .sets
            .iter()
            .enumerate()
            .filter(|(i, _)| Some(*i) != new)
            .map(|(_, s)| &s.name)
            .collect();
        if self.pods.iter().all(|p| !names.contains(&&p.set)) {
            let new = self.ensure_new_set(replicas);
            self.sets[new].replicas = replicas;
        }
    }

    fn sync_rolling(&mut self, replicas: u32, surge: u32, down: u32) {
        let new = self.ensure_new_set(replicas);
        if self.sets[new].replicas > replicas {
            self.sets[new].replicas = replicas;
            return;
        }
        let room = (replicas + surge).saturating_sub(self.total_replicas());
        let up = room.min(replicas - self.sets[new].replicas);
        if up > 0 {
            self.sets[new].replicas += up;
            return;
        }
        let least = i64::from(replicas) - i64::from(down);
        let missing =
            i64::from(self.sets[new].replicas) - i64::from(self.available_pods(&self.sets[new]));
        let mut may = i64::from(self.total_replicas()) - least - missing;
        if may <= 0 {
            return;
        }
        let old: Vec<usize> = (0..self.sets.len()).filter(|i| *i != new).collect();
        for i in &old {
            let sick =
                i64::from(self.sets[*i].replicas) - i64::from(self.available_pods(&self.sets[*i]));
            let take = sick.clamp(0, may.max(0));
            self.sets[*i].replicas -= take as u32;
            may -= take;
        }
        let available: i64 = self
            .sets
            .iter()
            .map(|s| i64::from(self.available_pods(s).min(s.replicas)))
            .sum();
        let mut take = available - least;
        for i in &old {
            let n = take.clamp(0, i64::from(self.sets[*i].replicas));
            self.sets[*i].replicas -= n as u32;
            take -= n;
        }
    }

    fn sync_scale(&mut self, replicas: u32, surge: u32) {
        let new = self.new_set();
        let active: Vec<usize> = (0..self.sets.len())
            .filter(|i| self.sets[*i].replicas > 0)
            .collect();
        if active.len() <= 1 {
            let Some(one) = active
                .first()
                .copied()
                .or(new)
                .or(self.sets.len().checked_sub(1))
            else {
                return;
            };
            self.sets[one].replicas = replicas;
            return;
        }
        if let Some(new) = new
            && self.sets[new].replicas == replicas
            && self.sets[new].desired == replicas
            && self.available_pods(&self.sets[new]) == replicas
        {
            for i in active.iter().filter(|i| **i != new) {
                self.sets[*i].replicas = 0;
            }
            return;
        }
        let allowed = if replicas > 0 {
            i64::from(replicas + surge)
        } else {
            0
        };
        let add = allowed - i64::from(self.total_replicas());
        let mut order = active;
        // Larger sets first; among equals newer first when growing, older first when shrinking.
        order.sort_by_key(|i| {
            let at = *i as i64;
            (
                std::cmp::Reverse(self.sets[*i].replicas),
                if add > 0 { -at } else { at },
            )
        });
        let mut added = 0;
        let mut sizes = vec![];
        for i in &order {
            let set = &self.sets[*i];
            let own = i64::from(set.replicas);
            let share = if replicas == 0 {
                -own
            } else {
                (own as f64 * allowed as f64 / f64::from(set.max.max(1))).round() as i64 - own
            };
            let left = add - added;
            let share = if add > 0 {
                share.min(left)
            } else {
                share.max(left)
            };
            let share = if add == 0 { 0 } else { share };
            added += share;
            sizes.push(own + share);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + add - added).max(0);
        }
        for (i, size) in order.iter().zip(sizes) {
            self.sets[*i].replicas = size.max(0) as u32;
        }
    }

    /// One pass of the ReplicaSet controllers: pods are created and removed at once.
    pub(crate) fn sync_pods(&mut self) {
        for set in &self.sets {
            let mut own: Vec<SimPod> = self
                .pods
                .iter()
                .filter(|p| p.set == set.name)
                .cloned()
                .collect();
            // Pods that are not Ready first, then the youngest.
            own.sort_by_key(|p| (p.ready.is_some(), std::cmp::Reverse(p.id)));
            for extra in own
                .iter()
                .take(own.len().saturating_sub(set.replicas as usize))
            {
                self.pods.retain(|p| p.id != extra.id);
            }
            for _ in own.len()..set.replicas as usize {
                self.ids += 1;
                let image = set.template["spec"]["containers"][0]["image"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                self.pods.push(SimPod {
                    id: self.ids,
                    set: set.name.clone(),
                    image,
                    ready: None,
                });
            }
        }
    }

    /// Makes the `n`-th possible pod Ready; false when none is left.
    pub(crate) fn ready_up(&mut self, n: usize) -> bool {
        let (now, broken) = (self.now, self.broken.clone());
        let mut can: Vec<&mut SimPod> = self
            .pods
            .iter_mut()
            .filter(|p| p.ready.is_none() && !broken.contains(&p.image))
            .collect();
        let Some(i) = n.checked_rem(can.len()) else {
            return false;
        };
        can[i].ready = Some(now);
        true
    }

    /// Runs all controllers until nothing changes.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200 {
            let before = (
                self.total_replicas(),
                self.pods.len(),
                self.ready(),
                self.ids,
            );
            self.sync();
            self.sync_pods();
            while self.ready_up(0) {}
            self.now += 1;
            if before
                == (
                    self.total_replicas(),
                    self.pods.len(),
                    self.ready(),
                    self.ids,
                )
            {
                return;
            }
        }
        panic!("never settles");
    }
}
