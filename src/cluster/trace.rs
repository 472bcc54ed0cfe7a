//! Hops and spans from the logs of pods (graylane's own gateway, engines that write the spans they
//! receive, gateways of others) and from trace stores. The world decides which of them are
//! followed; the pods of each log are looked up regularly.

mod fetch;
mod follow;
mod pods;
mod store_poller;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::{Client, api::LogParams};
use reconcile::backoff::jitter;
use tokio::sync::{
    Notify,
    mpsc::{self, error::TrySendError},
    watch,
};
use tokio_util::sync::CancellationToken;

use super::{clusters::Clusters, error, logs, meter::Meter};
use crate::{
    api::{AccessLog, HopSource},
    domain::{
        access_log::AccessLogReader,
        hop_logs::HopLog,
        span::{Emitter, Span, TagKeys},
        text::Clean,
        world::World,
    },
};
pub use fetch::{FetchedTrace, TraceFetcher};
pub use follow::HopUpdate;
use follow::{LineParser, PodLog, follow_pod_log};
use pods::{LogPod, find_pods};

/// Namespace of the lane gateway's pod.
pub const GATEWAY_NAMESPACE: &str = "graylane-system";
/// Name of the lane gateway's pod.
pub const GATEWAY_POD: &str = "lane-gateway";

/// How often the pods of gateways are looked up; they seldom change.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(10);
/// How soon they are looked up after a log ends, to find the next pod.
const QUICK_LOOKUP_INTERVAL: Duration = Duration::from_millis(500);

/// Incoming hops and spans. When too many wait, further ones are dropped and counted; the senders
/// never block.
pub struct HopInbox {
    told: mpsc::Receiver<HopUpdate>,
    dropped: Arc<AtomicU64>,
}

impl HopInbox {
    /// As [`mpsc::Receiver::recv_many`].
    pub async fn recv_many(&mut self, buffer: &mut Vec<HopUpdate>, limit: usize) -> usize {
        self.told.recv_many(buffer, limit).await
    }

