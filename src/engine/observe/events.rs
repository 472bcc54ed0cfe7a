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

use crate::{
    api::Uid,
    domain::{
        batches::WorkloadSeen,
        observe::{VersionPods, cause},
        text::Clean,
    },
};

/// How long an answer is cached.
const ANSWER_TTL: Duration = Duration::from_secs(10);
/// How many pods of a side are queried; one that lags is typical of all.
const MAX_PODS_PER_SIDE: usize = 1;
/// Timeout of a query. After that there is no explanation.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// By UID: time and content of the last answer.
#[derive(Default)]
pub(in crate::engine) struct Events(Mutex<HashMap<Uid, (Instant, Option<Clean>)>>);

impl Events {
    /// Adds explanations from events to the lagging pods of a workload, and to pods that it cannot
    /// create.
    pub(super) async fn add_causes(
        &self,
        client: &Client,
        namespace: &str,
        seen: &mut WorkloadSeen,
    ) {
        let uid = Uid::from_meta(seen.meta());
        let (replicas, sides, has_conditions) = match seen {
            WorkloadSeen::Deployment(d) => (d.new.wanted, [&mut d.new, &mut d.old], true),
            WorkloadSeen::StatefulSet(s) => (s.replicas(), [&mut s.new, &mut s.old], false),
        };
        let there: u32 = sides.iter().map(|s| s.active_pods()).sum();
        let [new, old] = sides;
        self.add_pod_causes(client, namespace, new).await;
        self.add_pod_causes(client, namespace, old).await;
        // A StatefulSet has no conditions; only events report that it cannot create a pod.
        if !has_conditions && there < replicas && new.trouble.is_none() {
            new.trouble = self.find_cause(client, namespace, &uid).await;
        }
    }

    async fn add_pod_causes(&self, client: &Client, namespace: &str, side: &mut VersionPods) {
        for pod in side
            .pods
            .iter_mut()
            .filter(|p| p.ready.is_none() && p.is_vague)
            .take(MAX_PODS_PER_SIDE)
        {
            if let Some(words) = self.find_cause(client, namespace, &pod.uid).await {
                pod.trouble = Some(words);
            }
        }
    }

    async fn find_cause(&self, client: &Client, namespace: &str, uid: &Uid) -> Option<Clean> {
        let now = Instant::now();
        if let Some((_, words)) = self
            .lock()
            .get(uid)
            .filter(|(at, _)| now.duration_since(*at) < ANSWER_TTL)
        {
            return words.clone();
        }
        let api: Api<Event> = Api::namespaced(client.clone(), namespace);
        let params = ListParams::default()
            .fields(&format!("involvedObject.uid={uid}"))
            .limit(50);
        // Without the right to read events there is no explanation.
        let found = tokio::time::timeout(ANSWER_TIMEOUT, api.list(&params))
            .await
            .ok()
            .and_then(Result::ok);
        let words = found
            .and_then(|all| cause::of_events(&all.items))
            .map(|c| c.to_text());
        let mut all = self.lock();
        all.retain(|_, (at, _)| now.duration_since(*at) < ANSWER_TTL);
        all.insert(uid.clone(), (now, words.clone()));
        words
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uid, (Instant, Option<Clean>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
