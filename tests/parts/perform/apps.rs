//! Apps from templates, and releases that variable groups keep from beginning.

use graylane::{
    api::{App, AppTemplate, VariableGroup, label},
    cluster::perform::plan_apps,
    domain::apps::Setting,
};

use super::*;

const MANIFEST: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .AppStack.appName }}-{{ .AppStack.envName }}'}\n\
                        data: {level: '{{ .Values.level }}'}\n";

async fn with_template() -> Fixture {
    let f = fixture().await;
    f.create(
        "VariableGroup",
        "shared",
        json!({"values": {"level": "info"}}),
    )
    .await;
    let app = json!({
        "images": {"backend": {"repository": "${APP}", "default": "${APP}:1"}},
        "manifests": [{"name": "c.yaml", "template": MANIFEST}],
        "environments": [{"name": "prod", "namespace": NS, "variableGroups": ["shared"]}],
        "workflow": {"stages": [{"name": "production", "tasks": [{"name": "up", "deploy": {"environment": "prod"}}]}]},
    });
    f.create(
        "AppTemplate",
        "service",
        json!({"description": "one", "app": app}),
    )
    .await;
    f
}

fn wanted(names: &[&str], set: &[&str], seen: Option<SeenObject>) -> Intent {
    Intent::CreateApps {
        template: "service".into(),
        seen,
        names: names.iter().map(ToString::to_string).collect(),
        settings: set.iter().map(|s| s.parse::<Setting>().unwrap()).collect(),
    }
}

