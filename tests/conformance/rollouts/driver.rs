//! Carries one Deployment through its batches as the engine does, and writes down every state its pods were in.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt};
use graylane::{
    api::{Amount, FIELD_MANAGER, Uid, label},
    domain::{
        batches::{
            Goal, Records, RolloutAction, UndoAction, next_action, plan_batches, undo_rollout,
        },
        observe::{
            DeploymentSeen, ObservedPod, ObservedSet, ReadyWatch, observe_deployment as seen,
        },
    },
};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::{LIMIT, Place, eventually};

static UID: LazyLock<Uid> = LazyLock::new(|| "release-uid".into());

pub struct Rollout {
    at: Place,
    replicas: u32,
    strategy: Value,
    wanted: Deployment,
    batches: Vec<Amount>,
    seen: Arc<Mutex<Seen>>,
    began: Instant,
    ready: Mutex<ReadyWatch>,
    watch: Option<JoinHandle<()>>,
}

/// Every state the watch told, summed up.
#[derive(Clone, Debug)]
pub struct Seen {
    /// (new, old, Ready) in the order in which they were.
    pub states: Vec<(usize, usize, usize)>,
    pub fewest_ready: usize,
    pub most: usize,
    /// States with both versions.
    pub mixed: usize,
    pub new_only_grew: bool,
}

pub fn deployment(version: &str, replicas: u32, strategy: Value) -> Deployment {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "annotations": {label::APPLIED: version}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": format!("web:{version}")}]}}},
    });
    if !strategy.is_null() {
        object["spec"]["strategy"] = strategy;
    }
    serde_json::from_value(object).unwrap()
}

fn is_old(pod: &Pod) -> bool {
    pod.spec
        .as_ref()
        .is_some_and(|s| s.containers[0].image.as_deref() == Some("web:v1"))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|c| c.type_ == "Ready" && c.status == "True")
}

impl Rollout {
    /// Version `v1` runs, all of it Ready; from now on every state is written down.
    pub async fn start(at: &Place, replicas: u32, strategy: Value) -> Self {
        let wanted = deployment("v1", replicas, strategy.clone());
        at.create::<Deployment>(serde_json::to_value(&wanted).unwrap())
            .await;
        let api = at.api::<Deployment>();
        let settled = async || {
            let status = api.get("web").await.unwrap().status.unwrap_or_default();
            (status.available_replicas == Some(replicas as i32)).then_some(())
        };
        eventually("v1 serves", settled).await;
        let states = Seen {
            states: vec![],
            fewest_ready: usize::MAX,
            most: 0,
            mixed: 0,
            new_only_grew: true,
        };
        let seen = Arc::new(Mutex::new(states));
        let (pods, into) = (at.api::<Pod>(), seen.clone());
        let first = pods.list(&ListParams::default()).await.unwrap();
        let version = first.metadata.resource_version.unwrap();
        let mut known: HashMap<String, Pod> =
            first.items.into_iter().map(|p| (p.name_any(), p)).collect();
        let watch = tokio::spawn(async move {
            let mut events = pods
                .watch(&WatchParams::default(), &version)
                .await
                .unwrap()
                .boxed();
            while let Ok(Some(event)) = events.try_next().await {
                match event {
                    WatchEvent::Added(p) | WatchEvent::Modified(p) => {
                        drop(known.insert(p.name_any(), p));
                    }
                    WatchEvent::Deleted(p) => drop(known.remove(&p.name_any())),
                    _ => continue,
                }
                let active = || {
                    known
                        .values()
                        .filter(|p| p.metadata.deletion_timestamp.is_none())
                };
                let old = active().filter(|p| is_old(p)).count();
                let state = (
                    active().count() - old,
                    old,
                    active().filter(|p| is_ready(p)).count(),
                );
                into.lock().unwrap().add(state);
            }
        });
        Self {
            at: at.clone(),
            replicas,
            strategy,
            wanted,
            batches: vec![],
            seen,
            began: Instant::now(),
            ready: Mutex::default(),
            watch: Some(watch),
        }
    }

    pub async fn release(&mut self, version: &str, plan: &[&str]) {
        self.wanted = deployment(version, self.replicas, self.strategy.clone());
        self.wanted.metadata.namespace = Some(self.at.namespace.clone());
        let plan: Vec<Amount> = plan.iter().map(|t| t.parse().unwrap()).collect();
        self.batches = plan_batches(&plan, &[self.replicas]);
    }

    pub async fn live(&self) -> Deployment {
        self.at.api::<Deployment>().get("web").await.unwrap()
    }

