//! The world as the cluster says it: rows come, change and go, a lost server makes it stale and not empty.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use graylane::{
    api::{App, label},
    cluster::{install, watch},
    domain::world::{Link, World, Worlds},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

struct Fixture {
    client: Client,
    worlds: tokio::sync::watch::Receiver<World>,
    /// While set, nobody is there.
    down: Arc<AtomicBool>,
    _stop: DropGuard,
    _dir: tempfile::TempDir,
}

/// A pocket's API behind a switch.
async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let server = graylane::embedded::open_api(dir.path()).unwrap();
    let client = server.client();
    install::apply_definitions(&client).await.unwrap();
    let down = Arc::<AtomicBool>::default();
    let switch = down.clone();
    let behind = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (server, switch) = (server.clone(), switch.clone());
        async move {
            if switch.load(Ordering::SeqCst) {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
            }
            Ok(server.handle_request(request).await)
        }
    });
    let stop = CancellationToken::new();
    let worlds = watch::spawn(Client::new(behind, "default"), "demo", stop.clone());
    Fixture {
        client,
        worlds,
        down,
        _stop: stop.drop_guard(),
        _dir: dir,
    }
}

impl Fixture {
    /// The first world of which `fact` holds.
    async fn until(&mut self, what: &str, fact: impl Fn(&World) -> bool) -> World {
        let found =
            tokio::time::timeout(Duration::from_mins(1), self.worlds.wait_for(|w| fact(w))).await;
        found
            .unwrap_or_else(|_| panic!("never: {what}"))
            .expect("the hub lives")
            .clone()
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn create<K>(&self, namespace: &str, object: Value)
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let typed: K = serde_json::from_value(object).unwrap();
        self.api::<K>(namespace)
            .create(&PostParams::default(), &typed)
            .await
            .unwrap();
    }
}

fn app(environments: Value) -> Value {
    json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "App", "metadata": {"name": "a"},
        "spec": {"repository": "bad \u{1b}[31mred", "manifests": [], "environments": environments}})
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {label::APP: "a", label::ENVIRONMENT: "prod"}},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

