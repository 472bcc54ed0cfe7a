//! Chooses a cluster and makes a client for it. A pocket is reached by the kubeconfig in its state
//! folder; a real cluster by kubectl's files or, inside a pod, by the service account. A real
//! cluster is never chosen by accident: it must be named, or be the one that this process runs in.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use http::header::USER_AGENT;
use kube::{Client, Config};

use super::{agent::Agent, clusters::Clusters, error, meter::Meter, plugin, transport};
use crate::{api::ClusterName, domain::world::LinkTrouble};

mod address;
#[cfg(test)]
mod any_text;
pub(super) mod config;
pub(super) mod credentials;
mod dial;
mod environment;
mod files;
pub(super) mod kubeconfig;
mod kubeconfig_error;
pub(super) mod pem;
#[cfg(test)]
mod table;

use config::PreparedConfig;

pub(super) use kubeconfig_error::{IdentityError, TokenError};

pub use files::{KubeContext, has_kubeconfig, list_contexts, read_kubeconfig};

/// How long a server may take to answer the first request.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the first answer may take when a login plugin has to run before it.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(35);
/// Where the kubelet mounts the credentials with which a pod reaches its own cluster.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Where the API is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterSource {
    /// The pocket of a state folder.
    State(PathBuf),
    /// A cluster from a kubeconfig.
    Kubectl {
        /// Path of the kubeconfig; `None` means `$KUBECONFIG`, else `~/.kube/config`.
        kubeconfig: Option<PathBuf>,
        /// Name of the context; `None` is the current one.
        context: Option<String>,
    },
    /// The cluster of the pod that this process runs in.
    InCluster,
}

/// A client with the name and the namespace of its cluster.
#[derive(Clone)]
pub struct Connected {
    /// Client of the home cluster.
    pub client: Client,
    /// The home cluster and the remote clusters that environments may name.
    pub clusters: Clusters,
    /// The namespace of graylane's resources.
    pub namespace: String,
    /// The cluster's name on screen.
    pub name: String,
}

/// Why there is no client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// No running pocket uses this state folder.
    #[error(
        "no pocket runs in {dir}\nStart one with `graylane demo` (or `graylane demo --headless`), or name another folder \
         with --state; a real cluster with --context",
        dir = .0.display()
    )]
    NoPocket(PathBuf),
    /// The kubeconfig cannot be used.
    #[error("{place}: {why}")]
    Kubeconfig {
        /// The file, or how it was searched for.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// There are no valid credentials.
    #[error("no valid credentials for {name}: {why}\nLog in as for kubectl")]
    Credentials {
        /// Name of the cluster.
        name: String,
        /// The reason, in the login plugin's words where there is one.
        why: String,
    },
    /// The server does not answer, or what answers is no Kubernetes API.
    #[error("the cluster at {server} does not answer: {why}")]
    Server {
        /// Address of the server.
        server: String,
        /// The reason.
        why: String,
    },
}

/// Path of the kubeconfig by which clients reach the pocket of a state folder.
pub fn kubeconfig_path(state: &Path) -> PathBuf {
    state.join("kubeconfig")
}

/// Whether this process runs in a pod with access to its cluster.
pub fn is_in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        && Path::new(SERVICE_ACCOUNT_TOKEN).exists()
}

/// Makes a client that connects when it is first used. Errors come from the files only.
pub fn prepare_client(
    source: &ClusterSource,
    namespace: Option<&str>,
    agent: Agent,
) -> Result<Connected, ConnectError> {
    let meter = Arc::<Meter>::default();
    let known = match source {
        ClusterSource::State(dir) => {
            let file = kubeconfig_path(dir);
            if !file.exists() {
                return Err(ConnectError::NoPocket(dir.clone()));
            }
            let mut known = read_context(Some(&file), None)?;
            known.namespace = known
                .namespace
                .filter(|n| n != "default")
                .or_else(|| Some("demo".into()));
            known
        }
        ClusterSource::Kubectl {
            kubeconfig,
            context,
        } => read_context(kubeconfig.as_deref(), context.as_deref())?,
        ClusterSource::InCluster => {
            let config = in_cluster_config()?;
            let server = config.cluster_url.to_string();
            KubeContext {
                name: "in-cluster".into(),
                server,
                namespace: Some(config.default_namespace),
                current: true,
            }
        }
    };
    let namespace = namespace
        .map(str::to_owned)
        .or(known.namespace)
        .unwrap_or_else(|| "default".into());
    let (file, home) = match source {
        ClusterSource::Kubectl { kubeconfig, .. } => {
            (kubeconfig.clone(), known.name.as_str().into())
        }
        ClusterSource::State(_) | ClusterSource::InCluster => (None, ClusterName::Home),
    };
    let roams = matches!(source, ClusterSource::State(_));
    let client = transport::lazy_client(
        dialer_for(source.clone(), known.name.clone(), agent),
        roams,
        &namespace,
        Arc::clone(&meter),
    );
    let clusters = Clusters::new(client.clone(), home, file, meter, agent);
    Ok(Connected {
        client,
        clusters,
        namespace,
        name: known.name,
    })
}

