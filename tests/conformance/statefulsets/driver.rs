//! One StatefulSet `web`, what its pods are, and every state they were in.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::Pod,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::{Place, eventually};

pub struct Set {
    pub at: Place,
    history: Arc<Mutex<Vec<State>>>,
    watch: JoinHandle<()>,
}

/// Of each pod by its name.
pub type State = BTreeMap<String, Seen>;

#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub version: String,
    pub ready: bool,
    pub leaving: bool,
    pub uid: String,
}

pub fn manifest(replicas: u32, spec: Value) -> Value {
    let mut whole = json!({"replicas": replicas, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
        "template": template("v1")});
    json_patch::merge(&mut whole, &spec);
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}, "spec": whole})
}

pub fn template(version: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": format!("web:{version}")}]}})
}

pub fn partition(at: u32) -> Value {
    json!({"updateStrategy": {"rollingUpdate": {"partition": at}}})
}

fn seen(pod: &Pod) -> Seen {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    let image = pod
        .spec
        .as_ref()
        .and_then(|s| s.containers[0].image.clone())
        .unwrap();
    Seen {
        version: image.trim_start_matches("web:").to_owned(),
        ready: conditions
            .into_iter()
            .flatten()
            .any(|c| c.type_ == "Ready" && c.status == "True"),
        leaving: pod.metadata.deletion_timestamp.is_some(),
        uid: pod.uid().unwrap(),
    }
}

impl Set {
    /// From now on every state is written down.
    pub async fn start(at: &Place, replicas: u32, spec: Value) -> Self {
        let pods: Api<Pod> = at.api();
        let version = pods
            .list(&ListParams::default())
            .await
            .unwrap()
            .metadata
            .resource_version
            .unwrap();
        let history = Arc::new(Mutex::new(vec![]));
        let into = history.clone();
        let watch = tokio::spawn(async move {
            let mut events = pods
                .watch(&WatchParams::default(), &version)
                .await
                .unwrap()
                .boxed();
            let mut known = State::new();
            while let Ok(Some(event)) = events.try_next().await {
                match event {
                    WatchEvent::Added(p) | WatchEvent::Modified(p) => {
                        drop(known.insert(p.name_any(), seen(&p)));
                    }
                    WatchEvent::Deleted(p) => drop(known.remove(&p.name_any())),
                    _ => continue,
                }
                let mut history = into.lock().unwrap();
                if history.last() != Some(&known) {
                    history.push(known.clone());
                }
            }
        });
        at.create::<StatefulSet>(manifest(replicas, spec)).await;
        Self {
            at: at.clone(),
            history,
            watch,
        }
    }

    fn api(&self) -> Api<StatefulSet> {
        self.at.api()
    }

    pub async fn live(&self) -> StatefulSet {
        self.api().get("web").await.unwrap()
    }

    pub async fn change(&self, spec: Value) {
        self.api()
            .patch(
                "web",
                &PatchParams::default(),
                &Patch::Merge(json!({"spec": spec})),
            )
            .await
            .unwrap();
    }

    pub async fn release(&self, version: &str) {
        self.change(json!({"template": template(version)})).await;
    }

    pub async fn pods(&self) -> State {
        let all = self
            .at
            .api::<Pod>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        all.iter().map(|p| (p.name_any(), seen(p))).collect()
    }

