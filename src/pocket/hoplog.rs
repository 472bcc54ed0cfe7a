//! The lane gateway's log: one JSON line per hop, kept in memory up to a limit. It is read as the
//! log of the static pod `lane-gateway`, so that `kubectl logs -f` and the cockpit show the same.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::rest::{LogError, LogOptions, LogSource, LogStream};
use crate::{api::label, domain::hop::Hop};

/// Namespace of graylane's own pods.
pub const NAMESPACE: &str = "graylane-system";
/// Name of the gateway's static pod.
pub const POD: &str = "lane-gateway";
/// Marks a mirror pod, as in a kubelet: it is shown in the API but not run, because pocket itself
/// is its process.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Limit on the lines that are kept for later readers.
const MAX_LINES: usize = 4096;
/// Limit on the bytes of these lines; the length of a line depends on the request.
const MAX_BYTES: usize = 4 << 20;

/// Log of hops; clones share one log.
#[derive(Clone)]
pub struct HopLog {
    ring: Arc<Mutex<Ring>>,
    /// Number of lines written so far.
    end: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<(Timestamp, Bytes)>,
    bytes: usize,
    /// Number of lines written so far.
    end: u64,
}

impl Ring {
    fn first_number(&self) -> u64 {
        self.end - self.lines.len() as u64
    }

    fn push(&mut self, line: Bytes) {
        self.bytes += line.len();
        self.lines.push_back((Timestamp::now(), line));
        self.end += 1;
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some((_, gone)) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= gone.len();
        }
    }

    /// Returns the lines from number `from` on as one chunk. A reader that is too slow misses lines
    /// that were dropped.
    fn read_chunk(&self, from: u64, timestamps: bool) -> Bytes {
        let skip = usize::try_from(from.saturating_sub(self.first_number())).unwrap_or(usize::MAX);
        let mut chunk = BytesMut::new();
        for (time, line) in self.lines.iter().skip(skip) {
            if timestamps {
                chunk.extend_from_slice(format!("{time} ").as_bytes());
            }
            chunk.extend_from_slice(line);
        }
        chunk.freeze()
    }

    /// Number of the first line that a reader asks for.
    fn start_number(&self, options: &LogOptions) -> u64 {
        let tail = options
            .tail_lines
            .map_or(self.first_number(), |n| self.end.saturating_sub(n));
        let since = options.since.map_or(0, |t| {
            self.lines.partition_point(|(time, _)| *time < t) as u64
        });
        tail.max(self.first_number())
            .max(self.first_number() + since)
    }
}

impl Default for HopLog {
    fn default() -> Self {
        Self {
            ring: Arc::default(),
            end: watch::Sender::new(0),
        }
    }
}

impl HopLog {
    /// Writes one hop.
    pub fn write(&self, hop: &Hop) {
        let Ok(mut line) = serde_json::to_vec(hop) else {
            return;
        };
        line.push(b'\n');
        let end = {
            let mut ring = self.lock_ring();
            ring.push(line.into());
            ring.end
        };
        self.end.send_replace(end);
    }

    fn lock_ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_stream(&self, options: &LogOptions) -> LogStream {
        let timestamps = options.timestamps;
        let (start, end, first) = {
            let ring = self.lock_ring();
            let start = ring.start_number(options);
            (start, ring.end, ring.read_chunk(start, timestamps))
        };
        let (log, news) = (self.clone(), self.end.subscribe());
        let rest = stream::unfold(
            (log, news, end.max(start)),
            move |(log, mut news, from)| async move {
                news.wait_for(|end| *end > from).await.ok()?;
                let (chunk, end) = {
                    let ring = log.lock_ring();
                    (ring.read_chunk(from, timestamps), ring.end)
                };
                Some((chunk, (log, news, end)))
            },
        );
        let all = if options.follow {
            stream::iter([first]).chain(rest).boxed()
        } else {
            stream::iter([first]).boxed()
        };
        match options.limit_bytes {
            None => all.map(Ok).boxed(),
            Some(limit) => limit_bytes(all, usize::try_from(limit).unwrap_or(usize::MAX))
                .map(Ok)
                .boxed(),
        }
    }
}

fn limit_bytes(
    all: stream::BoxStream<'static, Bytes>,
    limit: usize,
) -> impl stream::Stream<Item = Bytes> + Send {
    all.scan(limit, |left, mut chunk| {
        let end = *left == 0;
        chunk.truncate(*left);
        *left -= chunk.len();
        futures::future::ready((!end).then_some(chunk))
    })
}

/// Logs of all pods of a pocket: the gateway's from here, all others from the kubelet.
pub struct PodLogs {
    /// Log of the gateway.
    pub hops: HopLog,
    /// Source of all other logs.
    pub kubelet: Arc<dyn LogSource>,
}

