//! Fetches single traces from the stores that lane groups name.

use std::time::Duration;

use kube::Client;
use tokio::time::Instant;

use super::SpanInlet;
use crate::{
    api::LaneGroup,
    cluster::trace_stores::{StoreError, TraceStoreClient},
};

/// Services send their spans up to 5 seconds after the request (the batch processors of the
/// OpenTelemetry SDKs), each at a time of its own, and stores index them a moment later.
const LATENESS: Duration = Duration::from_secs(6);
/// Time between two queries for one trace.
const QUERY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a trace of which nothing is found is asked for.
const GIVE_UP_AFTER: Duration = Duration::from_secs(12);

/// Fetches traces and adds their spans to the worlds.
#[derive(Clone)]
pub struct TraceFetcher {
    client: Client,
    inlet: SpanInlet,
}

/// What the stores of a lane group returned for one trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchedTrace {
    /// Number of stores that were asked.
    pub stores: usize,
    /// Number of spans that they returned.
    pub spans: usize,
}

impl TraceFetcher {
    /// `client` reaches the API server, through which stores may be asked; spans go to `inlet`.
    pub const fn new(client: Client, inlet: SpanInlet) -> Self {
        Self { client, inlet }
    }

    /// Asks every store that the lane group names once.
    ///
    /// # Errors
    ///
    /// When a store does not answer, or its answer cannot be read. The spans of the others are
    /// added all the same.
    pub async fn fetch_once(
        &self,
        group: &LaneGroup,
        trace: &str,
    ) -> Result<FetchedTrace, StoreError> {
        let mut fetched = FetchedTrace::default();
        let mut failed = None;
        for source in &group.spec.hops {
            let spans = match TraceStoreClient::from_source(source, group, &self.client) {
                Ok(None) => continue,
                Ok(Some(store)) => store.fetch_trace(trace).await,
                Err(why) => Err(why),
            };
            fetched.stores += 1;
            match spans {
                Ok(spans) => {
                    fetched.spans += spans.len();
                    spans.into_iter().for_each(|span| self.inlet.send(span));
                }
                Err(why) => failed = Some(why),
            }
        }
        failed.map_or(Ok(fetched), Err)
    }

    /// Asks the stores until spans are no longer late and no more of them come; for a trace that
    /// nobody knows, about twelve seconds. What fails is logged, since nobody waits for the result.
    #[tracing::instrument(level = "debug", skip_all, fields(trace))]
    pub async fn fetch_until_complete(&self, group: &LaneGroup, trace: &str) {
        let start = Instant::now();
        let mut before = 0;
        while start.elapsed() < GIVE_UP_AFTER {
            match self.fetch_once(group, trace).await {
                Ok(FetchedTrace { stores: 0, .. }) => return,
                Ok(FetchedTrace { spans, .. })
                    if spans > 0 && spans == before && start.elapsed() >= LATENESS =>
                {
                    return;
                }
                Ok(fetched) => before = fetched.spans,
                Err(why) => tracing::warn!(%why, "the rest of the trace is not seen"),
            }
            tokio::time::sleep(QUERY_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    };

    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        api::{HopSource, LaneGroupSpec, TraceStore},
        cluster::trace::HopUpdate,
    };

    fn zipkin_span(id: u8) -> Value {
        json!({"traceId": "1".repeat(32), "id": format!("{id:016x}"), "kind": "SERVER",
            "timestamp": 1_700_000_000_000_000_u64, "duration": 5, "localEndpoint": {"serviceName": "a"}})
    }

    /// A Zipkin behind the API server; its nth answer has so many spans, and the last one is given
    /// again and again.
    fn fetcher(
        spans: &'static [u8],
    ) -> (TraceFetcher, mpsc::Receiver<HopUpdate>, Arc<AtomicUsize>) {
        let asked = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&asked);
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let nth = counter.fetch_add(1, SeqCst).min(spans.len() - 1);
            let body: Vec<Value> = (1..=spans[nth]).map(zipkin_span).collect();
            async move {
                let body = Body::from(json!(body).to_string().into_bytes());
                let answer = http::Response::builder().header("content-type", "application/json");
                Ok::<_, std::convert::Infallible>(answer.body(body).expect("an answer"))
            }
        });
        let (out, told) = mpsc::channel(100);
        let inlet = SpanInlet {
            out,
            dropped: Arc::<AtomicU64>::default(),
        };
        let client = Client::new(service, "default");
        (TraceFetcher::new(client, inlet), told, asked)
    }

    fn group(stores: usize) -> LaneGroup {
        let store = TraceStore {
            service: Some("tracing/zipkin:9411".into()),
            ..TraceStore::default()
        };
        let source = HopSource {
            zipkin: Some(store),
            ..HopSource::default()
        };
        let spec = LaneGroupSpec {
            hops: vec![source; stores],
            ..LaneGroupSpec::default()
        };
        LaneGroup::new("g", spec)
    }

    /// Different spans that came.
    fn different(told: &mut mpsc::Receiver<HopUpdate>) -> usize {
        let seen = Mutex::new(std::collections::BTreeSet::new());
        while let Ok(HopUpdate::Span(span)) = told.try_recv() {
            seen.lock().expect("one thread").insert(span.span);
        }
        seen.into_inner().expect("one thread").len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_trace_is_asked_for_until_no_more_of_it_comes() {
        let trace = "1".repeat(32);
        // (spans of each answer, spans that are seen in the end, least and most queries)
        let table: [(&[u8], usize, usize, usize); 4] = [
            (&[3], 3, 7, 7),
            (&[0, 0, 1, 1, 1, 3], 3, 7, 7),
            (&[0, 0, 0, 0, 0, 0, 0, 2, 4], 4, 10, 10),
            (&[0], 0, 12, 12),
        ];
        for (answers, seen, least, most) in table {
            let (fetcher, mut told, asked) = fetcher(answers);
            fetcher.fetch_until_complete(&group(1), &trace).await;
            let asked = asked.load(SeqCst);
            assert!((least..=most).contains(&asked), "{answers:?}: {asked}");
            assert_eq!(different(&mut told), seen, "{answers:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_names_no_store_is_not_asked() {
        let (fetcher, _told, asked) = fetcher(&[1]);
        fetcher.fetch_until_complete(&group(0), "1").await;
        assert_eq!(asked.load(SeqCst), 0);
        let fetched = fetcher.fetch_once(&group(2), "1").await.expect("an answer");
        assert_eq!((fetched.stores, fetched.spans), (2, 2));
    }
}
