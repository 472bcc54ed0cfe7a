//! The loop: every wake-up is one look at the lanes and at each Release that is not over.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Api, ResourceExt, api::PostParams};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Options, act, cache::Cache, lanes, observe, probes::Probes};
use crate::{
    api::Release,
    cluster::error,
    domain::workflow::{Decision, Trouble, decide},
};

/// Changes that come together are one look.
const GATHER: Duration = Duration::from_millis(5);
/// The longest without a look: what no watch tells is found out then.
const IDLE: Duration = Duration::from_secs(30);
/// After a step that went wrong: the first pause, doubled up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

pub(super) struct Looker {
    options: Options,
    cache: Cache,
    probes: Probes,
    /// By release uid: what went wrong at the last try, and when it is tried again.
    troubles: HashMap<String, (Trouble, Duration, Instant)>,
    /// Looking since then without a gap, and the last look.
    awake: (Timestamp, Timestamp),
}

impl Looker {
    pub(super) fn new(options: &Options, cache: Cache, probes: Probes) -> Self {
        let now = Timestamp::now();
        Self { options: options.clone(), cache, probes, troubles: HashMap::new(), awake: (now, now) }
    }

    pub(super) async fn run(mut self, wake: &Notify, stop: &CancellationToken) {
        loop {
            let Some(next) = stop.run_until_cancelled(self.look()).await else { return };
            tokio::select! {
                () = stop.cancelled() => return,
                () = wake.notified() => sleep(GATHER).await,
                () = sleep_until(next) => {}
            }
        }
    }

    /// One look at everything; answers when to look again though nothing has changed.
    async fn look(&mut self) -> Instant {
        let mut next = Instant::now() + IDLE;
        let now = Timestamp::now();
        let (since, last) = self.awake;
        // The machine slept, or its clock was set.
        let gap = now < last || now.duration_since(last).unsigned_abs() > 2 * IDLE;
        self.awake = (if gap { now } else { since }, now);
        if let Err(why) = lanes::look(&self.options, &self.cache).await {
            tracing::warn!("lanes: {}", error::words(&why));
            next = next.min(Instant::now() + AGAIN.0);
        }
        let mut active: Vec<Arc<Release>> = self.cache.releases.state();
        active.retain(|r| !r.status.as_ref().is_some_and(|s| s.phase.is_final()));
        // The one that came first gets an environment first.
        active.sort_by_key(|r| (r.creation_timestamp().map(|t| t.0), r.name_any()));
        let uids: Vec<String> = active.iter().filter_map(|r| r.uid()).collect();
        self.troubles.retain(|uid, _| uids.contains(uid));
        self.probes.keep(|uid| uids.iter().any(|u| u == uid));
        for release in &active {
            // As they are after what this very look has written: who has just taken an environment holds it.
            let now = self.cache.releases.state();
            let over = |r: &Release| r.status.as_ref().is_some_and(|s| s.phase.is_final());
            let others: Vec<&Release> =
                now.iter().map(|r| &**r).filter(|r| r.uid() != release.uid() && !over(r)).collect();
            next = next.min(self.release(release, &others).await);
        }
        next
    }

    async fn release(&mut self, release: &Release, others: &[&Release]) -> Instant {
        let uid = release.uid().unwrap_or_default();
        let trouble = self.troubles.get(&uid).cloned();
        let facts = match observe::facts(&self.options, &self.cache, release).await {
            Ok(facts) => facts,
            Err(why) => {
                tracing::warn!(release = release.name_any(), "cannot be looked at: {}", error::words(&why));
                return Instant::now() + AGAIN.0;
            }
        };
        let probes = self.probes.seen(&uid);
        let told = trouble.as_ref().map(|t| &t.0);
        let times = (self.awake.0, Timestamp::now());
        let decision = decide(&facts.observed(release, others, &facts.approvals(), probes.as_ref(), told, times));
        let look_again = decision.look_again.and_then(|d| Duration::try_from(d).ok());
        let mut next = Instant::now() + look_again.unwrap_or(IDLE).min(IDLE);
        match self.written(release, &decision).await {
            Ok(true) => {}
            // Somebody wrote in between: the watch wakes us with what.
            Ok(false) => return Instant::now() + AGAIN.0,
            Err(why) => {
                tracing::warn!(release = release.name_any(), "status: {}", error::words(&why));
                return Instant::now() + AGAIN.0;
            }
        }
        if let Some((_, _, at)) = trouble.as_ref().filter(|t| t.2 > Instant::now()) {
            return next.min(*at);
        }
        match act::steps(&self.options, &self.cache, &self.probes, release, &decision.steps).await {
            Ok(()) => {
                if self.troubles.remove(&uid).is_some() {
                    next = next.min(Instant::now() + GATHER);
                }
            }
            Err(wrong) => {
                tracing::warn!(release = release.name_any(), "{}", wrong.message);
                let pause = trouble.map_or(AGAIN.0, |t| (t.1 * 2).min(AGAIN.1));
                let at = Instant::now() + pause;
                self.troubles.insert(uid, (wrong, pause, at));
                // Once at once, so that the status tells it.
                next = Instant::now() + GATHER;
            }
        }
        next
    }

    /// Writes the status, if it changes; false when the Release has moved on meanwhile.
    async fn written(&self, release: &Release, decision: &Decision) -> kube::Result<bool> {
        if release.status.as_ref() == Some(&decision.status) {
            return Ok(true);
        }
        let api: Api<Release> = Api::namespaced(self.options.client.clone(), &self.options.namespace);
        let mut new = release.clone();
        new.status = Some(decision.status.clone());
        new.metadata.managed_fields = None;
        match api.replace_status(&release.name_any(), &PostParams::default(), &new).await {
            Ok(written) => {
                self.cache.releases.remember(written);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(why) => Err(why),
        }
    }
}
