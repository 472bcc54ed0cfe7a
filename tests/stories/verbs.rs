//! The verbs of the command line against a pocket's API: what is printed, and with which exit code.

use std::{path::PathBuf, process::Output, sync::Arc};

use crate::support::program;

use graylane::{
    api::{App, Release},
    cluster::{connect::kubeconfig_path, install},
    demo::{samples::SAMPLES, seed},
    domain::revision::Revision,
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A pocket's API on a port, with the sample workspace and no engine.
pub struct Fixture {
    pub client: Client,
    pub dir: Arc<tempfile::TempDir>,
}

pub async fn fixture() -> Fixture {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let server = graylane::embedded::open_api(dir.path()).unwrap();
    let client = server.client();
    install::apply_definitions(&client).await.unwrap();
    for sample in &SAMPLES {
        seed::create_missing(&client, sample).await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = server.clone();
            let service = hyper::service::service_fn(move |request| {
                let server = server.clone();
                async move { Ok::<_, std::convert::Infallible>(server.handle_request(request).await) }
            });
            tokio::spawn(async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                let executor = hyper_util::rt::TokioExecutor::new();
                hyper_util::server::conn::auto::Builder::new(executor)
                    .serve_connection(io, service)
                    .await
            });
        }
    });
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: p, contexts: [{{name: p, context: {{cluster: p, user: p}}}}],
          clusters: [{{name: p, cluster: {{server: 'http://127.0.0.1:{port}'}}}}], users: [{{name: p, user: {{token: t}}}}]}}"
    );
    std::fs::write(kubeconfig_path(dir.path()), text).unwrap();
    Fixture { client, dir }
}

impl Fixture {
    async fn run(&self, args: &[&str]) -> Output {
        self.run_as("ann", args).await
    }

    async fn run_as(&self, by: &str, args: &[&str]) -> Output {
        program::run(program::command(self.dir.path(), by), args).await
    }