/// Connects and waits for the first answer. `namespace` overrides the context's namespace.
pub async fn connect(
    source: &ClusterSource,
    namespace: Option<&str>,
    agent: Agent,
) -> Result<Connected, ConnectError> {
    let connected = prepare_client(source, namespace, agent)?;
    await_first_answer(source, &connected).await?;
    Ok(connected)
}

/// Waits for the server's first answer.
pub async fn await_first_answer(
    source: &ClusterSource,
    connected: &Connected,
) -> Result<(), ConnectError> {
    let told = |why: String| match source {
        ClusterSource::State(dir) => ConnectError::NoPocket(dir.clone()),
        ClusterSource::Kubectl { .. } | ClusterSource::InCluster => ConnectError::Server {
            server: connected.name.clone(),
            why,
        },
    };
    // A login plugin may wait for a person; a server that is up answers soon.
    let limit = if matches!(source, ClusterSource::Kubectl { .. }) {
        LOGIN_TIMEOUT
    } else {
        FIRST_ANSWER_TIMEOUT
    };
    let answer = tokio::time::timeout(limit, connected.client.apiserver_version()).await;
    let why = match answer {
        Err(_) => return Err(told(format!("no answer within {} s", limit.as_secs()))),
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(why)) => why,
    };
    if let Some(known) = error::find_cause::<ConnectError>(&why) {
        return Err(known.clone());
    }
    match error::classify_error(&why) {
        // The server answered. A missing permission is reported where it matters.
        LinkTrouble::Forbidden => Ok(()),
        LinkTrouble::Unauthorized => Err(ConnectError::Credentials {
            name: connected.name.clone(),
            why: error::describe_error(&why),
        }),
        LinkTrouble::Offline => Err(told(error::describe_error(&why))),
        _ => Err(ConnectError::Server {
            server: connected.name.clone(),
            why: error::describe_error(&why),
        }),
    }
}

/// The entry of a context in the files; `None` is the current context.
fn read_context(file: Option<&Path>, context: Option<&str>) -> Result<KubeContext, ConnectError> {
    let kubeconfig = read_kubeconfig(file)?;
    let all = list_contexts(&kubeconfig);
    let place = || file.map_or_else(|| "kubeconfig".to_owned(), |f| f.display().to_string());
    let wrong = |why: String| ConnectError::Kubeconfig {
        place: place(),
        why,
    };
    let found = all
        .iter()
        .find(|c| context.map_or(c.current, |name| c.name == name));
    found.cloned().ok_or_else(|| match context {
        Some(name) => {
            let names: Vec<&str> = all.iter().map(|c| c.name.as_str()).collect();
            wrong(format!(
                "context {name} does not exist; there are: {}",
                names.join(", ")
            ))
        }
        None => wrong(
            "current-context is not set; name a context with --context, or by kubectl config \
             use-context"
                .into(),
        ),
    })
}

fn read_config(file: Option<&Path>, context: Option<&str>) -> Result<PreparedConfig, ConnectError> {
    config::prepare_config(&read_kubeconfig(file)?, context, |name| {
        std::env::var(name).ok()
    })
}

fn in_cluster_config() -> Result<Config, ConnectError> {
    let wrong = |e: kube::config::InClusterError| ConnectError::Kubeconfig {
        place: "the pod's service account".into(),
        why: e.to_string(),
    };
    Config::incluster().map_err(wrong)
}

