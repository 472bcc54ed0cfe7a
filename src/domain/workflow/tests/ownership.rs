//! One owner for every object: what belongs to somebody else, or to nobody, is neither written nor
//! deleted at any point of a release.

use super::{
    super::*,
    cluster::{Cluster, PROD, production},
};
use crate::api::{Decision::Pass, EnvironmentState, ReleasePhase, TaskPhase};

fn object(kind: &str, name: &str) -> ObjectRef {
    let api_version = if kind == "Deployment" {
        "apps/v1"
    } else {
        "v1"
    };
    ObjectRef::new(api_version, kind, ObjectKey::at_home("demo", name))
}

fn marked(app: &str, environment: &str) -> OwnershipMarks {
    OwnershipMarks {
        app: Some(app.into()),
        environment: Some(environment.into()),
        by_us: true,
        ..OwnershipMarks::default()
    }
}

/// A release of gray and production that waits to begin.
fn waiting() -> Cluster {
    let mut c = Cluster::new(production());
    c.settle();
    c.approve("gate", "me", Pass);
    c
}

#[test]
fn what_is_anothers_or_nobodys_stops_a_deploy_before_anything_is_written() {
    let by = |name: &str| OwnershipMarks {
        managers: vec![name.into()],
        ..OwnershipMarks::default()
    };
    let table = [
        (
            "Service",
            "a-gray",
            marked("b", "prod"),
            "Service demo/a-gray belongs to environment prod of app b,",
        ),
        (
            "Service",
            "a-gray",
            marked("a", "prod"),
            "Service demo/a-gray belongs to environment prod of app a,",
        ),
        (
            "ConfigMap",
            "a-gray-conf",
            by("kubectl-create"),
            "ConfigMap demo/a-gray-conf exists already and belongs to no App (written by kubectl-create)",
        ),
        (
            "Deployment",
            "a-gray",
            by("kubectl"),
            "Deployment demo/a-gray exists already and belongs to no App",
        ),
        (
            "Service",
            "a-gray",
            OwnershipMarks {
                lane_group: Some("g".into()),
                ..OwnershipMarks::default()
            },
            "made by lane group g",
        ),
    ];
    for (kind, name, marks, want) in table {
        let mut c = waiting();
        let theirs = ObjectSeen {
            uid: "theirs".into(),
            marks,
            ..ObjectSeen::default()
        };
        c.objects.insert(object(kind, name), theirs.clone());
        c.settle();
        let task = c.task("deploy-gray");
        assert_eq!(
            (task.phase, task.started_at.is_none()),
            (TaskPhase::Failed, true),
            "{want}: {task:?}"
        );
        let told = task.message.unwrap();
        assert!(told.contains(want), "{told}");
        assert!(c.made.is_empty(), "{want}: {:?}", c.made);
        assert_eq!(
            c.environment("gray"),
            EnvironmentStatus::default(),
            "{want}: it was not touched"
        );
        // The way back removes nothing of theirs.
        c.control().abort = true;
        c.settle();
        assert_eq!(c.status().phase, ReleasePhase::Aborted);
        assert_eq!(c.objects.get(&object(kind, name)), Some(&theirs), "{want}");
        // A terminating or deleted object blocks nobody.
        let mut c = waiting();
        let going = ObjectSeen {
            terminating: true,
            ..theirs
        };
        c.objects.insert(object(kind, name), going);
        let decision = c.look();
        c.take(&decision, usize::MAX);
        assert_ne!(
            c.task("deploy-gray").phase,
            TaskPhase::Failed,
            "{want}: waits for it to be gone"
        );
    }
}

#[test]
fn all_that_is_not_ours_is_named_at_once() {
    let mut c = waiting();
    for (kind, name) in [("Service", "a-gray"), ("ConfigMap", "a-gray-conf")] {
        c.objects.insert(
            object(kind, name),
            ObjectSeen {
                uid: "x".into(),
                ..ObjectSeen::default()
            },
        );
    }
    c.settle();
    let told = c.task("deploy-gray").message.unwrap();
    assert!(
        told.contains("Service demo/a-gray ") && told.contains("ConfigMap demo/a-gray-conf "),
        "{told}"
    );
}

