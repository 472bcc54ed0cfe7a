//! The transport between `kube::Client` and a server, which every request passes.
//!
//! It counts requests, pauses them (but not renewals of a Lease) when the server asks for it and,
//! when credentials are refused, reconnects from kubectl's files (plugins run again, certificates and tokens are read again), so
//! that users of the client need not know. The first connection is made when it is first needed: an
//! unreachable cluster is an error of a request, never of making the client.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header::RETRY_AFTER};
use jiff::Timestamp;
use kube::{
    Client,
    client::{Body, ClientBuilder},
};
use tokio::{sync::Mutex, time::Instant};
use tower::{BoxError, service_fn};

use super::{connect::ConnectError, error, meter::Meter};
use crate::domain::{account::Account, world::LinkTrouble};

/// Makes a connection.
pub type Dial = Arc<dyn Fn() -> BoxFuture<'static, Result<Client, ConnectError>> + Send + Sync>;

/// Attempts for a request that is no watch, when the server throttles or is unavailable.
const MAX_ATTEMPTS: u32 = 4;
/// Minimum time between two attempts to get new credentials: a login plugin may open a browser.
const RENEW_GAP: Duration = Duration::from_secs(5);
/// A connection without any answer for this long is treated as dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The header with the user to impersonate.
pub(super) const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");

struct Transport {
    dial: Option<Dial>,
    /// Whether the server may come back at another address, which the files name.
    roams: bool,
    current: ArcSwapOption<Client>,
    /// When credentials were last renewed, and the result.
    renewed: Mutex<Option<Renewal>>,
    meter: Arc<Meter>,
}

struct Renewal {
    at: Instant,
    epoch: u64,
    outcome: Result<(), ConnectError>,
}

/// A client that connects by `dial`. With `roams`, it also reconnects when the server does not
/// answer.
pub fn lazy_client(dial: Dial, roams: bool, namespace: &str, meter: Arc<Meter>) -> Client {
    build_client(
        Transport {
            dial: Some(dial),
            roams,
            current: ArcSwapOption::empty(),
            renewed: Mutex::default(),
            meter,
        },
        namespace,
    )
}

/// The same client with its requests counted.
pub fn metered_client(client: Client, meter: Arc<Meter>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let current = ArcSwapOption::from_pointee(client);
    build_client(
        Transport {
            dial: None,
            roams: false,
            current,
            renewed: Mutex::default(),
            meter,
        },
        &namespace,
    )
}

/// The same client, impersonating a service account.
pub fn impersonating_client(client: Client, account: &Account) -> Client {
    let namespace = client.default_namespace().to_owned();
    // The server has no service account whose name cannot be sent in a header; the request says so.
    let user = HeaderValue::from_str(&account.user()).ok();
    let service = service_fn(move |mut request: Request<Body>| {
        let (client, user) = (client.clone(), user.clone());
        async move {
            let user = user.ok_or("the service account has no name that can be asked for")?;
            request.headers_mut().insert(IMPERSONATE_USER, user);
            client.send(request).await.map_err(BoxError::from)
        }
    });
    ClientBuilder::new(service, namespace).build()
}

/// Refuses impersonation for a user that already impersonates another one: both cannot be combined,
/// and it is unclear whose groups would apply.
pub(super) fn reject_double_impersonation(client: Client, context: String) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = service_fn(move |request: Request<Body>| {
        let (client, context) = (client.clone(), context.clone());
        async move {
            if request.headers().contains_key(IMPERSONATE_USER) {
                return Err(BoxError::from(format!(
                    "the user of {context} acts as another one (`as` in the kubeconfig), and an engine acts as service \
                     accounts: give it a user of its own"
                )));
            }
            client.send(request).await.map_err(BoxError::from)
        }
    });
    ClientBuilder::new(service, namespace).build()
}

fn build_client(wire: Transport, namespace: &str) -> Client {
    let wire = Arc::new(wire);
    let service = service_fn(move |request: Request<Body>| {
        let wire = Arc::clone(&wire);
        async move { wire.send(request).await.map_err(BoxError::from) }
    });
    ClientBuilder::new(service, namespace).build()
}

