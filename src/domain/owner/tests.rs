use serde_json::{Value, json};

use super::*;
use crate::api::ClusterName;

fn me() -> Owner {
    Owner {
        home: Some("demo".into()),
        app: "a".into(),
        environment: "prod".into(),
    }
}

fn service(name: &str) -> ObjectRef {
    ObjectRef::new("v1", "Service", ObjectKey::at_home("demo", name))
}

fn marks(labels: Value, annotations: Value, more: Value) -> OwnershipMarks {
    let mut meta = json!({"labels": labels, "annotations": annotations});
    json_patch::merge(&mut meta, &more);
    OwnershipMarks::from_metadata(&serde_json::from_value(meta).unwrap())
}

/// Every combination of an object's marks and of inventories, with the expected owner.
#[test]
fn an_object_is_ours_by_its_labels_or_by_inventory_and_manager_and_else_is_not_touched() {
    let labels =
        |app: &str, environment: &str| json!({label::APP: app, label::ENVIRONMENT: environment});
    let by = |names: &[&str]| {
        let entries: Vec<Value> = names
            .iter()
            .map(|n| json!({"manager": n, "operation": "Update"}))
            .collect();
        json!({"managedFields": entries})
    };
    let other = |app: &str, environment: &str| Owner {
        home: Some("demo".into()),
        app: app.into(),
        environment: environment.into(),
    };
    let none = json!({});
    let controller = json!({"ownerReferences": [{"apiVersion": "x/v1", "kind": "Helm", "name": "h", "uid": "u", "controller": true}]});
    let ours = Some(me());
    let theirs = Some(other("b", "prod"));
    let (is_ours, is_nobodys) = ("ours", "belongs to no App");
    let table: Vec<(&str, OwnershipMarks, Option<&Owner>, &str)> = vec![
        (
            "labels",
            marks(labels("a", "prod"), none.clone(), none.clone()),
            None,
            is_ours,
        ),
        (
            "labels, whatever the managers",
            marks(labels("a", "prod"), none.clone(), by(&["kubectl"])),
            None,
            is_ours,
        ),
        (
            "labels and home",
            marks(
                labels("a", "prod"),
                json!({label::HOME: "demo"}),
                none.clone(),
            ),
            None,
            is_ours,
        ),
        (
            "a namesake App elsewhere",
            marks(
                labels("a", "prod"),
                json!({label::HOME: "team2"}),
                none.clone(),
            ),
            ours.as_ref(),
            "environment prod of app a in namespace team2",
        ),
        (
            "another App",
            marks(labels("b", "prod"), none.clone(), by(&["graylane"])),
            ours.as_ref(),
            "environment prod of app b,",
        ),
        (
            "another environment",
            marks(labels("a", "gray"), none.clone(), none.clone()),
            None,
            "environment gray of app a,",
        ),
        (
            "half a mark of ours",
            marks(json!({label::APP: "a"}), none.clone(), none.clone()),
            None,
            is_nobodys,
        ),
        (
            "half a mark of ours, noted",
            marks(json!({label::APP: "a"}), none.clone(), by(&["graylane"])),
            ours.as_ref(),
            is_ours,
        ),
        (
            "half a mark of another",
            marks(json!({label::APP: "b"}), none.clone(), none.clone()),
            ours.as_ref(),
            "an environment of app b",
        ),
        (
            "nothing",
            marks(none.clone(), none.clone(), by(&["kubectl-create"])),
            None,
            "(written by kubectl-create)",
        ),
        (
            "nothing, no managers",
            marks(none.clone(), none.clone(), none.clone()),
            None,
            is_nobodys,
        ),
        (
            "from before marks",
            marks(none.clone(), none.clone(), by(&["graylane", "hpa"])),
            ours.as_ref(),
            is_ours,
        ),
        (
            "noted, never written by us",
            marks(none.clone(), none.clone(), by(&["kubectl"])),
            ours.as_ref(),
            is_nobodys,
        ),
        (
            "another's from before marks",
            marks(none.clone(), none.clone(), by(&["graylane"])),
            theirs.as_ref(),
            "environment prod of app b,",
        ),
        (
            "our manager alone",
            marks(none.clone(), none.clone(), by(&["graylane"])),
            None,
            is_nobodys,
        ),
        (
            "a lane group's",
            marks(
                json!({label::LANE_GROUP: "g"}),
                none.clone(),
                by(&["graylane"]),
            ),
            ours.as_ref(),
            "made by lane group g",
        ),
        (
            "our own component",
            marks(
                json!({label::COMPONENT: "engine"}),
                none.clone(),
                none.clone(),
            ),
            None,
            "made by graylane itself",
        ),
        (
            "a controller's",
            marks(none.clone(), none.clone(), controller.clone()),
            None,
            "made by Helm h",
        ),
        (
            "a controller's, adopted",
            marks(labels("a", "prod"), none.clone(), controller),
            None,
            is_ours,
        ),
    ];
    for (case, marks, noted, want) in table {
        let whose = determine_ownership(&marks, &me(), noted);
        let told = explain_refusal(&service("s"), &whose, &marks, &me())
            .unwrap_or_else(|| is_ours.to_owned());
        assert!(told.contains(want), "{case}: {told}");
        if told != is_ours {
            assert!(
                told.starts_with("Service demo/s "),
                "{case}: the object is named: {told}"
            );
            assert!(
                told.contains("give this one another name"),
                "{case}: what to do: {told}"
            );
        }
    }
}

