use serde_json::{Value, json};

use super::*;
use crate::api::{App, AppTemplate, VariableGroup};

const MANIFEST: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .AppStack.appName }}-{{ .AppStack.envName }}\ndata:\n  \
    replicas: \"{{ .Values.replicas }}\"\n  level: \"{{ .Values.level }}\"\n";

fn template() -> AppTemplate {
    let spec = json!({
        "description": "a service",
        "app": {
            "repository": "https://git/${APP}.git",
            "images": {"backend": {"repository": "registry/${APP}", "context": "./${APP}", "default": "registry/${APP}:1"}},
            "manifests": [{"name": "c.yaml", "template": MANIFEST}],
            "environments": [
                {"name": "gray", "namespace": "${APP}-ns", "lane": "gray", "values": {"replicas": 1, "level": "debug"}},
                {"name": "prod", "namespace": "${APP}-ns", "values": {"replicas": 4, "level": "info"}},
            ],
            "workflow": {"stages": [{"name": "production", "tasks": [
                {"name": "build", "build": {"image": "backend", "tag": "${DATETIME}", "job": "name: $${APP} ${APP}"}},
                {"name": "look", "verify": {"laneGroup": "g", "probes": [{"path": "/${APP}", "expect": {"${APP}": "gray"}}]}},
                {"name": "up", "deploy": {"environment": "prod"}},
            ]}]},
        },
    });
    AppTemplate::new("service", serde_json::from_value(spec).unwrap())
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn settings(all: &[&str]) -> Vec<Setting> {
    all.iter().map(|s| s.parse().unwrap()).collect()
}

fn nothing() -> ExistingObjects<'static> {
    ExistingObjects {
        apps: vec![],
        groups: Default::default(),
    }
}

#[test]
fn each_app_has_its_name_everywhere_but_in_go_templates() {
    let made = make_apps(&template(), &names(&["pay", "cart"]), &[], &nothing()).unwrap();
    assert_eq!(made.len(), 2);
    let spec = serde_json::to_value(&made[1].spec).unwrap();
    let at = |path: &str| spec.pointer(path).cloned().unwrap_or_default();
    assert_eq!(at("/repository"), "https://git/cart.git");
    assert_eq!(at("/images/backend/repository"), "registry/cart");
    assert_eq!(at("/images/backend/context"), "./cart");
    assert_eq!(at("/environments/0/namespace"), "cart-ns");
    let task = "/workflow/stages/0/tasks/0/build";
    assert_eq!(
        at(&format!("{task}/tag")),
        "${DATETIME}",
        "known at the build only"
    );
    assert_eq!(
        at(&format!("{task}/job")),
        "name: $${APP} ${APP}",
        "a Go template"
    );
    assert_eq!(at("/manifests/0/template"), MANIFEST);
    assert_eq!(
        at("/workflow/stages/0/tasks/1/verify/probes/0"),
        json!({"path": "/cart", "count": 1, "expect": {"cart": "gray"}})
    );
    assert_eq!(template_name(&made[0]), Some("service"));
    assert_eq!(recorded_settings(&made[0], "service"), []);
    // The escaped placeholder stays.
    let mut escaped = template();
    escaped.spec.app.repository = Some("$${APP} of ${APP}".into());
    let made = make_apps(&escaped, &names(&["pay"]), &[], &nothing()).unwrap();
    assert_eq!(made[0].spec.repository.as_deref(), Some("${APP} of pay"));
}

#[test]
fn a_setting_of_one_wins_over_one_of_all_and_is_recorded() {
    let set = settings(&[
        "cart:gray/replicas=9",
        "gray/replicas=2",
        "cart:replicas=7",
        "replicas=5",
        "level=\"3\"",
    ]);
    let made = make_apps(&template(), &names(&["pay", "cart"]), &set, &nothing()).unwrap();
    let values =
        |app: usize, environment: usize| json!(made[app].spec.environments[environment].values);
    assert_eq!(values(0, 0), json!({"replicas": 2, "level": "3"}));
    assert_eq!(values(0, 1), json!({"replicas": 5, "level": "3"}));
    assert_eq!(values(1, 0), json!({"replicas": 9, "level": "3"}));
    assert_eq!(
        values(1, 1),
        json!({"replicas": 7, "level": "3"}),
        "what is said of an app outweighs an environment of all"
    );
    // The recorded settings create the same App again.
    for (app, name) in made.iter().zip(["pay", "cart"]) {
        let again = make_apps(
            &template(),
            &names(&[name]),
            &recorded_settings(app, "service"),
            &nothing(),
        )
        .unwrap();
        assert_eq!(again[0].spec, app.spec);
        assert_eq!(
            compare_with_template(&template(), app, &recorded_settings(app, "service"))
                .unwrap()
                .changes,
            []
        );
        assert_eq!(
            recorded_settings(app, "another"),
            [],
            "another template's settings are not its own"
        );
    }
}

