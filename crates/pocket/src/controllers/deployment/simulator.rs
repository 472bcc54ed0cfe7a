//! In-memory cluster for the pure plan: ReplicaSets are carried out at once, pods become ready on
//! request.

use super::model::{max_unavailable, replicas, resolve_fenceposts, rs_replicas};
use super::plan::{Action, SyncInput, plan_sync};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub id: u64,
    pub set: String,
    /// Second since which the pod is Ready.
    pub ready: Option<i64>,
}

pub(super) struct Sim {
    pub d: Deployment,
    pub sets: Vec<ReplicaSet>,
    pub pods: Vec<Pod>,
    pub now: i64,
    /// Images whose pods never become ready.
    pub broken: BTreeSet<String>,
    pub notes: Vec<String>,
    ids: u64,
}

impl Sim {
    pub fn new(n: i32, image: &str) -> Self {
        let d = serde_json::from_value(json!({
            "metadata": {"name": "d", "namespace": "ns", "uid": "u", "generation": 1},
            "spec": {"replicas": n, "selector": {"matchLabels": {"app": "a"}}, "template": Self::template(image)},
        }))
        .unwrap();
        Self {
            d,
            sets: vec![],
            pods: vec![],
            now: 1_000_000,
            broken: BTreeSet::new(),
            notes: vec![],
            ids: 0,
        }
    }

    pub fn template(image: &str) -> Value {
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
    }

    /// Applies one merge patch to the spec, as a client would send it.
    pub fn patch(&mut self, spec: Value) {
        let mut value = serde_json::to_value(&self.d).unwrap();
        json_patch::merge(&mut value, &json!({"spec": spec}));
        self.d = serde_json::from_value(value).unwrap();
        *self.d.metadata.generation.as_mut().unwrap() += 1;
    }

    pub fn image(rs: &ReplicaSet) -> String {
        let template = rs.spec.as_ref().unwrap().template.as_ref().unwrap();
        template.spec.as_ref().unwrap().containers[0]
            .image
            .clone()
            .unwrap()
    }

    /// Counts existing pods as (new, old) by the image of the current template.
    pub fn split(&self) -> (i32, i32) {
        let image = self
            .d
            .spec
            .as_ref()
            .unwrap()
            .template
            .spec
            .as_ref()
            .unwrap()
            .containers[0]
            .image
            .clone();
        let new = self
            .pods
            .iter()
            .filter(|p| Some(self.image_of(p)) == image)
            .count();
        (new as i32, (self.pods.len() - new) as i32)
    }

    pub fn image_of(&self, pod: &Pod) -> String {
        Self::image(
            self.sets
                .iter()
                .find(|rs| rs.metadata.name.as_ref() == Some(&pod.set))
                .unwrap(),
        )
    }

    pub fn ready_of(&self, image: &str) -> i32 {
        self.pods
            .iter()
            .filter(|p| p.ready.is_some() && self.image_of(p) == image)
            .count() as i32
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let rs = self
            .sets
            .iter()
            .find(|rs| rs.metadata.name.as_ref() == Some(&pod.set))
            .unwrap();
        let wait = rs.spec.as_ref().unwrap().min_ready_seconds.unwrap_or(0);
        pod.ready
            .is_some_and(|since| since + i64::from(wait) <= self.now)
    }

    pub fn available(&self) -> i32 {
        self.pods.iter().filter(|p| self.is_available(p)).count() as i32
    }

    pub fn ready(&self) -> i32 {
        self.pods.iter().filter(|p| p.ready.is_some()).count() as i32
    }

