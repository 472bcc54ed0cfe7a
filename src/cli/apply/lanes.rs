//! Checks lanes and lane groups together with the existing ones and the gateway that serves them.
//! What the gateway cannot do is refused before anything is written.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde::de::DeserializeOwned;

use super::files::ManifestObject;
use crate::{
    api::{self, App, Lane, LaneGroup},
    cli::{objects, session::Session},
    cluster::{error, gateways},
    domain::lanes::{self, GatewayFeatures, LaneCheck, Problem, Severity},
};

/// Findings, each with file and line.
#[derive(Debug, Default)]
pub(super) struct FileFindings {
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Checks the lanes as they will be once all files are applied.
pub(super) async fn check_lanes(session: &Session, objects: &[ManifestObject]) -> FileFindings {
    let (groups, lanes) = (
        parse_home_objects::<LaneGroup>(session, objects, "LaneGroup"),
        parse_home_objects::<Lane>(session, objects, "Lane"),
    );
    if groups.is_empty() && lanes.is_empty() {
        return FileFindings::default();
    }
    let (live, before) = match (
        objects::try_list_objects::<LaneGroup>(session).await,
        objects::try_list_objects::<Lane>(session).await,
    ) {
        (Ok(live), Ok(before)) => (live, before),
        // A cluster without our definitions gets them from these files, or the dry run reports it.
        (Err(e), _) | (_, Err(e)) if error::status_code(&e) == Some(404) => {
            return FileFindings::default();
        }
        (Err(e), _) | (_, Err(e)) => {
            let why = error::describe_error(&e);
            let warning = format!(
                "lanes were not checked beside those that are there, which cannot be listed: {why}"
            );
            return FileFindings {
                problems: vec![],
                warnings: vec![warning],
            };
        }
    };
    let (apps, mut warnings) = merge_apps(session, objects).await;
    let mut after: BTreeMap<String, Lane> =
        before.iter().map(|l| (l.name_any(), l.clone())).collect();
    after.extend(
        lanes
            .iter()
            .map(|(_, lane)| (lane.name_any(), lane.clone())),
    );
    let after: Vec<Lane> = after.into_values().collect();
    let named = changed_groups(&groups, &lanes);
    let mut problems = vec![];
    for name in named {
        let ours = groups.iter().find(|(_, g)| g.name_any() == name);
        let there = live.iter().find(|g| g.name_any() == name);
        let Some(mut group) = ours.map(|(_, g)| g.clone()).or(there.cloned()) else {
            continue;
        };
        group.status = there.and_then(|g| g.status.clone());
        group.metadata.namespace = Some(session.namespace.clone());
        let group = gateways::with_live_gateway(&session.client, group).await;
        let old = LaneCheck::without_apps(&name, there).find_problems(&before);
        let check = LaneCheck {
            name: &name,
            group: Some(&group),
            app_of: &|app| apps.iter().find(|a| a.name_any() == app),
            away: &|cluster| !session.clusters.is_home(cluster),
        };
        problems.extend(lane_problems(&check, &old, &lanes, &after));
        warnings.extend(remote_warnings(&check, &lanes));
        if let (Some((object, _)), Some(means)) = (ours, GatewayFeatures::from_group(&group)) {
            let wrong = lanes::group_problems(&group, &means);
            problems.extend(wrong.iter().map(|w| {
                format!(
                    "{}: {}: {w}",
                    object.source_location("spec"),
                    object.short_name()
                )
            }));
        }
    }
    FileFindings { problems, warnings }
}

/// Names of the groups that files contain, or whose lanes they contain.
fn changed_groups(
    groups: &[(&ManifestObject, LaneGroup)],
    lanes: &[(&ManifestObject, Lane)],
) -> Vec<String> {
    let mut named: Vec<String> = groups.iter().map(|(_, g)| g.name_any()).collect();
    named.extend(lanes.iter().map(|(_, l)| l.spec.group.clone()));
    named.sort();
    named.dedup();
    named
}

/// Errors of a group's lanes, with their place in a file; those that were there before are left
/// out.
fn lane_problems(
    check: &LaneCheck,
    old: &[Problem],
    lanes: &[(&ManifestObject, Lane)],
    after: &[Lane],
) -> Vec<String> {
    let mut problems = vec![];
    for problem in check
        .find_problems(after)
        .iter()
        .filter(|p| p.severity == Severity::Error)
    {
        match lanes
            .iter()
            .find(|(_, lane)| lane.name_any() == problem.lane)
        {
            Some((object, _)) => {
                let place = object.source_location(&format!("spec.{}", problem.place));
                problems.push(format!(
                    "{place}: {}: {}",
                    object.short_name(),
                    problem.text
                ));
            }
            None if old.contains(problem) => {}
            None => problems.push(problem.to_string()),
        }
    }
    problems
}

fn remote_warnings(check: &LaneCheck, lanes: &[(&ManifestObject, Lane)]) -> Vec<String> {
    let mut warnings = vec![];
    for (object, lane) in lanes.iter().filter(|(_, l)| l.spec.group == check.name) {
        for warning in check.find_remote_versions(lane) {
            let place = object.source_location(&format!("spec.{}", warning.place));
            warnings.push(format!(
                "{place}: {}: {}",
                object.short_name(),
                warning.text
            ));
        }
    }
    warnings
}

/// Existing Apps, replaced by those of the files, and warnings.
async fn merge_apps(session: &Session, objects: &[ManifestObject]) -> (Vec<App>, Vec<String>) {
    let (live, warnings) = match objects::list_objects::<App>(session).await {
        Ok(live) => (live, vec![]),
        Err(why) => (
            vec![],
            vec![format!(
                "whether lanes lead to other clusters cannot be checked for all Apps: {why}"
            )],
        ),
    };
    let applied = parse_home_objects::<App>(session, objects, "App")
        .into_iter()
        .map(|(_, app)| app);
    let all: BTreeMap<String, App> = live
        .into_iter()
        .chain(applied)
        .map(|a| (a.name_any(), a))
        .collect();
    (all.into_values().collect(), warnings)
}

/// Objects of one kind in the namespace of the session. Other namespaces are not read.
pub(super) fn parse_home_objects<'a, T: DeserializeOwned>(
    session: &Session,
    objects: &'a [ManifestObject],
    kind: &str,
) -> Vec<(&'a ManifestObject, T)> {
    let home = |o: &&ManifestObject| {
        let namespace = o.value["metadata"]["namespace"]
            .as_str()
            .unwrap_or(&session.namespace);
        o.gvk().group == api::GROUP && o.gvk().kind == kind && namespace == session.namespace
    };
    objects
        .iter()
        .filter(home)
        .filter_map(|o| Some((o, serde_json::from_value(o.value.clone()).ok()?)))
        .collect()
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use super::*;
    use crate::cli::{
        apply::files,
        session::tests::{on_pocket, on_refusal},
    };

    #[tokio::test]
    async fn an_app_of_the_same_files_says_where_its_lane_leads() {
        let dir = tempfile::tempdir().unwrap();
        let session = on_pocket(dir.path()).await;
        let file = dir.path().join("all.yaml");
        let app = "apiVersion: graylane.dev/v1alpha1\nkind: App\nmetadata: {name: a}\nspec:\n  manifests: []\n  \
            environments: [{name: gray, namespace: demo, lane: gray, context: far}]\n";
        let lanes = "apiVersion: graylane.dev/v1alpha1\nkind: LaneGroup\nmetadata: {name: g}\nspec:\n  \
            entry: {gateway: edge, routes: [{path: /A, app: a}]}\n  apps: [{app: a, port: 80}]\n---\n\
            apiVersion: graylane.dev/v1alpha1\nkind: Lane\nmetadata: {name: gray}\nspec:\n  group: g\n  tag: gray\n  \
            match: {all: [{type: parameter, key: group, op: '==', values: [gray]}]}\n";
        std::fs::write(&file, format!("{app}---\n{lanes}")).unwrap();
        let (objects, problems) = files::read_files(&[file]).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        let checked = check_lanes(&session, &objects).await;
        assert!(
            matches!(checked.warnings.as_slice(), [one] if one.contains("is in context far")),
            "{checked:?}"
        );
        // Lanes that cannot be listed are not treated as absent.
        let checked = check_lanes(&on_refusal(403, dir.path()), &objects).await;
        assert!(
            matches!(checked.warnings.as_slice(), [one] if one.ends_with("no such luck")),
            "{checked:?}"
        );
        let checked = check_lanes(&on_refusal(404, dir.path()), &objects).await;
        assert!(
            checked.warnings.is_empty() && checked.problems.is_empty(),
            "{checked:?}"
        );
    }
}
