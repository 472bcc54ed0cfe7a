//! Probes of verify tasks, sent in the background. The results are kept for the next pass.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Prober,
    change_queue::{ChangeKey, ChangeQueue},
};
use crate::{
    api::{ProbeResult, ProbeSpec, Uid},
    domain::workflow::{ProbeFailure, ProbesSeen},
};

/// Probes of one release: the current round, and the results of the last one.
#[derive(Clone)]
struct ProbeRound {
    task: String,
    attempt: u32,
    running: bool,
    last: Option<(Instant, Result<Vec<ProbeResult>, ProbeFailure>)>,
}

#[derive(Clone)]
pub(super) struct Probes {
    prober: Prober,
    wake: Arc<ChangeQueue>,
    tasks: TaskTracker,
    stop: CancellationToken,
    seen: Arc<Mutex<HashMap<Uid, ProbeRound>>>,
}

impl Probes {
    pub(super) fn new(
        prober: Prober,
        wake: Arc<ChangeQueue>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            prober,
            wake,
            tasks,
            stop,
            seen: Arc::default(),
        }
    }

    /// Results of the last probes of a release.
    pub(super) fn last_results(&self, release_uid: &Uid) -> Option<ProbesSeen> {
        let ProbeRound {
            task,
            attempt,
            running,
            last,
        } = self.lock().get(release_uid).cloned()?;
        let last = last.map(|(at, results)| (at.elapsed(), results));
        Some(ProbesSeen {
            task,
            attempt,
            running,
            last,
        })
    }

    /// Forgets releases that are over.
    pub(super) fn retain_releases(&self, still: impl Fn(&Uid) -> bool) {
        self.lock().retain(|uid, _| still(uid));
    }

    /// Sends the probes one after the other, unless probes of this release are still running.
    pub(super) fn send_probes(
        &self,
        release_uid: &Uid,
        task: &str,
        attempt: u32,
        group: &str,
        probes: Vec<ProbeSpec>,
    ) {
        let mut all = self.lock();
        if all.get(release_uid).is_some_and(|p| p.running) {
            return;
        }
        let before = all
            .remove(release_uid)
            .filter(|p| p.task == task && p.attempt == attempt);
        let last = before.and_then(|p| p.last);
        let seen = ProbeRound {
            task: task.into(),
            attempt,
            running: true,
            last,
        };
        all.insert(release_uid.clone(), seen);
        drop(all);
        let (this, uid, group) = (self.clone(), release_uid.clone(), group.to_owned());
        self.tasks.spawn(async move {
            let round = async {
                let mut results = vec![];
                for probe in probes {
                    results.extend((this.prober)(group.clone(), probe).await?);
                }
                Ok(results)
            };
            let Some(results) = this.stop.run_until_cancelled(round).await else {
                return;
            };
            if let Some(seen) = this.lock().get_mut(&uid) {
                seen.running = false;
                seen.last = Some((Instant::now(), results));
            }
            this.wake.add([ChangeKey::Uid(uid)]);
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uid, ProbeRound>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
