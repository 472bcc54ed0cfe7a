//! Work queue by key: a change is handled at once, several changes of one key become one reconcile,
//! and failures are retried with back-off.

use super::cache::NamespacedName;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Number of keys that are reconciled at the same time.
const MAX_CONCURRENT: usize = 16;
const FIRST_RETRY: Duration = Duration::from_millis(5);
const MAX_RETRY: Duration = Duration::from_secs(15);

#[derive(Clone)]
pub struct WorkQueue(mpsc::UnboundedSender<NamespacedName>);

pub struct WorkReceiver(mpsc::UnboundedReceiver<NamespacedName>);

pub fn new_queue() -> (WorkQueue, WorkReceiver) {
    let (tx, rx) = mpsc::unbounded_channel();
    (WorkQueue(tx), WorkReceiver(rx))
}

impl WorkQueue {
    pub fn add(&self, key: NamespacedName) {
        let _ = self.0.send(key);
    }
}

/// Requeue after this duration, or with `None` only when something changes.
pub type ReconcileResult = Result<Option<Duration>, kube::Error>;

#[derive(Default)]
struct State {
    waiting: VecDeque<NamespacedName>,
    queued: HashSet<NamespacedName>,
    busy: HashSet<NamespacedName>,
    again: HashSet<NamespacedName>,
    later: BTreeMap<(Instant, u64), NamespacedName>,
    due: HashMap<NamespacedName, (Instant, u64)>,
    failures: HashMap<NamespacedName, u32>,
    serial: u64,
}

impl State {
    fn push(&mut self, key: NamespacedName) {
        if self.busy.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.waiting.push_back(key);
        }
    }

    fn push_at(&mut self, key: NamespacedName, at: Instant) {
        if let Some(old) = self.due.get(&key) {
            if old.0 <= at {
                return;
            }
            self.later.remove(old);
        }
        self.serial += 1;
        self.due.insert(key.clone(), (at, self.serial));
        self.later.insert((at, self.serial), key);
    }

    fn push_due(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.push(key);
        }
    }

    fn finish_key(&mut self, name: &str, key: NamespacedName, outcome: ReconcileResult) {
        self.busy.remove(&key);
        let now = Instant::now();
        match outcome {
            Ok(after) => {
                self.failures.remove(&key);
                if let Some(after) = after {
                    self.push_at(key.clone(), now + after);
                }
            }
            Err(error) => {
                let n = self.failures.entry(key.clone()).or_default();
                let wait = (FIRST_RETRY * 2_u32.saturating_pow((*n).min(16))).min(MAX_RETRY);
                *n += 1;
                // Another writer was first: this is normal, and the next reconcile resolves it.
                let conflict = matches!(&error, kube::Error::Api(s) if s.code == 409);
                if !conflict {
                    tracing::warn!(controller = name, namespace = key.0, name = key.1, %error, "will retry");
                }
                self.push_at(key.clone(), now + wait);
            }
        }
        if self.again.remove(&key) {
            self.push(key);
        }
    }
}

/// Reconciles keys until `stop` is cancelled; running reconciles are finished.
pub async fn run_queue<F>(
    name: &'static str,
    mut inbox: WorkReceiver,
    stop: CancellationToken,
    look: F,
) where
    F: Fn(NamespacedName) -> BoxFuture<'static, ReconcileResult>,
{
    let mut state = State::default();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < MAX_CONCURRENT
            && let Some(key) = state.waiting.pop_front()
        {
            state.queued.remove(&key);
            state.busy.insert(key.clone());
            let looking = look(key.clone());
            running.push(async move { (key, looking.await) });
        }
        let next = state.later.first_key_value().map(|((at, _), _)| *at);
        let alarm = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Some((key, outcome)) = running.next(), if !running.is_empty() => state.finish_key(name, key, outcome),
            key = inbox.0.recv() => match key {
                Some(key) => {
                    state.push(key);
                    while let Ok(more) = inbox.0.try_recv() {
                        state.push(more);
                    }
                }
                None => break,
            },
            () = alarm => state.push_due(Instant::now()),
        }
    }
    while running.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    fn key(name: &str) -> NamespacedName {
        (String::new(), name.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn many_changes_while_busy_become_one_more_look() {
        let (queue, inbox) = new_queue();
        let (looks, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let stop = CancellationToken::new();
        let (l, g) = (looks.clone(), gate.clone());
        let task = tokio::spawn(run_queue("t", inbox, stop.clone(), move |_| {
            let (l, g) = (l.clone(), g.clone());
            Box::pin(async move {
                l.fetch_add(1, Ordering::SeqCst);
                g.notified().await;
                Ok(None)
            })
        }));
        queue.add(key("a"));
        while looks.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..50 {
            queue.add(key("a"));
        }
        gate.notify_one();
        while looks.load(Ordering::SeqCst) == 1 {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(looks.load(Ordering::SeqCst), 2);
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_wish_to_look_again_wins_and_failures_back_off() {
        let (queue, inbox) = new_queue();
        let times = Arc::new(std::sync::Mutex::new(vec![]));
        let stop = CancellationToken::new();
        let (t, start) = (times.clone(), Instant::now());
        let task = tokio::spawn(run_queue("t", inbox, stop.clone(), move |_| {
            let t = t.clone();
            Box::pin(async move {
                let n = {
                    let mut times = t.lock().unwrap();
                    times.push(start.elapsed().as_millis());
                    times.len()
                };
                match n {
                    1 | 2 => Err(kube::Error::TlsRequired),
                    3 => Ok(Some(Duration::from_secs(60))),
                    _ => Ok(None),
                }
            })
        }));
        queue.add(key("a"));
        tokio::time::sleep(Duration::from_secs(100)).await;
        let times = times.lock().unwrap().clone();
        assert_eq!(times.len(), 4, "{times:?}");
        assert!(
            times[1] >= 5 && times[2] >= times[1] + 10 && times[3] >= times[2] + 60_000,
            "{times:?}"
        );
        stop.cancel();
        task.await.unwrap();
    }
}