impl Fixture {
    async fn apps(&self) -> Vec<String> {
        let api: Api<App> = Api::namespaced(self.client.clone(), NS);
        api.list(&ListParams::default())
            .await
            .unwrap()
            .iter()
            .map(ResourceExt::name_any)
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_apps_are_made_or_none_and_what_was_seen_is_what_is_made() {
    let f = with_template().await;
    let told = f
        .wish("ann", wanted(&["pay", "a", "Big"], &["levle=x"], None))
        .await
        .unwrap_err()
        .to_string();
    for part in [
        "no app was made from template service: 3 errors",
        "app a exists already",
        "\"Big\" cannot be the name",
        "reads no .Values.levle",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(f.apps().await, ["a", "c"]);

    let names = ["pay".to_owned(), "cart".to_owned()];
    let (planned, template) = plan_apps(&f.client, NS, "service", &names, &[])
        .await
        .unwrap();
    assert_eq!(planned.len(), 2);
    assert_eq!(f.apps().await, ["a", "c"], "a plan makes nothing");
    let seen = SeenObject {
        uid: template.uid().unwrap().into(),
        version: template.resource_version(),
        state: None,
    };
    let templates: Api<AppTemplate> = Api::namespaced(f.client.clone(), NS);
    let patch = Patch::Merge(json!({"spec": {"description": "another"}}));
    templates
        .patch("service", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let lost = f
        .wish("ann", wanted(&["pay", "cart"], &[], Some(seen)))
        .await
        .unwrap_err();
    assert!(matches!(lost, PerformError::Stale { .. }), "{lost}");
    assert_eq!(f.apps().await, ["a", "c"]);

    let done = f
        .wish("ann", wanted(&["pay", "cart"], &["cart:level=debug"], None))
        .await
        .unwrap();
    assert_eq!(
        done.objects,
        [
            ("App".to_owned(), "pay".to_owned()),
            ("App".to_owned(), "cart".to_owned())
        ]
    );
    let api: Api<App> = Api::namespaced(f.client.clone(), NS);
    let (pay, cart) = (
        api.get("pay").await.unwrap(),
        api.get("cart").await.unwrap(),
    );
    assert_eq!(pay.spec.images["backend"].repository, "pay");
    assert_eq!(pay.spec.environments[0].values.get("level"), None);
    assert_eq!(cart.spec.environments[0].values["level"], "debug");
    assert_eq!(cart.annotations()[label::TEMPLATE], "service");
    assert_eq!(
        cart.annotations()[label::TEMPLATE_SET],
        "[\"prod/level=debug\"]"
    );
    let told = f
        .wish("bob", wanted(&["cart"], &[], None))
        .await
        .unwrap_err()
        .to_string();
    assert!(told.contains("app cart exists already"), "{told}");
    let none = Intent::CreateApps {
        template: "nil".into(),
        seen: None,
        names: vec!["x".into()],
        settings: vec![],
    };
    let told = f.wish("bob", none).await.unwrap_err().to_string();
    assert!(
        told.contains("no app template nil") && told.contains("service"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_release_starts_while_a_group_or_key_is_missing() {
    let f = with_template().await;
    f.wish("ann", wanted(&["pay"], &[], None)).await.unwrap();
    let groups: Api<VariableGroup> = Api::namespaced(f.client.clone(), NS);
    let releases: Api<Release> = Api::namespaced(f.client.clone(), NS);
    let set = async |values: Value| {
        let patch = Patch::Merge(json!({"spec": {"values": values}}));
        groups
            .patch("shared", &PatchParams::default(), &patch)
            .await
            .unwrap();
    };
    set(json!({"level": null, "levle": "x"})).await;
    let told = f.start(&["pay"]).await.unwrap_err().to_string();
    assert!(
        told.contains("no release of pay was started") && told.contains("c.yaml:4:19"),
        "{told}"
    );
    groups.delete("shared", &Default::default()).await.unwrap();
    let told = f.start(&["pay"]).await.unwrap_err().to_string();
    let place = "app pay, environment prod, spec.environments[0].variableGroups[0]: there is no variable group shared";
    assert!(told.contains(place), "{told}");
    assert!(
        releases
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    f.create(
        "VariableGroup",
        "shared",
        json!({"values": {"level": "info"}}),
    )
    .await;
    f.start(&["pay"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_refuse_what_nobody_could_use() {
    let f = fixture().await;
    let api = |kind: &str| -> (Api<DynamicObject>, ApiResource) {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("graylane.dev", "v1alpha1", kind));
        (
            Api::namespaced_with(f.client.clone(), NS, &resource),
            resource,
        )
    };
    let environment = |more: Value| {
        let mut environment = json!({"name": "e", "namespace": "n"});
        environment
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"manifests": [], "environments": [environment]})
    };
    let table = [
        (
            "VariableGroup",
            json!({"values": {"a": 1, "b": {"c": [null]}}}),
            None,
        ),
        ("VariableGroup", json!({}), Some("spec.values")),
        (
            "VariableGroup",
            json!({"values": {}, "app": "No_App"}),
            Some("spec.app"),
        ),
        ("VariableGroup", json!({"values": []}), Some("spec.values")),
        (
            "App",
            environment(json!({"variableGroups": ["a", "b"]})),
            None,
        ),
        (
            "App",
            environment(json!({"variableGroups": ["a", "a"]})),
            Some("named twice"),
        ),
        (
            "App",
            environment(json!({"variableGroups": ["No_Group"]})),
            Some("variableGroups"),
        ),
        (
            "App",
            environment(json!({"namespace": "${APP}"})),
            Some("namespace"),
        ),
        (
            "AppTemplate",
            json!({"app": environment(json!({"namespace": "${APP}"}))}),
            None,
        ),
        (
            "AppTemplate",
            json!({"app": environment(json!({"namespace": "team-${APP}-x"}))}),
            None,
        ),
        (
            "AppTemplate",
            json!({"app": environment(json!({"namespace": "${OTHER}"}))}),
            Some("namespace"),
        ),
        (
            "AppTemplate",
            json!({"app": environment(json!({"namespace": "-${APP}"}))}),
            Some("namespace"),
        ),
    ];
    for (n, (kind, spec, wrong)) in table.into_iter().enumerate() {
        let (api, resource) = api(kind);
        let object = DynamicObject::new(&format!("x{n}"), &resource).data(json!({"spec": spec}));
        let told = api
            .create(&PostParams::default(), &object)
            .await
            .map_err(|e| e.to_string());
        match (wrong, told) {
            (None, Ok(_)) => {}
            (Some(part), Err(told)) => assert!(told.contains(part), "case {n}: {told}"),
            (wrong, told) => panic!("case {n}: {wrong:?}, {told:?}"),
        }
    }
}