#[test]
fn settings_are_read_as_yaml_and_print_as_what_they_are_read_from() {
    let table: [(&str, Value); 12] = [
        ("k=3", json!(3)),
        ("k=\"3\"", json!("3")),
        ("k=true", json!(true)),
        ("k=", json!("")),
        ("k=null", Value::Null),
        ("k=a=b", json!("a=b")),
        ("k=http://h:80/x?a=1#b", json!("http://h:80/x?a=1#b")),
        ("k=[1, two]", json!([1, "two"])),
        ("k={a: 1}", json!({"a": 1})),
        ("k=two words", json!("two words")),
        ("k=0.5", json!(0.5)),
        ("k='it''s'", json!("it's")),
    ];
    for (text, value) in table {
        let read: Setting = text.parse().unwrap();
        assert_eq!(read.value, value, "{text}");
        assert_eq!(read.to_string().parse::<Setting>().unwrap(), read, "{text}");
    }
    let whole: Setting = "app:env/key=1".parse().unwrap();
    assert_eq!(
        (
            whole.app.as_deref(),
            whole.environment.as_deref(),
            &*whole.key
        ),
        (Some("app"), Some("env"), "key")
    );
    assert_eq!(whole.to_string(), "app:env/key=1");
    for wrong in [
        "k",
        "=1",
        "a:=1",
        ":k=1",
        "/k=1",
        "e/=1",
        " k=1",
        "k =1",
        "k=[1",
        "k={a",
        "k=a: b: c",
        "k=---\na\n---\nb",
    ] {
        assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let there = App::new("there", template().spec.app);
    let around = ExistingObjects {
        apps: vec![&there],
        groups: Default::default(),
    };
    let asked = names(&["there", "Big", "-a", "a..b", "pay", "pay", &"x".repeat(64)]);
    let set = settings(&[
        "nothing=1",
        "test/level=x",
        "strange:level=x",
        "level=a",
        "level=b",
    ]);
    let told = make_apps(&template(), &asked, &set, &around).unwrap_err();
    let wanted = [
        "app there exists already",
        "\"Big\" cannot be the name of an app: it may have only lower-case letters",
        "\"-a\" cannot be the name of an app: it must begin and end",
        "\"a..b\" cannot be the name of an app: each part between dots",
        "pay is named twice",
        "cannot be the name of an app: it has more than 63 characters",
        "--set nothing=1: the template reads no .Values.nothing; it reads level, replicas",
        "--set test/level=x: the template has no environment test; it has gray, prod",
        "--set strange:level=x: app strange is not being made",
        "--set level=b: it is set twice, also as level=a",
    ];
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for (told, wanted) in told.iter().zip(wanted) {
        assert!(told.contains(wanted), "{told} / {wanted}");
    }
    assert_eq!(
        make_apps(&template(), &[], &[], &nothing()).unwrap_err(),
        ["no app is named"]
    );
}

#[test]
fn an_app_that_could_not_be_released_is_not_made() {
    let mut bad = template();
    bad.spec.app.environments[1].values.clear();
    bad.spec.app.environments[0].variable_groups = vec!["gone".into()];
    bad.spec.app.workflow.stages[0].tasks[2]
        .deploy
        .as_mut()
        .unwrap()
        .environment = "moon".into();
    let told = make_apps(&bad, &names(&["pay"]), &[], &nothing()).unwrap_err();
    for wanted in [
        "app pay: spec.workflow.stages[0].tasks[2].environment: task up names the unknown environment moon",
        "app pay, environment gray, spec.environments[0].variableGroups[0]: there is no variable group gone",
        "app pay, environment prod: c.yaml:6:17: nothing is known as `.Values.replicas`",
        "app pay, environment prod: c.yaml:7:14: nothing is known as `.Values.level`",
    ] {
        assert!(
            told.iter().any(|t| t.contains(wanted)),
            "{wanted}: {told:#?}"
        );
    }
    assert_eq!(told.len(), 4, "{told:#?}");
    // The group provides values that the environment lacks.
    let group = VariableGroup::new(
        "gone",
        serde_json::from_value(json!({"values": {"level": "x", "replicas": 2}})).unwrap(),
    );
    bad.spec.app.environments[1].variable_groups = vec!["gone".into()];
    bad.spec.app.workflow.stages[0].tasks.truncate(2);
    let around = ExistingObjects {
        apps: vec![],
        groups: [("gone", &group)].into(),
    };
    assert_eq!(
        make_apps(&bad, &names(&["pay"]), &[], &around)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn no_object_would_belong_to_two() {
    let mut same = template();
    same.spec.app.manifests[0].template = MANIFEST.replace("{{ .AppStack.appName }}-", "");
    same.spec
        .app
        .environments
        .iter_mut()
        .for_each(|e| e.namespace = "demo".into());
    let told = make_apps(&same, &names(&["pay", "cart"]), &[], &nothing()).unwrap_err();
    let said = |environment: &str| {
        format!(
            "app cart, environment {environment}: ConfigMap demo/{environment} belongs to {environment} of app pay: \
            put .AppStack.appName and .AppStack.envName into its name"
        )
    };
    assert_eq!(told, [said("gray"), said("prod")]);
    // Also objects that another App has already.
    let mut there = App::new("old", template().spec.app);
    let status = json!({"environments": {"prod": {"inventory": [
        {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "demo", "name": "prod", "uid": "u"}]}}});
    there.status = Some(serde_json::from_value(status).unwrap());
    let told = make_apps(
        &same,
        &names(&["pay"]),
        &[],
        &ExistingObjects {
            apps: vec![&there],
            groups: Default::default(),
        },
    )
    .unwrap_err();
    assert!(
        told[0].contains("ConfigMap demo/prod belongs to prod of app old"),
        "{told:?}"
    );
}

#[test]
fn what_an_app_says_otherwise_is_told_by_its_place() {
    let set = settings(&["prod/replicas=6"]);
    let mut app = make_apps(&template(), &names(&["pay"]), &set, &nothing())
        .unwrap()
        .remove(0);
    app.spec.environments[1].lock = Some(Default::default());
    assert_eq!(
        compare_with_template(&template(), &app, &set)
            .unwrap()
            .changes,
        [],
        "a lock is no difference"
    );
    app.spec.environments[0]
        .values
        .insert("level".into(), json!("trace"));
    app.spec.environments[0]
        .variable_groups
        .push("shared".into());
    app.spec.repository = None;
    app.spec.workflow.stages[0].tasks.remove(1);
    app.spec.workflow.stages[0].tasks.reverse();
    let told: Vec<String> = compare_with_template(&template(), &app, &set)
        .unwrap()
        .changes
        .iter()
        .map(|c| {
            let short = |v: &Option<Value>| {
                v.as_ref().map_or("-".into(), |v| {
                    v.to_string().chars().take(24).collect::<String>()
                })
            };
            format!("{}: {} / {}", c.path, short(&c.template), short(&c.app))
        })
        .collect();
    assert_eq!(
        told,
        [
            "repository: \"https://git/pay.git\" / -",
            "environments[gray].values.level: \"debug\" / \"trace\"",
            "environments[gray].variableGroups: - / [\"shared\"]",
            "workflow.stages[production].tasks[look]: {\"name\":\"look\",\"verify\": / -",
            "workflow.stages[production].tasks (order): [\"build\",\"up\"] / [\"up\",\"build\"]",
        ]
    );
    // Without the settings, their values are differences too.
    let changes = compare_with_template(&template(), &app, &[])
        .unwrap()
        .changes;
    assert!(
        changes
            .iter()
            .any(|c| c.path == "environments[prod].values.replicas"),
        "{changes:?}"
    );
}