    /// `0:v1 1:v2!`, an exclamation mark on those that are not Ready; one that leaves is `~`.
    pub async fn told(&self) -> String {
        let one = |(name, pod): (&String, &Seen)| {
            let mark = if pod.leaving {
                "~"
            } else if pod.ready {
                ""
            } else {
                "!"
            };
            format!("{}:{}{mark}", name.trim_start_matches("web-"), pod.version)
        };
        self.pods()
            .await
            .iter()
            .map(one)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The pods are so and counted so; and after two more looks nothing has moved. What the status says then.
    pub async fn stands(&self, pods: &str) -> Numbers {
        let mut last = String::new();
        let settled = tokio::time::timeout(crate::cluster::LIMIT, async {
            loop {
                let (told, numbers) = (self.told().await, self.numbers().await);
                last = format!("{told} {numbers:?}");
                if told == pods && numbers.seen && numbers.fits(pods) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            }
        });
        assert!(settled.await.is_ok(), "wanted {pods}, it is {last}");
        let before = self.pods().await;
        for limit in [11, 10] {
            self.change(json!({"revisionHistoryLimit": limit})).await;
            eventually("it looked again", async || {
                self.numbers().await.seen.then_some(())
            })
            .await;
        }
        assert_eq!(self.pods().await, before, "nothing moves");
        let numbers = self.numbers().await;
        assert!(numbers.fits(pods), "{numbers:?}");
        numbers
    }

    pub async fn numbers(&self) -> Numbers {
        let set = self.live().await;
        let status = set.status.unwrap_or_default();
        Numbers {
            replicas: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            current: status.current_replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            collisions: status.collision_count.unwrap_or(0),
            done: status.current_revision == status.update_revision,
            seen: status.observed_generation == set.metadata.generation,
        }
    }

    /// A person deletes a pod; returns when it is another one.
    pub async fn lose(&self, ordinal: u32) {
        let (pods, name): (Api<Pod>, _) = (self.at.api(), format!("web-{ordinal}"));
        let uid = pods.get(&name).await.unwrap().metadata.uid;
        pods.delete(&name, &DeleteParams::default()).await.unwrap();
        eventually("another pod of that name", async || {
            pods.get_opt(&name)
                .await
                .unwrap()
                .filter(|p| p.metadata.uid != uid)
                .map(drop)
        })
        .await;
    }

    /// `(number, name)` of each, the newest last.
    pub async fn revisions(&self) -> Vec<(i64, String)> {
        let all = self
            .at
            .api::<ControllerRevision>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        let mut all: Vec<_> = all.iter().map(|r| (r.revision, r.name_any())).collect();
        all.sort();
        all
    }

    /// What the pods went through, as lines of [`Set::told`]'s kind.
    pub async fn end(self) -> Vec<State> {
        self.watch.abort();
        let _ = self.watch.await;
        std::mem::take(&mut *self.history.lock().unwrap())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    pub replicas: i32,
    pub ready: i32,
    pub available: i32,
    pub current: i32,
    pub updated: i32,
    pub collisions: i32,
    /// The current revision is the one of the update.
    pub done: bool,
    /// The last change of the spec is heeded.
    seen: bool,
}

impl Numbers {
    /// The kubelet's last word is counted.
    fn fits(&self, pods: &str) -> bool {
        let all: Vec<&str> = pods.split_whitespace().collect();
        let ready = all.iter().filter(|p| !p.ends_with(['!', '~'])).count();
        (self.replicas, self.ready) == (all.len() as i32, ready as i32)
    }

    /// current / updated
    pub fn split(&self) -> (i32, i32) {
        (self.current, self.updated)
    }
}

/// In which order pods of these uids first appeared.
pub fn order(history: &[State], since: usize) -> Vec<String> {
    let mut found: Vec<(String, String)> = vec![];
    for state in history {
        for (name, pod) in state {
            if !found.iter().any(|(_, uid)| *uid == pod.uid) {
                found.push((name.clone(), pod.uid.clone()));
            }
        }
    }
    found
        .into_iter()
        .skip(since)
        .map(|(name, _)| name.trim_start_matches("web-").to_owned())
        .collect()
}

/// The most pods that were missing, leaving or not Ready at once, of states in which all had been there.
pub fn most_missing(history: &[State], replicas: usize) -> usize {
    let whole = |s: &State| s.values().filter(|p| p.ready && !p.leaving).count();
    let from = history
        .iter()
        .position(|s| whole(s) == replicas)
        .expect("all were there once");
    history[from..]
        .iter()
        .map(|s| replicas - whole(s).min(replicas))
        .max()
        .unwrap_or(0)
}
