//! Probes and hooks: a single attempt of each kind, and the probing of a running container.
//!
//! Kubernetes probes once per period. Until the first success, pocket also probes in between, at
//! growing intervals. Such an extra probe can only succeed and never counts as a failure, so a pod
//! becomes ready as early as possible.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::foreign_listeners;
use super::process::{Launch, Process};

const EAGER_INTERVAL: Duration = Duration::from_millis(20);

/// How to reach a container.
#[derive(Clone)]
pub struct ProbeTarget {
    pub ip: Ipv4Addr,
    pub container: Container,
    /// Environment and working directory of the container, for commands.
    pub launch: Launch,
    pub program: PathBuf,
    pub http: reqwest::Client,
}

/// Why a probe or a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFailure {
    #[error("no port {0:?}")]
    NoPort(IntOrString),
    #[error("HTTP probe failed with statuscode: {0}")]
    Status(u16),
    #[error("Get {0:?}: {1}")]
    Get(String, String),
    #[error("dial tcp {0}: {1}")]
    Dial(SocketAddrV4, std::io::Error),
    #[error(transparent)]
    Start(std::io::Error),
    #[error("command {0:?} exited with {1}")]
    Exited(Vec<String>, i32),
    /// Another process listens where the pod is probed.
    #[error("{0}")]
    Foreign(String),
    #[error("context deadline exceeded ({0} s)")]
    Deadline(u64),
    #[error("no answer in {0} s")]
    NoAnswer(u64),
}

impl ProbeTarget {
    fn resolve_port(&self, port: &IntOrString) -> Result<u16, ProbeFailure> {
        let number = match port {
            IntOrString::Int(n) => Some(*n),
            IntOrString::String(name) => {
                let named = self
                    .container
                    .ports
                    .iter()
                    .flatten()
                    .find(|p| p.name.as_ref() == Some(name));
                named
                    .map(|p| p.container_port)
                    .or_else(|| name.parse().ok())
            }
        };
        number
            .and_then(|n| u16::try_from(n).ok())
            .ok_or_else(|| ProbeFailure::NoPort(port.clone()))
    }

    /// Sends a GET request; status 200 to 399 is a success.
    pub async fn http_get(&self, action: &HTTPGetAction) -> Result<(), ProbeFailure> {
        let port = self.resolve_port(&action.port)?;
        let host = action
            .host
            .clone()
            .filter(|h| !h.is_empty())
            .unwrap_or_else(|| self.ip.to_string());
        let scheme = action.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
        let path = action.path.as_deref().unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let url = format!("{scheme}://{host}:{port}{slash}{path}");
        let mut request = self.http.get(&url).header("user-agent", "kube-probe/1.36");
        for header in action.http_headers.iter().flatten() {
            request = request.header(&header.name, &header.value);
        }
        match request.send().await {
            Ok(answer) if (200..400).contains(&answer.status().as_u16()) => Ok(()),
            Ok(answer) => Err(ProbeFailure::Status(answer.status().as_u16())),
            Err(error) => Err(ProbeFailure::Get(url, root_cause(&error))),
        }
    }

    pub async fn tcp_connect(&self, port: &IntOrString) -> Result<(), ProbeFailure> {
        let port = self.resolve_port(port)?;
        let done = TcpStream::connect((IpAddr::from(self.ip), port)).await;
        done.map(drop)
            .map_err(|why| ProbeFailure::Dial(SocketAddrV4::new(self.ip, port), why))
    }

    /// Runs a command with the container's environment.
    pub async fn exec_command(&self, command: &[String]) -> Result<(), ProbeFailure> {
        let launch = Launch {
            words: command.to_vec(),
            lock: None,
            ..self.launch.clone()
        };
        let mut process =
            Process::start(&self.program, &launch, None).map_err(ProbeFailure::Start)?;
        match process.wait().await {
            0 => Ok(()),
            code => Err(ProbeFailure::Exited(command.to_vec(), code)),
        }
    }

    /// Checks that the probed listener belongs to the pod.
    fn check_listener(&self, probe: &Probe) -> Result<(), ProbeFailure> {
        let http = probe
            .http_get
            .as_ref()
            .filter(|a| a.host.as_ref().is_none_or(String::is_empty))
            .map(|a| &a.port);
        let Some(port) = http.or(probe.tcp_socket.as_ref().map(|a| &a.port)) else {
            return Ok(());
        };
        let at = SocketAddrV4::new(self.ip, self.resolve_port(port)?);
        foreign_listeners::find_at(at, &self.launch.mark)
            .map_or(Ok(()), |why| Err(ProbeFailure::Foreign(why)))
    }

    /// Describes another user's process that listens on one of the container's ports.
    pub fn find_foreign_listener(&self) -> Option<String> {
        let ports = self
            .container
            .ports
            .iter()
            .flatten()
            .filter(|p| p.protocol.as_deref().is_none_or(|p| p == "TCP"));
        let mut ports = ports.filter_map(|p| u16::try_from(p.container_port).ok());
        ports.find_map(|port| {
            foreign_listeners::find_at(SocketAddrV4::new(self.ip, port), &self.launch.mark)
        })
    }

