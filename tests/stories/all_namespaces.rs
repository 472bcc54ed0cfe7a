//! All namespaces of a pocket at once, by commands and by keys: two Apps, and two releases, of the same names.

use std::path::Path;

use graylane::{
    api::{App, Approval, Release},
    domain::revision::Revision,
};
use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Namespace};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::ObjectMeta,
};
use serde_json::json;

use super::verbs::{Fixture, fixture};
use crate::support::pty::Pty;

const APP: &str = "spring-cloud-a";
const ENTER: &str = "\r";

/// A release of the App waits for an approval, as the engine would have it.
async fn begin_release(f: &Fixture, namespace: &str) {
    let start = ["release", "start", APP, "--stage", "production"];
    let image = ["--image", "backend=spring-cloud-a:v2"];
    f.ok(&[&["-n", namespace][..], &start, &image].concat())
        .await;
    let api = |client: &kube::Client| Api::<Release>::namespaced(client.clone(), namespace);
    let app = Api::<App>::namespaced(f.client.clone(), namespace)
        .get(APP)
        .await
        .unwrap();
    let revision = Revision::from_app(&app);
    let revisions: Api<ControllerRevision> = Api::namespaced(f.client.clone(), namespace);
    revisions
        .create(&PostParams::default(), &revision.to_object(&app))
        .await
        .unwrap();
    let status = json!({"phase": "Waiting", "task": "approve", "revision": revision.name(),
        "images": {"backend": "spring-cloud-a:v2"}, "tasks": [
        {"name": "approve", "kind": "approval", "phase": "Waiting", "attempt": 1, "message": "one of anybody"},
        {"name": "deploy-prod", "kind": "deploy", "environment": "prod", "phase": "Pending", "attempt": 1}]});
    api(&f.client)
        .patch_status(
            "spring-cloud-a-1",
            &PatchParams::default(),
            &Patch::Merge(json!({"status": status})),
        )
        .await
        .unwrap();
}

/// The sample workspace in `demo`, and the same App once more in `shop`; in both a release waits.
async fn two_namespaces() -> Fixture {
    let f = fixture().await;
    let shop = Namespace {
        metadata: ObjectMeta {
            name: Some("shop".into()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    let namespaces: Api<Namespace> = Api::all(f.client.clone());
    namespaces
        .create(&PostParams::default(), &shop)
        .await
        .unwrap();
    let demo: Api<App> = Api::namespaced(f.client.clone(), "demo");
    let copy = App::new(APP, demo.get(APP).await.unwrap().spec);
    let apps: Api<App> = Api::namespaced(f.client.clone(), "shop");
    apps.create(&PostParams::default(), &copy).await.unwrap();
    for namespace in ["demo", "shop"] {
        begin_release(&f, namespace).await;
    }
    f
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_all_namespaces_tell_them_apart() {
    let f = two_namespaces().await;
    let apps = f.ok(&["get", "apps", "-A"]).await;
    let rows: Vec<Vec<&str>> = apps
        .lines()
        .map(|line| line.split_whitespace().take(2).collect())
        .collect();
    assert_eq!(
        rows,
        [
            ["NAMESPACE", "NAME"],
            ["demo", APP],
            ["demo", "spring-cloud-b"],
            ["demo", "spring-cloud-c"],
            ["shop", APP]
        ]
    );
    let both = "demo/spring-cloud-a-1\nshop/spring-cloud-a-1\n";
    assert_eq!(f.ok(&["get", "releases", "-A", "-o", "name"]).await, both);
    let list = ["release", "list", "--all-namespaces", "-o", "name"];
    assert_eq!(f.ok(&list).await, both);
    let lanes = f.ok(&["lane", "get", "-A"]).await;
    assert!(
        lanes.starts_with("NAMESPACE") && lanes.contains("demo"),
        "{lanes}"
    );
    let environments = f
        .ok(&["get", "environments", "gray", "-A", "-o", "name"])
        .await;
    assert!(
        environments.ends_with("shop/spring-cloud-a/gray\n"),
        "{environments}"
    );
    let data = f.json(&["get", "environments", "-A"]).await;
    assert_eq!(data["items"][0]["namespace"], "demo");
    assert!(f.ok(&["get", "approvals", "-A"]).await.is_empty());
    // What is of one namespace needs its name.
    for args in [
        &["get", "apps", APP, "-A"][..],
        &["approve", "spring-cloud-a-1", "-A"],
        &["stop-the-line", "-A"],
        &["get", "apps", "-A", "-n", "demo"],
    ] {
        f.refused(2, args).await;
    }
}

fn cockpit(state: &Path, options: &[&str]) -> Pty {
    let program = Path::new(env!("CARGO_BIN_EXE_graylane"));
    let state = state.to_str().unwrap();
    let env = [
        ("GRAYLANE_USER", "ann"),
        ("XDG_CONFIG_HOME", state),
        ("XDG_STATE_HOME", state),
        ("COLORTERM", "truecolor"),
    ];
    Pty::start(
        program,
        &[&["--state", state], options].concat(),
        &env,
        36,
        120,
    )
}

fn type_in_palette(pty: &mut Pty, words: &str) {
    pty.press(":");
    pty.see("Do or go to");
    pty.press(words);
    pty.see(words);
    pty.press(ENTER);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_equal_releases_is_approved_by_keys_and_the_other_stays() {
    let f = two_namespaces().await;
    let state = f.dir.path().to_owned();
    let seen = tokio::task::spawn_blocking(move || {
        let mut pty = cockpit(&state, &["-A"]);
        pty.wait("both namespaces", |s| {
            s.contains("all namespaces")
                && s.contains("demo/A")
                && s.contains("shop/spring-cloud-a")
        });
        type_in_palette(&mut pty, "release spring-cloud-a-1 in shop");
        pty.see("3 Rollout shop");
        pty.press("a");
        pty.wait("a question that names its namespace", |s| {
            s.contains("No, leave it") && s.contains("shop")
        });
        // Production asks for its name.
        pty.press("prod");
        pty.see(" Enter does it");
        pty.press(ENTER);
        pty.wait("what came of it", |s| {
            !s.contains("No, leave it") && s.contains("shop: ")
        });
        pty.press("q");
        pty.given_back();

        // What is chosen is shown again at the next start.
        let mut pty = cockpit(&state, &[]);
        pty.see("spring-cloud");
        type_in_palette(&mut pty, "ns all");
        pty.see(", all namespaces");
        pty.press("q");
        pty.given_back();
        let mut pty = cockpit(&state, &[]);
        pty.see(", all namespaces");
        pty.press("q");
        pty.given_back();
    });
    seen.await.unwrap();
    let approvals: Api<Approval> = Api::all(f.client.clone());
    let all = approvals.list(&ListParams::default()).await.unwrap().items;
    let places: Vec<Option<String>> = all.iter().map(ResourceExt::namespace).collect();
    assert_eq!(places, [Some("shop".into())]);
}