/// Makes connections to one server, each from the files as they are at that moment.
pub(super) fn dialer_for(source: ClusterSource, name: String, agent: Agent) -> transport::Dial {
    Arc::new(move || {
        let (source, name) = (source.clone(), name.clone());
        async move {
            let PreparedConfig { mut config, login } = match &source {
                ClusterSource::State(dir) => read_config(Some(&kubeconfig_path(dir)), None)?,
                ClusterSource::Kubectl {
                    kubeconfig,
                    context,
                } => read_config(kubeconfig.as_deref(), context.as_deref())?,
                ClusterSource::InCluster => PreparedConfig {
                    config: in_cluster_config()?,
                    login: None,
                },
            };
            config.connect_timeout = Some(FIRST_ANSWER_TIMEOUT);
            // The transport retries instead, and reports it.
            config.default_retry = false;
            config.headers.push((USER_AGENT, agent.to_header_value()));
            let server = config.cluster_url.to_string();
            let acts = config
                .headers
                .iter()
                .any(|(name, _)| *name == transport::IMPERSONATE_USER);
            let (mut until, context) = (None, name.clone());
            if let Some(login) = login {
                // A plugin may take long, so it runs once; its credentials are kept until they
                // expire or are refused.
                let asked = tokio::task::spawn_blocking(move || plugin::run_plugin(&login)).await;
                let refused = |why: &dyn ToString| ConnectError::Credentials {
                    name: name.clone(),
                    why: why.to_string(),
                };
                let given = asked.map_err(|e| refused(&e))?.map_err(|e| refused(&e))?;
                until = given.until;
                config.auth_info = given.auth;
            }
            let made = tokio::task::spawn_blocking(move || dial::build_client(config)).await;
            let failed = |why: kube::Error| match error::classify_error(&why) {
                LinkTrouble::Unauthorized => ConnectError::Credentials {
                    name,
                    why: error::describe_error(&why),
                },
                _ => ConnectError::Server {
                    server: server.clone(),
                    why: error::describe_error(&why),
                },
            };
            match made {
                Ok(made) => {
                    let client = made.map_err(failed)?;
                    let client = if acts {
                        transport::reject_double_impersonation(client, context)
                    } else {
                        client
                    };
                    Ok(client.with_valid_until(until))
                }
                Err(why) => Err(ConnectError::Server {
                    server,
                    why: why.to_string(),
                }),
            }
        }
        .boxed()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_without_a_pocket_says_how_to_start_one() {
        let dir = tempfile::tempdir().unwrap();
        let refused = connect(&ClusterSource::State(dir.path().into()), None, Agent::Cli)
            .await
            .err()
            .unwrap();
        assert!(matches!(&refused, ConnectError::NoPocket(d) if d == dir.path()));
        assert!(refused.to_string().contains("graylane demo"));
    }

    #[tokio::test]
    async fn a_kubeconfig_left_by_a_dead_pocket_is_no_pocket() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        // The listener is dropped, so nothing listens on this port any more.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: p, contexts: [{{name: p, context: {{cluster: p, user: p}}}}],
              clusters: [{{name: p, cluster: {{server: 'https://127.0.0.1:{port}'}}}}], users: [{{name: p, user: {{token: t}}}}]}}"
        );
        std::fs::write(kubeconfig_path(dir.path()), text).unwrap();
        let refused = connect(&ClusterSource::State(dir.path().into()), None, Agent::Cli)
            .await
            .err()
            .unwrap();
        assert!(matches!(refused, ConnectError::NoPocket(_)), "{refused}");
    }

    #[tokio::test]
    async fn an_audit_log_can_tell_who_asked() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kc");
        for (agent, told) in [
            (Agent::Cockpit, "cockpit"),
            (Agent::Engine, "engine"),
            (Agent::Cli, "cli"),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let text = format!(
                "{{current-context: c, contexts: [{{name: c, context: {{cluster: c}}}}],
                  clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]}}",
                listener.local_addr().unwrap()
            );
            std::fs::write(&file, text).unwrap();
            let source = ClusterSource::Kubectl {
                kubeconfig: Some(file.clone()),
                context: None,
            };
            let connected = prepare_client(&source, None, agent).unwrap();
            let asking =
                tokio::spawn(async move { connected.client.apiserver_version().await.map(drop) });
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let expected = format!(
                "user-agent: graylane/{} ({told})\r\n",
                env!("CARGO_PKG_VERSION")
            );
            assert!(head.contains(&expected), "{head}");
            asking.abort();
        }
    }

    #[tokio::test]
    async fn a_broken_kubeconfig_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kc");
        std::fs::write(&file, "contexts: [").unwrap();
        let source = ClusterSource::Kubectl {
            kubeconfig: Some(file),
            context: None,
        };
        let refused = connect(&source, None, Agent::Cli)
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(refused.contains("/kc: "), "{refused}");
    }
}
