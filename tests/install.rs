//! What `graylane install` brings: definitions whose rules refuse what the cockpit would refuse (on pocket always, on
//! a real API server where there is one), and there also roles and policies: each attempt to do what one may not, or
//! in another's name, is refused by the server itself.

use std::{process::Stdio, time::Duration};

use graylane::{
    api::{Approval, Decision},
    cluster::{
        doctor::{self, Level},
        install::{self, ENGINE_NAMESPACE, EngineDeployment, InstallSpec, ObjectChange},
        perform::{PerformError, perform_intent},
        rights,
    },
    domain::{
        intent::{ControlIntent, Intent, ReleaseIntent, TaskDecision},
        rights::Right,
    },
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

#[expect(dead_code, reason = "the conformance suite uses all of it")]
#[path = "support/control_plane.rs"]
mod control_plane;
#[path = "install/deputy.rs"]
#[expect(unreachable_pub, reason = "part of this test")]
mod deputy;
#[path = "install/forged.rs"]
#[expect(unreachable_pub, reason = "part of this test")]
mod forged;
#[path = "install/specs.rs"]
#[expect(unreachable_pub, reason = "part of this test")]
mod specs;
#[path = "install/weaken.rs"]
#[expect(unreachable_pub, reason = "part of this test")]
mod weaken;

use control_plane::ControlPlane;
use specs::{app, approval, group, lane};

const LIMIT: Duration = Duration::from_mins(1);
const HOME: &str = "demo";

fn api(client: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("graylane.dev", "v1alpha1", kind);
    Api::namespaced_with(
        client.clone(),
        HOME,
        &ApiResource::from_gvk_with_plural(&gvk, plural),
    )
}

async fn create(
    client: &Client,
    kind: &str,
    plural: &str,
    name: &str,
    spec: Value,
) -> Result<(), String> {
    let object = json!({
        "apiVersion": "graylane.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": HOME}, "spec": spec,
    });
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let made = api(client, kind, plural)
        .create(&PostParams::default(), &object)
        .await;
    made.map(drop).map_err(|e| e.to_string())
}

async fn namespace(client: &Client, name: &str) {
    let object = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    api.create(&PostParams::default(), &object).await.unwrap();
}