#[test]
fn how_to_adopt_is_told_and_never_runs_what_a_name_says() {
    let told = |name: &str| {
        explain_refusal(
            &service(name),
            &Ownership::Unowned,
            &OwnershipMarks::default(),
            &me(),
        )
        .unwrap()
    };
    assert!(
        told("s").contains("`graylane adopt service/s --app a --environment prod -n demo`"),
        "{}",
        told("s")
    );
    assert!(
        !told("s;touch x").contains("adopt service"),
        "{}",
        told("s;touch x")
    );
}

fn app(name: &str, template: &str, environments: Value) -> App {
    let spec = json!({"manifests": [{"name": "m.yaml", "template": template}], "environments": environments});
    let mut app = App::new(name, serde_json::from_value(spec).unwrap());
    app.metadata.namespace = Some("demo".into());
    app
}

/// Which Apps and environments name the same object, in either order.
#[test]
fn two_that_name_one_object_are_told_of_each_other() {
    let service =
        |name: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n");
    let hpa = |version: &str| {
        format!(
            "apiVersion: autoscaling/{version}\nkind: HorizontalPodAutoscaler\nmetadata: {{name: h}}\n"
        )
    };
    let by_environment =
        "apiVersion: v1\nkind: Service\nmetadata: {name: 's-{{ .AppStack.envName }}'}\n";
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shared}\n";
    let one = |namespace: &str| json!([{"name": "prod", "namespace": namespace}]);
    let far = |context: &str| json!([{"name": "prod", "namespace": "demo", "context": context}]);
    let two = json!([{"name": "gray", "namespace": "demo", "lane": "gray"}, {"name": "prod", "namespace": "demo"}]);
    let table: Vec<(&str, App, App, Option<&str>)> = vec![
        (
            "the same name",
            app("a", &service("s"), one("demo")),
            app("b", &service("s"), one("demo")),
            Some("Service demo/s"),
        ),
        (
            "other names",
            app("a", &service("s"), one("demo")),
            app("b", &service("t"), one("demo")),
            None,
        ),
        (
            "other namespaces",
            app("a", &service("s"), one("demo")),
            app("b", &service("s"), one("other")),
            None,
        ),
        (
            "another cluster",
            app("a", &service("s"), one("demo")),
            app("b", &service("s"), far("far")),
            None,
        ),
        (
            "home by its own name",
            app("a", &service("s"), one("demo")),
            app("b", &service("s"), far("home")),
            Some("Service demo/s"),
        ),
        (
            "the same other cluster",
            app("a", &service("s"), far("far")),
            app("b", &service("s"), far("far")),
            Some("Service far/demo/s"),
        ),
        (
            "another kind",
            app("a", &service("s"), one("demo")),
            app(
                "b",
                &service("s").replace("Service", "ConfigMap"),
                one("demo"),
            ),
            None,
        ),
        (
            "another version of the API",
            app("a", &hpa("v1"), one("demo")),
            app("b", &hpa("v2"), one("demo")),
            Some("HorizontalPodAutoscaler demo/h"),
        ),
        (
            "of no namespace",
            app("a", namespace, one("demo")),
            app("b", namespace, one("other")),
            Some("Namespace shared"),
        ),
        (
            "two environments of one App",
            app("a", &service("s"), two.clone()),
            app("b", &service("t"), one("demo")),
            Some("environment"),
        ),
        (
            "environments apart by name",
            app("a", by_environment, two),
            app("b", &service("t"), one("demo")),
            None,
        ),
    ];
    let is_home = |cluster: &ClusterName| cluster.context() == Some("home");
    for (case, a, b, want) in table {
        let mut taken = ClaimedNames::new(&is_home, &|_| None);
        taken.add_rendered(&a);
        taken.add_rendered(&b);
        let told = taken.find_clashes(&a, |_| true);
        assert_eq!(told.is_empty(), want.is_none(), "{case}: {told:?}");
        assert!(
            told.iter().all(|t| want.is_some_and(|w| t.contains(w))),
            "{case}: {told:?}"
        );
    }
    // What was applied and is no longer rendered still belongs to the other one.
    let mut b = app("b", &service("t"), one("demo"));
    let noted = json!({"environments": {"prod": {"inventory": [{"apiVersion": "v1", "kind": "Service", "namespace": "demo", "name": "s", "uid": "u"}]}}});
    b.status = Some(serde_json::from_value(noted).unwrap());
    let mut taken = ClaimedNames::new(&is_home, &|_| None);
    taken.add_applied(&b);
    let told = taken.find_clashes(&app("a", &service("s"), one("demo")), |_| true);
    assert!(
        matches!(told.as_slice(), [one] if one.contains("environment prod of app b")),
        "{told:?}"
    );
    assert_eq!(
        taken.find_clashes(&b, |_| true),
        Vec::<String>::new(),
        "its own"
    );
    let same = |uid: &str| noted_of(&b, uid);
    assert_eq!(
        (same("u").map(|o| o.app), same("v"), same("")),
        (Some("b".into()), None, None)
    );
}

fn noted_of(app: &App, uid: &str) -> Option<Owner> {
    find_in_inventories([app], &service("s"), &uid.into())
}
