//! What a kubelet serves of a pod's log, for a pod that this test runs itself: an API server asks the pod's node for it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, rustls};

const NODE: &str = "edge";

/// A node at that address, and a pod there that runs and whose log is the file.
pub(super) async fn show(
    client: &Client,
    address: std::net::Ipv4Addr,
    namespace: &str,
    pod: &str,
    log: &Path,
) {
    let listener = TcpListener::bind(SocketAddr::from((address, 0)))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(serve(listener, acceptor(), log.to_owned()));

    let params = PatchParams::apply("test").force();
    let nodes: Api<Node> = Api::all(client.clone());
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"unschedulable": true}});
    nodes
        .patch(NODE, &params, &Patch::Apply(&node))
        .await
        .unwrap();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": "it serves one log",
            "lastHeartbeatTime": jiff::Timestamp::now().to_string(), "lastTransitionTime": jiff::Timestamp::now().to_string()}],
    }});
    nodes
        .patch_status(NODE, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();

    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod, "labels": {"app.kubernetes.io/name": "traefik"}},
        "spec": {
            "nodeName": NODE,
            "automountServiceAccountToken": false,
            "containers": [{"name": "traefik", "image": "traefik:v3.7"}],
        },
    });
    pods.patch(pod, &params, &Patch::Apply(&object))
        .await
        .unwrap();
    let status = json!({"status": {"phase": "Running"}});
    pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
}

fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["edge".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    TlsAcceptor::from(Arc::new(
        config
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap(),
    ))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, log: PathBuf) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, log) = (acceptor.clone(), log.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while stream.read_line(&mut head).await.is_ok_and(|n| n > 2) {}
            let follow = head
                .lines()
                .next()
                .is_some_and(|line| line.contains("follow=true"));
            // Of the past as much as anybody asks for.
            let mut sent =
                std::fs::read(&log).map_or(0, |text| text.len().saturating_sub(64 * 1024));
            let begin = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
            if stream.write_all(begin).await.is_err() {
                return;
            }
            loop {
                let text = std::fs::read(&log).unwrap_or_default();
                if let Some(more) = text.get(sent..).filter(|more| !more.is_empty()) {
                    let chunk =
                        [format!("{:x}\r\n", more.len()).as_bytes(), more, b"\r\n"].concat();
                    if stream.write_all(&chunk).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                    sent = text.len();
                }
                if !follow {
                    let _ = stream.write_all(b"0\r\n\r\n").await;
                    return drop(stream.shutdown().await);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
}
