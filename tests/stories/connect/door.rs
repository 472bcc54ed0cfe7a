//! A door before pocket's API, of the test's own: it answers by script instead, hangs, or is slammed on everybody.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use graylane::cluster::install;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use kube::Client;
use pocket::rest::ApiServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::authority::Authority;

type Body = UnsyncBoxBody<bytes::Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Play {
    /// Nobody ever answers.
    Hang,
    /// This status; 429 asks for a second of peace.
    Say(u16),
    /// All is well, with these words.
    Tell(&'static str),
}

#[derive(Default)]
struct Script {
    /// Part of a path with its query, and what is done then.
    rules: Vec<(String, Play)>,
    /// Who does not bring it is not let in.
    token: Option<String>,
    slammed: bool,
    /// Versions before this one are not known any more.
    forgotten: u64,
    asked: Vec<String>,
    connections: CancellationToken,
}

/// The door, and what is behind it.
pub struct Door {
    pub dir: tempfile::TempDir,
    pub behind: Client,
    script: Arc<Mutex<Script>>,
    server: ApiServer,
    address: std::net::SocketAddr,
    tls: TlsAcceptor,
    listening: Mutex<CancellationToken>,
}

impl Door {
    pub async fn open() -> Self {
        Self::with(Authority::new().acceptor_for_all()).await
    }

    /// Before a pocket with our definitions.
    pub async fn with(tls: TlsAcceptor) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let server = graylane::embedded::open_api(&dir.path().join("state")).unwrap();
        let behind = server.client();
        install::apply_definitions(&behind).await.unwrap();
        let namespace =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "demo"}})).unwrap();
        let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
            kube::Api::all(behind.clone());
        namespaces
            .create(&kube::api::PostParams::default(), &namespace)
            .await
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let door = Self {
            dir,
            behind,
            script: Arc::default(),
            server,
            address,
            tls,
            listening: Mutex::default(),
        };
        door.listen(listener);
        door
    }

    fn listen(&self, listener: std::net::TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (server, script, tls) = (
            self.server.clone(),
            Arc::clone(&self.script),
            self.tls.clone(),
        );
        let stop = CancellationToken::new();
        *self.listening.lock().unwrap() = stop.clone();
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (server, script, tls) = (server.clone(), Arc::clone(&script), tls.clone());
                let end = script.lock().unwrap().connections.clone();
                tokio::spawn(async move {
                    let talk = async move {
                        if script.lock().unwrap().slammed {
                            return;
                        }
                        if let Ok(stream) = tls.accept(stream).await {
                            talk(stream, server, script).await;
                        }
                    };
                    end.run_until_cancelled(talk).await;
                });
            }
        });
    }

    /// Ends every connection; while `slammed` nobody gets in.
    pub fn cut(&self, slammed: bool) {
        {
            let mut script = self.script.lock().unwrap();
            script.slammed = slammed;
            std::mem::take(&mut script.connections).cancel();
        }
    }

    /// From now on this is done with requests whose path and query contain it.
    pub fn play(&self, part: &str, play: Play) {
        self.script.lock().unwrap().rules.push((part.into(), play));
    }

    /// From now on watches from before now are told that this is too long ago, by an HTTP status.
    pub async fn forget(&self) {
        let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
            kube::Api::all(self.behind.clone());
        let version = namespaces
            .list(&kube::api::ListParams::default())
            .await
            .unwrap()
            .metadata
            .resource_version;
        self.script.lock().unwrap().forgotten = version.unwrap().parse().unwrap();
    }

    /// All is let through again.
    pub fn calm(&self) {
        let mut script = self.script.lock().unwrap();
        script.rules.clear();
        script.slammed = false;
    }

    /// Only who brings this token is let in.
    pub fn token(&self, token: &str) {
        self.script.lock().unwrap().token = Some(token.into());
    }

    /// Paths with their queries, in order.
    pub fn asked(&self) -> Vec<String> {
        self.script.lock().unwrap().asked.clone()
    }

    pub fn server(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Writes a kubeconfig whose one context has that name; `user` as YAML. Answers the file. A `cluster` that says
    /// nothing takes the door for what it is: credentials go only over TLS.
    pub fn kubeconfig(&self, context: &str, cluster: &str, user: &str) -> PathBuf {
        let file = self.dir.path().join(format!("{context}.yaml"));
        let cluster = if cluster.is_empty() {
            ", insecure-skip-tls-verify: true"
        } else {
            cluster
        };
        write_kubeconfig(&file, context, &self.server(), cluster, user);
        file
    }
}

pub fn write_kubeconfig(file: &Path, context: &str, server: &str, cluster: &str, user: &str) {
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: {context},
  contexts: [{{name: {context}, context: {{cluster: {context}, user: {context}, namespace: demo}}}}],
  clusters: [{{name: {context}, cluster: {{server: '{server}'{cluster}}}}}],
  users: [{{name: {context}, user: {user}}}]}}\n"
    );
    let part = file.with_extension("part");
    std::fs::write(&part, text).unwrap();
    std::fs::rename(part, file).unwrap();
}

async fn talk<S>(stream: S, server: ApiServer, script: Arc<Mutex<Script>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if script.lock().unwrap().slammed {
        return;
    }
    let service = service_fn(move |request| answer(server.clone(), Arc::clone(&script), request));
    let _ = Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    server: ApiServer,
    script: Arc<Mutex<Script>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let asked = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let play = {
        let mut script = script.lock().unwrap();
        script.asked.push(asked.clone());
        let stranger = script
            .token
            .as_ref()
            .is_some_and(|t| given != format!("Bearer {t}"));
        let ruled = script
            .rules
            .iter()
            .find(|(part, _)| asked.contains(part))
            .map(|(_, play)| *play);
        let from = asked
            .split(['?', '&'])
            .find_map(|pair| pair.strip_prefix("resourceVersion=")?.parse().ok());
        let forgotten =
            asked.contains("watch=true") && from.is_some_and(|from: u64| from < script.forgotten);
        if stranger {
            Some(Play::Say(401))
        } else {
            ruled.or(forgotten.then_some(Play::Say(410)))
        }
    };
    match play {
        None => Ok(server
            .handle_request(request)
            .await
            .map(|body| body.map_err(Into::into).boxed_unsync())),
        Some(Play::Hang) => {
            tokio::time::sleep(Duration::from_hours(1)).await;
            Ok(said(500))
        }
        Some(Play::Say(code)) => Ok(said(code)),
        Some(Play::Tell(words)) => {
            let body = Full::from(words).map_err(|e| match e {}).boxed_unsync();
            Ok(Response::builder()
                .header(header::CONTENT_TYPE, "application/json")
                .body(body)
                .unwrap())
        }
    }
}

fn said(code: u16) -> Response<Body> {
    let status = StatusCode::from_u16(code).unwrap();
    let reason = status.canonical_reason().unwrap_or_default();
    let words = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason.replace(' ', ""), "message": format!("the door says {code} {reason}")});
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json");
    if code == 429 {
        response = response.header(header::RETRY_AFTER, "1");
    }
    response
        .body(
            Full::from(words.to_string())
                .map_err(|e| match e {})
                .boxed_unsync(),
        )
        .unwrap()
}