impl Transport {
    #[tracing::instrument(level = "debug", skip_all, fields(method = %request.method(), path = request.uri().path()))]
    async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        // Renewals of the engine's Lease go before all else, and come again by themselves.
        let urgent = is_lease_request(&request);
        let patient = !urgent && !is_watch_request(&request);
        let mut fresh = false;
        for tried in 1.. {
            if !urgent {
                self.meter.wait_until_allowed().await;
            }
            let client = self.current_client().await?;
            let again = clone_request(&request);
            self.meter.count_request();
            let limit = if may_stay_silent(&request) {
                Duration::MAX
            } else {
                ANSWER_TIMEOUT
            };
            let Ok(answer) = tokio::time::timeout(limit, client.send(request)).await else {
                // Its other connections are as old.
                let _ = self.dial_again(Some(&client)).await;
                let why = format!(
                    "the server has not answered for {} s",
                    ANSWER_TIMEOUT.as_secs()
                );
                return Err(kube::Error::Service(
                    std::io::Error::new(std::io::ErrorKind::TimedOut, why).into(),
                ));
            };
            let refused = match &answer {
                Ok(response) => response.status() == StatusCode::UNAUTHORIZED,
                Err(why) => error::classify_error(why) == LinkTrouble::Unauthorized,
            };
            let elsewhere = self.roams && answer.is_err();
            if elsewhere
                && !fresh
                && self.dial_again(Some(&client)).await.is_ok()
                && let Some(again) = again
            {
                fresh = true;
                request = again;
                continue;
            }
            if refused && !fresh && self.dial.is_some() {
                fresh = true;
                match (self.dial_again(Some(&client)).await, again) {
                    (Ok(()), Some(again)) => request = again,
                    // Why the new credentials failed says more than that the old ones were refused.
                    (Err(why), _) => return Err(kube::Error::Service(Box::new(why))),
                    (Ok(()), None) => return answer,
                }
                continue;
            }
            let Ok(response) = &answer else { return answer };
            match (response.status(), again) {
                (StatusCode::TOO_MANY_REQUESTS, again) => {
                    self.meter.throttle(retry_after(response));
                    match again {
                        Some(again) if patient && tried < MAX_ATTEMPTS => request = again,
                        _ => return answer,
                    }
                }
                (StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT, Some(again))
                    if patient && tried < MAX_ATTEMPTS && *again.method() == Method::GET =>
                {
                    tokio::time::sleep(Duration::from_millis(100 << tried)).await;
                    request = again;
                }
                _ => return answer,
            }
        }
        unreachable!("every round answers or goes on")
    }

    /// The current connection; makes one when there is none.
    async fn current_client(&self) -> Result<Arc<Client>, kube::Error> {
        let old = self.current.load_full();
        // A certificate from a login plugin has an expiry.
        let ended = |c: &Arc<Client>| {
            c.valid_until()
                .is_some_and(|until| until <= Timestamp::now())
        };
        match &old {
            Some(client) if !ended(client) => return Ok(Arc::clone(client)),
            _ => {}
        }
        self.dial_again(old.as_ref())
            .await
            .map_err(|why| kube::Error::Service(Box::new(why)))?;
        self.current
            .load_full()
            .ok_or_else(|| kube::Error::Service("no connection".into()))
    }

    /// Replaces the connection `old`, unless someone else has already done so.
    #[tracing::instrument(level = "debug", skip_all)]
    async fn dial_again(&self, old: Option<&Arc<Client>>) -> Result<(), ConnectError> {
        let Some(dial) = &self.dial else {
            return Ok(());
        };
        let mut renewed = self.renewed.lock().await;
        let current = self.current.load_full();
        let is_other = match (&current, old) {
            (Some(current), Some(old)) => !Arc::ptr_eq(current, old),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_other {
            return Ok(());
        }
        // A failing plugin is not started by every watch in turn.
        let epoch = self.meter.epoch();
        if let Some(last) = &*renewed
            && last.at.elapsed() < RENEW_GAP
            && last.epoch == epoch
        {
            return last.outcome.clone();
        }
        let made = dial().await;
        let outcome = made.map(|client| self.current.store(Some(Arc::new(client))));
        *renewed = Some(Renewal {
            at: Instant::now(),
            epoch,
            outcome: outcome.clone(),
        });
        outcome
    }
}

/// Whether a request is part of a watch, whose owner waits and reports by itself.
fn is_watch_request(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .any(|pair| pair == "watch=true" || pair.starts_with("limit="))
}

/// Whether a request is about one Lease.
fn is_lease_request(request: &Request<Body>) -> bool {
    let path = request.uri().path();
    path.contains("/apis/coordination.k8s.io/") && path.contains("/leases/")
}

/// Whether the answer may start late: a followed log, or a request through a proxy.
fn may_stay_silent(request: &Request<Body>) -> bool {
    let uri = request.uri();
    is_proxied(uri.path())
        || uri
            .query()
            .unwrap_or_default()
            .split('&')
            .any(|pair| pair == "follow=true")
}

