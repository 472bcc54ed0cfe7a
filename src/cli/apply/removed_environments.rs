//! Warns about environments that the files remove from an App while objects of them still exist,
//! and names the command that deletes these.

use kube::{Api, ResourceExt};

use super::{files::ManifestObject, lanes::parse_home_objects};
use crate::{api::App, cli::session::Session, domain::command_line::CommandLine};

/// Warnings. Apps that cannot be read are skipped.
pub(super) async fn warn_of_leftovers(
    session: &Session,
    objects: &[ManifestObject],
) -> Vec<String> {
    let api: Api<App> = Api::namespaced(session.client.clone(), &session.namespace);
    let mut warnings = vec![];
    for (object, app) in parse_home_objects::<App>(session, objects, "App") {
        let Ok(Some(before)) = api.get_opt(&app.name_any()).await else {
            continue;
        };
        let place = object.source_location("spec.environments");
        warnings.extend(
            describe_leftovers(&before, &app)
                .map(|why| format!("{place}: {}: {why}", object.short_name())),
        );
    }
    warnings
}

fn describe_leftovers<'a>(before: &'a App, after: &'a App) -> impl Iterator<Item = String> + 'a {
    let environments = before.status.iter().flat_map(|s| &s.environments);
    let lost = environments.filter(|(name, status)| {
        let had = before.spec.environment(name).is_some();
        had && after.spec.environment(name).is_none() && !status.inventory.is_empty()
    });
    lost.map(|(name, status)| {
        let objects = match status.inventory.len() {
            1 => "1 object of it stays".to_owned(),
            n => format!("{n} objects of it stay"),
        };
        let teardown = CommandLine::graylane("teardown")
            .arg(before.name_any())
            .option("--environment", name);
        format!(
            "environment {name} is removed from the App, and {objects}: `{teardown}` takes it down"
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stays_of_an_environment_that_goes_is_told() {
        let app = |environments: &[&str]| -> App {
            let all = environments
                .iter()
                .map(|name| json!({"name": name, "namespace": "n"}))
                .collect::<Vec<_>>();
            let item = json!({"apiVersion": "v1", "kind": "Service", "namespace": "n", "name": "a", "uid": "u"});
            serde_json::from_value(json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "App",
                "metadata": {"name": "a"}, "spec": {"manifests": [], "environments": all, "workflow": {"stages": []}},
                "status": {"environments": {"gray": {"inventory": [item]}, "prod": {"inventory": [item, item]},
                    "old": {"inventory": [item]}, "clean": {"state": "Cleaned"}}}}))
            .unwrap()
        };
        let before = app(&["gray", "prod", "clean"]);
        let told = |after: &[&str]| describe_leftovers(&before, &app(after)).collect::<Vec<_>>();
        assert!(told(&["gray", "prod", "clean", "more"]).is_empty());
        assert!(told(&["gray", "prod"]).is_empty(), "nothing of it is left");
        let [one] = &told(&["prod", "clean"])[..] else {
            panic!("{:?}", told(&["prod", "clean"]))
        };
        assert!(
            one.contains("1 object of it stays")
                && one.contains("graylane teardown a --environment gray"),
            "{one}"
        );
        assert_eq!(told(&[]).len(), 2);
    }
}