    /// Runs the Deployment controller once; returns whether it changed anything.
    pub fn sync(&mut self) -> bool {
        let mut live = BTreeMap::new();
        for rs in &self.sets {
            let n = self
                .pods
                .iter()
                .filter(|p| Some(&p.set) == rs.metadata.name.as_ref())
                .count();
            live.insert(rs.metadata.uid.clone().unwrap(), n as i32);
        }
        let before = self.d.clone();
        let now = Timestamp::from_second(self.now).unwrap();
        let plan = plan_sync(&SyncInput {
            deployment: &self.d,
            sets: &self.sets,
            pods: &live,
            now,
        });
        let acted = !plan.actions.is_empty();
        for action in plan.actions {
            self.apply(action);
        }
        self.notes.extend(plan.notes);
        self.d.status = Some(plan.status);
        if let Some(revision) = plan.revision {
            let key = super::model::REVISION.to_owned();
            self.d
                .metadata
                .annotations
                .get_or_insert_default()
                .insert(key, revision);
        }
        acted || self.d != before
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Create(rs) => {
                let mut rs = *rs;
                assert!(
                    self.sets
                        .iter()
                        .all(|r| r.metadata.name != rs.metadata.name),
                    "created twice"
                );
                rs.metadata.uid = rs.metadata.name.clone();
                rs.metadata.generation = Some(1);
                rs.metadata.creation_timestamp =
                    Some(Time(Timestamp::from_second(self.now).unwrap()));
                self.sets.push(rs);
            }
            Action::Update {
                name,
                replicas,
                min_ready_seconds,
                annotations,
                ..
            } => {
                let rs = self
                    .sets
                    .iter_mut()
                    .find(|r| r.metadata.name.as_ref() == Some(&name))
                    .unwrap();
                let spec = rs.spec.as_mut().unwrap();
                spec.replicas = replicas.or(spec.replicas);
                spec.min_ready_seconds = min_ready_seconds.or(spec.min_ready_seconds);
                rs.metadata
                    .annotations
                    .get_or_insert_default()
                    .extend(annotations);
                *rs.metadata.generation.as_mut().unwrap() += 1;
            }
            Action::Delete { name, .. } => {
                assert!(self.pods.iter().all(|p| p.set != name), "deleted with pods");
                self.sets
                    .retain(|r| r.metadata.name.as_ref() != Some(&name));
            }
        }
    }

    /// Runs the ReplicaSet controller for all ReplicaSets; returns whether it changed anything.
    pub fn obey(&mut self) -> bool {
        let mut changed = false;
        for i in 0..self.sets.len() {
            let name = self.sets[i].metadata.name.clone().unwrap();
            let want = rs_replicas(&self.sets[i]) as usize;
            let mut own: Vec<Pod> = self
                .pods
                .iter()
                .filter(|p| p.set == name)
                .cloned()
                .collect();
            own.sort_by_key(|p| (p.ready.is_some(), std::cmp::Reverse((p.ready, p.id))));
            for extra in own.iter().take(own.len().saturating_sub(want)) {
                self.pods.retain(|p| p.id != extra.id);
                changed = true;
            }
            for _ in own.len()..want {
                self.ids += 1;
                self.pods.push(Pod {
                    id: self.ids,
                    set: name.clone(),
                    ready: None,
                });
                changed = true;
            }
        }
        self.observe() || changed
    }

    /// Updates all ReplicaSet statuses; returns whether any changed.
    pub fn observe(&mut self) -> bool {
        let mut changed = false;
        for i in 0..self.sets.len() {
            let name = self.sets[i].metadata.name.clone();
            let own = || self.pods.iter().filter(|p| Some(&p.set) == name.as_ref());
            let status = ReplicaSetStatus {
                replicas: own().count() as i32,
                ready_replicas: Some(own().filter(|p| p.ready.is_some()).count() as i32),
                available_replicas: Some(own().filter(|p| self.is_available(p)).count() as i32),
                observed_generation: self.sets[i].metadata.generation,
                ..ReplicaSetStatus::default()
            };
            changed |= self.sets[i].status.as_ref() != Some(&status);
            self.sets[i].status = Some(status);
        }
        changed
    }

    pub fn ready_up(&mut self, n: usize) -> bool {
        let now = self.now;
        let wake: Vec<u64> = self
            .pods
            .iter()
            .filter(|p| p.ready.is_none() && !self.broken.contains(&self.image_of(p)))
            .map(|p| p.id)
            .take(n)
            .collect();
        for pod in self.pods.iter_mut().filter(|p| wake.contains(&p.id)) {
            pod.ready = Some(now);
        }
        !wake.is_empty()
    }

    /// Runs until nothing changes; `each` is called with every intermediate state.
    pub fn settle(&mut self, mut each: impl FnMut(&Self)) {
        for round in 0.. {
            assert!(round < 2_000, "never settles: {:?}", self.notes);
            let mut moved = self.sync();
            moved |= self.obey();
            each(self);
            moved |= self.ready_up(1);
            moved |= self.observe();
            each(self);
            if !moved {
                break;
            }
            self.now += 1;
        }
    }

    pub fn check_bounds(&self, available_before: i32) {
        let (want, surge) = (replicas(&self.d), resolve_fenceposts(&self.d).0);
        let specs: i32 = self.sets.iter().map(rs_replicas).sum();
        assert!(
            specs <= want + surge,
            "asked for {specs} of {want}+{surge}: {:?}",
            self.notes
        );
        assert!(
            self.pods.len() as i32 <= want + surge,
            "{} pods of {want}+{surge}",
            self.pods.len()
        );
        let floor = (want - max_unavailable(&self.d)).min(available_before);
        assert!(
            self.available() >= floor,
            "{} available, floor {floor}: {:?}",
            self.available(),
            self.notes
        );
    }
}
