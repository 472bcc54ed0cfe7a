//! Runs a work queue: a change is reconciled at once, several keys at the same time.

use std::{fmt::Debug, time::Duration};

use futures::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::BackoffRange,
    queue::{Outcome, WorkQueue},
};

/// Number of keys that are reconciled at the same time.
const MAX_CONCURRENT: usize = 16;
/// Pauses after failures.
const RETRY: BackoffRange = BackoffRange {
    first: Duration::from_millis(5),
    max: Duration::from_secs(15),
};

/// Adds keys to a queue that is run elsewhere.
pub struct KeySender<K>(mpsc::UnboundedSender<K>);

impl<K> Clone for KeySender<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Receives the keys of a queue.
pub struct KeyReceiver<K>(mpsc::UnboundedReceiver<K>);

/// The two ends of a queue.
pub fn new_queue<K>() -> (KeySender<K>, KeyReceiver<K>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (KeySender(sender), KeyReceiver(receiver))
}

impl<K> KeySender<K> {
    /// Adds a key; nothing happens when the queue has ended.
    pub fn add(&self, key: K) {
        let _ = self.0.send(key);
    }
}

/// Requeue after this duration, or with `None` only when something changes.
pub type ReconcileResult = Result<Option<Duration>, kube::Error>;

/// Reconciles keys until `stop` is cancelled; running reconciles are finished. `name` is that of the
/// controller, for its log.
pub async fn run_queue<K, F>(
    name: &'static str,
    mut inbox: KeyReceiver<K>,
    stop: CancellationToken,
    reconcile: F,
) where
    K: Clone + Debug + Ord,
    F: Fn(K) -> BoxFuture<'static, ReconcileResult>,
{
    let mut queue = WorkQueue::<K>::default();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < MAX_CONCURRENT
            && let Some((key, ())) = queue.take_next()
        {
            let work = reconcile(key.clone());
            running.push(async move { (key, work.await) });
        }
        let next = queue.next_due();
        let alarm = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Some((key, result)) = running.next(), if !running.is_empty() => {
                let outcome = to_outcome(name, &key, result);
                queue.finish(&key, outcome, Instant::now());
            }
            key = inbox.0.recv() => match key {
                Some(key) => {
                    queue.add(key, ());
                    while let Ok(more) = inbox.0.try_recv() {
                        queue.add(more, ());
                    }
                }
                None => break,
            },
            () = alarm => queue.add_due(Instant::now()),
        }
    }
    while running.next().await.is_some() {}
}

fn to_outcome(name: &str, key: &impl Debug, result: ReconcileResult) -> Outcome {
    match result {
        Ok(None) => Outcome::Done,
        Ok(Some(after)) => Outcome::RequeueAfter(after),
        Err(error) => {
            // Another writer was first: this is normal, and the next reconcile resolves it.
            if !matches!(&error, kube::Error::Api(status) if status.code == 409) {
                tracing::warn!(controller = name, ?key, %error, "will retry");
            }
            Outcome::Failed(RETRY)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::sync::Notify;

    use super::*;

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
        queue.add("a");
        while looks.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..50 {
            queue.add("a");
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
        let times = Arc::new(Mutex::new(vec![]));
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
                    3 => Ok(Some(Duration::from_mins(1))),
                    _ => Ok(None),
                }
            })
        }));
        queue.add("a");
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
