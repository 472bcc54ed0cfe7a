//! Default objects of every namespace, as in Kubernetes: the ServiceAccount `default`, and the
//! ConfigMap `kube-root-ca.crt` with the CA of the API's certificate. They are restored when
//! deleted or changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::write::is_code;
use reconcile::runner::{self, KeySender, ReconcileResult};
use reconcile::store::{NamespacedName, Store};

const DEFAULT_ACCOUNT: &str = "default";
const CA_CONFIG_MAP: &str = "kube-root-ca.crt";
/// Annotation that Kubernetes' root-ca-certificate-publisher sets.
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the \
     internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes \
     clusters.",
);

struct NamespaceContext {
    client: Client,
    /// CA certificates of the API, PEM.
    authority: watch::Receiver<String>,
    namespaces: Store<Namespace>,
    accounts: Store<ServiceAccount>,
    maps: Store<ConfigMap>,
}

/// Starts the controller; it ends soon after `stop` is cancelled.
pub fn spawn(
    client: Client,
    authority: watch::Receiver<String>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) {
    let shared = Arc::new(NamespaceContext {
        client: client.clone(),
        authority: authority.clone(),
        namespaces: Store::default(),
        accounts: Store::default(),
        maps: Store::default(),
    });
    let (queue, inbox) = runner::new_queue();
    enqueue_changes(&shared, queue.clone());
    tracker.spawn(enqueue_all(
        Arc::clone(&shared),
        authority,
        queue,
        stop.clone(),
    ));
    let only = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let all = watcher::Config::default();
    tracker.spawn(
        shared
            .namespaces
            .clone()
            .run_watch(Api::all(client.clone()), all, stop.clone()),
    );
    tracker.spawn(shared.accounts.clone().run_watch(
        Api::all(client.clone()),
        only(DEFAULT_ACCOUNT),
        stop.clone(),
    ));
    tracker.spawn(shared.maps.clone().run_watch(
        Api::all(client),
        only(CA_CONFIG_MAP),
        stop.clone(),
    ));
    let stop = stop.clone();
    tracker.spawn(async move {
        let ready = async {
            shared.namespaces.wait_until_synced().await;
            shared.accounts.wait_until_synced().await;
            shared.maps.wait_until_synced().await;
        };
        if stop.run_until_cancelled(ready).await.is_none() {
            return;
        }
        runner::run_queue("namespaces", inbox, stop, move |key| {
            Box::pin(fill_namespace(Arc::clone(&shared), key.1))
        })
        .await;
    });
}

fn enqueue_changes(shared: &NamespaceContext, queue: KeySender<NamespacedName>) {
    let add = move |name: Option<String>| queue.add((String::new(), name.unwrap_or_default()));
    let (on_namespace, on_account, on_map) = (add.clone(), add.clone(), add);
    shared
        .namespaces
        .on_change(move |old, new| on_namespace(new.or(old).map(|o| o.name_any())));
    shared
        .accounts
        .on_change(move |old, new| on_account(new.or(old).and_then(|o| o.namespace())));
    shared
        .maps
        .on_change(move |old, new| on_map(new.or(old).and_then(|o| o.namespace())));
}

/// Enqueues all namespaces whenever the CA changes.
async fn enqueue_all(
    shared: Arc<NamespaceContext>,
    mut authority: watch::Receiver<String>,
    queue: KeySender<NamespacedName>,
    stop: CancellationToken,
) {
    while matches!(
        stop.run_until_cancelled(authority.changed()).await,
        Some(Ok(()))
    ) {
        for namespace in shared.namespaces.list() {
            queue.add((String::new(), namespace.name_any()));
        }
    }
}

#[tracing::instrument(level = "debug", skip_all, fields(name))]
async fn fill_namespace(shared: Arc<NamespaceContext>, name: String) -> ReconcileResult {
    let namespace = shared.namespaces.get(&(String::new(), name.clone()));
    if namespace.is_none_or(|n| n.metadata.deletion_timestamp.is_some()) {
        return Ok(None);
    }
    let new = |of: &str| ObjectMeta {
        name: Some(of.into()),
        namespace: Some(name.clone()),
        ..ObjectMeta::default()
    };
    if shared
        .accounts
        .get(&(name.clone(), DEFAULT_ACCOUNT.into()))
        .is_none()
    {
        let account = ServiceAccount {
            metadata: new(DEFAULT_ACCOUNT),
            ..ServiceAccount::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(shared.client.clone(), &name);
        ignore_conflict(api.create(&PostParams::default(), &account).await)?;
    }
    let data = BTreeMap::from([("ca.crt".to_owned(), shared.authority.borrow().clone())]);
    let api: Api<ConfigMap> = Api::namespaced(shared.client.clone(), &name);
    match shared.maps.get(&(name.clone(), CA_CONFIG_MAP.into())) {
        None => {
            let annotations =
                BTreeMap::from([(DESCRIPTION.0.to_owned(), DESCRIPTION.1.to_owned())]);
            let metadata = ObjectMeta {
                annotations: Some(annotations),
                ..new(CA_CONFIG_MAP)
            };
            let map = ConfigMap {
                metadata,
                data: Some(data),
                ..ConfigMap::default()
            };
            ignore_conflict(api.create(&PostParams::default(), &map).await)?;
        }
        Some(map) if map.data.as_ref() != Some(&data) => {
            let map = ConfigMap {
                data: Some(data),
                binary_data: None,
                ..(*map).clone()
            };
            ignore_conflict(
                api.replace(CA_CONFIG_MAP, &PostParams::default(), &map)
                    .await,
            )?;
        }
        Some(_) => {}
    }
    Ok(None)
}

/// Ignores a conflict with another writer and a namespace that is being deleted: the watch reports
/// what remains to be done.
fn ignore_conflict<T>(written: kube::Result<T>) -> kube::Result<()> {
    match written {
        Err(error)
            if [403, 404, 409]
                .into_iter()
                .any(|code| is_code(&error, code)) =>
        {
            Ok(())
        }
        written => written.map(drop),
    }
}