impl LogSource for PodLogs {
    fn open_log(
        &self,
        pod: Arc<Value>,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<LogStream, LogError>> {
        let meta = &pod["metadata"];
        if meta["namespace"] == NAMESPACE && meta["name"] == POD {
            if options.previous {
                let why = format!(
                    "previous terminated container {:?} in pod {POD:?} not found",
                    options.container
                );
                return futures::future::err(LogError::NotAvailable(why)).boxed();
            }
            return futures::future::ok(self.hops.open_stream(&options)).boxed();
        }
        self.kubelet.open_log(pod, options)
    }
}

/// Publishes the gateway as a running pod.
pub async fn apply_mirror_pod(client: &Client, node: std::net::IpAddr) -> Result<(), kube::Error> {
    let params = PatchParams::apply("graylane-pocket").force();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    namespaces
        .patch(NAMESPACE, &params, &Patch::Apply(&namespace))
        .await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "labels": {label::COMPONENT: POD}, "annotations": {MIRROR_ANNOTATION: "pocket"}},
        "spec": {"nodeName": "pocket", "hostNetwork": true, "containers": [{"name": POD, "image": "graylane"}]},
    });
    pods.patch(POD, &params, &Patch::Apply(&pod)).await?;
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let yes = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let status = json!({"status": {
        "phase": "Running",
        "hostIP": node, "podIP": node, "podIPs": [{"ip": node}],
        "startTime": now,
        "conditions": [yes("Initialized"), yes("Ready"), yes("ContainersReady"), yes("PodScheduled")],
        "containerStatuses": [{
            "name": POD, "image": "graylane", "imageID": "", "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": now}},
        }],
    }});
    pods.patch_status(POD, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(n: usize) -> Hop {
        serde_json::from_value(json!({
            "time": "2026-01-01T00:00:00Z", "trace": "t", "span": n.to_string(), "namespace": "demo", "app": "a",
            "service": "a", "method": "GET", "path": "/", "status": 200, "micros": 1
        }))
        .unwrap()
    }

    fn spans(chunk: &[u8]) -> Vec<usize> {
        let lines = chunk.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        lines
            .map(|l| {
                serde_json::from_slice::<Hop>(l)
                    .unwrap()
                    .span
                    .parse()
                    .unwrap()
            })
            .collect()
    }

    async fn all(log: &HopLog, options: LogOptions) -> Vec<usize> {
        spans(
            &log.open_stream(&options)
                .map(Result::unwrap)
                .collect::<Vec<_>>()
                .await
                .concat(),
        )
    }

    #[tokio::test]
    async fn late_readers_get_what_is_kept_and_followers_what_comes() {
        let log = HopLog::default();
        (0..MAX_LINES + 10).for_each(|n| log.write(&hop(n)));
        assert_eq!(
            all(&log, LogOptions::default()).await,
            (10..MAX_LINES + 10).collect::<Vec<_>>()
        );
        let tail = LogOptions {
            tail_lines: Some(2),
            ..LogOptions::default()
        };
        assert_eq!(
            all(&log, tail.clone()).await,
            [MAX_LINES + 8, MAX_LINES + 9]
        );
        let later = LogOptions {
            since: Some(Timestamp::MAX),
            ..LogOptions::default()
        };
        assert!(all(&log, later).await.is_empty());

        let mut follower = log.open_stream(&LogOptions {
            follow: true,
            tail_lines: Some(1),
            ..LogOptions::default()
        });
        assert_eq!(
            spans(&follower.next().await.unwrap().unwrap()),
            [MAX_LINES + 9]
        );
        assert!(follower.next().now_or_never().is_none());
        log.write(&hop(1));
        log.write(&hop(2));
        assert_eq!(spans(&follower.next().await.unwrap().unwrap()), [1, 2]);
        // A slow reader misses lines, but nothing else goes wrong.
        (0..MAX_LINES + 5).for_each(|n| log.write(&hop(n)));
        assert_eq!(
            spans(&follower.next().await.unwrap().unwrap()),
            (5..MAX_LINES + 5).collect::<Vec<_>>()
        );
    }

    #[tokio::test]
    async fn long_lines_push_others_out_by_their_bytes() {
        let log = HopLog::default();
        let long = |n| Hop {
            path: "p".repeat(60_000),
            ..hop(n)
        };
        (0..200).for_each(|n| log.write(&long(n)));
        let read = all(&log, LogOptions::default()).await;
        assert!(
            read.len() < 100 && read.last() == Some(&199),
            "{}",
            read.len()
        );
        let kept = |ring: &Ring| ring.lines.iter().map(|(_, l)| l.len()).sum::<usize>();
        let (told, real) = Some(log.lock_ring())
            .map(|ring| (ring.bytes, kept(&ring)))
            .unwrap_or_default();
        assert!(told == real && real <= MAX_BYTES, "{told} {real}");
        // A line longer than the limit removes all lines and causes no error.
        log.write(&Hop {
            path: "p".repeat(2 * MAX_BYTES),
            ..hop(200)
        });
        assert!(all(&log, LogOptions::default()).await.is_empty());
        log.write(&hop(201));
        assert_eq!(all(&log, LogOptions::default()).await, [201]);
    }

    #[tokio::test]
    async fn a_limit_of_bytes_cuts_where_it_says() {
        let log = HopLog::default();
        (0..3).for_each(|n| log.write(&hop(n)));
        let limit = LogOptions {
            limit_bytes: Some(5),
            ..LogOptions::default()
        };
        let read: Vec<Bytes> = log.open_stream(&limit).map(Result::unwrap).collect().await;
        assert_eq!(read.concat(), b"{\"tim");
    }
}
