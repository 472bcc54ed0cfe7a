//! The controllers on a pocket's API, with the test as the kubelet.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet},
    batch::v1::Job,
    core::v1::{ConfigMap, Endpoints, Namespace, Pod, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use pocket::{controllers, network::Network};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

struct Fixture {
    client: Client,
    _stop: DropGuard,
    _held: std::net::TcpListener,
    _dir: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let server = graylane::embedded::open_api(dir.path()).unwrap();
    let (network, held) = Network::claim_for(dir.path()).unwrap();
    server.set_network(network).await.unwrap();
    let (client, stop) = (server.client(), CancellationToken::new());
    controllers::spawn(client.clone(), &TaskTracker::new(), &stop);
    Fixture {
        client,
        _stop: stop.drop_guard(),
        _held: held,
        _dir: dir,
    }
}

trait Kind:
    Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
{
}
impl<K> Kind for K where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
{
}

impl Fixture {
    fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn create<K: Kind>(&self, object: Value) -> K {
        self.api::<K>()
            .create(
                &PostParams::default(),
                &serde_json::from_value(object).unwrap(),
            )
            .await
            .unwrap()
    }

    async fn all<K: Kind>(&self) -> Vec<K> {
        self.api::<K>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
    }

    /// The objects of a kind as soon as `fact` holds of them.
    async fn until<K: Kind>(&self, what: &str, fact: impl Fn(&[K]) -> bool) -> Vec<K> {
        let found = async {
            loop {
                let all = self.all::<K>().await;
                if fact(&all) {
                    return all;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), found)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"))
    }

    /// As a kubelet: the pod runs, or has ended.
    async fn set(&self, pod: &Pod, phase: &str, ip: &str) {
        let ready = if phase == "Running" { "True" } else { "False" };
        let status = json!({"status": {"phase": phase, "podIP": ip,
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": jiff::Timestamp::now()}]}});
        let api = self.api::<Pod>();
        api.patch_status(
            &pod.name_any(),
            &PatchParams::default(),
            &Patch::Merge(status),
        )
        .await
        .unwrap();
    }

    async fn deployment(&self, replicas: u32) {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
        self.create::<Deployment>(json!({"metadata": {"name": "web"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}}))
            .await;
        self.until::<Pod>("the pods", |pods| pods.len() == replicas as usize)
            .await;
    }
}

fn ready(slices: &[EndpointSlice]) -> Vec<String> {
    let endpoints = slices.iter().flat_map(|s| &s.endpoints);
    let ready = endpoints.filter(|e| e.conditions.as_ref().and_then(|c| c.ready) == Some(true));
    ready.flat_map(|e| e.addresses.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_follows_its_pods() {
    let f = fixture().await;
    f.create::<Service>(
        json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
    )
    .await;
    f.until::<EndpointSlice>("an empty slice", |s| {
        s.len() == 1 && s[0].endpoints.is_empty()
    })
    .await;
    f.deployment(2).await;
    let pods = f.all::<Pod>().await;
    f.set(&pods[0], "Running", "127.9.16.1").await;
    f.until::<EndpointSlice>("one ready", |s| ready(s) == ["127.9.16.1"])
        .await;
    f.set(&pods[1], "Running", "127.9.16.2").await;
    f.until::<EndpointSlice>("two ready", |s| ready(s).len() == 2)
        .await;
    let addresses = |all: &[Endpoints]| -> usize {
        let subsets = all.iter().flat_map(|e| e.subsets.iter().flatten());
        subsets
            .map(|s| s.addresses.as_ref().map_or(0, Vec::len))
            .sum()
    };
    f.until::<Endpoints>("the older form says the same", |all| addresses(all) == 2)
        .await;
    f.until::<Deployment>("available", |d| {
        d[0].status.as_ref().and_then(|s| s.available_replicas) == Some(2)
    })
    .await;
    f.set(&pods[0], "Pending", "127.9.16.1").await;
    f.until::<EndpointSlice>("one again", |s| ready(s) == ["127.9.16.2"])
        .await;
    f.api::<Service>()
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    f.until::<EndpointSlice>("none", <[EndpointSlice]>::is_empty)
        .await;
    f.until::<Endpoints>("none", <[Endpoints]>::is_empty).await;
}

/// As in every cluster, and again when somebody takes them away; a namespace that goes is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn every_namespace_has_its_account_and_the_clusters_authority() {
    let f = fixture().await;
    let stop = CancellationToken::new();
    controllers::namespaces::spawn(
        f.client.clone(),
        tokio::sync::watch::channel("PEM".to_owned()).1,
        &TaskTracker::new(),
        &stop,
    );
    let _stop = stop.drop_guard();
    let namespaces: Api<Namespace> = Api::all(f.client.clone());
    let new = json!({"metadata": {"name": "fresh"}});
    namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(new).unwrap(),
        )
        .await
        .unwrap();
    let until = async |what: &str, namespace: &str, wanted: Option<&str>| {
        let accounts: Api<ServiceAccount> = Api::namespaced(f.client.clone(), namespace);
        let maps: Api<ConfigMap> = Api::namespaced(f.client.clone(), namespace);
        let there = async {
            loop {
                let account = accounts.get_opt("default").await.unwrap();
                let map = maps.get_opt("kube-root-ca.crt").await.unwrap();
                let authority = map.and_then(|m| m.data?.remove("ca.crt"));
                if account.is_some() == wanted.is_some() && authority.as_deref() == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), there)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    };
    for namespace in [
        "fresh",
        "default",
        "kube-system",
        "kube-public",
        "kube-node-lease",
    ] {
        until("filled", namespace, Some("PEM")).await;
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(f.client.clone(), "fresh");
    let maps: Api<ConfigMap> = Api::namespaced(f.client.clone(), "fresh");
    accounts
        .delete("default", &DeleteParams::default())
        .await
        .unwrap();
    let other = Patch::Merge(json!({"data": {"ca.crt": "other"}}));
    maps.patch("kube-root-ca.crt", &PatchParams::default(), &other)
        .await
        .unwrap();
    until("filled again", "fresh", Some("PEM")).await;
    maps.delete("kube-root-ca.crt", &DeleteParams::default())
        .await
        .unwrap();
    until("made again", "fresh", Some("PEM")).await;
    namespaces
        .delete("fresh", &DeleteParams::default())
        .await
        .unwrap();
    until("gone with its namespace", "fresh", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owned_goes_with_its_owner_or_is_let_go() {
    let f = fixture().await;
    f.deployment(2).await;
    f.api::<Deployment>()
        .delete("web", &DeleteParams::background())
        .await
        .unwrap();
    f.until::<ReplicaSet>("no sets", <[ReplicaSet]>::is_empty)
        .await;
    // Without a kubelet nobody lets pods go after their grace: that they are asked to is what counts.
    f.until::<Pod>("pods asked to go", |p| {
        p.iter().all(|p| p.metadata.deletion_timestamp.is_some())
    })
    .await;
    for pod in f.all::<Pod>().await {
        f.api::<Pod>()
            .delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
            .await
            .unwrap();
    }
    f.deployment(1).await;
    f.api::<Deployment>()
        .delete("web", &DeleteParams::orphan())
        .await
        .unwrap();
    f.until::<Deployment>("gone", <[Deployment]>::is_empty)
        .await;
    let sets = f
        .until::<ReplicaSet>("let go", |s| {
            s.iter().all(|s| s.owner_references().is_empty())
        })
        .await;
    assert_eq!(sets.len(), 1);
    f.api::<ReplicaSet>()
        .delete(&sets[0].name_any(), &DeleteParams::foreground())
        .await
        .unwrap();
    let pods = f
        .until::<Pod>("asked to go", |p| {
            p.iter().all(|p| p.metadata.deletion_timestamp.is_some())
        })
        .await;
    assert_eq!(f.all::<ReplicaSet>().await.len(), 1, "the owner goes last");
    f.api::<Pod>()
        .delete(
            &pods[0].name_any(),
            &DeleteParams::default().grace_period(0),
        )
        .await
        .unwrap();
    f.until::<ReplicaSet>("gone", <[ReplicaSet]>::is_empty)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_a_gone_owner_does_not_stay() {
    let f = fixture().await;
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "no-such"}]);
    let spec = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i"}]});
    let made: Pod = f
        .create(json!({"metadata": {"name": "lost", "ownerReferences": owner}, "spec": spec}))
        .await;
    assert!(made.metadata.deletion_timestamp.is_none());
    f.until::<Pod>("collected", |p| {
        p.iter().all(|p| p.metadata.deletion_timestamp.is_some())
    })
    .await;
}

/// A kind that nobody knew when the collector started, its objects in no namespace; they go with their definition.
#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_come_later_own_and_go_too() {
    let f = fixture().await;
    let definition = |plural: &str, kind: &str| {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {
            "group": "example.com", "scope": "Cluster", "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]}})
    };
    let definitions: Api<CustomResourceDefinition> = Api::all(f.client.clone());
    for (plural, kind) in [("owners", "Owner"), ("parts", "Part")] {
        let definition = serde_json::from_value(definition(plural, kind)).unwrap();
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .unwrap();
    }
    let api = |kind: &str| -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", kind));
        Api::all_with(f.client.clone(), &resource)
    };
    let make = async |kind: &str, name: &str, owners: Value| {
        let object = json!({"apiVersion": "example.com/v1", "kind": kind,
            "metadata": {"name": name, "ownerReferences": owners}});
        let object = serde_json::from_value(object).unwrap();
        api(kind)
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    };
    let of = |owner: &DynamicObject| json!([{"apiVersion": "example.com/v1", "kind": "Owner", "name": owner.name_any(), "uid": owner.uid()}]);
    let (one, two) = (
        make("Owner", "one", json!([])).await,
        make("Owner", "two", json!([])).await,
    );
    make("Part", "one", of(&one)).await;
    make("Part", "two", of(&two)).await;
    for (name, owner) in [("one", &one), ("two", &two)] {
        f.create::<ConfigMap>(json!({"metadata": {"name": name, "ownerReferences": of(owner)}}))
            .await;
    }
    api("Owner")
        .delete("one", &DeleteParams::default())
        .await
        .unwrap();
    f.until::<ConfigMap>("a map gone", |m| m.iter().all(|m| m.name_any() != "one"))
        .await;
    let gone = async || while api("Part").get_opt("one").await.unwrap().is_some() {};
    tokio::time::timeout(Duration::from_mins(1), gone())
        .await
        .expect("a part gone");
    assert!(
        f.all::<ConfigMap>()
            .await
            .iter()
            .any(|m| m.name_any() == "two")
    );
    assert!(api("Part").get_opt("two").await.unwrap().is_some());
    definitions
        .delete("owners.example.com", &DeleteParams::default())
        .await
        .unwrap();
    f.until::<ConfigMap>("with the definition", |m| {
        m.iter().all(|m| m.name_any() != "two")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_well_or_badly() {
    let f = fixture().await;
    let job = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {
            "spec": {"restartPolicy": "Never", "nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}}})
    };
    let condition = |job: &Job| {
        let conditions = job
            .status
            .as_ref()
            .and_then(|s| s.conditions.clone())
            .unwrap_or_default();
        conditions.last().map(|c| c.type_.clone())
    };
    for (name, phase, end) in [
        ("good", "Succeeded", "Complete"),
        ("bad", "Failed", "Failed"),
    ] {
        f.create::<Job>(job(name)).await;
        let of = |p: &Pod| p.labels().get("job-name").is_some_and(|l| l == name);
        let pods = f.until::<Pod>("its pod", |p| p.iter().any(of)).await;
        f.set(pods.iter().find(|p| of(p)).unwrap(), phase, "").await;
        f.until::<Job>("its end", |j| {
            j.iter()
                .any(|j| j.name_any() == name && condition(j).as_deref() == Some(end))
        })
        .await;
        assert_eq!(
            f.all::<Pod>().await.iter().filter(|p| of(p)).count(),
            1,
            "no more pods"
        );
    }
    f.api::<Job>()
        .delete("good", &DeleteParams::background())
        .await
        .unwrap();
    f.until::<Pod>("its pod goes", |p| {
        p.iter()
            .filter(|p| p.metadata.deletion_timestamp.is_none())
            .count()
            == 1
    })
    .await;
}

/// Made anew at once, a set finds the revision of its predecessor, which nobody has cleared away yet, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_predecessors_revision_does_not_hold_a_new_set_up() {
    let f = fixture().await;
    let set = json!({"metadata": {"name": "db"}, "spec": {"replicas": 1, "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    f.create::<StatefulSet>(set.clone()).await;
    let old = f.until::<Pod>("its pod", |p| p.len() == 1).await.remove(0);
    let revision = f.all::<ControllerRevision>().await.remove(0);
    let kept = json!({"metadata": {"finalizers": ["example.org/kept"]}});
    let revisions = f.api::<ControllerRevision>();
    revisions
        .patch(
            &revision.name_any(),
            &PatchParams::default(),
            &Patch::Merge(kept),
        )
        .await
        .unwrap();
    f.api::<StatefulSet>()
        .delete("db", &DeleteParams::background())
        .await
        .unwrap();
    f.until::<Pod>("that its pod goes", <[Pod]>::is_empty).await;
    f.create::<StatefulSet>(set).await;
    let new = f
        .until::<Pod>("the new one's pod", |p| p.len() == 1)
        .await
        .remove(0);
    assert_ne!(new.uid(), old.uid());
    assert_eq!(
        f.all::<ControllerRevision>()
            .await
            .iter()
            .map(ResourceExt::uid)
            .collect::<Vec<_>>(),
        [revision.uid()]
    );
}
