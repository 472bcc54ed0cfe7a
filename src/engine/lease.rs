//! One engine at a time: a `coordination.k8s.io/v1` Lease, as Kubernetes' own controllers use it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, api::PostParams};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{Options, Telemetry};
use crate::{cluster::watch::ENGINE_LEASE, domain::text::Clean};

/// A holder that has not renewed for so long has lost it.
const HELD: Duration = Duration::from_secs(15);
/// Between two renewals, and two looks while standing by.
const RENEW: Duration = Duration::from_secs(2);
/// How long a renewal may take: as long as a login plugin takes that asks somewhere, and short enough for a second try.
const TRY: Duration = Duration::from_secs(5);

/// Whose it is.
enum Taken {
    Ours,
    By(String),
}

pub(super) struct Lease {
    api: Api<Object>,
    identity: String,
    telemetry: Telemetry,
}

impl Lease {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            api: Api::namespaced(options.client.clone(), &options.namespace),
            identity: options.identity.clone(),
            telemetry: options.telemetry.clone(),
        }
    }

    /// Answers when it is ours, with a moment before that; tells who has it meanwhile.
    pub(super) async fn acquire(&self) -> Instant {
        let mut told = String::new();
        loop {
            let began = Instant::now();
            match self.take().await {
                Ok(Taken::Ours) => return began,
                Ok(Taken::By(holder)) if holder != told => {
                    tracing::info!("stands by: {holder} acts (Lease {ENGINE_LEASE})");
                    told = holder;
                }
                Ok(Taken::By(_)) => {}
                Err(why) => tracing::debug!(%why, "the engine's Lease"),
            }
            sleep(RENEW).await;
        }
    }

    /// Renews it; returns when it is no longer ours, or may not be. It is ours since `last`.
    pub(super) async fn keep(&self, mut last: Instant) {
        loop {
            // Ends before the others may take it: they count from when a renewal was asked for, not from its answer.
            let end = last + HELD - RENEW;
            sleep_until(end.min(Instant::now() + RENEW)).await;
            let began = Instant::now();
            if began >= end {
                return;
            }
            match timeout_at(end.min(began + TRY), self.take()).await {
                Ok(Ok(Taken::Ours)) => last = began,
                Ok(Ok(Taken::By(_))) => return,
                Ok(Err(why)) => tracing::warn!(%why, "the engine's Lease cannot be renewed"),
                Err(_) => tracing::warn!("the engine's Lease cannot be renewed: no answer"),
            }
        }
    }

    /// Gives it up, so that another need not wait.
    pub(super) async fn release(&self) {
        let given_up = async {
            let Some(mut lease) = self.api.get_opt(ENGINE_LEASE).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = None;
                self.api.replace(ENGINE_LEASE, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Ok(Err(why)) = tokio::time::timeout(RENEW, given_up).await {
            tracing::debug!(%why, "the engine's Lease was not given up");
        }
    }

    /// Takes or renews it.
    async fn take(&self) -> kube::Result<Taken> {
        let taken = self.try_to_take().await;
        self.telemetry.tried(taken.is_ok());
        taken
    }

    async fn try_to_take(&self) -> kube::Result<Taken> {
        let now = Timestamp::now();
        let Some(mut lease) = self.api.get_opt(ENGINE_LEASE).await? else {
            let mut lease = Object::default();
            lease.metadata.name = Some(ENGINE_LEASE.into());
            lease.spec = Some(LeaseSpec { lease_transitions: Some(0), ..self.held(now, now) });
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().filter(|h| !h.is_empty());
        let ours = holder == Some(&self.identity);
        let seconds = spec.lease_duration_seconds.unwrap_or(15);
        let until = spec.renew_time.as_ref().map(|t| t.0 + SignedDuration::from_secs(i64::from(seconds)));
        let gone = holder.is_some_and(is_gone);
        if let Some(holder) = holder
            && !ours
            && !gone
            && until.is_some_and(|t| t > now)
        {
            return Ok(Taken::By(Clean::from_untrusted(holder).to_string()));
        }
        let since = spec.acquire_time.as_ref().filter(|_| ours).map_or(now, |t| t.0);
        let transitions = spec.lease_transitions.unwrap_or(0) + i32::from(!ours);
        lease.spec = Some(LeaseSpec { lease_transitions: Some(transitions), ..self.held(since, now) });
        won(self.api.replace(ENGINE_LEASE, &PostParams::default(), &lease).await)
    }

    fn held(&self, since: Timestamp, now: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(HELD.as_secs()).ok(),
            acquire_time: Some(MicroTime(since)),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }
    }
}

/// Names this process, and no other one ever, in the Lease: `HOST/PID/RUN`.
pub fn identity() -> String {
    let run = uuid::Uuid::new_v4().simple().to_string();
    format!("{}/{}/{}", host(), std::process::id(), &run[..8])
}

fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if host.trim().is_empty() { "graylane".into() } else { host.trim().into() }
}

/// A process of this machine that is no more (killed, and not come to give the Lease up): nobody waits for it. In a
/// container process numbers say nothing, and of another machine nothing is known.
fn is_gone(holder: &str) -> bool {
    let mut parts = holder.split('/');
    let (at, pid) = (parts.next(), parts.next());
    let pid = pid.and_then(|p| p.parse().ok()).and_then(rustix::process::Pid::from_raw);
    at == Some(&host())
        && std::env::var_os("KUBERNETES_SERVICE_HOST").is_none()
        && pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

fn won<T>(written: kube::Result<T>) -> kube::Result<Taken> {
    match written {
        Ok(_) => Ok(Taken::Ours),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Taken::By("another, just now,".into())),
        Err(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_can_be_known_to_be_gone() {
        assert!(!is_gone(&identity()));
        assert!(!is_gone("elsewhere/999999999/0") && !is_gone("nonsense"));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let was = format!("{}/{}/0", host(), child.id());
        child.wait().unwrap();
        assert!(is_gone(&was));
    }

    /// The holder of another machine, whose end nobody here can see.
    #[tokio::test]
    async fn a_holder_is_waited_for_fifteen_seconds_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let server = crate::pocket::rest::ApiServer::open(dir.path()).unwrap();
        let lease = |identity: &str| Lease {
            api: Api::namespaced(server.client(), "default"),
            identity: identity.into(),
            telemetry: Telemetry::default(),
        };
        let (there, here) = (lease("elsewhere/1/a"), lease("here/1/b"));
        assert!(matches!(there.take().await, Ok(Taken::Ours)));
        for (ago, ours) in [(0, false), (14, false), (16, true)] {
            let mut object = here.api.get(ENGINE_LEASE).await.unwrap();
            let spec = object.spec.as_mut().unwrap();
            assert_eq!(spec.lease_duration_seconds, Some(15));
            spec.renew_time = Some(MicroTime(Timestamp::now() - SignedDuration::from_secs(ago)));
            here.api.replace(ENGINE_LEASE, &PostParams::default(), &object).await.unwrap();
            let taken = here.take().await.unwrap();
            assert_eq!(matches!(taken, Taken::Ours), ours, "renewed {ago} s ago");
        }
        assert!(matches!(there.take().await, Ok(Taken::By(by)) if by == "here/1/b"), "it learns that it has lost it");
        let spec = here.api.get(ENGINE_LEASE).await.unwrap().spec.unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("here/1/b"), Some(1)));
        here.release().await;
        assert!(matches!(there.take().await, Ok(Taken::Ours)), "given up, it is free at once");
        server.close().await;
    }
}