    async fn try_once(&self, probe: &Probe) -> Result<(), ProbeFailure> {
        let limit = Duration::from_secs(positive_or_default(probe.timeout_seconds, 1));
        let attempt = async {
            if let Some(action) = &probe.http_get {
                self.http_get(action).await
            } else if let Some(action) = &probe.tcp_socket {
                self.tcp_connect(&action.port).await
            } else if let Some(action) = &probe.exec {
                self.exec_command(action.command.as_deref().unwrap_or_default())
                    .await
            } else {
                Ok(())
            }
        };
        timeout(limit, attempt)
            .await
            .unwrap_or(Err(ProbeFailure::Deadline(limit.as_secs())))
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn positive_or_default(value: Option<i32>, default: u64) -> u64 {
    value
        .and_then(|v| u64::try_from(v).ok())
        .filter(|v| *v > 0)
        .unwrap_or(default)
}

/// Event of a probe.
#[derive(Debug, Clone, PartialEq)]
pub enum ProbeEvent {
    /// The state became true (enough successes in a row) or false (enough failures); with the
    /// message of the last failure.
    State(bool, String),
    /// A single failure, for an event.
    Failed(String),
}

/// Probes forever, starting now, with extra probes until the first success. `first` is the initial
/// state.
pub async fn watch_probe(
    target: &ProbeTarget,
    probe: &Probe,
    first: bool,
    mut tell: impl FnMut(ProbeEvent),
) {
    let period = Duration::from_secs(positive_or_default(probe.period_seconds, 10));
    let (yes_after, no_after) = (
        positive_or_default(probe.success_threshold, 1),
        positive_or_default(probe.failure_threshold, 3),
    );
    let start =
        Instant::now() + Duration::from_secs(positive_or_default(probe.initial_delay_seconds, 0));
    sleep_until(start).await;
    let (mut state, mut ever) = (first, first);
    let (mut good, mut bad) = (0, 0);
    let (mut next, mut eager) = (start, EAGER_INTERVAL);
    loop {
        let counted = Instant::now() >= next;
        if counted {
            next += period;
        }
        let mut tried = target.try_once(probe).await;
        if tried.is_ok() && !state {
            // Checked only on the way to success: once the pod has its port, no other process can
            // take it.
            tried = target.check_listener(probe);
        }
        match tried {
            Ok(()) => {
                (good, bad, ever) = (good + 1, 0, true);
                if good >= yes_after && !state {
                    state = true;
                    tell(ProbeEvent::State(true, String::new()));
                }
            }
            Err(why) if counted => {
                (good, bad) = (0, bad + 1);
                let why = why.to_string();
                tell(ProbeEvent::Failed(why.clone()));
                if bad >= no_after {
                    // Repeated after every series of failures, because each one must restart the
                    // container.
                    state = false;
                    tell(ProbeEvent::State(false, why));
                    bad = 0;
                }
            }
            Err(_) => {}
        }
        let now = Instant::now();
        let soon = if ever && (state || good == 0) {
            next
        } else {
            next.min(now + eager)
        };
        eager = (eager * 3 / 2).min(period);
        sleep_until(soon.max(now)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn target() -> ProbeTarget {
        let _ = rustls::crypto::ring::default_provider().install_default();
        ProbeTarget {
            ip: Ipv4Addr::LOCALHOST,
            container: Container::default(),
            launch: Launch {
                words: vec![],
                env: BTreeMap::new(),
                dir: "/".into(),
                lock: None,
                mark: String::new(),
            },
            program: "/none".into(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    fn probe(value: Value) -> Probe {
        serde_json::from_value(value).unwrap()
    }

    #[tokio::test]
    async fn http_and_tcp_tell_good_from_bad() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    let n = stream.read(&mut buffer).await.unwrap_or(0);
                    let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
                    let code = if text.starts_with("GET /good") {
                        "302 Found"
                    } else {
                        "500 Bad"
                    };
                    let _ = stream
                        .write_all(
                            format!("HTTP/1.1 {code}\r\ncontent-length: 0\r\n\r\n").as_bytes(),
                        )
                        .await;
                });
            }
        });
        let target = target();
        target
            .try_once(&probe(json!({"httpGet": {"path": "good", "port": port}})))
            .await
            .unwrap();
        let told = target
            .try_once(&probe(json!({"httpGet": {"path": "/bad", "port": port}})))
            .await
            .unwrap_err();
        assert_eq!(told.to_string(), "HTTP probe failed with statuscode: 500");
        target
            .try_once(&probe(json!({"tcpSocket": {"port": port}})))
            .await
            .unwrap();
        target
            .try_once(&probe(json!({"tcpSocket": {"port": 1}})))
            .await
            .unwrap_err();
    }

    #[tokio::test]
    async fn a_late_starter_is_seen_long_before_its_period_is_over() {
        // Bound but not listening, so that no other process takes the port.
        let late = tokio::net::TcpSocket::new_v4().unwrap();
        late.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let free = late.local_addr().unwrap().port();
        let (target, probe) = (
            target(),
            probe(json!({"tcpSocket": {"port": free}, "periodSeconds": 3600})),
        );
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            watch_probe(&target, &probe, false, |told| drop(tx.send(told))).await;
        });
        assert!(matches!(rx.recv().await.unwrap(), ProbeEvent::Failed(_)));
        let _listener = late.listen(1).unwrap();
        assert_eq!(
            rx.recv().await.unwrap(),
            ProbeEvent::State(true, String::new())
        );
        task.abort();
    }
}
