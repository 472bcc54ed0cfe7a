use proptest::prelude::*;
use serde_json::json;

use super::*;

fn group(name: &str, app: Option<&str>, values: Value) -> VariableGroup {
    VariableGroup::new(
        name,
        serde_json::from_value(json!({"app": app, "values": values})).unwrap(),
    )
}

fn app(name: &str, environments: Value) -> App {
    App::new(
        name,
        serde_json::from_value(json!({"manifests": [], "environments": environments})).unwrap(),
    )
}

fn finder<'a>(groups: &'a [VariableGroup]) -> impl Fn(&str) -> Option<&'a VariableGroup> + Copy {
    move |name| {
        groups
            .iter()
            .find(|g| g.metadata.name.as_deref() == Some(name))
    }
}

fn of(app: &App, groups: &[VariableGroup]) -> Result<Vec<EffectiveValue>, Vec<UnresolvedGroup>> {
    resolve_effective_values("a", &app.spec, &app.spec.environments[0], finder(groups))
}

#[test]
fn the_environment_wins_over_the_apps_group_over_the_namespaces_and_the_later_among_equals() {
    let groups = [
        group("shared", None, json!({"a": 1, "b": 1, "c": 1, "d": 1})),
        group("more", None, json!({"b": 2, "c": 2, "d": 2})),
        group("own", Some("a"), json!({"c": 3, "d": 3})),
    ];
    // The position of the App's group among the names does not matter.
    for named in [
        json!(["own", "shared", "more"]),
        json!(["shared", "own", "more"]),
        json!(["shared", "more", "own"]),
    ] {
        let app = app(
            "a",
            json!([{"name": "e", "namespace": "n", "values": {"d": 4}, "variableGroups": named}]),
        );
        let told: Vec<String> = of(&app, &groups)
            .unwrap()
            .iter()
            .map(|e| {
                let over: Vec<String> = e.over.iter().map(ToString::to_string).collect();
                format!(
                    "{}={} by {} over [{}]",
                    e.key,
                    e.value,
                    e.from,
                    over.join("; ")
                )
            })
            .collect();
        let (shared, more, own) = (
            "group shared of the namespace",
            "group more of the namespace",
            "group own of the app",
        );
        assert_eq!(
            told,
            [
                format!("a=1 by {shared} over []"),
                format!("b=2 by {more} over [{shared}]"),
                format!("c=3 by {own} over [{shared}; {more}]"),
                format!("d=4 by the environment over [{shared}; {more}; {own}]"),
                "namespace=\"n\" by the environment over []".to_owned(),
            ]
        );
        let shared = shared_of(&app, &groups);
        assert_eq!(
            json!(shared),
            json!({"a": 1, "b": 2, "c": 3, "d": 3}),
            "without the environment's own"
        );
    }
}

fn shared_of(app: &App, groups: &[VariableGroup]) -> Values {
    resolve_shared_values("a", &app.spec, &app.spec.environments[0], finder(groups)).unwrap()
}

#[test]
fn what_cannot_be_resolved_is_told_at_its_place_all_at_once() {
    let groups = [
        group("theirs", Some("b"), json!({})),
        group("taken", None, json!({"namespace": "x"})),
        group("fine", None, json!({"k": null})),
        group("empty", None, json!({"": 1})),
    ];
    let named = json!(["gone", "theirs", "fine", "taken", "fine", "empty"]);
    let mut app = app(
        "a",
        json!([{"name": "x", "namespace": "n"}, {"name": "e", "namespace": "n"}]),
    );
    app.spec.environments[1].variable_groups = serde_json::from_value(named).unwrap();
    let told = resolve_shared_values("a", &app.spec, &app.spec.environments[1], finder(&groups))
        .unwrap_err();
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    let at = |n: usize| format!("app a, environment e, spec.environments[1].variableGroups[{n}]: ");
    assert_eq!(
        told,
        [
            at(0)
                + "there is no variable group gone; `graylane get variablegroups` lists those that are there",
            at(1) + "variable group theirs is app b's own",
            at(3) + "variable group taken: \"namespace\" is the environment's own: set it there",
            at(4) + "variable group fine is named twice",
            at(5) + "variable group empty: a value has an empty key",
        ]
    );
}

#[test]
fn a_group_reaches_who_names_it_and_what_is_hidden_there_is_told() {
    let groups = [
        group("shared", None, json!({"level": "info", "port": 1})),
        group("own", Some("b"), json!({"port": 2})),
    ];
    let apps = [
        app(
            "b",
            json!([
                {"name": "gray", "namespace": "n", "variableGroups": ["own", "shared"]},
                {"name": "prod", "namespace": "n", "variableGroups": ["shared"], "values": {"level": "warn"}},
            ]),
        ),
        app(
            "a",
            json!([{"name": "prod", "namespace": "n", "variableGroups": ["shared"]}, {"name": "test", "namespace": "n"}]),
        ),
    ];
    let told: Vec<String> = find_reached("shared", &apps, finder(&groups))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        ["a/prod", "b/gray (not its port)", "b/prod (not its level)"]
    );
    assert_eq!(find_reached("nobody", &apps, finder(&groups)), []);
}

proptest! {
    /// For any groups, each key has the value of its source with the highest precedence, and
    /// `shared` overridden by the environment's own values is what manifests read.
    #[test]
    fn the_strongest_source_of_each_key_wins(
        groups in prop::collection::vec((any::<bool>(), prop::collection::btree_map("[a-e]", 0..9i64, 0..5)), 0..6),
        own in prop::collection::btree_map("[a-e]", 10..19i64, 0..4),
    ) {
        let named: Vec<String> = (0..groups.len()).map(|n| format!("g{n}")).collect();
        let made: Vec<VariableGroup> = groups.iter().zip(&named)
            .map(|((mine, values), name)| group(name, mine.then_some("a"), json!(values))).collect();
        let app = app("a", json!([{"name": "e", "namespace": "n", "values": own, "variableGroups": named}]));
        let read: BTreeMap<String, Value> = of(&app, &made).unwrap().into_iter().map(|e| (e.key, e.value)).collect();
        let mut wanted: BTreeMap<String, Value> = [("namespace".to_owned(), json!("n"))].into();
        for key in ["a", "b", "c", "d", "e"] {
            let last = |mine: bool| groups.iter().rev().filter(|(m, _)| *m == mine).find_map(|(_, v)| v.get(key));
            if let Some(value) = own.get(key).or_else(|| last(true)).or_else(|| last(false)) {
                wanted.insert(key.into(), json!(value));
            }
        }
        prop_assert_eq!(&read, &wanted);
        let mut whole = shared_of(&app, &made);
        whole.extend(app.spec.environments[0].values.clone());
        wanted.remove("namespace");
        prop_assert_eq!(whole, wanted);
    }
}
