//! In-memory StatefulSet with its pods and revisions: runs the controller's reconciles and the
//! kubelet's steps in any order.

use super::history::{self, RevisionPair, RevisionStep};
use super::model;
use super::plan::{self, Action, ReconcileInput, ReconcilePlan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) struct Sim {
    pub set: StatefulSet,
    pub pods: BTreeMap<i32, Arc<Pod>>,
    pub revisions: Vec<ControllerRevision>,
    pub now: Timestamp,
    /// Last number given out; used for uids.
    serial: i64,
}

pub(super) fn image(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|s| s.containers[0].image.as_deref())
        .unwrap_or_default()
}

impl Sim {
    pub fn new(spec: Value) -> Self {
        let mut whole = json!({"replicas": 3, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "v1"}]}}});
        json_patch::merge(&mut whole, &spec);
        let meta = json!({"name": "web", "namespace": "n", "uid": "set", "generation": 1});
        let set = serde_json::from_value(json!({"metadata": meta, "spec": whole})).unwrap();
        Self {
            set,
            pods: BTreeMap::new(),
            revisions: vec![],
            now: Timestamp::from_second(1_000_000).unwrap(),
            serial: 0,
        }
    }

    pub fn change(&mut self, spec: Value) {
        let mut value = serde_json::to_value(&self.set).unwrap();
        json_patch::merge(&mut value["spec"], &spec);
        self.set = serde_json::from_value(value).unwrap();
        *self.set.metadata.generation.as_mut().unwrap() += 1;
    }

    pub fn image(&mut self, image: &str) {
        self.change(json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}));
    }

    pub fn partition(&mut self, partition: i32) {
        self.change(json!({"updateStrategy": {"rollingUpdate": {"partition": partition}}}));
    }

    fn pair(&mut self) -> RevisionPair {
        loop {
            history::sort_revisions(&mut self.revisions);
            match history::next_step(&self.set, &self.revisions, 0) {
                RevisionStep::Resolved(pair) => return *pair,
                RevisionStep::Create(mut new) => {
                    assert!(
                        self.revisions
                            .iter()
                            .all(|r| r.metadata.name != new.metadata.name),
                        "one name twice"
                    );
                    new.metadata.creation_timestamp = Some(
                        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now),
                    );
                    self.revisions.push(*new);
                }
                RevisionStep::Renumber { name, revision, .. } => {
                    assert!(self.revisions.iter().all(|r| r.revision < revision));
                    self.revisions
                        .iter_mut()
                        .find(|r| r.name_any() == name)
                        .unwrap()
                        .revision = revision;
                }
            }
        }
    }

    /// Runs one reconcile, carries out its plan, and returns both.
    pub fn look(&mut self) -> (RevisionPair, ReconcilePlan) {
        let pair = self.pair();
        let pods: Vec<Arc<Pod>> = self.pods.values().cloned().collect();
        let plan = plan::plan_reconcile(&ReconcileInput {
            set: &self.set,
            pair: &pair,
            collisions: 0,
            pods: &pods,
            now: self.now,
        });
        for action in &plan.actions {
            self.serial += 1;
            match action {
                Action::Create(pod) => {
                    let mut pod = (**pod).clone();
                    let at = model::ordinal(&self.set, &pod).unwrap();
                    pod.metadata.uid = Some(self.serial.to_string());
                    pod.status = Some(PodStatus {
                        phase: Some("Pending".into()),
                        ..PodStatus::default()
                    });
                    assert!(self.pods.insert(at, Arc::new(pod)).is_none(), "made twice");
                }
                Action::Delete(pod) => {
                    let at = model::ordinal(&self.set, pod).unwrap();
                    let mut dying = (**pod).clone();
                    dying.metadata.deletion_timestamp = Some(
                        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now),
                    );
                    self.pods.insert(at, Arc::new(dying));
                }
                Action::Relabel { pod, labels } => {
                    let at = model::ordinal(&self.set, pod).unwrap();
                    let mut named = (**pod).clone();
                    named.labels_mut().extend(labels.clone());
                    self.pods.insert(at, Arc::new(named));
                }
            }
        }
        self.set.status = Some(plan.status.clone());
        let known = std::mem::take(&mut self.revisions);
        let old = history::superfluous_revisions(&self.set, known.clone(), &pair, &pods);
        self.revisions = known.into_iter().filter(|r| !old.contains(r)).collect();
        (pair, plan)
    }

    /// Runs the kubelet for one pod: removes a terminating one, starts a pending one. Images with
    /// `crash` in their name never become ready.
    pub fn kubelet(&mut self, ordinal: i32) {
        let Some(pod) = self.pods.get(&ordinal).cloned() else {
            return;
        };
        if model::is_terminating(&pod) {
            self.pods.remove(&ordinal);
        } else if super::super::pods::phase(&pod) == "Pending" {
            let ready = if image(&pod).contains("crash") {
                "False"
            } else {
                "True"
            };
            self.say(ordinal, "Running", ready);
        }
    }

    pub fn say(&mut self, ordinal: i32, phase: &str, ready: &str) {
        let Some(pod) = self.pods.get_mut(&ordinal) else {
            return;
        };
        let status = json!({"phase": phase,
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": self.now.to_string()}]});
        Arc::make_mut(pod).status = Some(serde_json::from_value(status).unwrap());
    }

    pub fn lose(&mut self, ordinal: i32) {
        if let Some(pod) = self.pods.get_mut(&ordinal) {
            Arc::make_mut(pod).metadata.deletion_timestamp = Some(
                k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now),
            );
        }
    }

    pub fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Runs until nothing changes.
    pub fn settle(&mut self) {
        for _ in 0..300 {
            let (_, plan) = self.look();
            let ordinals: Vec<i32> = self.pods.keys().copied().collect();
            let before = self.pods.clone();
            ordinals.into_iter().for_each(|at| self.kubelet(at));
            self.later(60);
            if plan.actions.is_empty() && plan.requeue.is_none() && before == self.pods {
                self.look();
                return;
            }
        }
        panic!("it never settles: {:?}", self.images());
    }

    /// Formats the pods as `0:v1 1:v2`.
    pub fn images(&self) -> String {
        let one = |(at, pod): (&i32, &Arc<Pod>)| format!("{at}:{}", image(pod));
        self.pods.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}
