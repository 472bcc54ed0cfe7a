//! Checks our own resources as far as that is possible without a cluster.

use serde::de::DeserializeOwned;

use super::files::ManifestObject;
use crate::{
    api::{self, App, AppTemplate, Approval, Lane, LaneGroup, Release, VariableGroup},
    domain::{
        apps,
        lanes::{self, Rules},
        variables,
    },
};

/// Problems of one object, each with file and line.
pub(super) fn check_object(object: &ManifestObject) -> Vec<String> {
    let gvk = object.gvk();
    if gvk.group != api::GROUP {
        return vec![];
    }
    if gvk.version != api::VERSION {
        let place = object.source_location("apiVersion");
        return vec![format!(
            "{place}: {} has only version {}",
            api::GROUP,
            api::VERSION
        )];
    }
    match gvk.kind.as_str() {
        "App" => {
            parse_object::<App>(object).map(|app| self::app_problems(object, &app.spec, "spec"))
        }
        "AppTemplate" => parse_object::<AppTemplate>(object)
            .map(|template| self::app_problems(object, &template.spec.app, "spec.app")),
        "VariableGroup" => parse_object::<VariableGroup>(object)
            .map(|group| self::variable_group_problems(object, &group)),
        "Release" => parse_object::<Release>(object).map(|_| vec![]),
        "Approval" => parse_object::<Approval>(object).map(|_| vec![]),
        "LaneGroup" => parse_object::<LaneGroup>(object).map(|_| vec![]),
        "Lane" => parse_object::<Lane>(object).map(|lane| self::lane_problems(object, lane)),
        kind => Err(vec![format!(
            "{}: {} has no kind {kind}",
            object.source_location("kind"),
            api::GROUP
        )]),
    }
    .unwrap_or_else(|problems| problems)
}

fn parse_object<T: DeserializeOwned>(object: &ManifestObject) -> Result<T, Vec<String>> {
    serde_json::from_value(object.value.clone()).map_err(|e| {
        vec![format!(
            "{}: {}: {e}",
            object.source_location("spec"),
            object.short_name()
        )]
    })
}

/// Conditions that do not compile, such as an invalid regex or a percentage above 100.
fn lane_problems(object: &ManifestObject, mut lane: Lane) -> Vec<String> {
    lane.spec.enabled = true;
    let (_, problems) = Rules::compile(&lane.spec.group.clone(), &[lane]);
    let told = |p: &lanes::Problem| {
        format!(
            "{}: {}: {}",
            object.source_location(&format!("spec.{}", p.place)),
            object.short_name(),
            p.text
        )
    };
    problems.iter().map(told).collect()
}

/// Problems that the schema cannot express.
fn app_problems(object: &ManifestObject, spec: &api::AppSpec, at: &str) -> Vec<String> {
    let told = |(path, why): (String, String)| {
        format!(
            "{}: {}: {why}",
            object.source_location(&format!("{at}.{path}")),
            object.short_name()
        )
    };
    apps::find_problems(spec).into_iter().map(told).collect()
}

/// Values that no environment could use.
fn variable_group_problems(object: &ManifestObject, group: &VariableGroup) -> Vec<String> {
    let told = |why: String| {
        format!(
            "{}: {}: {why}",
            object.source_location("spec.values"),
            object.short_name()
        )
    };
    variables::explain_unusable(&group.spec)
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
        let told = check_object(&ManifestObject::from_text(APP));
        assert_eq!(
            told,
            [
                "f:14: app/a: task build builds the unknown image backend",
                "f:15: app/a: task gray names the unknown environment grey",
                "f:18: app/a: task both needs exactly one of build, approval, deploy, verify, proceed, cleanUp",
            ]
        );
        assert_eq!(
            check_object(&ManifestObject::from_text(
                &APP.replace("kind: App", "kind: Ap")
            )),
            ["f:2: graylane.dev has no kind Ap"]
        );
        let torn = APP.replace(
            "manifests: []",
            "manifests:\n  - name: d.yaml\n    template: |\n      a: {{ if }}",
        );
        let told = check_object(&ManifestObject::from_text(&torn));
        assert!(told[0].starts_with("f:7: app/a: d.yaml:1:"), "{told:?}");
        let lane = "apiVersion: graylane.dev/v1alpha1\nkind: Lane\nmetadata: {name: l}\nspec:\n  group: g\n  tag: t\n  \
            match:\n    all:\n    - type: header\n      key: k\n      op: regex\n      values: ['(']\n";
        let told = check_object(&ManifestObject::from_text(lane));
        assert!(
            told.len() == 1 && told[0].starts_with("f:9: lane/l: "),
            "{told:?}"
        );
        let wrong = check_object(&ManifestObject::from_text(
            &APP.replace("- name: gray\n    namespace", "- name: gray\n    namspace"),
        ));
        assert!(
            wrong[0].starts_with("f:4: app/a: ") && wrong[0].contains("namespace"),
            "{wrong:?}"
        );
        assert!(
            check_object(&ManifestObject::from_text(
                "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"
            ))
            .is_empty()
        );
    }
}
