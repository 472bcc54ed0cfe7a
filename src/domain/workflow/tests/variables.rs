//! When a release reads variable groups, and which.

use serde_json::json;

use super::{super::*, cluster::*};
use crate::{
    api::{Decision::Pass, ReleasePhase},
    domain::variables::Values,
};

const CONF: &str = "a-gray-conf";

fn group(values: Value) -> VariableGroup {
    VariableGroup::new(
        "shared",
        serde_json::from_value(json!({"values": values})).unwrap(),
    )
}

/// A cluster whose ConfigMap reads `level`, which a group gives to both environments.
fn cluster(groups: &[(&str, VariableGroup)]) -> Cluster {
    let mut c = Cluster::new(production());
    let manifest = &mut c.app.spec.manifests[0].template;
    *manifest = manifest.replace("data: {a: b}", "data: {level: '{{ .Values.level }}'}");
    c.app
        .spec
        .environments
        .iter_mut()
        .for_each(|e| e.variable_groups = vec!["shared".into()]);
    c.groups = groups
        .iter()
        .map(|(name, group)| ((*name).to_owned(), group.clone()))
        .collect();
    c
}

/// A single pass: a release that cannot begin would be reconciled again and again.
fn look(c: &mut Cluster) {
    let decision = c.look();
    c.take(&decision, usize::MAX);
}

/// Whether gray was deployed with this value of the group, judging by its ConfigMap.
fn deployed_with(c: &Cluster, level: &str) -> bool {
    let images = BTreeMap::from([("backend".to_owned(), "v2".to_owned())]);
    let shared = Values::from([("level".to_owned(), level.into())]);
    let gray = c.app.spec.environment("gray").unwrap();
    let objects = render_objects(&c.app, gray, &shared, &images).unwrap();
    let conf = objects
        .iter()
        .find(|o| o["metadata"]["name"] == CONF)
        .unwrap();
    let seen = c
        .objects
        .iter()
        .find(|(object, _)| object.key.name == CONF)
        .map(|(_, seen)| seen);
    seen.is_some_and(|s| {
        s.applied.as_deref() == conf["metadata"]["annotations"][crate::api::label::APPLIED].as_str()
    })
}

#[test]
fn a_release_deploys_the_values_of_its_beginning_whatever_becomes_of_the_group() {
    let afterwards: [fn(&mut Cluster); 3] = [
        |c| {
            drop(
                c.groups
                    .insert("shared".into(), group(json!({"level": "new"}))),
            );
        },
        |c| c.groups.clear(),
        // Another group, named only now.
        |c| {
            c.app
                .spec
                .environments
                .iter_mut()
                .for_each(|e| e.variable_groups.push("late".into()));
            c.groups
                .insert("late".into(), group(json!({"level": "late"})));
        },
    ];
    for (n, change) in afterwards.into_iter().enumerate() {
        let mut c = cluster(&[("shared", group(json!({"level": "old", "unread": [1]})))]);
        c.settle();
        let begun = json!(c.status().variables);
        let values = json!({"level": "old", "unread": [1]});
        assert_eq!(begun, json!({"gray": values, "prod": values}), "case {n}");
        change(&mut c);
        c.approve("gate", "me", Pass);
        c.settle();
        assert!(deployed_with(&c, "old"), "case {n}: {:?}", c.made);
        c.control()
            .allow
            .extend([("go".to_owned(), 1), ("deploy-prod".to_owned(), 3)]);
        c.settle();
        assert_eq!(
            c.status().phase,
            ReleasePhase::Succeeded,
            "case {n}: {:#?}",
            c.status()
        );
        assert_eq!(json!(c.status().variables), begun, "case {n}");
    }
}

#[test]
fn a_group_or_key_that_is_missing_keeps_a_release_from_beginning_and_it_begins_once_that_is_mended()
{
    let place = |at: usize, of: &str| {
        format!("app a, environment {of}, spec.environments[{at}].variableGroups[0]: ")
    };
    let missing = "there is no variable group shared";
    let key = "nothing is known as `.Values.level`";
    let table = [
        (
            cluster(&[]),
            [place(0, "gray") + missing, place(1, "prod") + missing],
        ),
        (
            cluster(&[("shared", group(json!({"levle": "x"})))]),
            [
                format!("environment gray: a.yaml:19:19: {key}"),
                format!("environment prod: a.yaml:19:19: {key}"),
            ],
        ),
    ];
    for (mut c, wanted) in table {
        look(&mut c);
        let status = c.status();
        assert_eq!(
            (status.phase, status.tasks.len()),
            (ReleasePhase::Failed, 0),
            "{status:#?}"
        );
        let told = status.message.clone().unwrap_or_default();
        for wanted in &wanted {
            assert!(told.contains(wanted.as_str()), "{wanted}: {told}");
        }
        assert!(c.made.is_empty(), "{:?}", c.made);
        c.groups
            .insert("shared".into(), group(json!({"level": "right"})));
        c.settle();
        c.approve("gate", "me", Pass);
        c.settle();
        assert!(deployed_with(&c, "right"), "{:#?}", c.status());
        assert_eq!(
            c.status().message.as_deref().map(|m| m.contains(missing)),
            Some(false)
        );
    }
}

#[test]
fn a_key_that_no_environment_deployed_to_reads_holds_nothing_up() {
    // Only gray is deployed to: values that prod lacks do not matter.
    let mut c = cluster(&[("shared", group(json!({"level": "x"})))]);
    c.app.spec.workflow.stages[0].tasks.truncate(2);
    c.app.spec.environments[1].variable_groups = vec!["gone".into()];
    c.settle();
    c.approve("gate", "me", Pass);
    c.settle();
    assert_eq!(
        c.status().phase,
        ReleasePhase::Succeeded,
        "{:#?}",
        c.status()
    );
    assert_eq!(
        group_names(&c.app, &c.release.spec),
        ["shared".to_owned()].into()
    );
}

#[test]
fn an_image_that_nothing_gives_is_told_before_a_release_begins() {
    let mut c = Cluster::new(production());
    c.release.spec.images.clear();
    look(&mut c);
    assert_eq!(
        (c.status().phase, c.status().tasks.len()),
        (ReleasePhase::Failed, 0)
    );
    let told = c.status().message.clone().unwrap_or_default();
    assert!(
        told.contains("environment gray: a.yaml:9:") && told.contains("`backend` is missing"),
        "{told}"
    );
    // An image that a task builds exists by the time it is needed.
    let build = json!({"name": "b", "build": {"image": "backend", "job": "x"}});
    c.app.spec.workflow.stages[0]
        .tasks
        .insert(0, serde_json::from_value(build).unwrap());
    let planned = plan_release(
        &c.app,
        &c.release.spec,
        |name| c.groups.get(name),
        "2026-01-01T00:00:00Z".parse().unwrap(),
    );
    assert_eq!(planned.map(|p| p.tasks.len()), Ok(6));
    // A release that is aborted before it began is over.
    c.app.spec.workflow.stages[0].tasks.remove(0);
    c.control().abort = true;
    c.settle();
    assert_eq!(c.status().phase, ReleasePhase::Aborted);
}
