//! Which stages are offered to a person who starts a release.

use crate::{
    api::{App, EnvironmentState, Release, ReleasePhase, Stage},
    domain::init::BASELINE_STAGE,
};

/// Stages that the next release of an App may run, in their order. The stage that brings the first
/// version asks nobody, so it is offered only until there is a first version, or a release that
/// brings one; or when there is no other stage.
pub fn offered_stages<'a, 'r>(
    app: &'a App,
    releases: impl IntoIterator<Item = &'r Release>,
) -> Vec<&'a Stage> {
    let stages = app.spec.workflow.stages.iter();
    let (first, later): (Vec<_>, Vec<_>) = stages
        .clone()
        .partition(|stage| stage.name == BASELINE_STAGE);
    if first.is_empty() || later.is_empty() || has_first_version(app, releases) {
        return if later.is_empty() { first } else { later };
    }
    stages.collect()
}

/// Whether a baseline runs, or a release has brought one or is about to.
fn has_first_version<'r>(app: &App, releases: impl IntoIterator<Item = &'r Release>) -> bool {
    let phase = |r: &Release| r.status.as_ref().map(|s| s.phase);
    let mut releases = releases.into_iter();
    let status = |name: &String| app.status.as_ref()?.environments.get(name);
    let mut baselines = app.spec.environments.iter().filter(|e| e.lane.is_none());
    let runs = |e: &_| status(e).is_some_and(|s| s.state == EnvironmentState::Running);
    baselines.any(|e| runs(&e.name))
        || releases.any(|r| {
            Some(r.spec.app.as_str()) == app.metadata.name.as_deref()
                && phase(r) != Some(ReleasePhase::Aborted)
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(stages: &[&str]) -> App {
        let stages: Vec<_> = stages
            .iter()
            .map(|name| json!({"name": name, "tasks": []}))
            .collect();
        let environments = json!([
            {"name": "gray", "namespace": "demo", "lane": "gray"}, {"name": "prod", "namespace": "demo"},
        ]);
        let spec =
            json!({"manifests": [], "environments": environments, "workflow": {"stages": stages}});
        App::new("a", serde_json::from_value(spec).unwrap())
    }

    fn release(app: &str, phase: &str) -> Release {
        let mut release = Release::new(
            "r",
            serde_json::from_value(json!({"app": app, "stage": "baseline"})).unwrap(),
        );
        release.status = serde_json::from_value(json!({"phase": phase})).unwrap();
        release
    }

    fn offered(app: &App, releases: &[Release]) -> Vec<String> {
        let stages = offered_stages(app, releases);
        stages.iter().map(|s| s.name.clone()).collect()
    }

    #[test]
    fn the_stage_of_the_first_version_is_offered_until_there_is_one() {
        let both = app(&["production", "baseline"]);
        let all = ["production", "baseline"];
        assert_eq!(offered(&both, &[]), all);
        assert_eq!(offered(&both, &[release("b", "Running")]), all);
        assert_eq!(offered(&both, &[release("a", "Aborted")]), all);
        for phase in ["Pending", "Running", "Failed", "Succeeded"] {
            assert_eq!(offered(&both, &[release("a", phase)]), ["production"]);
        }
        for (environment, stages) in [("gray", &all[..]), ("prod", &all[..1])] {
            let mut running = both.clone();
            let status = json!({"environments": {environment: {"state": "Running"}}});
            running.status = serde_json::from_value(status).unwrap();
            assert_eq!(offered(&running, &[]), stages, "{environment}");
        }
    }

    #[test]
    fn a_stage_of_that_name_is_offered_where_it_is_the_only_one() {
        let only = app(&["baseline"]);
        assert_eq!(offered(&only, &[release("a", "Succeeded")]), ["baseline"]);
        let other = app(&["production"]);
        assert_eq!(offered(&other, &[]), ["production"]);
    }
}