    async fn look(&self) -> DeploymentSeen {
        let all = ListParams::default();
        // Pods last: what they do follows from what the others say.
        let live = self.live().await;
        let sets = self.at.api::<ReplicaSet>().list(&all).await.unwrap();
        let sets: Vec<ObservedSet> = sets.into_iter().map(Into::into).collect();
        let pods = self.at.api::<Pod>().list(&all).await.unwrap();
        let pods: Vec<ObservedPod> = pods.into_iter().map(Into::into).collect();
        let lasted = |pod: &ObservedPod| {
            self.ready
                .lock()
                .unwrap()
                .ready_duration(pod, self.began.elapsed())
        };
        seen(&live, sets.iter(), pods.iter(), &lasted)
    }

    fn next(&self, seen: &DeploymentSeen, upto: usize) -> RolloutAction {
        next_action(
            Some(seen),
            &Goal {
                manifest: &self.wanted,
                release: "r-1",
                home: None,
                release_uid: &UID,
                task: "deploy",
                attempt: 1,
                batches: &self.batches,
                upto,
                hold: false,
                surge: None,
                records: Records::default(),
            },
        )
    }

    async fn patch(&self, patch: &Value) -> bool {
        assert!(
            patch.pointer("/metadata/resourceVersion").is_some(),
            "{patch}"
        );
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        match self
            .at
            .api::<Deployment>()
            .patch("web", &params, &Patch::Merge(patch))
            .await
        {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 409 => false,
            Err(why) => panic!("{why}: {patch}"),
        }
    }

    /// Until it is held, done or stopped.
    pub async fn go(&mut self, upto: usize) -> RolloutAction {
        let started = Instant::now();
        loop {
            match self.next(&self.look().await, upto) {
                RolloutAction::Patch(patch, _) => drop(self.patch(&patch).await),
                RolloutAction::Wait(why, _) => {
                    assert!(
                        started.elapsed() < LIMIT,
                        "it waits for ever: {why}; {:?}",
                        self.seen.lock().unwrap()
                    );
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
                end => return end,
            }
        }
    }

    /// What it waits for when a new version does not get ready.
    pub async fn stuck(&mut self, upto: usize) -> String {
        let started = Instant::now();
        loop {
            match self.next(&self.look().await, upto) {
                RolloutAction::Patch(patch, _) => drop(self.patch(&patch).await),
                RolloutAction::Wait(why, _) if why.contains("BackOff") => return why,
                RolloutAction::Wait(..) if started.elapsed() < LIMIT => {
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// All the way back; says how many patches that took.
    pub async fn undo(&mut self) -> usize {
        let (started, mut patches) = (Instant::now(), 0);
        loop {
            match undo_rollout(&self.look().await, &UID, &Records::default()) {
                UndoAction::Patch(patch) => patches += usize::from(self.patch(&patch).await),
                UndoAction::Wait(why, _) => {
                    assert!(started.elapsed() < LIMIT, "{why}");
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
                UndoAction::Delete(pod, why) => panic!("{}: {why}", pod.name),
                UndoAction::Done => return patches,
            }
        }
    }

    /// (new, old), without those that are going.
    pub async fn counts(&self) -> (usize, usize) {
        let pods = self
            .at
            .api::<Pod>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        let active = || {
            pods.iter()
                .filter(|p| p.metadata.deletion_timestamp.is_none())
        };
        let old = active().filter(|p| is_old(p)).count();
        (active().count() - old, old)
    }

    /// These counts, and after a moment in which the controllers could have moved on, these again.
    pub async fn settles(&self, new: usize, old: usize) {
        eventually(&format!("{new} new and {old} old"), async || {
            (self.counts().await == (new, old)).then_some(())
        })
        .await;
        let observed = async || {
            let live = self.live().await;
            (live.status.and_then(|s| s.observed_generation) == live.metadata.generation)
                .then_some(())
        };
        eventually("the controller has seen it", observed).await;
        assert_eq!(self.counts().await, (new, old));
    }

    pub async fn revisions(&self) -> usize {
        self.at
            .api::<ReplicaSet>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len()
    }

    /// All that was seen.
    pub async fn end(mut self) -> Seen {
        // What a list shows now the watch tells soon.
        let now = self.counts().await;
        let told = async || {
            self.seen
                .lock()
                .unwrap()
                .states
                .last()
                .is_some_and(|s| (s.0, s.1) == now)
                .then_some(())
        };
        eventually("the watch has told all", told).await;
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        self.seen.lock().unwrap().clone()
    }
}

impl Seen {
    fn add(&mut self, state: (usize, usize, usize)) {
        let (new, old, ready) = state;
        self.new_only_grew &= self.states.last().is_none_or(|s| s.0 <= new);
        self.fewest_ready = self.fewest_ready.min(ready);
        self.most = self.most.max(new + old);
        self.mixed += usize::from(new > 0 && old > 0);
        if self.states.last() != Some(&state) {
            self.states.push(state);
        }
    }
}
