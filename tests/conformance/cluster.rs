//! Where a case runs: one pocket and one real control plane for the whole binary, a namespace for each case.

use std::{fmt::Debug, sync::LazyLock, time::Duration};

use graylane::cluster::install::{self, InstallSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api, Client, Resource,
    api::{ObjectMeta, PostParams},
    core::NamespaceResourceScope,
};
use pocket::{controllers, network::Network, rest::ApiServer};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{runtime::Runtime, sync::OnceCell};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{control_plane::ControlPlane, fake_kubelet, installed};

pub const LIMIT: Duration = Duration::from_mins(1);
/// From being placed to being ready, of fake pods.
const POD_START: Duration = Duration::from_millis(100);

/// The servers live as long as the binary: longer than any one test's runtime.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static POCKET: OnceCell<Pocket> = OnceCell::const_new();
static REAL: OnceCell<Option<Real>> = OnceCell::const_new();

pub struct Pocket {
    pub client: Client,
    _server: ApiServer,
    _held: std::net::TcpListener,
    _dir: tempfile::TempDir,
}

struct Real {
    client: Client,
    _plane: ControlPlane,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Pocket,
    Real,
}

/// A case's own place.
#[derive(Clone)]
pub struct Place {
    pub client: Client,
    pub namespace: String,
    pub kind: Kind,
}

/// Each case twice: `on_pocket::NAME` and `on_real::NAME`.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        mod on_pocket {
            $(#[test]
            fn $name() {
                crate::cluster::run(crate::cluster::Kind::Pocket, stringify!($name), super::$name);
            })*
        }
        mod on_real {
            $(#[test]
            fn $name() {
                crate::cluster::run(crate::cluster::Kind::Real, stringify!($name), super::$name);
            })*
        }
    };
}
pub(crate) use cases;

/// Each in a namespace of its own, side by side: nearly all their time is waiting.
macro_rules! together {
    ($at:ident: $($name:ident),* $(,)?) => {
        tokio::join!($(async {
            let place = crate::cluster::Place { namespace: format!("{}-{}", $at.namespace, stringify!($name).replace('_', "-")), ..$at.clone() };
            place.make().await;
            $name(place).await;
        }),*);
    };
}
pub(crate) use together;

pub fn block_on(work: impl Future<Output = ()>) {
    RUNTIME.block_on(work);
}

pub fn run(kind: Kind, name: &str, case: impl AsyncFnOnce(Place)) {
    RUNTIME.block_on(async {
        let client = match kind {
            Kind::Pocket => Some(POCKET.get_or_init(pocket).await.client.clone()),
            Kind::Real => REAL
                .get_or_init(real)
                .await
                .as_ref()
                .map(|r| r.client.clone()),
        };
        if let Some(client) = client {
            let namespace = format!("case-{}", name.replace('_', "-"))
                .chars()
                .take(60)
                .collect();
            let place = Place {
                client,
                namespace,
                kind,
            };
            place.make().await;
            case(place).await;
        }
    });
}

pub async fn pocket() -> Pocket {
    let dir = tempfile::tempdir().unwrap();
    let server = graylane::embedded::open_api(dir.path()).unwrap();
    let (network, held) = Network::claim_for(dir.path()).unwrap();
    server.set_network(network).await.unwrap();
    let (client, stop) = (server.client(), CancellationToken::new());
    controllers::spawn(client.clone(), &TaskTracker::new(), &stop);
    install::apply_definitions(&client).await.unwrap();
    tokio::spawn(fake_kubelet::run(client.clone(), POD_START, stop));
    Pocket {
        client,
        _server: server,
        _held: held,
        _dir: dir,
    }
}

async fn real() -> Option<Real> {
    let plane = ControlPlane::start().await?;
    let client = plane.client("admin").await;
    installed::definitions(&client).await;
    apply(&client, "default", &["ClusterRole"]).await;
    tokio::spawn(fake_kubelet::run(
        client.clone(),
        POD_START,
        CancellationToken::new(),
    ));
    Some(Real {
        client,
        _plane: plane,
    })
}

/// What `install` brings for a namespace, of these kinds.
async fn apply(client: &Client, namespace: &str, kinds: &[&str]) {
    installed::apply(
        client,
        &InstallSpec {
            namespace: namespace.into(),
            ..InstallSpec::default()
        },
        kinds,
    )
    .await;
}

pub trait Object:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned
{
}
impl<K> Object for K where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned
{
}

impl Place {
    pub async fn make(&self) {
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        Api::all(self.client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        if self.kind == Kind::Real {
            // Without it no pod is admitted.
            let accounts: Api<ServiceAccount> =
                Api::namespaced(self.client.clone(), &self.namespace);
            eventually("the default account", async || {
                accounts.get_opt("default").await.unwrap()
            })
            .await;
            apply(
                &self.client,
                &self.namespace,
                &["ServiceAccount", "RoleBinding"],
            )
            .await;
        }
    }

    pub fn api<K: Object + Resource<Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn create<K: Object + Resource<Scope = NamespaceResourceScope>>(
        &self,
        object: Value,
    ) -> K {
        self.try_create(object).await.unwrap()
    }

    pub async fn try_create<K>(&self, object: Value) -> kube::Result<K>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        self.api::<K>()
            .create(
                &PostParams::default(),
                &serde_json::from_value(object).unwrap(),
            )
            .await
    }
}

pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(LIMIT, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("never: {what}"))
}