/// What is right is taken; with one thing changed it is not, and the words say what is wrong.
async fn refuses_what_the_cockpit_would_refuse(client: &Client) {
    let right = [
        ("App", "apps", app()),
        ("Lane", "lanes", lane()),
        ("LaneGroup", "lanegroups", group()),
    ];
    for (kind, plural, spec) in right {
        assert_eq!(
            create(client, kind, plural, "right", spec).await,
            Ok(()),
            "{kind}"
        );
    }
    let release = json!({"app": "a", "stage": "production", "requester": "admin"});
    assert_eq!(
        create(client, "Release", "releases", "right", release).await,
        Ok(())
    );

    // What people sensibly call things.
    let called = json!({
        "images": {"backend": {"repository": "registry.example:5000/team/web", "default": "r/web:v1@sha256:00"}},
        "environments": [{"name": "gray", "namespace": "n", "context": "arn:aws:eks:eu-west-1:1234:cluster/My Cluster"}],
        "workflow": {"stages": [
            {"name": "全链路灰度", "tasks": [
                {"name": "Deploy to gray", "deploy": {"environment": "gray"}},
                {"name": "prüfen_2.b", "proceed": {"prompt": "Look at the board:\n\t– no errors?"}}]},
        ]},
    });
    let mut spec = app();
    json_patch::merge(&mut spec, &called);
    assert_eq!(create(client, "App", "apps", "called", spec).await, Ok(()));

    let condition = |condition: Value| json!({"match": {"all": [condition]}});
    let tasks = |tasks: Value| json!({"workflow": {"stages": [{"name": "s", "tasks": tasks}]}});
    let cases = [
        ("Lane", json!({"tag": "-gray"}), "spec.tag"),
        ("Lane", json!({"tag": "a".repeat(64)}), "spec.tag"),
        ("Lane", json!({"share": 101}), "spec.share"),
        ("Lane", json!({"share": 10}), "a share replaces conditions"),
        (
            "Lane",
            json!({"match": {"paths": ["A"]}}),
            "spec.match.paths[0]",
        ),
        (
            "Lane",
            condition(json!({"type": "header", "op": "exists"})),
            "the name of the parameter, header or cookie",
        ),
        (
            "Lane",
            condition(json!({"type": "header", "key": "a b", "op": "exists"})),
            "cannot be the name of a header",
        ),
        (
            "Lane",
            condition(json!({"type": "cookie", "key": "k", "op": "exists", "values": ["x"]})),
            "exists takes no value",
        ),
        (
            "Lane",
            condition(json!({"type": "cookie", "key": "k", "op": "in"})),
            "at least one value",
        ),
        (
            "Lane",
            condition(json!({"type": "cookie", "key": "k", "op": "==", "values": ["a", "b"]})),
            "exactly one value",
        ),
        (
            "Lane",
            condition(json!({"type": "cookie", "key": "k", "op": "percent", "values": ["101"]})),
            "a percentage",
        ),
        (
            "Lane",
            condition(json!({"type": "cookie", "key": "k", "op": "like", "values": ["a"]})),
            "spec.match.all[0].op",
        ),
        (
            "App",
            json!({"environments": [{"name": "a", "namespace": "n"}, {"name": "a", "namespace": "n"}]}),
            "same name",
        ),
        (
            "App",
            json!({"environments": [{"name": "a", "namespace": "Not_A_Namespace"}]}),
            "spec.environments[0].namespace",
        ),
        (
            "App",
            json!({"environments": [{"name": "a", "namespace": "n", "rollout": {"batches": ["101%"]}}]}),
            "spec.environments[0].rollout.batches[0]",
        ),
        ("App", tasks(json!([{"name": "t"}])), "exactly one of build"),
        (
            "App",
            tasks(json!([{"name": "t", "approval": {}, "proceed": {}}])),
            "exactly one of build",
        ),
        (
            "App",
            tasks(json!([{"name": "t", "proceed": {}}, {"name": "t", "proceed": {}}])),
            "same name",
        ),
        (
            "App",
            tasks(json!([{"name": "t", "approval": {"mode": "count"}}])),
            "mode count needs a count",
        ),
        (
            "App",
            json!({"workflow": {"stages": [{"name": "s';touch PWN;'", "tasks": []}]}}),
            "spec.workflow.stages[0].name",
        ),
        (
            "App",
            tasks(json!([{"name": "a;touch PWN;", "proceed": {}}])),
            "spec.workflow.stages[0].tasks[0].name",
        ),
        (
            "App",
            tasks(json!([{"name": "a\u{202e}b", "proceed": {}}])),
            "spec.workflow.stages[0].tasks[0].name",
        ),
        (
            "App",
            tasks(json!([{"name": "-x", "proceed": {}}])),
            "spec.workflow.stages[0].tasks[0].name",
        ),
        (
            "App",
            tasks(json!([{"name": "t", "proceed": {"prompt": "ok\u{1b}]52;c;aGFja2Vk\u{7}"}}])),
            "proceed.prompt",
        ),
        (
            "App",
            tasks(json!([{"name": "t", "deploy": {"environment": "$(id)"}}])),
            "deploy.environment",
        ),
        (
            "App",
            tasks(json!([{"name": "t", "approval": {"timeoutSeconds": 4_294_967_295_u32}}])),
            "approval.timeoutSeconds",
        ),
        (
            "App",
            tasks(json!([{"name": "t", "approval": {"count": 4_294_967_295_u32}}])),
            "approval.count",
        ),
        (
            "App",
            tasks(
                json!([{"name": "t", "verify": {"laneGroup": "g", "probes": [{"path": "/", "count": 4_294_967_295_u32}]}}]),
            ),
            "verify.probes[0].count",
        ),
        (
            "App",
            json!({"environments": [{"name": "a", "namespace": "n", "rollout": {"drainSeconds": 4_294_967_295_u32}}]}),
            "spec.environments[0].rollout.drainSeconds",
        ),
        (
            "App",
            json!({"environments": [{"name": "a", "namespace": "n", "context": "a\nb"}]}),
            "spec.environments[0].context",
        ),
        (
            "App",
            json!({"images": {"web": {"repository": "r/web", "default": "r/web:v1;touch PWN"}}}),
            "should match",
        ),
        (
            "App",
            json!({"images": {"a".repeat(64): {"repository": "r"}}}),
            "the name of an image",
        ),
        (
            "App",
            json!({"history": {"ttlSecondsAfterFinished": 4_294_967_295_u32}}),
            "spec.history.ttlSecondsAfterFinished",
        ),
        (
            "Release",
            json!({"stage": "s", "images": {"web": "r/web:v1 --privileged"}}),
            "should match",
        ),
        (
            "Release",
            json!({"stage": "s", "control": {"retry": {"t": 4_294_967_295_u32}}}),
            "less than or equal to",
        ),
        (
            "Release",
            json!({"stage": "s", "control": {"allow": {"t": 4_294_967_295_u32}}}),
            "less than or equal to",
        ),
        (
            "LaneGroup",
            json!({"apps": [{"app": "a", "port": 0}]}),
            "spec.apps[0].port",
        ),
        (
            "LaneGroup",
            json!({"apps": [{"app": "a", "port": 1}, {"app": "a", "port": 1}]}),
            "an app stands twice",
        ),
        (
            "LaneGroup",
            json!({"propagation": {"header": "a b"}}),
            "spec.propagation.header",
        ),
        (
            "Release",
            json!({"teardown": {"environment": "gray"}}),
            "of a stage, or it is a teardown",
        ),
        ("Approval", json!({"approver": ""}), "spec.approver"),
        ("Approval", json!({"attempt": 0}), "spec.attempt"),
    ];
    let tried = cases
        .into_iter()
        .enumerate()
        .map(|(n, (kind, change, words))| async move {
            let (plural, mut spec) = match kind {
                "Lane" => ("lanes", lane()),
                "App" => ("apps", app()),
                "LaneGroup" => ("lanegroups", group()),
                "Approval" => ("approvals", approval()),
                _ => (
                    "releases",
                    json!({"app": "a", "stage": "s", "requester": "admin"}),
                ),
            };
            json_patch::merge(&mut spec, &change);
            let told = create(client, kind, plural, &format!("wrong-{n}"), spec)
                .await
                .expect_err(words);
            assert!(told.contains(words), "{words} is not in: {told}");
        });
    futures::future::join_all(tried).await;
    let long = "a".repeat(64);
    let told = create(client, "App", "apps", &long, app())
        .await
        .unwrap_err();
    assert!(told.contains("up to 63 characters"), "{told}");

    let change = |patch: Value| async move {
        let releases = api(client, "Release", "releases");
        releases
            .patch("right", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(|e| e.to_string())
    };
    let told = change(json!({"spec": {"images": {"backend": "other:1"}}}))
        .await
        .unwrap_err();
    assert!(
        told.contains("the images of a Release cannot be changed"),
        "{told}"
    );
    let last = json!({"by": "admin", "action": "pause", "at": "2026-01-01T00:00:00Z"});
    change(json!({"spec": {"control": {"paused": true, "last": last}}}))
        .await
        .expect("wishes are what may change");
}

#[tokio::test]
async fn pocket_refuses_what_the_cockpit_would_refuse_and_has_no_roles() {
    let dir = tempfile::tempdir().unwrap();
    let server = graylane::embedded::open_api(dir.path()).unwrap();
    let client = server.client();
    let wanted = InstallSpec {
        namespace: HOME.into(),
        ..InstallSpec::default()
    };
    let done = install::apply_objects(&client, &wanted, false)
        .await
        .unwrap();
    let skipped: Vec<&str> = done
        .iter()
        .filter(|d| d.done == ObjectChange::Skipped)
        .map(|d| &*d.object)
        .collect();
    assert!(
        skipped.contains(&"ClusterRole/graylane-viewer"),
        "{skipped:?}"
    );
    assert!(
        skipped.contains(&"ValidatingAdmissionPolicy/graylane-approvals"),
        "{skipped:?}"
    );
    let again = install::apply_objects(&client, &wanted, false)
        .await
        .unwrap();
    assert!(
        again
            .iter()
            .all(|d| matches!(d.done, ObjectChange::Skipped | ObjectChange::Unchanged)),
        "{again:?}"
    );
    refuses_what_the_cockpit_would_refuse(&client).await;

    assert_eq!(rights::current_user(&client).await.unwrap(), "you");
    assert!(
        rights::has_right(&client, Right::Approve, HOME)
            .await
            .unwrap()
    );
    let found = doctor::run_checks(&client, HOME).await;
    let level = |check: &str| found.iter().find(|f| f.check == check).map(|f| f.level);
    for check in [
        "server",
        "you",
        "rights: viewer",
        "rights: engine",
        "definitions",
        "admission policies",
        "gateway API",
    ] {
        assert_eq!(level(check), Some(Level::Ok), "{check}: {found:#?}");
    }
    assert_eq!(level("engine"), Some(Level::Fail), "nobody acts here");
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(LIMIT, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn bind(admin: &Client, who: &str, role: &str) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": format!("its-{who}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": who, "apiGroup": "rbac.authorization.k8s.io"}],
    });
    let api: Api<k8s_openapi::api::rbac::v1::RoleBinding> = Api::namespaced(admin.clone(), HOME);
    api.create(
        &PostParams::default(),
        &serde_json::from_value(binding).unwrap(),
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_keeps_everybody_to_what_he_may() {
    let Some(plane) = ControlPlane::start().await else {
        return;
    };
    let admin = plane.client("admin").await;
    namespace(&admin, "demo-test").await;
    let engine = EngineDeployment {
        image: "graylane:1".into(),
        replicas: 2,
        namespace: ENGINE_NAMESPACE.into(),
        otlp: true,
    };
    let wanted = InstallSpec {
        namespace: HOME.into(),
        deploy_to: vec!["demo-test".into()],
        engine: Some(engine),
    };
    let done = install::apply_objects(&admin, &wanted, false)
        .await
        .unwrap();
    assert!(
        done.iter().all(|d| d.done == ObjectChange::Created),
        "{done:#?}"
    );
    let again = install::apply_objects(&admin, &wanted, false)
        .await
        .unwrap();
    assert!(
        again.iter().all(|d| d.done == ObjectChange::Unchanged),
        "{again:#?}"
    );

    for (who, role) in [
        ("viewer", install::names::VIEWER),
        ("operator", install::names::OPERATOR),
        ("operator-two", install::names::OPERATOR),
        ("approver", install::names::APPROVER),
        ("approver-two", install::names::APPROVER),
        ("governor", install::names::ADMIN),
    ] {
        bind(&admin, who, role).await;
    }
    let approver = plane.client("approver").await;
    let say = |as_whom: &str, name: &str| {
        let mut spec = approval();
        spec["approver"] = as_whom.into();
        let (client, name) = (approver.clone(), name.to_owned());
        async move { create(&client, "Approval", "approvals", &name, spec).await }
    };
    // A policy is in force a moment after it was made.
    let told = eventually("the policy is in force", async || {
        match say("approver-two", "forged").await {
            Err(told) if told.contains("graylane-approvals") => Some(told),
            Ok(()) => {
                let approvals: Api<Approval> = Api::namespaced(admin.clone(), HOME);
                approvals
                    .delete("forged", &Default::default())
                    .await
                    .unwrap();
                None
            }
            Err(_) => None,
        }
    });
    let told = told.await;
    assert!(
        told.contains("you are approver, not approver-two"),
        "{told}"
    );
    say("approver", "honest").await.unwrap();

    // Also somebody who may do everything cannot say it differently afterwards.
    let approvals: Api<Approval> = Api::namespaced(admin.clone(), HOME);
    let edit = |patch: Value| {
        let approvals = approvals.clone();
        async move {
            approvals
                .patch("honest", &PatchParams::default(), &Patch::Merge(patch))
                .await
                .map_err(|e| e.to_string())
        }
    };
    let told = edit(json!({"spec": {"decision": "refuse"}}))
        .await
        .unwrap_err();
    assert!(told.contains("cannot be changed"), "{told}");
    let told = edit(json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .unwrap_err();
    assert!(
        told.contains("graylane-approvals") && told.contains("create another one"),
        "{told}"
    );
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u"});
    edit(json!({"metadata": {"ownerReferences": [owner]}}))
        .await
        .expect("the garbage collector's own");

    // The requester of a release, and whoever wishes something of it.
    let operator = plane.client("operator").await;
    let release =
        |requester: &str| json!({"app": "a", "stage": "production", "requester": requester});
    let told = create(
        &operator,
        "Release",
        "releases",
        "forged",
        release("approver"),
    )
    .await
    .unwrap_err();
    assert!(told.contains("spec.requester must be operator"), "{told}");
    create(&operator, "Release", "releases", "a-1", release("operator"))
        .await
        .unwrap();
    let wish = json!({"spec": {"control": {"paused": true, "last": {"by": "approver", "action": "pause", "at": "now"}}}});
    let releases = api(&operator, "Release", "releases");
    let told = releases
        .patch("a-1", &PatchParams::default(), &Patch::Merge(wish))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("spec.control.last.by must be operator"),
        "{told}"
    );

    forged::nobody_speaks_for_another(&plane, &admin).await;
    weaken::approvals_are_not_the_operators_to_take(&plane, &admin).await;
    everybody_is_told_before(&plane).await;
    refused_by_the_server_itself(&plane).await;
    refuses_what_the_cockpit_would_refuse(&admin).await;
    deputy::the_engine_is_nobodys_deputy(&plane, &admin, &wanted).await;

    let found = doctor::run_checks(&admin, HOME).await;
    let of = |check: &str| {
        found
            .iter()
            .find(|f| f.check == check)
            .unwrap_or_else(|| panic!("{check}: {found:#?}"))
    };
    for check in [
        "server",
        "you",
        "rights: approver",
        "definitions",
        "policy graylane-approvals",
        "policy graylane-releases",
        "policy graylane-workflows",
        "clocks",
    ] {
        assert_eq!(of(check).level, Level::Ok, "{:?}", of(check));
    }
    assert_eq!(of("gateway API").level, Level::Fail, "it has none");
    let found = doctor::run_checks(&plane.client("nobody").await, HOME).await;
    assert!(
        found
            .iter()
            .any(|f| f.check == "rights: viewer" && f.level == Level::Fail),
        "{found:#?}"
    );

    leaves_what_it_says(&admin).await;
}

/// The cockpit and the command line: the missing right, in words, before anything is tried.
async fn everybody_is_told_before(plane: &ControlPlane) {
    let wish = |wish: ReleaseIntent| Intent::Release {
        name: "a-1".into(),
        seen: None,
        wish,
        comment: None,
    };
    let approve = TaskDecision {
        task: "approve".into(),
        attempt: 1,
        decision: Decision::Pass,
        digest: None,
    };
    for (who, intent, missing) in [
        (
            "viewer",
            wish(ControlIntent::Pause.into()),
            "patch releases.graylane.dev",
        ),
        ("viewer", Intent::StopTheLine, "patch releases.graylane.dev"),
        (
            "operator",
            wish(approve.into()),
            "create approvals.graylane.dev",
        ),
        (
            "approver",
            Intent::DeleteLane {
                name: "gray".into(),
                seen: None,
            },
            "delete lanes.graylane.dev",
        ),
    ] {
        let client = plane.client(who).await;
        assert_eq!(rights::current_user(&client).await.unwrap(), who);
        let told = perform_intent(&client, HOME, who, intent)
            .await
            .unwrap_err();
        let words = format!("not permitted: needs {missing} in namespace {HOME}");
        assert_eq!(told, PerformError::Refused(words), "{who}");
    }
    let operator = plane.client("operator").await;
    perform_intent(
        &operator,
        HOME,
        "operator",
        wish(ControlIntent::Abort.into()),
    )
    .await
    .unwrap();
}

/// Whatever the client: each of these is a 403.
async fn refused_by_the_server_itself(plane: &ControlPlane) {
    let release = json!({"app": "a", "stage": "s", "requester": "viewer"});
    let mut say = approval();
    for (who, kind, plural) in [
        ("viewer", "Release", "releases"),
        ("viewer", "Lane", "lanes"),
        ("viewer", "App", "apps"),
        ("viewer", "Approval", "approvals"),
        ("operator", "Approval", "approvals"),
        ("approver", "Release", "releases"),
        ("approver", "Lane", "lanes"),
        ("nobody", "Approval", "approvals"),
    ] {
        say["approver"] = who.into();
        let spec = match kind {
            "Release" => release.clone(),
            "Lane" => lane(),
            "App" => app(),
            _ => say.clone(),
        };
        let told = create(&plane.client(who).await, kind, plural, "refused", spec)
            .await
            .unwrap_err();
        assert!(
            told.contains("forbidden") && told.contains("cannot create"),
            "{who} {kind}: {told}"
        );
    }
    for who in ["viewer", "operator", "approver"] {
        let client = plane.client(who).await;
        let seen = api(&client, "Release", "releases")
            .get("a-1")
            .await
            .unwrap();
        assert_eq!(seen.name_any(), "a-1", "{who} sees it");
        let status = json!({"status": {"phase": "Succeeded"}});
        let told = api(&client, "Release", "releases")
            .patch_status("a-1", &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap_err();
        assert!(told.to_string().contains("forbidden"), "{who}: {told}");
    }
}

async fn leaves_what_it_says(admin: &Client) {
    let engines: Api<k8s_openapi::api::apps::v1::Deployment> =
        Api::namespaced(admin.clone(), ENGINE_NAMESPACE);
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> =
        Api::namespaced(admin.clone(), HOME);
    // An app's own, that says the same of itself.
    let mut app = engines.get("graylane-engine-demo").await.unwrap();
    app.metadata = kube::core::ObjectMeta {
        name: Some("spring-cloud-a".into()),
        labels: app.metadata.labels.clone(),
        ..Default::default()
    };
    deployments
        .create(&PostParams::default(), &app)
        .await
        .unwrap();
    let found = install::find_installed(admin, false).await.unwrap();
    // The Service by which spans come is the second.
    assert_eq!(found.len(), 1 + 1 + 5 + 1 + 3 + 7 + 3 + 3, "{found:#?}");
    for what in &found {
        install::remove_object(admin, what).await.unwrap();
    }
    assert!(
        install::find_installed(admin, false)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(deployments.get("spring-cloud-a").await.is_ok());
    assert!(api(admin, "Release", "releases").get("a-1").await.is_ok());

    let found = install::find_installed(admin, true).await.unwrap();
    assert!(
        found
            .iter()
            .any(|f| f.name == "releases.graylane.dev" && f.holds == Some(2 + deputy::RELEASES)),
        "{found:#?}"
    );
    for what in &found {
        install::remove_object(admin, what).await.unwrap();
    }
    eventually("all is gone", async || {
        install::find_installed(admin, true)
            .await
            .ok()
            .filter(Vec::is_empty)
    })
    .await;
    assert!(deployments.get("spring-cloud-a").await.is_ok());
}

fn graylane() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graylane"));
    command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .env_remove("KUBECONFIG")
        .env_remove("GRAYLANE_STATE");
    command
}

#[tokio::test]
async fn what_is_printed_is_yaml_and_needs_no_cluster() {
    let print = [
        "install",
        "--print",
        "-n",
        "demo",
        "--image",
        "registry/graylane:1",
        "--deploy-to",
        "demo-test",
    ];
    let out = graylane()
        .args(print)
        .env_remove("HOME")
        .output()
        .await
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let text = String::from_utf8(out.stdout).unwrap();
    let objects: Vec<Value> = text
        .split("---\n")
        .map(|t| serde_saphyr::from_str(t).unwrap())
        .collect();
    let kinds: Vec<&str> = objects
        .iter()
        .map(|o| o["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.len(), 32, "{kinds:?}");
    let deployment = objects.iter().find(|o| o["kind"] == "Deployment").unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "registry/graylane:1");
    assert_eq!(
        pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"],
        true
    );
    assert_eq!(
        pod["containers"][0]["securityContext"]["capabilities"]["drop"],
        json!(["ALL"])
    );
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    // Finished releases and their approvals are the engine's to delete, and nobody else's.
    for resource in ["releases", "approvals"] {
        let has = |list: &Value, word: &str| list.as_array().unwrap().iter().any(|w| w == word);
        let deletes = |role: &&Value| {
            let mut rules = role["rules"].as_array().into_iter().flatten();
            rules.any(|rule| has(&rule["resources"], resource) && has(&rule["verbs"], "delete"))
        };
        let names: Vec<&Value> = objects
            .iter()
            .filter(deletes)
            .map(|role| &role["metadata"]["name"])
            .collect();
        assert_eq!(names, ["graylane-engine"], "{resource}");
    }
    let bindings = objects.iter().filter(|o| o["kind"] == "RoleBinding");
    let of = |b: &Value| {
        [
            &b["metadata"]["namespace"],
            &b["roleRef"]["name"],
            &b["subjects"][0]["name"],
        ]
        .map(|v| v.as_str().unwrap().to_owned())
    };
    let bound: Vec<String> = bindings.map(|b| of(b).join(" ")).collect();
    let engine = "graylane-engine-demo";
    let all = [
        "demo graylane-deployer graylane-deployer".to_owned(),
        "demo-test graylane-deployer graylane-deployer".to_owned(),
        format!("demo graylane-engine {engine}"),
        format!("demo graylane-impersonator {engine}"),
        format!("demo-test graylane-impersonator {engine}"),
    ];
    assert_eq!(bound, all, "it writes nowhere else");
    assert_eq!(deployment["metadata"]["namespace"], "graylane-system");
    let printed = [
        "install",
        "--print",
        "--image",
        "x",
        "-n",
        "demo",
        "--engine-namespace",
        "demo",
    ];
    let out = graylane()
        .args(printed)
        .env_remove("HOME")
        .output()
        .await
        .unwrap();
    assert_eq!(
        out.status.code(),
        Some(2),
        "an App could reach the engine there"
    );

    let out = graylane()
        .args(["install", "--print", "--image", "x", "-n", "Not_One"])
        .output()
        .await
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
}

struct Pocket {
    dir: tempfile::TempDir,
    _process: Child,
}

async fn pocket() -> Pocket {
    let dir = tempfile::tempdir().unwrap();
    let mut process = graylane()
        .arg("--state")
        .arg(dir.path().join("state"))
        .args(["pocket", "serve"])
        .env("XDG_CONFIG_HOME", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let ready = async { while lines.next_line().await.unwrap().expect("it goes on") != "ready" {} };
    tokio::time::timeout(LIMIT, ready)
        .await
        .expect("ready in time");
    Pocket {
        dir,
        _process: process,
    }
}

#[tokio::test]
async fn an_engine_tells_how_it_is() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pocket = pocket().await;
    // No home folder, and nowhere to write.
    let mut engine = graylane()
        .arg("--kubeconfig")
        .arg(pocket.dir.path().join("state/kubeconfig"))
        .args(["engine", "-n", "default", "--listen", "127.0.0.1:0"])
        .env_clear()
        .current_dir("/")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(engine.stderr.take().unwrap()).lines();
    let address = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it goes on");
            if let Some((_, rest)) = line.split_once("http://") {
                return rest.split_whitespace().next().unwrap().to_owned();
            }
        }
    };
    let address = tokio::time::timeout(LIMIT, address)
        .await
        .expect("it listens in time");
    let get = |path: &str| {
        let url = format!("http://{address}{path}");
        async move {
            let answer = reqwest::get(url).await.ok()?;
            Some((answer.status().as_u16(), answer.text().await.ok()?))
        }
    };
    eventually("it is ready", async || {
        get("/readyz").await.filter(|(code, _)| *code == 200)
    })
    .await;
    assert_eq!(get("/healthz").await, Some((200, "ok\n".into())));
    let metrics = eventually("it acts", async || {
        let (_, text) = get("/metrics").await?;
        (text.contains("graylane_lease_held 1") && text.contains("look_duration_seconds_count"))
            .then_some(text)
    });
    let metrics = metrics.await;
    for line in [
        "graylane_releases{phase=\"Running\"} 0",
        "graylane_api_requests_total{verb=\"watch\",code=\"200\"}",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    assert_eq!(get("/else").await.map(|(code, _)| code), Some(404));
    engine.kill().await.unwrap();
}
