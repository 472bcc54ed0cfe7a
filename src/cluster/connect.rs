//! Which cluster, and a client for it. A state folder's pocket is reached by the kubeconfig it wrote; a real
//! cluster by kubectl's own files. A real cluster is never chosen by accident: it must be named.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{ExecInteractiveMode, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::error;

/// How long a server may take to answer the first question.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// Where the API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The pocket of that state folder.
    State(PathBuf),
    /// A cluster that kubectl knows.
    Kubectl {
        /// The file; none is `$KUBECONFIG`, else `~/.kube/config`.
        kubeconfig: Option<PathBuf>,
        /// The context; none is the current one.
        context: Option<String>,
    },
}

/// A client that has been answered.
#[derive(Clone)]
pub struct Connected {
    /// Speaks to the cluster.
    pub client: Client,
    /// The namespace of our resources.
    pub namespace: String,
    /// What to call the cluster on screen.
    pub name: String,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody has this state folder open.
    #[error(
        "no pocket runs in {dir}\nStart one with `graylane demo` (or `graylane demo --headless`), or name another folder \
         with --state; a real cluster with --context",
        dir = .0.display()
    )]
    NoPocket(PathBuf),
    /// The kubeconfig is wrong.
    #[error("{place}: {why}")]
    Kubeconfig {
        /// The file, or how it was looked for.
        place: String,
        /// In words.
        why: String,
    },
    /// The server does not answer, or not as a Kubernetes API.
    #[error("the cluster at {server} does not answer: {why}")]
    Server {
        /// Its address.
        server: String,
        /// In words.
        why: String,
    },
}

/// The file with which clients reach a state folder's pocket.
pub fn kubeconfig_of(state: &Path) -> PathBuf {
    state.join("kubeconfig")
}

/// Connects and waits for a first answer. `namespace` overrides the context's.
pub async fn connect(source: &Source, namespace: Option<&str>) -> Result<Connected, ConnectError> {
    let (mut kubeconfig, options, place) = match source {
        Source::State(dir) => {
            let file = kubeconfig_of(dir);
            if !file.exists() {
                return Err(ConnectError::NoPocket(dir.clone()));
            }
            let read = Kubeconfig::read_from(&file).map_err(wrong(&file.display().to_string()))?;
            (read, KubeConfigOptions::default(), file.display().to_string())
        }
        Source::Kubectl { kubeconfig, context } => {
            let place = kubeconfig.as_ref().map_or_else(|| "kubeconfig".to_owned(), |f| f.display().to_string());
            let read = match kubeconfig {
                Some(file) => Kubeconfig::read_from(file),
                None => Kubeconfig::read(),
            }
            .map_err(wrong(&place))?;
            (read, KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() }, place)
        }
    };
    // A login plugin would inherit the terminal and scribble over the screen.
    for auth in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        if let Some(exec) = &mut auth.exec {
            exec.interactive_mode = Some(ExecInteractiveMode::Never);
        }
    }
    let name = options.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(wrong(&place))?;
    config.connect_timeout = Some(FIRST_ANSWER);
    let server = config.cluster_url.to_string();
    let namespace = match (namespace, source) {
        (Some(namespace), _) => namespace.to_owned(),
        (None, Source::State(_)) if config.default_namespace == "default" => "demo".to_owned(),
        (None, _) => config.default_namespace.clone(),
    };
    let told = |why: String| match source {
        Source::State(dir) => ConnectError::NoPocket(dir.clone()),
        Source::Kubectl { .. } => ConnectError::Server { server: server.clone(), why },
    };
    let client =
        Client::try_from(config).map_err(|e| ConnectError::Server { server: server.clone(), why: error::words(&e) })?;
    match tokio::time::timeout(FIRST_ANSWER, client.apiserver_version()).await {
        Ok(Ok(_)) => Ok(Connected { client, namespace, name }),
        Ok(Err(e)) if error::is_unreachable(&e) => Err(told(error::words(&e))),
        Ok(Err(e)) => Err(ConnectError::Server { server: server.clone(), why: error::words(&e) }),
        Err(_) => Err(told(format!("no answer within {} s", FIRST_ANSWER.as_secs()))),
    }
}

fn wrong(place: &str) -> impl Fn(KubeconfigError) -> ConnectError {
    move |e| ConnectError::Kubeconfig { place: place.to_owned(), why: e.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_without_a_pocket_says_how_to_start_one() {
        let dir = tempfile::tempdir().unwrap();
        let refused = connect(&Source::State(dir.path().into()), None).await.err().unwrap();
        assert!(matches!(&refused, ConnectError::NoPocket(d) if d == dir.path()));
        assert!(refused.to_string().contains("graylane demo"));
    }

    #[tokio::test]
    async fn a_kubeconfig_left_by_a_dead_pocket_is_no_pocket() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        // Bound and dropped: nobody listens there now.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: p, contexts: [{{name: p, context: {{cluster: p, user: p}}}}],
              clusters: [{{name: p, cluster: {{server: 'https://127.0.0.1:{port}'}}}}], users: [{{name: p, user: {{token: t}}}}]}}"
        );
        std::fs::write(kubeconfig_of(dir.path()), text).unwrap();
        let refused = connect(&Source::State(dir.path().into()), None).await.err().unwrap();
        assert!(matches!(refused, ConnectError::NoPocket(_)), "{refused}");
    }

    #[tokio::test]
    async fn a_broken_kubeconfig_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kc");
        std::fs::write(&file, "contexts: [").unwrap();
        let source = Source::Kubectl { kubeconfig: Some(file), context: None };
        let refused = connect(&source, None).await.err().unwrap().to_string();
        assert!(refused.contains("/kc: "), "{refused}");
    }
}
