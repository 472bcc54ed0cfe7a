//! The API on the network: by its kubeconfig and with its token only, and the same after a restart.

use std::os::unix::fs::PermissionsExt;

use graylane::cluster::{
    agent::Agent,
    connect::{ClusterSource, connect, kubeconfig_path},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::ListParams};
use pocket::{
    network::{API_PORT, Network},
    rest::ApiServer,
    serve::{Identity, serve_api, write_kubeconfig},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Served {
    network: Network,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
    server: ApiServer,
}

fn start(dir: &std::path::Path) -> Served {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = graylane::embedded::open_api(dir).unwrap();
    let (network, listener) = Network::claim_for(dir).unwrap();
    let identity = Identity::open_or_create(dir, network.node_address()).unwrap();
    write_kubeconfig(dir, network, &identity).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve_api(server.clone(), listener, identity, stop.clone()));
    Served {
        network,
        stop,
        task,
        server,
    }
}

async fn namespaces(client: &Client) -> usize {
    Api::<Namespace>::all(client.clone())
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_in_by_the_kubeconfig_and_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let served = start(dir.path());
    let mode = std::fs::metadata(kubeconfig_path(dir.path()))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let source = ClusterSource::State(dir.path().into());
    let connected = connect(&source, None, Agent::Cli).await.unwrap();
    assert_eq!(connected.namespace, "demo");
    let known = namespaces(&connected.client).await;
    assert!(known >= 1);

    served.stop.cancel();
    served.task.await.unwrap().unwrap();
    served.server.close().await;
    drop(served.server);
    assert!(
        connect(&source, None, Agent::Cli)
            .await
            .err()
            .unwrap()
            .to_string()
            .contains("no pocket runs in")
    );

    let again = start(dir.path());
    // Another process may have taken the network meanwhile; then the kubeconfig says so.
    if again.network == served.network {
        assert_eq!(
            namespaces(&connected.client).await,
            known,
            "the old client goes on"
        );
    }
    assert_eq!(
        namespaces(&connect(&source, None, Agent::Cli).await.unwrap().client).await,
        known
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_nothing_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let served = start(dir.path());
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .no_proxy()
        .build()
        .unwrap();
    let url = format!(
        "https://{}:{API_PORT}/api/v1/namespaces",
        served.network.node_address()
    );
    for token in [None, Some(""), Some("wrong")] {
        let request = client.get(&url);
        let request = token.iter().fold(request, |r, t| r.bearer_auth(t));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401);
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(
            (&body["kind"], &body["reason"]),
            (&"Status".into(), &"Unauthorized".into())
        );
    }
    let strict = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(
        strict.get(&url).send().await.is_err(),
        "only the kubeconfig's authority vouches for it"
    );
}
