//! Checks the Apps of the files against existing Apps: an object has one owner, and an unowned
//! object is never taken silently.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{files::ManifestObject, lanes::parse_home_objects};
use crate::{
    api::{App, ClusterName, VariableGroup},
    cli::{objects, session::Session},
    cluster::{error, owner},
    domain::owner::{ClaimedNames, describe_object},
};

/// Findings, each with file and line.
#[derive(Debug, Default)]
pub(super) struct OwnerCheck {
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// Unowned objects that the Apps would write, to be adopted if the user asks for it.
    pub(super) free: Vec<owner::OwnershipProblem>,
}

/// Checks the Apps as they will be once all files are applied. With `adopt`, unowned objects are no
/// problem.
pub(super) async fn check_owners(
    session: &Session,
    objects: &[ManifestObject],
    adopt: bool,
) -> OwnerCheck {
    let mut checked = OwnerCheck::default();
    let ours = parse_home_objects::<App>(session, objects, "App");
    if ours.is_empty() {
        return checked;
    }
    let live = list_apps(session, &mut checked).await;
    let after = merge_apps(session, &live, &ours);
    let is_home = |cluster: &ClusterName| session.clusters.is_home(cluster);
    let groups = merge_groups(session, objects).await;
    let group_of = |name: &str| groups.get(name);
    let mut taken = ClaimedNames::new(&is_home, &group_of);
    for app in after.values() {
        taken.add_rendered(app);
        taken.add_applied(app);
    }
    let client_of = |cluster: &ClusterName| Some(session.clusters.client_for(cluster));
    for (object, app) in &ours {
        let place = |why: &str| {
            format!(
                "{}: {}: {why}",
                object.source_location("spec.manifests"),
                object.short_name()
            )
        };
        let Some(app) = after.get(&app.name_any()) else {
            continue;
        };
        let clashes = taken.find_clashes(app, |_| true);
        let found = owner::find_problems(&client_of, &group_of, app, |_| true, &live).await;
        let told = |p: &&owner::OwnershipProblem| {
            clashes
                .iter()
                .any(|c| c.starts_with(&format!("{} ", describe_object(&p.object))))
        };
        for problem in found.iter().filter(|p| !told(p)) {
            if !problem.is_free {
                checked.problems.push(place(&problem.why));
            } else if adopt {
                checked.free.push(problem.clone());
            } else {
                checked.problems.push(place(&format!(
                    "{}; `--adopt` adopts all that belongs to no App",
                    problem.why
                )));
            }
        }
        checked
            .problems
            .extend(clashes.iter().map(|why| place(why)));
    }
    checked
}

async fn list_apps(session: &Session, checked: &mut OwnerCheck) -> Vec<App> {
    match objects::try_list_objects(session).await {
        Ok(live) => live,
        // A cluster without our definitions gets them from these files, or the dry run reports it.
        Err(e) if error::status_code(&e) == Some(404) => vec![],
        Err(e) => {
            let why = error::describe_error(&e);
            checked.warnings.push(format!(
                "whether other Apps have the same objects is not known: {why}"
            ));
            vec![]
        }
    }
}

/// The Apps as they will be, by name.
fn merge_apps(
    session: &Session,
    live: &[App],
    ours: &[(&ManifestObject, App)],
) -> BTreeMap<String, App> {
    let mut after: BTreeMap<String, App> = live
        .iter()
        .map(|app| (app.name_any(), app.clone()))
        .collect();
    for (_, app) in ours {
        let mut app = app.clone();
        app.metadata.namespace = Some(session.namespace.clone());
        app.status = after
            .remove(&app.name_any())
            .and_then(|before| before.status);
        after.insert(app.name_any(), app);
    }
    after
}

