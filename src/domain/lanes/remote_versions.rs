//! Finds environments in other clusters: routes are written only in the cluster of graylane's own
//! resources, so no lane leads there.

use kube::ResourceExt;

use super::{Problem, Severity};
use crate::api::{App, ClusterName, Environment, Lane, LaneGroup};

/// Reports the Apps of the group whose version for this lane is in another cluster; `away` says
/// whether it is another cluster.
pub(super) fn check_remote_versions<'a>(
    group: &LaneGroup,
    lane: &Lane,
    app_of: &dyn Fn(&str) -> Option<&'a App>,
    away: &dyn Fn(&ClusterName) -> bool,
) -> Vec<Problem> {
    let of_lane = |app: &str| -> Option<&'a Environment> {
        app_of(app)?.spec.environment_of_lane(&lane.spec.tag)
    };
    let told = |app: &str| {
        let environment = of_lane(app)?;
        let context = Some(&environment.context)
            .filter(|cluster| away(cluster))?
            .context()?;
        let text = format!(
            "environment {} of {app} is in context {context}: lanes are routed in the cluster of graylane's own resources \
             only, so requests of this lane use {app}'s baseline",
            environment.name
        );
        Some(Problem {
            severity: Severity::Warning,
            lane: lane.name_any(),
            place: "tag".into(),
            text,
        })
    };
    group
        .spec
        .apps
        .iter()
        .filter_map(|a| told(&a.app))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lane_whose_version_is_in_another_cluster_says_so_and_one_at_home_does_not() {
        let app = |name: &str, context: &str| -> App {
            serde_json::from_value(json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "App",
                "metadata": {"name": name}, "spec": {"manifests": [], "environments": [
                    {"name": "gray", "namespace": "demo", "lane": "gray", "context": context},
                    {"name": "prod", "namespace": "demo", "context": "far"}]}}))
            .unwrap()
        };
        let group: LaneGroup = serde_json::from_value(json!({"apiVersion": "graylane.dev/v1alpha1",
            "kind": "LaneGroup", "metadata": {"name": "g"}, "spec": {"entry": {"gateway": "edge", "routes": []},
                "apps": [{"app": "a", "port": 1}, {"app": "b", "port": 1}, {"app": "nil", "port": 1}]}}))
        .unwrap();
        let lane: Lane = serde_json::from_value(
            json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Lane",
            "metadata": {"name": "gray"}, "spec": {"group": "g", "tag": "gray"}}),
        )
        .unwrap();
        let apps = [app("a", "far"), app("b", "home")];
        let app_of = |name: &str| apps.iter().find(|a| a.name_any() == name);
        let told = check_remote_versions(&group, &lane, &app_of, &|cluster| {
            cluster.context() != Some("home")
        });
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("lane gray, tag: environment gray of a is in context far: "),
            "{told:?}"
        );
    }
}