    pub async fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub async fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["-o", "json"]].concat()).await).unwrap()
    }

    /// What stderr says of a refusal; stdout stays empty.
    pub async fn refused(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(
            output.stdout.is_empty(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        told
    }

    async fn status(&self, name: &str, status: Value) {
        let api: Api<Release> = Api::namespaced(self.client.clone(), "demo");
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn get_prints_tables_for_people_and_data_for_programs() {
    let f = fixture().await;
    let apps = f.ok(&["get", "apps"]).await;
    let lines: Vec<&str> = apps.lines().collect();
    assert!(
        lines[0].starts_with("NAME") && lines[0].contains("ENVIRONMENTS"),
        "{apps}"
    );
    assert!(
        lines[1].starts_with("spring-cloud-a ") && lines[1].contains("prod:New"),
        "{apps}"
    );
    assert_eq!(
        f.ok(&["get", "app", "-o", "name"]).await,
        "spring-cloud-a\nspring-cloud-b\nspring-cloud-c\n"
    );
    let one = f.json(&["get", "apps", "spring-cloud-b"]).await;
    assert_eq!(
        (&one["kind"], &one["metadata"]["name"]),
        (&json!("App"), &json!("spring-cloud-b"))
    );
    assert!(one["metadata"].get("managedFields").is_none());
    let all = f.json(&["get", "environments", "gray"]).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
    assert_eq!(all["items"][0]["spec"]["lane"], "gray");
    let one = f
        .json(&["get", "environments", "spring-cloud-c/prod"])
        .await;
    assert_eq!(
        (&one["app"], &one["replicas"], &one["status"]["state"]),
        (&json!("spring-cloud-c"), &json!(0), &json!("New"))
    );
    assert!(
        f.ok(&["get", "environments", "-o", "wide"])
            .await
            .contains("demo-test")
    );
    assert!(
        f.ok(&["get", "lanes"])
            .await
            .contains("parameter group == gray")
    );
    assert!(
        f.ok(&["get", "lanegroups"])
            .await
            .contains("spring-cloud-a,spring-cloud-b,spring-cloud-c")
    );
    let yaml: Value =
        serde_saphyr::from_str(&f.ok(&["get", "lanes", "gray", "-o", "yaml"]).await).unwrap();
    assert_eq!(yaml["spec"]["tag"], "gray");
    assert!(f.ok(&["get", "approvals"]).await.is_empty());
    let told = f.refused(1, &["get", "apps", "nil"]).await;
    assert!(
        told.contains("no App nil") && told.contains("spring-cloud-a"),
        "{told}"
    );
    let told = f
        .refused(1, &["get", "environments", "spring-cloud-a/nil"])
        .await;
    assert!(told.contains("spring-cloud-a/gray"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_started_shown_waited_for_and_decided() {
    let f = fixture().await;
    let image = [
        "--image",
        "backend=spring-cloud-a:v2",
        "--comment",
        "new colours",
    ];
    let start = [
        &[
            "release",
            "start",
            "spring-cloud-a",
            "--stage",
            "production",
        ][..],
        &image,
    ]
    .concat();
    let name = f.ok(&start).await;
    assert_eq!(name, "spring-cloud-a-1\n");
    let name = name.trim();
    let release = f.json(&["release", "show", name]).await;
    assert_eq!(
        (&release["spec"]["requester"], &release["spec"]["comment"]),
        (&json!("ann"), &json!("new colours"))
    );
    assert_eq!(release["spec"]["images"]["backend"], "spring-cloud-a:v2");
    let told = f.refused(1, &start).await;
    assert!(told.contains("end or abort it first"), "{told}");
    let told = f.refused(1, &["approve", name]).await;
    assert!(told.contains("no engine has seen it yet"), "{told}");
    let told = f
        .refused(
            1,
            &[
                "release",
                "wait",
                name,
                "--phase",
                "waiting",
                "--timeout",
                "0",
            ],
        )
        .await;
    assert!(told.contains("not waiting within"), "{told}");

    // The engine comes to the gate while somebody waits for it.
    let wait = [
        "release",
        "wait",
        name,
        "--task",
        "approve",
        "--phase",
        "Waiting",
        "--timeout",
        "60s",
    ];
    let app: App = Api::namespaced(f.client.clone(), "demo")
        .get("spring-cloud-a")
        .await
        .unwrap();
    let revision = Revision::from_app(&app);
    let revisions: Api<ControllerRevision> = Api::namespaced(f.client.clone(), "demo");
    revisions
        .create(&PostParams::default(), &revision.to_object(&app))
        .await
        .unwrap();
    let images = json!({"backend": "spring-cloud-a:v2"});
    let waiting = json!({"phase": "Waiting", "task": "approve", "revision": revision.name(), "images": images, "tasks": [
        {"name": "approve", "kind": "approval", "phase": "Waiting", "attempt": 1, "message": "one of anybody"},
        {"name": "deploy-prod", "kind": "deploy", "environment": "prod", "phase": "Pending", "attempt": 1}]});
    let (waited, ()) = tokio::join!(f.run(&wait), f.status(name, waiting));
    assert_eq!(
        waited.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&waited.stderr)
    );
    let shown = f.ok(&["release", "show", name]).await;
    assert!(
        shown.contains("one of anybody") && shown.contains("new colours"),
        "{shown}"
    );
    assert!(f.ok(&["release", "list"]).await.contains("Waiting"));
    // What is approved is shown, and stays so whatever becomes of the App.
    let (digest, image) = ("sha256:", "image: spring-cloud-a:v2");
    let proposed = f.ok(&["approve", name, "--dry-run"]).await;
    let comes = proposed
        .lines()
        .any(|line| line.starts_with('+') && line.ends_with(image));
    assert!(comes && proposed.contains(digest), "{proposed}");
    assert!(shown.contains(&proposed), "{shown}");
    let apps: Api<App> = Api::namespaced(f.client.clone(), "demo");
    let evil: Vec<_> = app
        .spec
        .manifests
        .iter()
        .map(|m| {
            let mut m = m.clone();
            m.template = m
                .template
                .replace("{{ .AppStack.image.backend }}", "evil/web:666");
            m
        })
        .collect();
    let edit = Patch::Merge(json!({"spec": {"manifests": evil}}));
    apps.patch("spring-cloud-a", &PatchParams::default(), &edit)
        .await
        .unwrap();
    let after = f.ok(&["approve", name, "--dry-run"]).await;
    assert!(
        after.contains("has changed since this release began") && !after.contains("evil/web"),
        "{after}"
    );
    let rendered = f.ok(&["render", "--release", name]).await;
    assert!(
        rendered.contains(image) && !rendered.contains("evil/web"),
        "{rendered}"
    );
    assert!(
        f.ok(&["render", "spring-cloud-a", "--environment", "prod"])
            .await
            .contains("evil/web:666")
    );
    let told = f
        .refused(
            1,
            &[
                "approve",
                name,
                "--digest",
                &format!("sha256:{}", "0".repeat(64)),
            ],
        )
        .await;
    assert!(told.contains("not what you were shown"), "{told}");

    let told = f.ok(&["approve", name, "--comment", "fine"]).await;
    assert!(
        told.contains(&format!("task approve of release {name} is approved")),
        "{told}"
    );
    let approvals = f.json(&["get", "approvals"]).await;
    assert_eq!(approvals["items"][0]["spec"]["approver"], "ann");
    let told = f.refused(1, &["refuse", name]).await;
    assert!(told.contains("ann approved"), "{told}");
    f.ok(&["pause", name]).await;
    let done = f.json(&["abort", name, "--comment", "no"]).await;
    assert_eq!(done["objects"], json!([["Release", name]]));
    let release = f.json(&["release", "show", name]).await;
    assert_eq!(
        (
            &release["spec"]["control"]["paused"],
            &release["spec"]["control"]["abort"]
        ),
        (&json!(true), &json!(true))
    );
    f.status(name, json!({"phase": "Aborted"})).await;
    let told = f
        .refused(1, &["release", "wait", name, "--phase", "Succeeded"])
        .await;
    assert!(told.contains("Aborted"), "{told}");
    let told = f.refused(2, &["pause", name, "--batch", "2"]).await;
    assert!(told.contains("--batch goes with proceed"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_programs_that_let_the_same_batch_go_one_says_done_and_the_other_who_did() {
    let f = fixture().await;
    let release = |name: String| {
        json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Release", "metadata": {"name": name},
            "spec": {"app": "spring-cloud-a", "stage": "production", "requester": "ann"}})
    };
    let api: Api<Release> = Api::namespaced(f.client.clone(), "demo");
    for n in 0..3 {
        let name = format!("r-{n}");
        let made = serde_json::from_value(release(name.clone())).unwrap();
        api.create(&PostParams::default(), &made).await.unwrap();
        let held = json!({"phase": "Waiting", "task": "deploy-prod", "tasks": [
            {"name": "deploy-prod", "kind": "deploy", "phase": "Waiting", "attempt": 1, "batches": [
                {"number": 1, "target": 1, "phase": "Done"}, {"number": 2, "target": 2, "phase": "Pending"},
                {"number": 3, "target": 4, "phase": "Pending"}]}]});
        f.status(&name, held).await;
        let args = ["proceed", name.as_str()];
        let (ann, bob) = tokio::join!(f.run_as("ann", &args), f.run_as("bob", &args));
        let codes = [ann.status.code(), bob.status.code()];
        let (lost, winner) = if codes[0] == Some(0) {
            (&bob, "ann")
        } else {
            (&ann, "bob")
        };
        let told = String::from_utf8_lossy(&lost.stderr);
        assert!(
            codes.contains(&Some(0)) && codes.contains(&Some(1)),
            "{codes:?}: {told}"
        );
        // In one instant, or a moment later: either way it is told by whom.
        let who = format!("(let batch 2 of deploy-prod proceed by {winner})");
        assert!(told.contains(&who), "{told}");
        let at_once =
            told.contains("been told to proceed already") && told.contains("Nothing was done");
        assert!(
            at_once || told.contains("has no task that waits to proceed"),
            "{told}"
        );
        assert_eq!(
            api.get(&name).await.unwrap().spec.control.allow["deploy-prod"],
            2,
            "one batch, not two"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_are_set_explained_switched_and_deleted() {
    let f = fixture().await;
    let explain = ["lane", "explain", "GET /A/a?group=gray"];
    let explained = f.ok(&explain).await;
    assert!(
        explained.contains("404"),
        "nobody has made a route yet: {explained}"
    );
    let mut engine = program::command(f.dir.path(), "ann");
    let _engine = engine
        .args(["engine", "-n", "demo"])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let routed = async {
        while !f
            .ok(&explain)
            .await
            .starts_with("Takes lane gray of mse-demo: tag gray.")
        {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), routed)
        .await
        .expect("the engine makes the routes");
    let set = [
        "lane",
        "set",
        "vip",
        "--when",
        "header x-user in 7,8",
        "--priority",
        "1",
    ];
    let checked = f.json(&[&set[..], &["--dry-run"]].concat()).await;
    assert_eq!(checked["group"], "mse-demo");
    f.refused(1, &["get", "lanes", "vip"]).await;
    assert!(f.ok(&set).await.contains("lane vip was created"));
    let explained = async |args: &[&str], lane: Value| {
        let told = async { while f.json(args).await["lane"] != lane {} };
        let limit = std::time::Duration::from_mins(1);
        tokio::time::timeout(limit, told)
            .await
            .unwrap_or_else(|_| panic!("{args:?} never tells {lane}"));
    };
    explained(
        &["lane", "explain", "/A/a?group=gray", "-H", "X-User: 7"],
        json!("vip"),
    )
    .await;
    f.ok(&["lane", "disable", "vip"]).await;
    explained(&["lane", "explain", "/A/a", "-H", "X-User: 7"], Value::Null).await;
    f.ok(&["lane", "enable", "vip"]).await;
    assert_eq!(
        f.json(&["lane", "get", "vip"]).await["spec"]["enabled"],
        true
    );
    let told = f
        .refused(1, &["lane", "set", "vip", "--when", "header x regex ("])
        .await;
    assert!(
        told.contains("was not saved") && told.contains("match.all[0]"),
        "{told}"
    );
    let told = f
        .refused(2, &["lane", "set", "vip", "--when", "body x == 1"])
        .await;
    assert!(told.contains("body"), "{told}");
    f.refused(2, &["lane", "explain", "GET"]).await;
    f.ok(&["lane", "delete", "vip"]).await;
    let told = f.refused(1, &["lane", "delete", "vip"]).await;
    assert!(told.contains("no Lane vip"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tearing_down_asks_first_and_locks_hold() {
    let f = fixture().await;
    let down = ["teardown", "spring-cloud-a", "--environment", "gray"];
    let told = f.refused(2, &down).await;
    assert!(told.contains("--yes"), "{told}");
    f.ok(&[
        "lock",
        "spring-cloud-a",
        "--environment",
        "gray",
        "--reason",
        "audit",
    ])
    .await;
    let told = f.refused(1, &[&down[..], &["--yes"]].concat()).await;
    assert!(told.contains("locked by ann: audit"), "{told}");
    f.ok(&["unlock", "spring-cloud-a", "--environment", "gray"])
        .await;
    assert!(
        f.ok(&[&down[..], &["--yes", "--no-wait"]].concat())
            .await
            .contains("spring-cloud-a-1")
    );
    let told = f
        .refused(
            1,
            &[
                "teardown",
                "spring-cloud-a",
                "--environment",
                "nil",
                "--yes",
            ],
        )
        .await;
    assert!(told.contains("test, pre, gray, prod"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_creates_changes_and_leaves_alone_and_a_wrong_file_changes_nothing() {
    let f = fixture().await;
    let lane = "apiVersion: graylane.dev/v1alpha1\nkind: Lane\nmetadata:\n  name: blue\nspec:\n  group: mse-demo\n  tag: blue\n";
    let service = "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: fresh\nspec:\n  ports:\n  - port: 80\n";
    let namespace =
        "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: fresh\n  labels:\n    team: x\n";
    let file = f.file("all.yaml", &format!("{lane}{service}{namespace}"));
    let applied = f.ok(&["apply", "-f", &file]).await;
    assert_eq!(
        applied,
        "namespace/fresh created\nlane/blue created\nservice/web created\n"
    );
    let again = f.ok(&["apply", "-f", &file]).await;
    assert_eq!(
        again,
        "namespace/fresh unchanged\nlane/blue unchanged\nservice/web unchanged\n"
    );
    let file = f.file("blue.yaml", &lane.replace("tag: blue", "tag: navy"));
    assert_eq!(
        f.ok(&["apply", "-f", &file]).await,
        "lane/blue configured\n"
    );
    let wrong = format!(
        "{}---\napiVersion: v1\nkind: Servise\nmetadata:\n  name: w\n",
        lane.replace("tag: blue", "tag: grey")
    );
    let file = f.file("wrong.yaml", &wrong);
    let told = f.refused(1, &["apply", "-f", &file]).await;
    assert!(
        told.contains("wrong.yaml:10") && told.contains("Servise"),
        "{told}"
    );
    assert_eq!(
        f.json(&["get", "lanes", "blue"]).await["spec"]["tag"],
        "navy",
        "nothing was applied"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_cannot_be_sent_says_why() {
    let f = fixture().await;
    let told = f.refused(1, &["probe", "/A/a?group=gray"]).await;
    assert!(told.contains("mse-demo") && told.contains("edge"), "{told}");
    // Where nothing was compared it is not said that anything differs.
    let told = f.refused(2, &["probe", "/A/a", "--diff"]).await;
    assert!(
        told.contains("were not compared") && told.contains("edge"),
        "{told}"
    );
    let told = f.refused(2, &["probe", "/A/a?group=gray", "--diff"]).await;
    assert!(
        told.contains("as it is: leave out what that lane matches"),
        "{told}"
    );
    let told = f
        .refused(2, &["probe", "/A/a", "--diff", "--lane", "nil"])
        .await;
    assert!(told.contains("no enabled lane nil"), "{told}");
    for wrong in [
        &["probe", "A/a"][..],
        &["probe", "/A/a", "--expect", "a=blue"],
        &["probe", "/A/a", "--count", "0"],
    ] {
        f.refused(2, wrong).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_requests_come_that_is_told_and_what_to_do() {
    let f = fixture().await;
    let told = f
        .refused(1, &["signals", "spring-cloud-a", "--for", "1s"])
        .await;
    let wanted = "no request of spring-cloud-a was seen in 1s: `graylane probe --group mse-demo /PATH` sends a request";
    assert!(told.contains(wanted), "{told}");
    let check = ["signals", "spring-cloud-a", "--for", "1s", "--check"];
    let told = f.refused(2, &check).await;
    assert!(told.contains(wanted), "{told}");
    let told = f.refused(1, &["trace", "mse-demo", "--for", "1s"]).await;
    assert!(
        told.contains("no request was seen in 1s") && told.contains("graylane doctor"),
        "{told}"
    );
    let told = f.refused(1, &["signals", "nobody", "--for", "1s"]).await;
    assert!(told.contains("no App nobody"), "{told}");
    f.refused(2, &["signals", "spring-cloud-a", "--for", "10m"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_rendered_as_they_would_be_applied_and_errors_are_told_at_their_line() {
    let f = fixture().await;
    let gray = ["render", "spring-cloud-a", "--environment", "gray"];
    let list = f
        .json(&[&gray[..], &["--image", "backend=spring-cloud-a:v2"]].concat())
        .await;
    let deployment = &list["items"][0];
    assert_eq!(deployment["metadata"]["name"], "spring-cloud-a-gray");
    assert_eq!(
        deployment["spec"]["template"]["metadata"]["labels"]["alicloud.service.tag"],
        "gray"
    );
    assert_eq!(
        deployment["spec"]["template"]["spec"]["containers"][0]["image"],
        "spring-cloud-a:v2"
    );
    assert_eq!(list["items"][1]["metadata"]["name"], "spring-cloud-a-gray");
    let prod = f
        .ok(&["render", "spring-cloud-a", "--environment", "prod"])
        .await;
    assert!(
        prod.contains("replicas: 4") && prod.contains("image: spring-cloud-a:v1"),
        "{prod}"
    );
    assert!(!prod.contains("alicloud.service.tag: gray"), "{prod}");
    assert_eq!(
        f.ok(&[&gray[..], &["-o", "name"]].concat()).await,
        "deployment/spring-cloud-a-gray\nservice/spring-cloud-a-gray\n"
    );
    let told = f
        .refused(1, &[&gray[..], &["--image", "front=x:1"]].concat())
        .await;
    assert!(told.contains("no image front"), "{told}");

    let app = "apiVersion: graylane.dev/v1alpha1\nkind: App\nmetadata: {name: bad}\nspec:\n  environments:\n  - {name: gray, namespace: demo}\n  manifests:\n  - name: cm.yaml\n    template: |\n      kind: ConfigMap\n      data: {x: {{ .Values.missing }}}\n";
    let file = f.file("bad.yaml", app);
    f.ok(&["apply", "-f", &file]).await;
    let told = f
        .refused(1, &["render", "bad", "--environment", "gray"])
        .await;
    assert!(
        told.contains("cm.yaml:2:") && told.contains("missing"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_come_from_templates_and_values_from_groups() {
    let f = fixture().await;
    let create = |more: &[&'static str]| {
        [
            &[
                "app",
                "create",
                "pay",
                "cart",
                "--template",
                "spring-cloud-service",
            ],
            more,
        ]
        .concat()
    };
    let told = f
        .refused(2, &create(&["--set", "nonsense", "--set", "=1"]))
        .await;
    assert!(
        told.contains("nonsense: there is no =") && told.contains("--set =1"),
        "{told}"
    );
    let told = f
        .refused(1, &create(&["spring-cloud-a", "--set", "levle=x"]))
        .await;
    assert!(
        told.contains("2 errors") && told.contains("app spring-cloud-a exists already"),
        "{told}"
    );
    let told = f.ok(&create(&["--dry-run"])).await;
    assert!(
        told.contains("App pay\n") && told.contains("App cart\n") && told.contains("(dry run)"),
        "{told}"
    );
    let dry = f.json(&create(&["--dry-run"])).await;
    assert_eq!(
        dry["items"][1]["spec"]["images"]["backend"]["repository"],
        "cart"
    );
    assert_eq!(
        f.ok(&["get", "apps", "-o", "name"]).await.lines().count(),
        3,
        "nothing was made"
    );
    let told = f.ok(&create(&["--set", "cart:prod/replicas=3"])).await;
    assert!(
        told.contains("made pay, cart from template spring-cloud-service"),
        "{told}"
    );
    let templates = f.ok(&["get", "templates"]).await;
    let row: Vec<&str> = templates
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .take(4)
        .collect();
    assert_eq!(
        row,
        ["spring-cloud-service", "gray,prod", "production", "2"],
        "{templates}"
    );

    assert!(
        f.ok(&["app", "diff", "cart"])
            .await
            .contains("is what template spring-cloud-service makes")
    );
    let told = f.refused(2, &["app", "diff", "spring-cloud-a"]).await;
    assert!(told.contains("was made from no template"), "{told}");
    let apps: Api<graylane::api::App> = Api::namespaced(f.client.clone(), "demo");
    let patch = Patch::Merge(json!({"spec": {"repository": "elsewhere"}}));
    apps.patch("cart", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let output = f.run(&["app", "diff", "cart", "-o", "json"]).await;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &told["changes"][0]["path"]),
        (Some(1), &json!("repository"))
    );
    let text = String::from_utf8(f.run(&["app", "diff", "cart"]).await.stdout).unwrap();
    assert!(text.contains("+repository: elsewhere"), "{text}");

    let values = f
        .json(&["variables", "cart", "--environment", "gray"])
        .await;
    let of = |key: &str| {
        let all = values["environments"][0]["values"].as_array().unwrap();
        all.iter()
            .find(|v| v["key"] == key)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(
        (&of("logLevel")["value"], &of("logLevel")["from"]["kind"]),
        (&json!("debug"), &json!("environment"))
    );
    assert_eq!(of("logLevel")["over"][0]["name"], "shared");
    assert_eq!(of("callTimeout")["value"], "2s");
    assert!(
        f.ok(&["variables", "cart"])
            .await
            .contains("group shared of the namespace")
    );
    assert!(
        f.ok(&["render", "cart", "-e", "prod", "--image", "backend=x:1"])
            .await
            .contains("value: \"info\"")
    );
    let groups = f.ok(&["get", "variablegroups"]).await;
    assert!(
        groups.contains("cart/gray,cart/prod,pay/gray,pay/prod"),
        "{groups}"
    );

    let group = |values: &str| {
        format!(
            "apiVersion: graylane.dev/v1alpha1\nkind: VariableGroup\nmetadata: {{name: shared}}\nspec:\n  values: {values}\n"
        )
    };
    let file = f.file("shared.yaml", &group("{logLevel: warn, callTimeout: 2s}"));
    for (more, word) in [
        (&["--dry-run"][..], "would change"),
        (&["--force"][..], "changes"),
    ] {
        let told = f
            .ok(&[&["apply", "-f", file.as_str()], more].concat())
            .await;
        let reached = "cart/gray (not its logLevel), cart/prod, pay/gray (not its logLevel), pay/prod; nothing before";
        assert!(
            told.contains(&format!(
                "shared {word} logLevel with the next release of {reached}"
            )),
            "{told}"
        );
    }
    let told = f.ok(&["apply", "-f", &file]).await;
    assert!(
        told.contains("unchanged") && !told.contains("next release"),
        "{told}"
    );
    let file = f.file("bad.yaml", &group("{namespace: x}"));
    let told = f.refused(1, &["apply", "-f", &file]).await;
    assert!(
        told.contains("bad.yaml:5") && told.contains("environment's own"),
        "{told}"
    );
    let file = f.file(
        "app.yaml",
        "apiVersion: graylane.dev/v1alpha1\nkind: App\nmetadata: {name: odd}\nspec:\n  manifests: []\n  \
        environments:\n  - name: e\n    namespace: demo\n    variableGroups:\n    - gone\n",
    );
    let output = f.run(&["apply", "-f", &file]).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("app.yaml:10: app/odd: environment e: there is no variable group gone"),
        "{told}"
    );
}