/// The variable groups as they will be, by name.
async fn merge_groups(
    session: &Session,
    objects: &[ManifestObject],
) -> BTreeMap<String, VariableGroup> {
    objects::try_list_objects::<VariableGroup>(session)
        .await
        .unwrap_or_default()
        .into_iter()
        .chain(
            parse_home_objects::<VariableGroup>(session, objects, "VariableGroup")
                .into_iter()
                .map(|(_, group)| group),
        )
        .map(|group| (group.name_any(), group))
        .collect()
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kube::{Api, api::PostParams};
    use serde_json::json;

    use super::*;
    use crate::{
        api::label,
        cli::{apply::files, session::tests::on_pocket},
    };

    fn app(name: &str, service: &str) -> String {
        format!(
            "apiVersion: graylane.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  environments: \
             [{{name: prod, namespace: demo}}]\n  manifests:\n  - name: s.yaml\n    template: |\n      apiVersion: v1\n      \
             kind: Service\n      metadata: {{name: {service}}}\n---\n"
        )
    }

    #[tokio::test]
    async fn an_app_that_names_what_another_has_is_refused_and_what_is_nobodys_is_adopted_when_asked()
     {
        let dir = tempfile::tempdir().unwrap();
        let session = on_pocket(dir.path()).await;
        let services: Api<Service> = Api::namespaced(session.client.clone(), "demo");
        let make = async |name: &str, labels: serde_json::Value| {
            let service = json!({"metadata": {"name": name, "labels": labels}, "spec": {"ports": [{"port": 80}]}});
            services
                .create(
                    &PostParams::default(),
                    &serde_json::from_value(service).unwrap(),
                )
                .await
                .unwrap();
        };
        make("free", json!({})).await;
        make(
            "theirs",
            json!({label::APP: "b", label::ENVIRONMENT: "prod"}),
        )
        .await;
        make("ours", json!({label::APP: "a", label::ENVIRONMENT: "prod"})).await;
        let there = kube_yaml::read_objects("f", &app("there", "rendered"))
            .unwrap()
            .remove(0);
        let there: App = serde_json::from_value(there.value).unwrap();
        Api::namespaced(session.client.clone(), "demo")
            .create(&PostParams::default(), &there)
            .await
            .unwrap();
        let file = dir.path().join("a.yaml");
        let told = async |text: String, adopt: bool| {
            std::fs::write(&file, text).unwrap();
            let (objects, problems) = files::read_files(std::slice::from_ref(&file)).unwrap();
            assert!(problems.is_empty(), "{problems:?}");
            check_owners(&session, &objects, adopt).await
        };
        for service in ["new", "ours"] {
            let checked = told(app("a", service), false).await;
            assert!(
                checked.problems.is_empty() && checked.free.is_empty(),
                "{checked:?}"
            );
        }
        for (service, want) in [
            ("theirs", "belongs to environment prod of app b"),
            ("rendered", "belongs to environment prod of app there too"),
            ("free", "belongs to no App"),
        ] {
            let checked = told(app("a", service), false).await;
            let [one] = checked.problems.as_slice() else {
                panic!("{service}: {checked:?}")
            };
            assert!(
                one.contains(want) && one.contains(&format!("Service demo/{service} ")),
                "{one}"
            );
            assert!(one.contains("a.yaml:6: app/a: "), "{one}");
        }
        // Two Apps of the same files.
        let checked = told(app("a", "new") + &app("c", "new"), false).await;
        assert_eq!(checked.problems.len(), 2, "{checked:?}");
        // Adoption was requested, and no other App took the object in between.
        let checked = told(app("a", "free"), true).await;
        let [free] = checked.free.as_slice() else {
            panic!("{checked:?}")
        };
        owner::adopt_object(session.client.clone(), &free.object, &free.owner, None)
            .await
            .unwrap();
        let labels = services.get("free").await.unwrap().metadata.labels.unwrap();
        assert_eq!(
            (
                labels[label::APP].as_str(),
                labels[label::ENVIRONMENT].as_str()
            ),
            ("a", "prod")
        );
        let other = crate::domain::owner::Owner {
            app: "c".into(),
            ..free.owner.clone()
        };
        let lost = owner::adopt_object(session.client.clone(), &free.object, &other, None)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            lost.contains("belongs to environment prod of app a"),
            "{lost}"
        );
        // An environment was renamed: its objects are taken over when requested.
        make(
            "renamed",
            json!({label::APP: "a", label::ENVIRONMENT: "production"}),
        )
        .await;
        let checked = told(app("a", "renamed"), false).await;
        let [one] = checked.problems.as_slice() else {
            panic!("{checked:?}")
        };
        let way = "where the App has it no longer, `graylane adopt service/renamed --app a --environment prod -n demo`";
        assert!(
            one.contains("belongs to environment production of app a") && one.contains(way),
            "{one}"
        );
        let checked = told(app("a", "renamed"), true).await;
        let [free] = checked.free.as_slice() else {
            panic!("{checked:?}")
        };
        owner::adopt_object(session.client.clone(), &free.object, &free.owner, None)
            .await
            .unwrap_err();
        owner::adopt_object(
            session.client.clone(),
            &free.object,
            &free.owner,
            free.former.as_ref(),
        )
        .await
        .unwrap();
        let labels = services
            .get("renamed")
            .await
            .unwrap()
            .metadata
            .labels
            .unwrap();
        assert_eq!(labels[label::ENVIRONMENT], "prod");
        // An environment that the App still has is not a former one.
        let both = app("a", "new").replace(
            "[{name: prod,",
            "[{name: production, namespace: demo}, {name: prod,",
        );
        make(
            "held",
            json!({label::APP: "a", label::ENVIRONMENT: "production"}),
        )
        .await;
        let both = both.replace(
            "name: new}",
            "name: '{{ if eq .AppStack.envName \"prod\" }}held{{ else }}new{{ end }}'}",
        );
        let checked = told(both, true).await;
        assert!(
            checked.free.is_empty() && checked.problems.len() == 1,
            "{checked:?}"
        );
    }
}
