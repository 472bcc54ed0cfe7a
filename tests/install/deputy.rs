//! The engine is nobody's deputy: what an App applies is applied by a service account of the namespace it goes to. No
//! App reaches graylane itself, another namespace, or a right, whoever edits it.

use std::sync::Arc;

use futures::future::join_all;
use graylane::{
    api::{Release, ReleasePhase},
    cluster::{
        agent::Agent,
        connect::{ClusterSource, prepare_client},
        install::{self, ENGINE_NAMESPACE, InstallSpec, ObjectChange},
        lease::ENGINE_LEASE,
    },
    domain::account::Account,
    engine,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{HOME, api, control_plane::ControlPlane, create, eventually};

/// What `install` calls the engine's account.
const ENGINE: &str = "system:serviceaccount:graylane-system:graylane-engine-demo";

/// An environment and a manifest that together reach for more, and what is said.
fn attacks() -> Vec<(Value, &'static str, &'static str)> {
    let home = || json!({"namespace": HOME});
    let as_of_us = "is forbidden: User \"system:serviceaccount:demo:graylane-deployer\" cannot";
    let not_as_them = "cannot impersonate resource \"serviceaccounts\"";
    vec![
        (
            home(),
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: graylane-engine}\nspec:\n  replicas: 0\n  selector: {matchLabels: \
             {graylane.dev/component: engine}}\n  template: {metadata: {labels: {graylane.dev/component: engine}}, spec: \
             {containers: [{name: engine, image: evil}]}}",
            "is graylane's own",
        ),
        (
            home(),
            "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: graylane-engine}\nspec: {holderIdentity: olga, \
             leaseDurationSeconds: 31536000}",
            "is graylane's own",
        ),
        (
            home(),
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: own-node}\nspec:\n  selector: {matchLabels: {a: b}}\n  \
             template: {metadata: {labels: {a: b}}, spec: {serviceAccountName: graylane-deployer, hostPID: true, volumes: \
             [{name: h, hostPath: {path: /}}], containers: [{name: c, image: busybox}]}}",
            "would run as graylane-deployer",
        ),
        (
            home(),
            "apiVersion: graylane.dev/v1alpha1\nkind: Approval\nmetadata: {name: mine}\nspec: {}",
            "graylane's own kinds",
        ),
        (
            home(),
            "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: other}\nspec: {}",
            as_of_us,
        ),
        (
            home(),
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}",
            as_of_us,
        ),
        (
            home(),
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: all}\nroleRef: {apiGroup: \
             rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: User, name: operator}]",
            as_of_us,
        ),
        (
            home(),
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: all}\nroleRef: {apiGroup: \
             rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\nsubjects: [{kind: User, name: operator}]",
            as_of_us,
        ),
        // The engine's own namespace, another one, and another account.
        (
            home(),
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: graylane-system}",
            not_as_them,
        ),
        (
            json!({"namespace": "kube-system"}),
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}",
            not_as_them,
        ),
        (
            json!({"namespace": HOME, "serviceAccountName": "default"}),
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}",
            not_as_them,
        ),
    ]
}

/// An App of the operator's, and its release; its name.
async fn release(operator: &Client, app: &str, mut environment: Value, manifest: &str) -> String {
    environment["name"] = "prod".into();
    let spec = json!({
        "images": {},
        "environments": [environment],
        "manifests": [{"name": "m.yaml", "template": manifest}],
        "workflow": {"stages": [{"name": "s", "tasks": [{"name": "d", "deploy": {"environment": "prod"}}]}]},
    });
    create(operator, "App", "apps", app, spec).await.unwrap();
    let name = format!("{app}-1");
    let release = json!({"app": app, "stage": "s", "requester": "operator"});
    create(operator, "Release", "releases", &name, release)
        .await
        .unwrap();
    name
}

/// So many are left.
pub const RELEASES: usize = 2 + 11;

/// There are an operator, and what `wanted` brings.
pub async fn the_engine_is_nobodys_deputy(
    plane: &ControlPlane,
    admin: &Client,
    wanted: &InstallSpec,
) {
    let file = plane.certificate_user(ENGINE, "engines", super::LIMIT * 20);
    let source = ClusterSource::Kubectl {
        kubeconfig: Some(file),
        context: None,
    };
    let connected = prepare_client(&source, Some(HOME), Agent::Engine).unwrap();
    let stop = CancellationToken::new();
    let _ends = stop.clone().drop_guard();
    let options = engine::Options {
        client: connected.client.clone(),
        clusters: connected.clusters.clone(),
        namespace: HOME.into(),
        identity: "elsewhere/1/engine".into(),
        prober: Arc::new(|_, _| Box::pin(async { Ok(vec![]) })),
        telemetry: engine::Telemetry::default(),
        hops: engine::HopReport::default(),
    };
    tokio::spawn(engine::run_engine(options, stop));

    let operator = &plane.client("operator").await;
    let status = async |name: &str| {
        let releases: Api<Release> = Api::namespaced(admin.clone(), HOME);
        releases.get(name).await.unwrap().status.unwrap_or_default()
    };
    assert_eq!(RELEASES, 2 + attacks().len());
    let good = ["demo", "demo-test"].map(|namespace| async move {
        let app = format!("good-{namespace}");
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\ndata: {a: b}";
        let name = release(operator, &app, json!({"namespace": namespace}), manifest).await;
        let ended =
            async || Some(status(&name).await).filter(|s| s.phase == ReleasePhase::Succeeded);
        eventually(&format!("{name} succeeds"), ended).await;
        let made: Api<ConfigMap> = Api::namespaced(admin.clone(), namespace);
        assert_eq!(
            made.get("good").await.unwrap().labels()["graylane.dev/app"],
            app
        );
    });
    let bad =
        attacks()
            .into_iter()
            .enumerate()
            .map(|(n, (environment, manifest, words))| async move {
                let name = release(operator, &format!("bad-{n}"), environment, manifest).await;
                let told = async || {
                    let status = status(&name).await;
                    assert_ne!(status.phase, ReleasePhase::Succeeded, "{manifest}");
                    let says = |m: &Option<String>| m.as_ref().is_some_and(|m| m.contains(words));
                    (says(&status.message) || status.tasks.iter().any(|t| says(&t.message)))
                        .then_some(())
                };
                eventually(&format!("{words}: {manifest}"), told).await;
            });
    futures::join!(join_all(good), join_all(bad));
    let lease = Api::<Lease>::namespaced(admin.clone(), HOME)
        .get(ENGINE_LEASE)
        .await
        .unwrap()
        .spec
        .unwrap();
    assert_eq!(lease.holder_identity.as_deref(), Some("elsewhere/1/engine"));
    let system: Api<Deployment> = Api::namespaced(admin.clone(), ENGINE_NAMESPACE);
    assert_eq!(
        system
            .get("graylane-engine-demo")
            .await
            .unwrap()
            .spec
            .unwrap()
            .replicas,
        Some(2)
    );

    has_no_right_of_its_own(&connected.client, &connected.clusters).await;
    nobody_else_writes_a_status(plane).await;
    an_earlier_engine_goes(admin, wanted).await;
}

