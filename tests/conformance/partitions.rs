//! StatefulSets in exact batches, carried through as the engine does: as many new pods as allowed at every hold, from
//! the highest place down, never two missing at once; and the way back, also from a version that never comes up.

use std::{
    sync::{LazyLock, Mutex},
    time::{Duration, Instant},
};

use graylane::{
    api::{Amount, FIELD_MANAGER, Uid, label},
    domain::{
        batches::{Goal, Records, RolloutAction, UndoAction, plan_batches, stateful},
        observe::{ObservedPod, ReadyWatch, StatefulSeen, observe_stateful_set as seen},
    },
};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::{
    cluster::{LIMIT, Place, cases, eventually, together},
    statefulsets::driver::{Set, State, manifest, most_missing, template},
};

static UID: LazyLock<Uid> = LazyLock::new(|| "release-uid".into());

cases!(partitions_forward, partitions_back);

async fn partitions_forward(at: Place) {
    together!(at: exact, own_partition, scaled, held);
}

async fn partitions_back(at: Place) {
    together!(at: crashing, crashing_in_parallel, aborted, foreign_hand);
}

struct Rollout {
    set: Set,
    wanted: StatefulSet,
    batches: Vec<Amount>,
    hold: bool,
    began: Instant,
    ready: Mutex<ReadyWatch>,
    /// Pods that had to be deleted.
    deleted: usize,
}

impl Rollout {
    async fn start(at: &Place, replicas: u32, spec: Value) -> Self {
        let set = Set::start(at, replicas, spec.clone()).await;
        let all: Vec<String> = (0..replicas).map(|n| format!("{n}:v1")).collect();
        set.stands(&all.join(" ")).await;
        let wanted = serde_json::from_value(manifest(replicas, spec)).unwrap();
        let (began, ready) = (Instant::now(), Mutex::default());
        Self {
            set,
            wanted,
            batches: vec![],
            hold: false,
            began,
            ready,
            deleted: 0,
        }
    }

    async fn release(&mut self, version: &str, plan: &[&str]) {
        let mut wanted = serde_json::to_value(&self.wanted).unwrap();
        wanted["spec"]["template"] = template(version);
        wanted["metadata"]["annotations"] = json!({label::APPLIED: version});
        self.wanted = serde_json::from_value(wanted).unwrap();
        let plan: Vec<Amount> = plan.iter().map(|t| t.parse().unwrap()).collect();
        self.batches = plan_batches(
            &plan,
            &[stateful::rollout_size(
                Some(&self.look().await),
                &self.wanted,
            )],
        );
    }

    async fn look(&self) -> StatefulSeen {
        // Pods last: what they do follows from what the set says.
        let live = self.set.live().await;
        let pods = self
            .set
            .at
            .api::<Pod>()
            .list(&ListParams::default())
            .await
            .unwrap();
        let pods: Vec<ObservedPod> = pods.into_iter().map(Into::into).collect();
        seen(&live, &pods, &|pod| {
            self.ready
                .lock()
                .unwrap()
                .ready_duration(pod, self.began.elapsed())
        })
    }

    fn next(&self, seen: &StatefulSeen, upto: usize) -> RolloutAction {
        let goal = Goal {
            manifest: &self.wanted,
            release: "r-1",
            home: None,
            release_uid: &"release-uid".into(),
            task: "deploy",
            attempt: 1,
            batches: &self.batches,
            upto,
            hold: self.hold,
            surge: None,
            records: Records::default(),
        };
        stateful::next_action(Some(seen), &goal)
    }

