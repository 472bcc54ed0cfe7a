//! Leader election with a `coordination.k8s.io/v1` Lease, as in Kubernetes' own controllers. A
//! standby takes the Lease over when it has itself observed no renewal for the duration in the
//! Lease; clocks of other machines do not matter. In addition, a holder whose process ran on this
//! machine and has ended is replaced at once.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, api::PostParams};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{Options, Telemetry};
use crate::{
    cluster::{
        error,
        lease::{ENGINE_LEASE, LEASE_DURATION, holder_timeout},
    },
    domain::text::Clean,
};

/// Interval between renewals.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// Interval between tries while standing by.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout of a renewal: enough for a login plugin that queries a server, and short enough for a
/// second try.
const RENEW_TIMEOUT: Duration = Duration::from_secs(5);

/// State of the Lease after a try.
#[derive(Debug, PartialEq, Eq)]
enum LeaseState {
    /// `uninterrupted` if nobody else has held it since it was last ours.
    Ours {
        uninterrupted: bool,
    },
    HeldBy(String),
    /// The Lease was written in between, by another or by ourselves: a renewal may succeed after we
    /// stopped waiting for the answer.
    Unknown,
}

/// Last renewal of a holder, and since when it is known.
struct ObservedRenewal {
    holder: String,
    renewed: Option<MicroTime>,
    since: Instant,
}

pub(super) struct Lease {
    api: Api<Object>,
    identity: String,
    telemetry: Telemetry,
    seen: Mutex<Option<ObservedRenewal>>,
    /// As we wrote it last. It is renewed in one request while nobody else writes it.
    written: Mutex<Option<Object>>,
    pace: RenewalPace,
}

/// How fast the API server answers renewals; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct RenewalPace(Arc<Mutex<Renewals>>);

#[derive(Debug, Default)]
struct Renewals {
    /// When the current one began.
    began: Option<Instant>,
    last: Duration,
}

impl RenewalPace {
    fn lock(&self) -> MutexGuard<'_, Renewals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_begin(&self) {
        self.lock().began.get_or_insert_with(Instant::now);
    }

    /// Without an answer, the time goes on.
    fn note_answer(&self) {
        let mut renewals = self.lock();
        if let Some(began) = renewals.began.take() {
            renewals.last = began.elapsed();
        }
    }

    /// How long the last renewal took; the current one, if it already takes longer.
    pub(super) fn renewal_time(&self) -> Duration {
        let renewals = self.lock();
        let current = renewals.began.map(|began| began.elapsed());
        current.unwrap_or_default().max(renewals.last)
    }
}