    /// Number of messages dropped here since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Adds spans from other sources: fetched from a store, or received.
#[derive(Clone)]
pub struct SpanInlet {
    out: mpsc::Sender<HopUpdate>,
    dropped: Arc<AtomicU64>,
}

impl SpanInlet {
    /// Sends a span, or drops and counts it when too many are waiting.
    pub fn send(&self, span: Span) {
        if self.out.try_send(HopUpdate::Span(Box::new(span))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Health of the followed logs by [`HopLog`].
pub type HealthByLog = BTreeMap<HopLog, LogHealth>;

/// Health of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogHealth {
    /// Number of pods that are followed.
    pub pods: u32,
    /// Why it yields nothing.
    pub problem: Option<Clean>,
}

/// Where one log follower sends its messages.
#[derive(Clone)]
pub struct Outbox {
    out: mpsc::Sender<HopUpdate>,
    dropped: Arc<AtomicU64>,
    problem: Arc<Mutex<Option<Clean>>>,
    ended: Arc<Notify>,
}

impl Outbox {
    /// Returns false when the receiver is gone.
    fn send(&self, told: HopUpdate) -> bool {
        match self.out.try_send(told) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }

    fn is_closed(&self) -> bool {
        self.out.is_closed()
    }

    fn set_problem(&self, problem: Option<Clean>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Reports the end of a log, for example because its pod is gone.
    fn notify_ended(&self) {
        self.ended.notify_one();
    }

    fn clear_problem(&self) {
        self.set_problem(None);
    }

    fn report_problem(&self, why: &str) {
        self.set_problem(Some(Clean::from_untrusted(why)));
    }
}

/// Checks once whether a log can be followed: whether its pods exist and their logs can be read.
pub async fn check_log(client: &Client, log: &HopLog) -> LogHealth {
    let found = match find_pods(client, log).await {
        Ok(found) => found,
        Err(why) => {
            return LogHealth {
                pods: 0,
                problem: Some(why),
            };
        }
    };
    if let HopLog::Store(store) = log {
        return LogHealth {
            pods: 0,
            problem: store_poller::check_store(client, store)
                .await
                .err()
                .map(|e| Clean::from(e.to_string())),
        };
    }
    let mut problem = found
        .is_empty()
        .then(|| Clean::from(pods::no_pods_message(log)));
    for pod in &found {
        let last = LogParams {
            container: pod.container.clone(),
            tail_lines: Some(1),
            ..LogParams::default()
        };
        if let Err(why) = logs::stream_raw_lines(client, &pod.namespace, &pod.pod, &last).await {
            let words = format!(
                "the log of pod {}/{}: {}",
                pod.namespace,
                pod.pod,
                error::describe_error(&why)
            );
            problem.get_or_insert(Clean::from(words));
        }
    }
    LogHealth {
        pods: u32::try_from(found.len()).unwrap_or(u32::MAX),
        problem,
    }
}

/// Follows the logs that `wanted` selects, from a world and the logs that have no pod now, until
/// `stop`. `health` is called with the health of every log.
pub fn spawn(
    clusters: &Clusters,
    worlds: watch::Receiver<World>,
    wanted: impl Fn(&World, &BTreeSet<HopLog>) -> BTreeSet<HopLog> + Send + Sync + 'static,
    health: impl Fn(&HealthByLog) + Send + Sync + 'static,
    stop: CancellationToken,
) -> (HopInbox, SpanInlet) {
    let (out, told) = mpsc::channel(4096);
    let dropped = Arc::<AtomicU64>::default();
    let inlet = SpanInlet {
        out: out.clone(),
        dropped: Arc::clone(&dropped),
    };
    let followers = Followers {
        client: clusters.home_client().clone(),
        meter: Arc::clone(clusters.meter()),
        worlds,
        out,
        dropped: Arc::clone(&dropped),
        running: BTreeMap::new(),
        health: HealthByLog::new(),
        ended: Arc::default(),
    };
    tokio::spawn(async move {
        stop.run_until_cancelled(followers.run(wanted, health))
            .await
    });
    (HopInbox { told, dropped }, inlet)
}

struct Followers {
    client: Client,
    meter: Arc<Meter>,
    worlds: watch::Receiver<World>,
    out: mpsc::Sender<HopUpdate>,
    dropped: Arc<AtomicU64>,
    running: BTreeMap<FollowKey, Follower>,
    health: HealthByLog,
    ended: Arc<Notify>,
}

/// One log of a pod in one format: the same pods may serve two Gateways.
type FollowKey = (LogPod, LineFormat);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LineFormat {
    Own,
    Access(Box<AccessLog>),
    Store(Box<HopSource>),
}

struct Follower {
    stop: CancellationToken,
    problem: Arc<Mutex<Option<Clean>>>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Followers {
    async fn run(
        mut self,
        wanted: impl Fn(&World, &BTreeSet<HopLog>) -> BTreeSet<HopLog>,
        health: impl Fn(&HealthByLog),
    ) {
        let ended = Arc::clone(&self.ended);
        let mut pause = LOOKUP_INTERVAL;
        loop {
            let silent = self.logs_without_pods();
            let (logs, groups, engine) = {
                let world = self.worlds.borrow_and_update();
                (
                    wanted(&world, &silent),
                    Arc::clone(&world.groups),
                    world.engine.clone(),
                )
            };
            self.update_followers(&logs).await;
            health(&self.health);
            if self.logs_without_pods() != silent {
                continue;
            }
            let changed = async {
                loop {
                    if self.worlds.changed().await.is_err() {
                        return;
                    }
                    let now = self.worlds.borrow_and_update();
                    // Pods change many times a second, and do not matter here.
                    let same = Arc::ptr_eq(&now.groups, &groups) && now.engine == engine;
                    if !same && wanted(&now, &silent) != logs {
                        return;
                    }
                }
            };
            tokio::select! {
                () = changed => {}
                () = ended.notified() => {
                    // The next pod takes a while to start.
                    pause = QUICK_LOOKUP_INTERVAL;
                    tokio::time::sleep(jitter(pause)).await;
                }
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LOOKUP_INTERVAL),
            }
            if self.out.is_closed() || self.worlds.has_changed().is_err() {
                return;
            }
        }
    }

    /// Logs that no pod writes now.
    fn logs_without_pods(&self) -> BTreeSet<HopLog> {
        self.health
            .iter()
            .filter(|(_, health)| health.pods == 0)
            .map(|(log, _)| log.clone())
            .collect()
    }

    /// Starts followers for new pods and stops those of pods that are gone.
    async fn update_followers(&mut self, logs: &BTreeSet<HopLog>) {
        let mut there: BTreeSet<FollowKey> = BTreeSet::new();
        let mut health = HealthByLog::new();
        for log in logs {
            let mut told = LogHealth::default();
            match find_pods(&self.client, log).await {
                Ok(pods) => {
                    told.pods = u32::try_from(pods.len()).unwrap_or(u32::MAX);
                    if pods.is_empty() {
                        told.problem = Some(Clean::from(pods::no_pods_message(log)));
                    }
                    for pod in pods {
                        let of = (pod, line_format(log));
                        if !self.running.contains_key(&of) {
                            self.start_follower(&of, log);
                        }
                        let ill = self.running.get(&of).map(|f| Arc::clone(&f.problem));
                        let ill = ill
                            .and_then(|p| p.lock().unwrap_or_else(PoisonError::into_inner).clone());
                        told.problem = told.problem.or(ill);
                        there.insert(of);
                    }
                }
                Err(why) => {
                    // When the lookup fails, the current followers stay.
                    let of_log = |of: &&FollowKey| of.1 == line_format(log);
                    there.extend(self.running.keys().filter(of_log).cloned());
                    told.problem = Some(why);
                }
            }
            health.insert(log.clone(), told);
        }
        self.running.retain(|of, _| there.contains(of));
        self.health = health;
    }

    fn start_follower(&mut self, of: &FollowKey, log: &HopLog) {
        let (found, _) = of;
        let stop = CancellationToken::new();
        let problem = Arc::<Mutex<Option<Clean>>>::default();
        let out = Outbox {
            out: self.out.clone(),
            dropped: Arc::clone(&self.dropped),
            problem: Arc::clone(&problem),
            ended: Arc::clone(&self.ended),
        };
        let lines = match log {
            HopLog::LaneGateway | HopLog::Spans { .. } => LineParser::Own,
            HopLog::Store(store) => {
                let asking = store_poller::poll_store(
                    self.client.clone(),
                    (**store).clone(),
                    self.worlds.clone(),
                    out,
                );
                let until = stop.clone();
                tokio::spawn(async move { until.run_until_cancelled(asking).await });
                self.running.insert(of.clone(), Follower { stop, problem });
                return;
            }
            HopLog::Access(log) => {
                let (access, worlds) = (log.log.clone(), self.worlds.clone());
                let by = Emitter {
                    service: log.gateway.clone(),
                    namespace: Some(found.namespace.clone()),
                    pod: Some(found.pod.clone()),
                    ..Emitter::default()
                };
                LineParser::Access(Box::new(move || {
                    let world = worlds.borrow();
                    let keys = TagKeys::from_groups(
                        world.groups.values().map(|g| &**g),
                        world.lanes.values().map(|l| &**l),
                    );
                    AccessLogReader::new(&access, &keys, by.clone())
                }))
            }
        };
        let log = PodLog {
            namespace: found.namespace.clone(),
            pod: found.pod.clone(),
            container: found.container.clone(),
            lines,
        };
        let (client, meter, until) = (self.client.clone(), Arc::clone(&self.meter), stop.clone());
        tokio::spawn(async move {
            until
                .run_until_cancelled(follow_pod_log(client, &meter, log, out))
                .await
        });
        self.running.insert(of.clone(), Follower { stop, problem });
    }
}

fn line_format(log: &HopLog) -> LineFormat {
    match log {
        HopLog::LaneGateway | HopLog::Spans { .. } => LineFormat::Own,
        HopLog::Access(log) => LineFormat::Access(Box::new(log.log.clone())),
        HopLog::Store(store) => LineFormat::Store(Box::new(store.source.clone())),
    }
}
