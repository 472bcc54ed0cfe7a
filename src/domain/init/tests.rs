//! What comes of rendered objects, read back as the server reads it.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::{App, Lane, LaneGroup};

const RENDERED: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: shop, labels: {helm.sh/chart: shop-1.2.0}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop-settings}
data: {greeting: "{{ hello }}"}
---
apiVersion: v1
kind: Secret
metadata: {name: shop-key}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop-prod, labels: {app: shop}}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      serviceAccountName: shop
      containers:
      - {name: main, image: "registry/shop:1.4", envFrom: [{configMapRef: {name: shop-settings}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: shop-test, annotations: {helm.sh/hook: test}}
"#;

fn objects(text: &str) -> Vec<Value> {
    let read = kube_yaml::read_objects("f", text).unwrap();
    read.into_iter().map(|d| d.value).collect()
}

fn wanted() -> Wanted<'static> {
    Wanted {
        deployment: None,
        service: None,
        namespace: "demo",
    }
}

fn built(text: &str, gray: Option<&str>) -> Result<NewApp, InitError> {
    build_app(
        None,
        "prod",
        gray,
        select_objects(objects(text), &wanted())?,
    )
}

fn rendered(app: &NewApp, environment: &str) -> Vec<Value> {
    let images = [("backend".to_owned(), "registry/shop:2".to_owned())].into();
    render(&app.spec, &app.name, environment, &images).unwrap()
}

#[test]
fn a_chart_becomes_an_app_with_a_gray_version() {
    let app = built(RENDERED, Some("gray")).unwrap();
    assert_eq!(
        (app.name.as_str(), app.namespace.as_str()),
        ("shop", "demo")
    );
    assert_eq!(app.service, Some(("shop".to_owned(), 80)));
    let names = |environment| {
        rendered(&app, environment)
            .iter()
            .map(|o| format!("{} {}", o["kind"], o["metadata"]["name"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    let all = [
        "ServiceAccount shop",
        "ConfigMap shop-settings",
        "Deployment shop-prod",
        "Service shop",
    ];
    assert_eq!(names("prod"), all);
    assert_eq!(names("gray"), ["Deployment shop-gray", "Service shop-gray"]);
    let prod = rendered(&app, "prod");
    assert_eq!(prod[1]["data"]["greeting"], "{{ hello }}");
    let container = &prod[2]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry/shop:2");
    assert!(prod.iter().all(|o| o["metadata"]["namespace"] == "demo"));
    let stages: Vec<&str> = app
        .spec
        .workflow
        .stages
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(stages, ["production", BASELINE_STAGE]);
    assert_eq!(
        app.spec.workflow.stages[1].tasks.len(),
        1,
        "gray is not in it"
    );
    let notes = app.notes.join("\n");
    assert!(
        notes.contains("Secret shop-key is left out: graylane-deployer"),
        "{notes}"
    );
    assert!(
        notes.contains("Pod shop-test is left out: it is a hook"),
        "{notes}"
    );
}

#[test]
fn what_cannot_be_chosen_is_told() {
    let two = format!(
        "{RENDERED}---\n{}",
        RENDERED
            .split("---\n")
            .nth(4)
            .unwrap()
            .replace("shop-prod", "other")
    );
    let why = |text: &str| built(text, None).unwrap_err().to_string();
    assert!(why(&two).contains("name it with --deployment; there are shop-prod, other"));
    assert!(why(RENDERED.split("---\n").next().unwrap()).contains("there is no Deployment"));
    let twice = format!(
        "{RENDERED}---\n{}",
        RENDERED
            .split("---\n")
            .nth(3)
            .unwrap()
            .replace("name: shop}", "name: shop-headless}")
    );
    assert!(
        why(&twice).contains("--service; there are shop, shop-headless"),
        "{}",
        why(&twice)
    );
    let chosen = Wanted {
        service: Some("shop"),
        ..wanted()
    };
    let selected = select_objects(objects(&twice), &chosen).unwrap();
    let app = build_app(None, "prod", Some("gray"), selected).unwrap();
    // The other Service is the baseline's, and must not select pods of gray.
    assert_eq!(rendered(&app, "gray").len(), 2);
    assert_eq!(rendered(&app, "prod").len(), 5);
}

#[test]
fn an_autoscaler_keeps_the_replicas() {
    let text = format!(
        "{RENDERED}---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{name: shop}}\nspec:\n  \
         scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: shop-prod}}\n"
    );
    let app = built(&text, None).unwrap();
    let prod = rendered(&app, "prod");
    assert!(prod.iter().any(|o| o["kind"] == "HorizontalPodAutoscaler"));
    let deployment = prod.iter().find(|o| o["kind"] == "Deployment").unwrap();
    assert!(deployment["spec"]["replicas"].is_null());
}

/// The comments change nothing, each stands once, and all of them are used.
#[test]
fn the_files_say_what_their_fields_mean() {
    let app = built(RENDERED, Some("gray")).unwrap();
    let text = write_app(&app);
    let read: App = serde_json::from_value(objects(&text).remove(0)).unwrap();
    assert_eq!(read.spec, app.spec);
    for (place, comment) in comments::APP {
        let first = comment.lines().next().unwrap();
        assert_eq!(text.matches(first).count(), 1, "{place}:\n{text}");
    }
    let lanes = build_lane_objects(&LaneNames {
        namespace: "demo",
        group: "chain",
        gateway: "edge",
        path: "/shop",
        app: "shop",
        service: ("shop", 80),
        tag: Some("gray"),
    });
    let group: LaneGroup = serde_json::from_value(objects(&lanes[0]).remove(0)).unwrap();
    let lane: Lane = serde_json::from_value(objects(&lanes[1]).remove(0)).unwrap();
    assert_eq!(group.spec.apps[0].service(), "shop");
    assert_eq!(lane.spec.rule.all[0].to_string(), "parameter group == gray");
    for (text, comments) in [
        (&lanes[0], comments::LANE_GROUP),
        (&lanes[1], comments::LANE),
    ] {
        for (place, comment) in comments {
            let first = comment.lines().next().unwrap();
            assert_eq!(text.matches(first).count(), 1, "{place}:\n{text}");
        }
    }
}

proptest! {
    /// Whatever stands in a block of text, a comment is never put into it.
    #[test]
    fn any_text_is_kept_under_comments(text in "[ a-z:#|>\\-\n]{0,60}", key in "[a-z]{1,3}") {
        let value = json!({"spec": {"images": {key.clone(): text}, "a": [{"b": text, "images": 1}], "z": key}});
        let commented = comment_yaml(&kube_yaml::to_yaml(&value), &[("spec.images", "one\ntwo"), ("spec.a.b", "three"), ("spec.z", "four")]);
        let (read, _) = kube_yaml::first_with_duplicates(&commented).unwrap();
        prop_assert_eq!(read, value);
        for comment in ["# one\n", "# three\n", "# four\n"] {
            prop_assert!(commented.matches(comment).count() >= 1, "{}", commented);
        }
    }
}