impl Lease {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            api: Api::namespaced(options.client.clone(), &options.namespace),
            identity: options.identity.clone(),
            telemetry: options.telemetry.clone(),
            seen: Mutex::default(),
            written: Mutex::default(),
            pace: RenewalPace::default(),
        }
    }

    /// How fast the API server answers renewals.
    pub(super) fn pace(&self) -> &RenewalPace {
        &self.pace
    }

    /// Waits until the Lease is ours and returns a time just before that. Logs the holder
    /// meanwhile. Calls `on_interruption` if another engine has held it since it was last ours, or may
    /// have.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(super) async fn acquire(&self, mut on_interruption: impl FnMut()) -> Instant {
        let mut told = String::new();
        loop {
            let began = Instant::now();
            match self.try_acquire().await {
                Ok(LeaseState::Ours { uninterrupted }) => {
                    if !uninterrupted {
                        on_interruption();
                    }
                    return began;
                }
                Ok(LeaseState::HeldBy(holder)) if holder != told => {
                    tracing::info!("stands by: {holder} acts (Lease {ENGINE_LEASE})");
                    told = holder;
                    on_interruption();
                }
                Ok(LeaseState::HeldBy(_) | LeaseState::Unknown) => {}
                Err(why) => tracing::debug!("the engine's Lease: {}", error::describe_error(&why)),
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Renews the Lease. Returns when it is no longer ours, or may not be. It is ours since `last`.
    pub(super) async fn keep_renewing(&self, mut last: Instant) {
        loop {
            // Stop before others may take it: they count from the time of the request, not of the
            // answer.
            let end = last + LEASE_DURATION - RENEW_INTERVAL;
            sleep_until(end.min(Instant::now() + RENEW_INTERVAL)).await;
            let began = Instant::now();
            if began >= end {
                return;
            }
            match timeout_at(end.min(began + RENEW_TIMEOUT), self.try_acquire()).await {
                Ok(Ok(LeaseState::Ours { .. })) => last = began,
                Ok(Ok(LeaseState::HeldBy(_))) => return,
                // The next try tells who holds it.
                Ok(Ok(LeaseState::Unknown)) => {}
                Ok(Err(why)) => tracing::warn!(
                    "the engine's Lease cannot be renewed: {}",
                    error::describe_error(&why)
                ),
                Err(_) => tracing::warn!("the engine's Lease cannot be renewed: no answer"),
            }
        }
    }

    /// Gives the Lease up, so that another engine does not have to wait.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(super) async fn release(&self) {
        *self.lock_written() = None;
        let given_up = async {
            let Some(mut lease) = self.api.get_opt(ENGINE_LEASE).await? else {
                return Ok(());
            };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = None;
                self.api
                    .replace(ENGINE_LEASE, &PostParams::default(), &lease)
                    .await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Ok(Err(why)) = tokio::time::timeout(RENEW_INTERVAL, given_up).await {
            tracing::debug!(
                "the engine's Lease was not given up: {}",
                error::describe_error(&why)
            );
        }
    }

    fn lock_written(&self) -> MutexGuard<'_, Option<Object>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes or renews the Lease.
    #[tracing::instrument(level = "trace", skip_all)]
    async fn try_acquire(&self) -> kube::Result<LeaseState> {
        self.pace.note_begin();
        let taken = self.acquire_or_renew().await;
        self.pace.note_answer();
        self.telemetry.note_lease_try(taken.is_ok());
        taken
    }

    #[tracing::instrument(level = "trace", skip_all)]
    async fn acquire_or_renew(&self) -> kube::Result<LeaseState> {
        if self.renew_written().await? {
            return Ok(LeaseState::Ours {
                uninterrupted: true,
            });
        }
        let now = Timestamp::now();
        let Some(mut lease) = self.api.get_opt(ENGINE_LEASE).await? else {
            let mut lease = Object::default();
            lease.metadata.name = Some(ENGINE_LEASE.into());
            lease.spec = Some(LeaseSpec {
                lease_transitions: Some(0),
                ..self.held_spec(now, now)
            });
            let made = self.api.create(&PostParams::default(), &lease).await;
            return self.note_written(made, false);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().filter(|h| !h.is_empty());
        let ours = holder == Some(&self.identity);
        let most = holder_timeout(&spec);
        if let Some(holder) = holder
            && !ours
            && !is_gone(holder)
            && self.time_since_renewal(holder, spec.renew_time.as_ref()) < most
        {
            return Ok(LeaseState::HeldBy(
                Clean::from_untrusted(holder).to_string(),
            ));
        }
        let since = spec
            .acquire_time
            .as_ref()
            .filter(|_| ours)
            .map_or(now, |t| t.0);
        let before = spec.lease_transitions.unwrap_or(0);
        lease.spec = Some(LeaseSpec {
            lease_transitions: Some(before.saturating_add(i32::from(!ours))),
            ..self.held_spec(since, now)
        });
        let last = self.lock_written().as_ref().and_then(count_transitions);
        let written = self
            .api
            .replace(ENGINE_LEASE, &PostParams::default(), &lease)
            .await;
        self.note_written(written, ours && last == Some(before))
    }

    /// Renews the Lease as we wrote it last. Returns whether it was still that.
    async fn renew_written(&self) -> kube::Result<bool> {
        let Some(mut lease) = self.lock_written().clone() else {
            return Ok(false);
        };
        if let Some(spec) = &mut lease.spec {
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let written = self
            .api
            .replace(ENGINE_LEASE, &PostParams::default(), &lease)
            .await;
        match written {
            Ok(lease) => {
                *self.lock_written() = Some(lease);
                Ok(true)
            }
            // Written or deleted since: by another, or by ourselves in a request whose answer never
            // came.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(why) => Err(why),
        }
    }

    fn note_written(
        &self,
        written: kube::Result<Object>,
        uninterrupted: bool,
    ) -> kube::Result<LeaseState> {
        match written {
            Ok(lease) => {
                *self.lock_written() = Some(lease);
                Ok(LeaseState::Ours { uninterrupted })
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(LeaseState::Unknown),
            Err(why) => Err(why),
        }
    }

    /// How long this has been the holder's last renewal, as observed here.
    fn time_since_renewal(&self, holder: &str, renewed: Option<&MicroTime>) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen
            .as_ref()
            .filter(|s| s.holder == holder && s.renewed.as_ref() == renewed)
        {
            return seen.since.elapsed();
        }
        *seen = Some(ObservedRenewal {
            holder: holder.to_owned(),
            renewed: renewed.cloned(),
            since: Instant::now(),
        });
        Duration::ZERO
    }

    fn held_spec(&self, since: Timestamp, now: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: Some(MicroTime(since)),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }
    }
}

/// Unique identity of this process in the Lease: `HOST/PID/RUN`.
pub fn new_identity() -> String {
    let run = uuid::Uuid::new_v4().simple().to_string();
    format!("{}/{}/{}", read_hostname(), std::process::id(), &run[..8])
}

fn read_hostname() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if host.trim().is_empty() {
        "graylane".into()
    } else {
        host.trim().into()
    }
}

/// Whether the holder was a process on this machine that has ended without releasing the Lease. In
/// a container process IDs mean nothing, and nothing is known of other machines.
fn is_gone(holder: &str) -> bool {
    let mut parts = holder.split('/');
    let (at, pid) = (parts.next(), parts.next());
    let pid = pid
        .and_then(|p| p.parse().ok())
        .and_then(rustix::process::Pid::from_raw);
    at == Some(&read_hostname())
        && std::env::var_os("KUBERNETES_SERVICE_HOST").is_none()
        && pid.is_some_and(|pid| {
            rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
        })
}

/// How often the Lease has changed hands, as written in it.
fn count_transitions(lease: &Object) -> Option<i32> {
    Some(lease.spec.as_ref()?.lease_transitions.unwrap_or(0))
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_process_of_this_machine_can_be_known_to_be_gone() {
        assert!(!is_gone(&new_identity()));
        assert!(!is_gone("elsewhere/999999999/0") && !is_gone("nonsense"));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let was = format!("{}/{}/0", read_hostname(), child.id());
        child.wait().unwrap();
        assert!(is_gone(&was));
    }

    fn lease(client: kube::Client, identity: &str) -> Lease {
        let api = Api::namespaced(client, "default");
        Lease {
            api,
            identity: identity.into(),
            telemetry: Telemetry::default(),
            seen: Mutex::default(),
            written: Mutex::default(),
            pace: RenewalPace::default(),
        }
    }

    /// The holder is on another machine. Its end cannot be observed here, and its clock may be
    /// wrong.
    #[tokio::test]
    async fn a_holder_is_waited_for_as_long_as_its_lease_says_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let server = crate::embedded::open_api(dir.path()).unwrap();
        let (there, here) = (
            lease(server.client(), "elsewhere/1/a"),
            lease(server.client(), "here/1/b"),
        );
        let of = async || here.api.get(ENGINE_LEASE).await.unwrap().spec.unwrap();
        let known_for = |seconds| {
            let mut seen = here.seen.lock().unwrap();
            seen.as_mut().unwrap().since -= Duration::from_secs(seconds);
        };
        assert!(matches!(
            there.try_acquire().await,
            Ok(LeaseState::Ours { .. })
        ));
        assert_eq!(of().await.lease_duration_seconds, Some(12));
        // With a clock that is years slow or fast, and with the right one.
        for at in [
            "0001-01-01T00:00:00Z",
            "9999-12-30T22:00:00.999999Z",
            &Timestamp::now().to_string(),
        ] {
            let mut object = here.api.get(ENGINE_LEASE).await.unwrap();
            object.spec.as_mut().unwrap().renew_time = Some(MicroTime(at.parse().unwrap()));
            here.api
                .replace(ENGINE_LEASE, &PostParams::default(), &object)
                .await
                .unwrap();
            assert!(
                matches!(here.try_acquire().await, Ok(LeaseState::HeldBy(by)) if by == "elsewhere/1/a"),
                "{at}: just seen"
            );
            known_for(11);
            assert!(
                matches!(here.try_acquire().await, Ok(LeaseState::HeldBy(_))),
                "{at}"
            );
        }
        assert!(matches!(
            there.try_acquire().await,
            Ok(LeaseState::Ours { .. })
        ));
        known_for(8);
        assert!(
            matches!(here.try_acquire().await, Ok(LeaseState::HeldBy(_))),
            "renewed, it is waited for anew"
        );
        known_for(13);
        assert!(matches!(
            here.try_acquire().await,
            Ok(LeaseState::Ours { .. })
        ));
        assert!(
            matches!(there.try_acquire().await, Ok(LeaseState::HeldBy(by)) if by == "here/1/b"),
            "it learns that it has lost it"
        );
        let spec = of().await;
        assert_eq!(
            (spec.holder_identity.as_deref(), spec.lease_transitions),
            (Some("here/1/b"), Some(1))
        );
        // Somebody else has written a year and a name into the Lease.
        let mut object = here.api.get(ENGINE_LEASE).await.unwrap();
        let spec = object.spec.as_mut().unwrap();
        (spec.holder_identity, spec.lease_duration_seconds) =
            (Some("olga".into()), Some(31_536_000));
        here.api
            .replace(ENGINE_LEASE, &PostParams::default(), &object)
            .await
            .unwrap();
        assert!(matches!(
            here.try_acquire().await,
            Ok(LeaseState::HeldBy(_))
        ));
        known_for(59);
        assert!(matches!(
            here.try_acquire().await,
            Ok(LeaseState::HeldBy(_))
        ));
        known_for(2);
        assert!(matches!(
            here.try_acquire().await,
            Ok(LeaseState::Ours { .. })
        ));
        here.release().await;
        assert!(
            matches!(there.try_acquire().await, Ok(LeaseState::Ours { .. })),
            "given up, it is free at once"
        );
        server.close().await;
    }

    /// A renewal that arrived late causes a conflict for the next one. That is no reason to stop.
    #[tokio::test(start_paused = true)]
    async fn a_holder_lets_go_only_of_what_it_has_read_to_be_anothers() {
        let puts = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&puts);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let put = request.method() == http::Method::PUT;
            let before = if put {
                count.fetch_add(1, Ordering::Relaxed)
            } else {
                count.load(Ordering::Relaxed)
            };
            let spec = json!({"holderIdentity": if before < 3 { "here" } else { "elsewhere" }, "leaseDurationSeconds": 15});
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": ENGINE_LEASE, "resourceVersion": "1"}, "spec": spec});
            let conflict = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 409, "message": "m", "reason": "Conflict"});
            let (code, body) = if put && matches!(before, 0 | 3) {
                (409, conflict)
            } else {
                (200, lease)
            };
            let answer = http::Response::builder()
                .status(code)
                .body(kube::client::Body::from(body.to_string().into_bytes()));
            std::future::ready(Ok::<_, tower::BoxError>(answer.unwrap()))
        });
        let here = lease(kube::Client::new(service, "default"), "here");
        here.keep_renewing(Instant::now()).await;
        assert_eq!(
            puts.load(Ordering::Relaxed),
            4,
            "a conflict, two renewals, and one that another has forestalled"
        );
    }

    /// What was asked for since the last look, and the Lease's state after a try.
    struct CountedLease {
        lease: Lease,
        asked: Arc<Mutex<Vec<http::Method>>>,
    }

    impl CountedLease {
        async fn try_acquire(&self) -> (Vec<http::Method>, LeaseState) {
            let state = self.lease.try_acquire().await.unwrap();
            (std::mem::take(&mut self.asked.lock().unwrap()), state)
        }
    }

    #[tokio::test]
    async fn a_renewal_is_one_request_until_somebody_else_writes() {
        use http::Method;

        let dir = tempfile::tempdir().unwrap();
        let server = crate::embedded::open_api(dir.path()).unwrap();
        let other = lease(server.client(), "elsewhere/1/a");
        let asked = Arc::<Mutex<Vec<Method>>>::default();
        let (served, noted) = (server.clone(), Arc::clone(&asked));
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            noted.lock().unwrap().push(request.method().clone());
            let served = served.clone();
            async move { Ok::<_, tower::BoxError>(served.handle_request(request).await) }
        });
        let here = CountedLease {
            lease: lease(kube::Client::new(service, "default"), "here/1/b"),
            asked,
        };
        let change = async |change: &dyn Fn(&mut Object)| {
            let mut object = other.api.get(ENGINE_LEASE).await.unwrap();
            change(&mut object);
            let by = PostParams::default();
            other.api.replace(ENGINE_LEASE, &by, &object).await.unwrap();
        };
        let ours = |uninterrupted| LeaseState::Ours { uninterrupted };
        assert_eq!(
            here.try_acquire().await,
            (vec![Method::GET, Method::POST], ours(false))
        );
        let renewed = (vec![Method::PUT], ours(true));
        assert_eq!(here.try_acquire().await, renewed);
        assert_eq!(here.try_acquire().await, renewed);
        let read_first = |uninterrupted| {
            (
                vec![Method::PUT, Method::GET, Method::PUT],
                ours(uninterrupted),
            )
        };
        change(&|lease| lease.metadata.annotations = Some([("a".into(), "b".into())].into())).await;
        assert_eq!(
            here.try_acquire().await,
            read_first(true),
            "it is still held"
        );
        assert_eq!(here.try_acquire().await, renewed);
        // Another engine has held it meanwhile: by the count of transitions, whoever holds it now.
        change(&|lease| lease.spec.as_mut().unwrap().lease_transitions = Some(2)).await;
        assert_eq!(here.try_acquire().await, read_first(false));
        change(&|lease| lease.spec.as_mut().unwrap().holder_identity = None).await;
        assert_eq!(here.try_acquire().await, read_first(false));
        let by = kube::api::DeleteParams::default();
        other.api.delete(ENGINE_LEASE, &by).await.unwrap();
        assert_eq!(
            here.try_acquire().await,
            (vec![Method::PUT, Method::GET, Method::POST], ours(false))
        );
        server.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_under_way_counts_as_long_as_it_lasts() {
        let pace = RenewalPace::default();
        let seconds = || pace.renewal_time().as_secs();
        let wait = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        assert_eq!(seconds(), 0);
        pace.note_begin();
        wait(3).await;
        assert_eq!(seconds(), 3);
        // The caller stopped waiting, and tries again.
        pace.note_begin();
        wait(2).await;
        pace.note_answer();
        wait(9).await;
        assert_eq!(seconds(), 5, "the last one");
        pace.note_begin();
        wait(1).await;
        assert_eq!(seconds(), 5);
        pace.note_answer();
        assert_eq!(seconds(), 1);
    }
}