async fn refused<K>(client: &Client, namespace: &str, object: Value)
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let told = api
        .create(
            &PostParams::default(),
            &serde_json::from_value(object).unwrap(),
        )
        .await
        .unwrap_err();
    assert!(
        matches!(&told, kube::Error::Api(status) if status.code == 403),
        "{told}"
    );
}

/// Of the engine itself, and of whoever deploys for it.
async fn has_no_right_of_its_own(
    engine: &Client,
    clusters: &graylane::cluster::clusters::Clusters,
) {
    let named = |name: &str| json!({"metadata": {"name": name}});
    for namespace in [HOME, "demo-test", ENGINE_NAMESPACE, "kube-system"] {
        refused::<ConfigMap>(engine, namespace, named("c")).await;
        refused::<Pod>(
            engine,
            namespace,
            json!({"metadata": {"name": "p"}, "spec": {"containers": []}}),
        )
        .await;
        refused::<RoleBinding>(engine, namespace, json!({"metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "graylane-engine"}})).await;
    }
    refused::<Lease>(engine, "demo-test", named("graylane-engine")).await;
    let deployer = clusters.client_acting_as(&Account::deployer(HOME.into()));
    refused::<Lease>(&deployer, HOME, named("graylane-engine")).await;
    refused::<ConfigMap>(&deployer, "demo-test", named("c")).await;
    refused::<Release>(
        &deployer,
        HOME,
        json!({"metadata": {"name": "r"}, "spec": {"app": "a", "stage": "s", "requester": "operator"}}),
    )
    .await;
}

async fn nobody_else_writes_a_status(plane: &ControlPlane) {
    for who in ["viewer", "operator", "governor", "approver"] {
        for (kind, plural, name) in [
            ("Release", "releases", "good-demo-1"),
            ("App", "apps", "good-demo"),
        ] {
            let patch = Patch::Merge(json!({"status": {"message": "forged"}}));
            let objects = api(&plane.client(who).await, kind, plural);
            let told = objects
                .patch_status(name, &PatchParams::default(), &patch)
                .await
                .unwrap_err()
                .to_string();
            assert!(
                told.contains("forbidden") && told.contains(&format!("{plural}/status")),
                "{who}: {told}"
            );
        }
    }
}

/// It stood among the Apps, with rights of its own.
async fn an_earlier_engine_goes(admin: &Client, wanted: &InstallSpec) {
    let labels = json!({"app.kubernetes.io/managed-by": "graylane", "app.kubernetes.io/name": "graylane-engine"});
    let meta = |name: &str| json!({"name": name, "labels": labels});
    let deployment = json!({"metadata": meta("graylane-engine"), "spec": {
        "selector": {"matchLabels": {"graylane.dev/component": "engine"}},
        "template": {"metadata": {"labels": {"graylane.dev/component": "engine"}},
            "spec": {"containers": [{"name": "engine", "image": "graylane:0"}]}},
    }});
    let params = PostParams::default();
    let deployments: Api<Deployment> = Api::namespaced(admin.clone(), HOME);
    deployments
        .create(&params, &serde_json::from_value(deployment).unwrap())
        .await
        .unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), HOME);
    let account = json!({"metadata": meta("graylane-engine")});
    accounts
        .create(&params, &serde_json::from_value(account).unwrap())
        .await
        .unwrap();
    for namespace in [HOME, "demo-test"] {
        let binding = json!({"metadata": meta("graylane-engine-of-demo"),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "graylane-engine"}});
        let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), namespace);
        bindings
            .create(&params, &serde_json::from_value(binding).unwrap())
            .await
            .unwrap();
    }
    let done = install::apply_objects(admin, wanted, false).await.unwrap();
    let removed: Vec<&str> = done
        .iter()
        .filter(|d| d.done == ObjectChange::Removed)
        .map(|d| &*d.object)
        .collect();
    let all = [
        "Deployment/graylane-engine",
        "RoleBinding/graylane-engine-of-demo",
        "RoleBinding/graylane-engine-of-demo",
        "ServiceAccount/graylane-engine",
    ];
    assert_eq!(removed, all);
    let again = install::apply_objects(admin, wanted, false).await.unwrap();
    assert!(
        again.iter().all(|d| d.done == ObjectChange::Unchanged),
        "{again:#?}"
    );
}
