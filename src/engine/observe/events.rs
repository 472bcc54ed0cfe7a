//! Reads events that explain a wait. Only queried when nothing else explains it, and cached for a
//! while.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::ListParams};
use tokio::time::Instant;

use crate::domain::{
    batches::WorkloadSeen,
    observe::{Side, cause},
    text::Clean,
};

/// How long an answer is cached.
const HOLDS: Duration = Duration::from_secs(10);
/// How many pods of a side are queried; one that lags is typical of all.
const PODS: usize = 1;
/// Timeout of a query. After that there is no explanation.
const ANSWER: Duration = Duration::from_secs(2);

/// By UID: time and content of the last answer.
#[derive(Default)]
pub(in crate::engine) struct Events(Mutex<HashMap<String, (Instant, Option<Clean>)>>);

impl Events {
    /// Adds explanations from events to the lagging pods of a workload, and to pods that it cannot
    /// create.
    pub(super) async fn tell(&self, client: &Client, namespace: &str, seen: &mut WorkloadSeen) {
        let uid = seen.meta().uid.clone().unwrap_or_default();
        let (replicas, sides, has_conditions) = match seen {
            WorkloadSeen::Deployment(d) => (d.new.wanted, [&mut d.new, &mut d.old], true),
            WorkloadSeen::StatefulSet(s) => (s.replicas(), [&mut s.new, &mut s.old], false),
        };
        let there: u32 = sides.iter().map(|s| s.active()).sum();
        let [new, old] = sides;
        self.pods(client, namespace, new).await;
        self.pods(client, namespace, old).await;
        // A StatefulSet has no conditions; only events report that it cannot create a pod.
        if !has_conditions && there < replicas && new.trouble.is_none() {
            new.trouble = self.of(client, namespace, &uid).await;
        }
    }

    async fn pods(&self, client: &Client, namespace: &str, side: &mut Side) {
        for pod in side
            .pods
            .iter_mut()
            .filter(|p| p.ready.is_none() && p.is_vague)
            .take(PODS)
        {
            if let Some(words) = self.of(client, namespace, &pod.uid).await {
                pod.trouble = Some(words);
            }
        }
    }

    async fn of(&self, client: &Client, namespace: &str, uid: &str) -> Option<Clean> {
        let now = Instant::now();
        if let Some((_, words)) = self
            .lock()
            .get(uid)
            .filter(|(at, _)| now.duration_since(*at) < HOLDS)
        {
            return words.clone();
        }
        let api: Api<Event> = Api::namespaced(client.clone(), namespace);
        let params = ListParams::default()
            .fields(&format!("involvedObject.uid={uid}"))
            .limit(50);
        // Without the right to read events there is no explanation.
        let found = tokio::time::timeout(ANSWER, api.list(&params))
            .await
            .ok()
            .and_then(Result::ok);
        let words = found
            .and_then(|all| cause::of_events(&all.items))
            .map(|c| c.words());
        let mut all = self.lock();
        all.retain(|_, (at, _)| now.duration_since(*at) < HOLDS);
        all.insert(uid.to_owned(), (now, words.clone()));
        words
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Option<Clean>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