async fn namespace(client: &Client, name: &str) {
    let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let object = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_change_and_go_in_the_namespaces_of_the_environments() {
    use k8s_openapi::api::core::v1::Pod;
    let mut f = fixture().await;
    f.until("live", |w| w.link == Link::Live).await;
    for name in ["demo", "far", "other"] {
        namespace(&f.client, name).await;
    }
    f.create::<App>("demo", app(json!([{"name": "prod", "namespace": "far"}])))
        .await;
    f.create::<Pod>("far", pod("p")).await;
    f.create::<Pod>("other", pod("q")).await;
    f.create::<Pod>("demo", pod("r")).await;
    let world = f.until("two pods", |w| w.pods.len() >= 2).await;
    let names: Vec<String> = world
        .pods
        .keys()
        .map(|k| format!("{}/{}", k.namespace, k.name))
        .collect();
    assert_eq!(
        names,
        ["demo/r", "far/p"],
        "other is no namespace of an environment"
    );
    let repository = world.apps["a"].spec.repository.clone().unwrap();
    assert!(!repository.contains('\u{1b}'), "{repository:?}");

    let ready = json!({"status": {"phase": "Running", "podIP": "127.9.9.9",
        "conditions": [{"type": "Ready", "status": "True"}]}});
    let patched = f
        .api::<Pod>("far")
        .patch_status("p", &PatchParams::default(), &Patch::Merge(&ready))
        .await;
    patched.unwrap();
    let world = f.until("ready", |w| w.pods.values().any(|p| p.ready)).await;
    let row = world.pods_of("a", "prod").find(|p| p.ready).unwrap();
    assert_eq!(
        (&*row.state, row.address.as_deref()),
        ("Running", Some("127.9.9.9"))
    );

    // The environment moves away: its old namespace is not watched any more.
    let moved = json!({"spec": {"environments": [{"name": "prod", "namespace": "other"}]}});
    f.api::<App>("demo")
        .patch("a", &PatchParams::default(), &Patch::Merge(&moved))
        .await
        .unwrap();
    f.until("q instead of p", |w| {
        let names: Vec<&str> = w.pods.keys().map(|k| k.name.as_str()).collect();
        names == ["r", "q"]
    })
    .await;
    f.api::<App>("demo")
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    f.until("no app, no pods elsewhere", |w| {
        w.apps.is_empty() && w.pods.len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_server_makes_the_world_stale_and_it_comes_back() {
    let mut f = fixture().await;
    namespace(&f.client, "demo").await;
    f.create::<App>("demo", app(json!([]))).await;
    f.until("live with an app", |w| {
        w.link == Link::Live && w.apps.len() == 1
    })
    .await;
    f.down.store(true, Ordering::SeqCst);
    let world = f
        .until("stale", |w| matches!(w.link, Link::Stale { .. }))
        .await;
    assert_eq!(world.apps.len(), 1, "what was known stays");
    let Link::Stale { why, .. } = world.link else {
        unreachable!()
    };
    assert!(why.contains("refused"), "{why:?}");
    f.api::<App>("demo")
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    f.down.store(false, Ordering::SeqCst);
    f.until("live again, and what happened meanwhile is known", |w| {
        w.link == Link::Live && w.apps.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_never_there_is_told_too() {
    let mut f = fixture().await;
    f.down.store(true, Ordering::SeqCst);
    f.until("stale or live", |w| w.link != Link::Connecting)
        .await;
    f.down.store(false, Ordering::SeqCst);
    f.until("live", |w| w.link == Link::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_object_is_shown_as_yaml_by_its_resource_name() {
    use graylane::cluster::yaml;
    let f = fixture().await;
    namespace(&f.client, "demo").await;
    f.create::<App>("demo", app(json!([]))).await;
    for (resource, namespace, name, kind) in [
        ("apps.graylane.dev", "demo", "a", "App"),
        ("namespaces", "", "demo", "Namespace"),
    ] {
        let api = yaml::api_by_resource(&f.client, resource, namespace)
            .await
            .unwrap()
            .expect("served");
        let text = yaml::read_yaml(&api, name, false).await.unwrap();
        assert!(
            text.contains(&format!("kind: {kind}")) && !text.contains("managedFields"),
            "{text}"
        );
    }
    assert!(
        yaml::api_by_resource(&f.client, "nonsense.apps", "demo")
            .await
            .unwrap()
            .is_none()
    );
}

/// Worlds of all namespaces, on the same server.
struct AllFixture {
    one: Fixture,
    all: watch::AllWorlds,
    _stop: DropGuard,
}

impl AllFixture {
    async fn start() -> Self {
        let one = fixture().await;
        let stop = CancellationToken::new();
        let all = watch::spawn_all(one.client.clone().into(), World::default(), stop.clone());
        Self {
            one,
            all,
            _stop: stop.drop_guard(),
        }
    }

    async fn until(&mut self, what: &str, fact: impl Fn(&Worlds) -> bool) -> Worlds {
        let seen = self.all.worlds.wait_for(|worlds| fact(worlds));
        let found = tokio::time::timeout(Duration::from_mins(1), seen).await;
        found
            .unwrap_or_else(|_| panic!("never: {what}"))
            .expect("the hubs live")
            .clone()
    }
}

fn release() -> Value {
    json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Release", "metadata": {"name": "a-1"},
        "spec": {"app": "a", "stage": "production", "requester": "mia"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn each_namespace_has_a_world_of_its_own_where_all_are_watched() {
    use k8s_openapi::api::core::v1::Pod;
    let mut f = AllFixture::start().await;
    for name in ["pay", "shop", "far", "empty"] {
        namespace(&f.one.client, name).await;
    }
    let live = |w: &Worlds| w.cluster.link == Link::Live;
    let worlds = f.until("live", live).await;
    assert!(worlds.by_namespace.is_empty(), "nothing of graylane yet");

    // An App of the same name in both; one of them runs in a third namespace.
    f.one
        .create::<App>("pay", app(json!([{"name": "prod", "namespace": "pay"}])))
        .await;
    f.one.create::<Pod>("far", pod("p")).await;
    f.one.create::<Pod>("pay", pod("p")).await;
    f.one
        .create::<App>("shop", app(json!([{"name": "prod", "namespace": "far"}])))
        .await;
    let pods = |worlds: &Worlds, namespace: &str| -> Vec<String> {
        let world = worlds.by_namespace.get(namespace);
        let keys = world.map(|w| w.pods.keys().map(|k| format!("{}/{}", k.namespace, k.name)));
        keys.into_iter().flatten().collect()
    };
    let worlds = f
        .until("each with its pod", |w| {
            pods(w, "pay") == ["pay/p"] && pods(w, "shop") == ["far/p"]
        })
        .await;
    assert_eq!(
        worlds.by_namespace.keys().collect::<Vec<_>>(),
        ["pay", "shop"]
    );
    assert_eq!(worlds.by_namespace["shop"].namespace, "shop");

    // A change of one is none of the other.
    let patch = json!({"spec": {"repository": "changed"}});
    f.one
        .api::<App>("shop")
        .patch("a", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    let repository = |w: &Worlds, namespace: &str| {
        let app = w.by_namespace[namespace].apps["a"].clone();
        app.spec.repository.clone().unwrap_or_default()
    };
    let changed = f
        .until("changed", |w| repository(w, "shop") == "changed")
        .await;
    assert_ne!(repository(&changed, "pay"), "changed");
    let apps = |worlds: &Worlds| worlds.by_namespace["pay"].apps.clone();
    assert!(Arc::ptr_eq(&apps(&worlds), &apps(&changed)));

    // The environment moves to a namespace whose pods were seen before.
    let moved = json!({"spec": {"environments": [{"name": "prod", "namespace": "pay"}]}});
    f.one
        .api::<App>("shop")
        .patch("a", &PatchParams::default(), &Patch::Merge(&moved))
        .await
        .unwrap();
    f.until("the pod of the other namespace", |w| {
        pods(w, "shop") == ["pay/p"]
    })
    .await;
    f.one
        .api::<App>("shop")
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    f.until("shop is gone", |w| !w.by_namespace.contains_key("shop"))
        .await;
}

/// By keys, down to the objects: of two releases of one name the chosen one is paused, and the other stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_action_lands_in_the_namespace_of_the_selected_row() {
    use graylane::{
        api::Release,
        cluster::perform::perform_intent,
        ui::{Effect, Model, Msg, fixture as screen_fixture, update},
    };
    let mut f = AllFixture::start().await;
    for name in ["pay", "shop"] {
        namespace(&f.one.client, name).await;
        f.one
            .create::<App>(name, app(json!([{"name": "prod", "namespace": name}])))
            .await;
        f.one.create::<Release>(name, release()).await;
        let running = json!({"status": {"phase": "Running"}});
        f.one
            .api::<Release>(name)
            .patch_status("a-1", &PatchParams::default(), &Patch::Merge(&running))
            .await
            .unwrap();
    }
    let is_running = |w: &Worlds, namespace: &str| {
        let world = w.by_namespace.get(namespace);
        let release = world.and_then(|w| w.releases.get("a-1"));
        release.is_some_and(|r| r.status.is_some()) && world.is_some_and(|w| !w.apps.is_empty())
    };
    let worlds = f
        .until("both run", |w| {
            is_running(w, "pay") && is_running(w, "shop")
        })
        .await;
    let mut model = Model::new(screen_fixture::options(), jiff::Timestamp::now());
    model.size = (120, 36);
    update(&mut model, Msg::Worlds(Arc::new(worlds)));
    let row = model
        .visible_apps()
        .iter()
        .position(|row| row.scope.name() == "shop");
    model.select_row(row.expect("it is listed"));
    let effects = crate::screen::press(&mut model, "s<ctrl-y>");
    let [Effect::Perform(_, namespace, intent)] = effects.as_slice() else {
        panic!("{effects:?} {:?}", model.notices.front());
    };
    perform_intent(&f.one.client, namespace, "mia", intent.clone())
        .await
        .unwrap();
    let paused = async |namespace: &str| {
        let release = f.one.api::<Release>(namespace).get("a-1").await.unwrap();
        release.spec.control.paused
    };
    assert!(paused("shop").await && !paused("pay").await);
}