#[test]
fn what_was_applied_before_there_were_marks_is_ours_by_the_inventory() {
    for by_us in [true, false] {
        let mut c = waiting();
        for seen in c.objects.values_mut() {
            seen.marks = OwnershipMarks {
                by_us,
                ..OwnershipMarks::default()
            };
        }
        c.settle();
        c.control().allow.insert("go".into(), 1);
        c.settle();
        let task = c.task("deploy-prod");
        if by_us {
            assert_eq!(task.phase, TaskPhase::Waiting, "{task:?}");
        } else {
            assert_eq!(task.phase, TaskPhase::Failed, "{task:?}");
            assert!(task.message.unwrap().contains("belongs to no App"));
        }
    }
    // Another App's inventory counts as much as its mark.
    let mut c = waiting();
    let service = object("Service", "a-gray");
    let theirs = Owner {
        home: Some("demo".into()),
        app: "b".into(),
        environment: "prod".into(),
    };
    let seen = ObjectSeen {
        uid: "u".into(),
        marks: OwnershipMarks {
            by_us: true,
            ..OwnershipMarks::default()
        },
        ..ObjectSeen::default()
    };
    c.objects.insert(service.clone(), seen);
    c.claims.insert(service, theirs);
    c.settle();
    let told = c.task("deploy-gray").message.unwrap();
    assert!(
        told.contains("belongs to environment prod of app b"),
        "{told}"
    );
}

#[test]
fn what_another_has_taken_meanwhile_is_not_fought_for_nor_deleted() {
    let mut c = waiting();
    c.settle();
    assert_eq!(c.status().task.as_deref(), Some("go"));
    let service = object("Service", "a-gray");
    c.objects.get_mut(&service).unwrap().marks = marked("b", "prod");
    let theirs = c.objects[&service].clone();
    c.control().abort = true;
    c.settle();
    assert_eq!(c.status().phase, ReleasePhase::Aborted, "{:#?}", c.status());
    assert_eq!(c.objects.get(&service), Some(&theirs), "left alone");
    assert!(
        !c.objects.contains_key(&object("Deployment", "a-gray")),
        "its own goes"
    );
    let told = c.status().message.unwrap();
    assert!(
        told.contains(
            "left alone: Service demo/a-gray, which belongs to environment prod of app b"
        ),
        "{told}"
    );
    assert_eq!(c.environment("gray").state, EnvironmentState::Cleaned);
    // In the middle of a rollout it stops, and says who owns it.
    let mut c = waiting();
    c.settle();
    c.control().allow.insert("go".into(), 1);
    c.settle();
    assert_eq!(c.task("deploy-prod").phase, TaskPhase::Waiting);
    let conf = object("ConfigMap", &format!("{PROD}-conf"));
    c.objects.get_mut(&conf).unwrap().marks = marked("b", "prod");
    c.objects.get_mut(&conf).unwrap().applied = Some("theirs".into());
    c.settle();
    let task = c.task("deploy-prod");
    assert_eq!(task.phase, TaskPhase::Failed);
    assert!(
        task.message
            .unwrap()
            .contains("belongs to environment prod of app b")
    );
    assert_eq!(
        c.objects[&conf].applied.as_deref(),
        Some("theirs"),
        "not written over"
    );
}

#[test]
fn a_clean_up_leaves_what_has_become_anothers_and_says_so() {
    let mut c = waiting();
    c.settle();
    let service = object("Service", "a-gray");
    c.objects.get_mut(&service).unwrap().marks = marked("b", "prod");
    let mut release = super::cluster::release("a-8", "v3");
    release.spec.stage.clear();
    release.spec.teardown = Some(crate::api::CleanUpTask {
        environment: "gray".into(),
        remove_environment: false,
    });
    c.release = release;
    c.settle();
    assert_eq!(
        c.status().phase,
        ReleasePhase::Succeeded,
        "{:#?}",
        c.status()
    );
    assert!(
        c.objects.contains_key(&service)
            && !c.objects.contains_key(&object("Deployment", "a-gray"))
    );
    let told = c.task("teardown").message.unwrap();
    assert!(told.contains("left alone: Service demo/a-gray"), "{told}");
}

#[test]
fn what_is_graylanes_own_is_no_manifests_to_write() {
    for (manifest, want) in [
        (
            "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: graylane-engine}",
            "Lease graylane-engine",
        ),
        (
            "apiVersion: graylane.dev/v1alpha1\nkind: Release\nmetadata: {name: r}",
            "graylane's own kinds",
        ),
        (
            "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {template: {spec: {serviceAccountName: deploys-gray}}}",
            "would run as deploys-gray",
        ),
    ] {
        let mut c = Cluster::new(production());
        c.app.spec.manifests[0].template += &format!("---\n{manifest}\n");
        c.settle();
        c.approve("gate", "me", Pass);
        c.settle();
        let told = c.status().message.unwrap_or_default();
        assert!(told.contains(want), "{told}");
        assert!(c.made.is_empty(), "{:?}", c.made);
    }
}