    async fn patch(&self, patch: &Value) -> bool {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        let api = self.set.at.api::<StatefulSet>();
        match api.patch("web", &params, &Patch::Merge(patch)).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 409 => false,
            Err(why) => panic!("{why}"),
        }
    }

    async fn delete(&mut self, pod: &graylane::domain::observe::PodSeen) {
        assert!(pod.ready.is_none(), "{pod:?}");
        let same = Preconditions {
            uid: Some(pod.uid.clone().into()),
            resource_version: Some(pod.version.clone()),
        };
        let params = DeleteParams {
            preconditions: Some(same),
            ..DeleteParams::default()
        };
        match self.set.at.api::<Pod>().delete(&pod.name, &params).await {
            Ok(_) => self.deleted += 1,
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(why) => panic!("{why}"),
        }
    }

    /// Until it stands; or until it waits for something of which the words say this.
    async fn until(&mut self, upto: usize, words: Option<&str>) -> RolloutAction {
        let started = Instant::now();
        loop {
            match self.next(&self.look().await, upto) {
                RolloutAction::Patch(patch, _) => drop(self.patch(&patch).await),
                RolloutAction::Delete(pod, _) => self.delete(&pod).await,
                RolloutAction::Wait(why, again) if words.is_some_and(|w| why.contains(w)) => {
                    return RolloutAction::Wait(why, again);
                }
                RolloutAction::Wait(why, _) => assert!(started.elapsed() < LIMIT, "{why}"),
                end => return end,
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn go(&mut self, upto: usize) -> RolloutAction {
        self.until(upto, None).await
    }

    /// All the way back; says how many patches that took.
    async fn undo(&mut self) -> usize {
        let (started, mut patches) = (Instant::now(), 0);
        loop {
            match stateful::undo_rollout(&self.look().await, &UID, &Records::default()) {
                UndoAction::Patch(patch) => patches += usize::from(self.patch(&patch).await),
                UndoAction::Delete(pod, _) => self.delete(&pod).await,
                UndoAction::Wait(why, _) => assert!(started.elapsed() < LIMIT, "{why}"),
                UndoAction::Done => return patches,
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn partition(&self) -> Option<i32> {
        self.set
            .live()
            .await
            .spec?
            .update_strategy?
            .rolling_update?
            .partition
    }

    async fn end(self) -> Vec<State> {
        self.set.end().await
    }
}

async fn exact(at: Place) {
    let mut r = Rollout::start(&at, 4, json!({})).await;
    r.release("v2", &["1", "50%", "100%"]).await;
    for (upto, pods) in [(1, "0:v1 1:v1 2:v1 3:v2"), (2, "0:v1 1:v1 2:v2 3:v2")] {
        assert_eq!(r.go(upto).await, RolloutAction::Held);
        r.set.stands(pods).await;
        assert_eq!(r.partition().await, Some(4 - upto as i32));
    }
    // A lost pod comes back in the version of its place.
    for place in [0, 3] {
        r.set.lose(place).await;
        r.set.stands("0:v1 1:v1 2:v2 3:v2").await;
    }
    assert_eq!(r.go(3).await, RolloutAction::Done);
    assert!(r.set.stands("0:v2 1:v2 2:v2 3:v2").await.done);
    assert_eq!(r.partition().await, Some(0));
    assert_eq!((r.set.revisions().await.len(), r.deleted), (2, 0));
    assert_eq!(most_missing(&r.end().await, 4), 1);
}

async fn own_partition(at: Place) {
    let own = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, "ordinals": {"start": 5}});
    let set = Set::start(&at, 3, own.clone()).await;
    set.stands("5:v1 6:v1 7:v1").await;
    let wanted = serde_json::from_value(manifest(3, own)).unwrap();
    let (began, ready) = (Instant::now(), Mutex::default());
    let mut r = Rollout {
        set,
        wanted,
        batches: vec![],
        hold: false,
        began,
        ready,
        deleted: 0,
    };
    r.release("v2", &["50%", "100%"]).await;
    assert_eq!(r.go(1).await, RolloutAction::Held);
    r.set.stands("5:v1 6:v1 7:v2").await;
    assert_eq!(r.go(2).await, RolloutAction::Done);
    r.set.stands("5:v1 6:v2 7:v2").await;
    assert_eq!(r.partition().await, Some(1));
    assert_eq!(r.undo().await, 1, "one patch");
    r.set.stands("5:v1 6:v1 7:v1").await;
}

async fn crashing(at: Place) {
    // Without that it would stay as it is.
    assert_eq!(crashes(at, json!({})).await, 1);
}

async fn crashing_in_parallel(at: Place) {
    // Whether the controller does it by itself is a matter of its version.
    assert!(crashes(at, json!({"podManagementPolicy": "Parallel"})).await <= 1);
}

async fn crashes(at: Place, spec: Value) -> usize {
    let mut r = Rollout::start(&at, 3, spec).await;
    r.release("crash", &["2", "100%"]).await;
    let RolloutAction::Wait(why, _) = r.until(1, Some("BackOff")).await else {
        panic!("it stands")
    };
    assert!(
        why.contains("0 of 2 new pods ready, waiting for web-2"),
        "{why}"
    );
    r.set.stands("0:v1 1:v1 2:crash!").await;
    assert_eq!(r.undo().await, 1, "one patch");
    r.set.stands("0:v1 1:v1 2:v1").await;
    assert_eq!(r.partition().await, Some(0));
    let deleted = r.deleted;
    assert_eq!(most_missing(&r.end().await, 3), 1);
    deleted
}

async fn aborted(at: Place) {
    let mut r = Rollout::start(&at, 4, json!({"minReadySeconds": 1})).await;
    r.release("v2", &["50%", "100%"]).await;
    assert_eq!(r.go(1).await, RolloutAction::Held);
    r.set.stands("0:v1 1:v1 2:v2 3:v2").await;
    assert_eq!(r.undo().await, 1, "one patch");
    assert!(r.set.stands("0:v1 1:v1 2:v1 3:v1").await.done);
    assert_eq!(
        (
            r.deleted,
            r.set.live().await.spec.unwrap().min_ready_seconds
        ),
        (0, Some(1))
    );
    assert_eq!(most_missing(&r.end().await, 4), 1);
}

async fn scaled(at: Place) {
    let mut r = Rollout::start(&at, 4, json!({})).await;
    r.release("v2", &["50%", "100%"]).await;
    assert_eq!(r.go(1).await, RolloutAction::Held);
    r.set.stands("0:v1 1:v1 2:v2 3:v2").await;
    let api = at.api::<StatefulSet>();
    for (replicas, after, pods) in [
        (
            6,
            "0:v1 1:v1 2:v2 3:v2 4:v2 5:v2",
            "0:v1 1:v1 2:v2 3:v2 4:v2 5:v2",
        ),
        (3, "0:v1 1:v1 2:v2", "0:v1 1:v2 2:v2"),
    ] {
        let scale = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        api.patch_scale("web", &PatchParams::default(), &scale)
            .await
            .unwrap();
        r.set.stands(after).await;
        assert_eq!(r.go(1).await, RolloutAction::Held);
        r.set.stands(pods).await;
    }
    assert_eq!(r.go(2).await, RolloutAction::Done);
    r.set.stands("0:v2 1:v2 2:v2").await;
}

async fn foreign_hand(at: Place) {
    let mut r = Rollout::start(&at, 3, json!({})).await;
    r.release("v2", &["1", "100%"]).await;
    assert_eq!(r.go(1).await, RolloutAction::Held);
    // Managers' times are whole seconds: who wrote last must not look as new as who changes it.
    let managers = r.set.live().await.metadata.managed_fields;
    let times = managers.iter().flatten().filter_map(|m| m.time.as_ref());
    let wrote = times.map(|time| time.0).max().unwrap();
    let later = async || (Timestamp::now().duration_since(wrote).as_secs() >= 1).then_some(());
    eventually("another second", later).await;
    let by = PatchParams {
        field_manager: Some("kubectl-rollout".into()),
        ..PatchParams::default()
    };
    let restart = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}});
    at.api::<StatefulSet>()
        .patch("web", &by, &Patch::Strategic(restart))
        .await
        .unwrap();
    // By the revision that it made, which the template alone would not tell.
    let RolloutAction::Stop(why) = r.until(2, Some("never")).await else {
        panic!("it went on")
    };
    assert!(
        why.contains("spec.template was changed") && why.contains("kubectl-rollout"),
        "{why}"
    );
    r.set
        .change(json!({"updateStrategy": {"rollingUpdate": {"partition": 3}}}))
        .await;
    assert!(matches!(r.go(2).await, RolloutAction::Stop(_)));
}

async fn held(at: Place) {
    let mut r = Rollout::start(&at, 4, json!({})).await;
    r.release("v2", &["100%"]).await;
    let RolloutAction::Patch(patch, _) = r.next(&r.look().await, 1) else {
        panic!("nothing begins")
    };
    assert!(r.patch(&patch).await);
    r.hold = true;
    assert_eq!(r.go(1).await, RolloutAction::Held);
    // How far it came until then is the controller's; from here on it stands.
    let lowest = r.partition().await.unwrap();
    let all: Vec<String> = (0..4)
        .map(|n| format!("{n}:{}", if n < lowest { "v1" } else { "v2" }))
        .collect();
    r.set.stands(&all.join(" ")).await;
    r.hold = false;
    assert_eq!(r.go(1).await, RolloutAction::Done);
    assert_eq!(most_missing(&r.end().await, 4), 1);
}