/// Whether a pod, service or node answers the request itself.
fn is_proxied(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    // The server may be below a path prefix.
    let core = parts
        .windows(2)
        .position(|two| two == ["api", "v1"])
        .map(|at| &parts[at + 2..]);
    matches!(
        core,
        Some(["namespaces", _, "pods" | "services", _, "proxy", ..] | ["nodes", _, "proxy", ..])
    )
}

fn clone_request(request: &Request<Body>) -> Option<Request<Body>> {
    let body = request.body().try_clone()?;
    let mut again = Request::new(body);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    Some(again)
}

/// `Retry-After` in seconds, as API servers send it.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The program that starts login plugins in their own session.
static DETACH: OnceLock<std::path::PathBuf> = OnceLock::new();

/// Starts login plugins through `program`, see [`super::plugin`].
pub fn detach_plugins(program: std::path::PathBuf) {
    let _ = DETACH.set(program);
}

pub(super) fn detach_program() -> Option<&'static std::path::Path> {
    DETACH.get().map(std::path::PathBuf::as_path)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::FutureExt;
    use k8s_openapi::api::core::v1::Pod;
    use kube::{Api, api::LogParams};

    use super::*;

    #[test]
    fn what_is_behind_a_proxy_is_told_by_the_place_of_the_word() {
        for path in [
            "/api/v1/namespaces/demo/pods/p:8080/proxy/A",
            "/api/v1/namespaces/demo/services/s/proxy",
            "/api/v1/nodes/n/proxy/metrics",
            "/k8s/clusters/c-1/api/v1/namespaces/demo/services/s/proxy/A",
        ] {
            assert!(is_proxied(path), "{path}");
        }
        for path in [
            "/api/v1/namespaces/proxy-system/pods",
            "/api/v1/namespaces/proxy/pods/p",
            "/api/v1/namespaces/demo/pods/proxy",
            "/apis/apps/v1/namespaces/demo/deployments/proxy",
            "/api/v1/nodes/proxy",
        ] {
            assert!(!is_proxied(path), "{path}");
        }
    }

    /// As after a suspend: the first connection accepts requests and never answers.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_died_without_a_word_is_left() {
        let dialled = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&dialled);
        let dial: Dial = Arc::new(move || {
            let first = count.fetch_add(1, Ordering::Relaxed) == 0;
            let service = service_fn(move |request: Request<Body>| async move {
                if first || request.uri().path().ends_with("/log") {
                    std::future::pending::<()>().await;
                }
                Ok::<_, BoxError>(Response::new(Body::from(
                    br#"{"metadata": {"name": "p"}}"#.to_vec(),
                )))
            });
            async move { Ok(Client::new(service, "default")) }.boxed()
        });
        let pods: Api<Pod> =
            Api::default_namespaced(lazy_client(dial, false, "default", Arc::default()));
        let told = pods.get("p").await.unwrap_err();
        assert_eq!(error::classify_error(&told), LinkTrouble::Offline);
        assert_eq!(
            error::describe_error(&told),
            "the server has not answered for 30 s"
        );
        pods.get("p").await.unwrap();
        assert_eq!(dialled.load(Ordering::Relaxed), 2);
        // A log in which nothing is written yet is not a dead connection.
        let log = LogParams {
            follow: true,
            ..LogParams::default()
        };
        let quiet = tokio::time::timeout(ANSWER_TIMEOUT * 20, pods.log_stream("p", &log)).await;
        assert!(quiet.is_err());
    }

    /// A Lease is renewed while a 429 pauses other requests. A refused renewal is not repeated: the
    /// next one comes by itself.
    #[tokio::test(start_paused = true)]
    async fn a_lease_is_renewed_while_all_else_waits() {
        use k8s_openapi::api::coordination::v1::Lease;

        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let service = service_fn(move |request: Request<Body>| {
            let lease = request.uri().path().ends_with("/leases/l");
            count.fetch_add(u32::from(lease), Ordering::Relaxed);
            let status = if lease {
                StatusCode::TOO_MANY_REQUESTS
            } else {
                StatusCode::OK
            };
            let body = Body::from(br#"{"metadata": {"name": "p"}}"#.to_vec());
            let answer = Response::builder().status(status).body(body);
            std::future::ready(answer.map_err(BoxError::from))
        });
        let meter = Arc::<Meter>::default();
        let client = metered_client(Client::new(service, "default"), Arc::clone(&meter));
        let (leases, pods) = (
            Api::<Lease>::default_namespaced(client.clone()),
            Api::<Pod>::default_namespaced(client),
        );
        let begun = Instant::now();
        meter.throttle(Some(Duration::from_secs(20)));
        for tries in 1..=3 {
            leases.get("l").await.unwrap_err();
            assert_eq!(asked.load(Ordering::Relaxed), tries);
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pods.get("p").await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(20));
    }
}
