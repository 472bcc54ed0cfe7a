//! Checks our own resources as far as that is possible without a cluster.

use serde::de::DeserializeOwned;

use super::files::Object;
use crate::{
    api::{self, App, AppTemplate, Approval, Lane, LaneGroup, Release, VariableGroup},
    domain::{
        apps,
        lanes::{self, Rules},
        variables,
    },
};

/// Problems of one object, each with file and line.
pub(super) fn check(object: &Object) -> Vec<String> {
    let gvk = object.gvk();
    if gvk.group != api::GROUP {
        return vec![];
    }
    if gvk.version != api::VERSION {
        let place = object.place("apiVersion");
        return vec![format!(
            "{place}: {} has only the version {}",
            api::GROUP,
            api::VERSION
        )];
    }
    match gvk.kind.as_str() {
        "App" => typed::<App>(object).map(|app| self::app(object, &app.spec, "spec")),
        "AppTemplate" => typed::<AppTemplate>(object)
            .map(|template| self::app(object, &template.spec.app, "spec.app")),
        "VariableGroup" => {
            typed::<VariableGroup>(object).map(|group| self::variables(object, &group))
        }
        "Release" => typed::<Release>(object).map(|_| vec![]),
        "Approval" => typed::<Approval>(object).map(|_| vec![]),
        "LaneGroup" => typed::<LaneGroup>(object).map(|_| vec![]),
        "Lane" => typed::<Lane>(object).map(|lane| self::lane(object, lane)),
        kind => Err(vec![format!(
            "{}: {} has no kind {kind}",
            object.place("kind"),
            api::GROUP
        )]),
    }
    .unwrap_or_else(|problems| problems)
}

fn typed<T: DeserializeOwned>(object: &Object) -> Result<T, Vec<String>> {
    serde_json::from_value(object.value.clone())
        .map_err(|e| vec![format!("{}: {}: {e}", object.place("spec"), object.words())])
}

/// Conditions that do not compile, such as an invalid regex or a percentage above 100.
fn lane(object: &Object, mut lane: Lane) -> Vec<String> {
    lane.spec.enabled = true;
    let (_, problems) = Rules::compile(&lane.spec.group.clone(), &[lane]);
    let told = |p: &lanes::Problem| {
        format!(
            "{}: {}: {}",
            object.place(&format!("spec.{}", p.place)),
            object.words(),
            p.text
        )
    };
    problems.iter().map(told).collect()
}

/// Problems that the schema cannot express.
fn app(object: &Object, spec: &api::AppSpec, at: &str) -> Vec<String> {
    let told = |(path, why): (String, String)| {
        format!(
            "{}: {}: {why}",
            object.place(&format!("{at}.{path}")),
            object.words()
        )
    };
    apps::problems(spec).into_iter().map(told).collect()
}

/// Values that no environment could use.
fn variables(object: &Object, group: &VariableGroup) -> Vec<String> {
    let told = |why: String| format!("{}: {}: {why}", object.place("spec.values"), object.words());
    variables::unusable(&group.spec)
        .map(told)
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "\
apiVersion: graylane.dev/v1alpha1
kind: App
metadata: {name: a}
spec:
  manifests: []
  environments:
  - name: gray
    namespace: demo
  workflow:
    stages:
    - name: production
      tasks:
      - name: build
        build: {image: backend, job: x}
      - name: gray
        deploy:
          environment: grey
      - name: both
        proceed: {}
        approval: {}
";

    #[test]
    fn all_problems_are_told_each_at_its_line() {
        let told = check(&Object::of(APP));
        assert_eq!(
            told,
            [
                "f:14: app/a: task build builds the unknown image backend",
                "f:15: app/a: task gray names the unknown environment grey",
                "f:18: app/a: task both needs exactly one of build, approval, deploy, verify, proceed, cleanUp",
            ]
        );
        assert_eq!(
            check(&Object::of(&APP.replace("kind: App", "kind: Ap"))),
            ["f:2: graylane.dev has no kind Ap"]
        );
        let torn = APP.replace(
            "manifests: []",
            "manifests:\n  - name: d.yaml\n    template: |\n      a: {{ if }}",
        );
        let told = check(&Object::of(&torn));
        assert!(told[0].starts_with("f:7: app/a: d.yaml:1:"), "{told:?}");
        let lane = "apiVersion: graylane.dev/v1alpha1\nkind: Lane\nmetadata: {name: l}\nspec:\n  group: g\n  tag: t\n  \
            match:\n    all:\n    - type: header\n      key: k\n      op: regex\n      values: ['(']\n";
        let told = check(&Object::of(lane));
        assert!(
            told.len() == 1 && told[0].starts_with("f:9: lane/l: "),
            "{told:?}"
        );
        let wrong = check(&Object::of(
            &APP.replace("- name: gray\n    namespace", "- name: gray\n    namspace"),
        ));
        assert!(
            wrong[0].starts_with("f:4: app/a: ") && wrong[0].contains("namespace"),
            "{wrong:?}"
        );
        assert!(
            check(&Object::of(
                "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"
            ))
            .is_empty()
        );
    }
}
