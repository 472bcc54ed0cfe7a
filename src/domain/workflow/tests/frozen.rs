//! What is approved is what runs: edits after the beginning, and releases that began before
//! revisions existed.

use serde_json::json;

use super::{super::*, cluster::*};
use crate::api::{Decision::Pass, ReleasePhase, TaskPhase, TaskStatus};

fn done(c: &mut Cluster) -> Vec<String> {
    c.control().paused = false;
    c.control()
        .allow
        .extend([("go".to_owned(), 1), ("deploy-prod".to_owned(), 3)]);
    c.settle();
    assert_eq!(
        c.status().phase,
        ReleasePhase::Succeeded,
        "{:#?}",
        c.status()
    );
    c.sims[&name(PROD)].live["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["image"].as_str().unwrap().to_owned())
        .collect()
}

fn evil(c: &mut Cluster) {
    let manifest = &mut c.app.spec.manifests[0].template;
    *manifest = manifest.replace("{{ .AppStack.image.backend }}", "evil/web:666");
}

#[test]
fn an_edit_after_the_beginning_touches_later_releases_only() {
    type Edit = fn(&mut Cluster);
    let edits: [(&str, Edit); 5] = [
        ("the manifest", evil),
        ("the approval", |c| {
            c.app.spec.workflow.stages[0]
                .tasks
                .retain(|t| t.name != "gate");
        }),
        ("all tasks", |c| c.app.spec.workflow.stages.clear()),
        ("the environments", |c| {
            c.app
                .spec
                .environments
                .iter_mut()
                .for_each(|e| e.namespace = "evil".into());
        }),
        ("the values", |c| {
            c.app.spec.environments[1].values = [("replicas".to_owned(), json!(9))].into();
        }),
    ];
    for (what, edit) in edits {
        for approved_first in [true, false] {
            let mut c = Cluster::new(production());
            c.settle();
            c.control().paused = true;
            c.settle();
            if approved_first {
                c.approve("gate", "me", Pass);
            }
            edit(&mut c);
            c.control().paused = false;
            c.settle();
            if !approved_first {
                assert_eq!(
                    c.status().task.as_deref(),
                    Some("gate"),
                    "{what}: it still waits for a yes"
                );
                assert!(c.made.is_empty(), "{what}: {:?}", c.made);
                c.approve("gate", "me", Pass);
            }
            assert_eq!(done(&mut c), ["v2"], "{what}");
            assert_eq!(c.sims[&name(PROD)].live["spec"]["replicas"], 4, "{what}");
        }
    }
}

#[test]
fn a_lock_of_now_holds_a_release_of_before() {
    let mut c = Cluster::new(production());
    c.settle();
    c.app.spec.environments[0].lock = Some(crate::api::EnvironmentLock {
        by: "ann".into(),
        reason: "audit".into(),
    });
    c.approve("gate", "me", Pass);
    c.settle();
    assert!(c.made.is_empty() && c.status().message.unwrap().contains("locked by ann"));
    c.app.spec.environments[0].lock = None;
    assert_eq!(done(&mut c), ["v2"]);
}

#[test]
fn a_revision_that_is_gone_is_told_and_nothing_else_takes_its_place() {
    let mut c = Cluster::new(production());
    c.settle();
    c.approve("gate", "me", Pass);
    evil(&mut c);
    let kept = std::mem::take(&mut *c.revisions.borrow_mut());
    c.settle();
    assert_eq!(c.status().phase, ReleasePhase::Failed);
    assert!(c.made.is_empty() && c.status().message.unwrap().contains("is gone"));
    *c.revisions.borrow_mut() = kept;
    c.control().retry.insert("gate".into(), 1);
    c.settle();
    // It is another attempt, which nobody has approved.
    assert_eq!(
        (c.status().phase, c.task("gate").attempt),
        (ReleasePhase::Waiting, 2)
    );
}

#[test]
fn an_environment_that_the_release_itself_removes_is_removed_once() {
    let mut tasks = production();
    tasks[4]["cleanUp"]["removeEnvironment"] = json!(true);
    let mut c = Cluster::new(tasks);
    c.settle();
    c.approve("gate", "me", Pass);
    assert_eq!(done(&mut c), ["v2"]);
    assert!(c.app.spec.environment("gray").is_none());
}

/// A release as an older version left it: no revision, and an approval that names no objects.
fn older(c: &mut Cluster) {
    let status = c.release.status.as_mut().unwrap();
    status.revision = None;
    status.tasks.iter_mut().for_each(|t| t.digest = None);
    c.approvals
        .iter_mut()
        .for_each(|a| (a.spec.revision, a.spec.digest) = (None, None));
}

#[test]
fn a_release_of_an_older_version_is_frozen_at_the_first_look_and_approved_again() {
    let told = |c: &Cluster, action: &str| {
        c.status()
            .history
            .iter()
            .filter(|h| h.action == action)
            .count()
    };
    // It waited with one approval; or it had passed its gate, and no deploy had begun or was
    // half-way.
    let stops: [fn(&mut Cluster); 2] = [
        |c| {
            c.settle();
            c.approve("gate", "me", Pass);
        },
        |c| {
            c.settle();
            c.approve("gate", "me", Pass);
            c.settle();
            assert_eq!(c.status().task.as_deref(), Some("go"));
        },
    ];
    for (n, stop) in stops.into_iter().enumerate() {
        let mut c = Cluster::new(production());
        stop(&mut c);
        older(&mut c);
        c.settle();
        assert_eq!(
            (c.status().phase, c.status().task.as_deref()),
            (ReleasePhase::Waiting, Some("gate")),
            "case {n}"
        );
        let words = c.status().message.unwrap();
        assert!(
            words.contains("me decided without naming the objects to apply"),
            "case {n}: {words}"
        );
        assert_eq!(
            (told(&c, "freeze"), told(&c, "asked again")),
            (1, n),
            "case {n}"
        );
        assert!(c.status().revision.is_some());
        // From then on it is like any other release.
        evil(&mut c);
        c.approve("gate", "me", Pass);
        assert_eq!(done(&mut c), ["v2"], "case {n}");
        assert_eq!(told(&c, "freeze"), 1);
    }
}

#[test]
fn a_deploy_of_an_older_version_that_stands_half_way_goes_on() {
    let mut c = Cluster::new(production());
    c.settle();
    c.approve("gate", "me", Pass);
    c.control().allow.insert("go".into(), 1);
    c.settle();
    assert_eq!(c.prod(), (1, 3));
    older(&mut c);
    c.settle();
    assert_eq!(
        (c.status().phase, c.prod()),
        (ReleasePhase::Waiting, (1, 3))
    );
    assert_eq!(c.status().task.as_deref(), Some("deploy-prod"));
    assert_eq!(done(&mut c), ["v2"]);
}

#[test]
fn a_proposal_is_of_the_deploys_after_its_task_and_its_digest_tells_every_change() {
    let c = {
        let mut c = Cluster::new(production());
        c.settle();
        c
    };
    let app = c.frozen().unwrap();
    let of = |status: &ReleaseStatus, after: Option<&str>| {
        render_proposal(&app, &c.release.spec, status, after).unwrap()
    };
    let names = |p: &Proposal| {
        p.environments
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    let status = c.status();
    let whole = of(&status, Some("gate"));
    assert_eq!(names(&whole), ["gray", "prod"]);
    assert_eq!(Some(&whole.digest), c.task("gate").digest.as_ref());
    assert_eq!(names(&of(&status, Some("go"))), ["prod"]);
    assert_eq!(names(&of(&status, Some("clean"))), [""; 0]);
    assert_eq!(of(&status, None), whole);
    let mut changed = status.clone();
    changed.images.insert("backend".into(), "v3".into());
    assert_ne!(of(&changed, Some("gate")).digest, whole.digest);
    let mut changed = status.clone();
    changed
        .variables
        .insert("prod".into(), [("replicas".to_owned(), json!(1))].into());
    assert_eq!(
        of(&changed, Some("gate")).digest,
        whole.digest,
        "hidden by the environment's own"
    );

    // Gray is new. What production runs is not known before a frozen release has run there.
    let revisions = c.revisions.borrow().clone();
    let find = |name: &str| revisions.get(name).cloned();
    let none = list_changes(&app, &whole, [].into_iter(), find);
    assert_eq!(
        none.iter().map(|c| c.before.as_deref()).collect::<Vec<_>>(),
        [Some(""), None]
    );
    let mut before = c.release.clone();
    let old = before.status.as_mut().unwrap();
    old.phase = ReleasePhase::Succeeded;
    let task = old
        .tasks
        .iter_mut()
        .find(|t| t.name == "deploy-prod")
        .unwrap();
    *task = TaskStatus {
        phase: TaskPhase::Succeeded,
        new_images: [("backend".to_owned(), "v1".to_owned())].into(),
        ..task.clone()
    };
    let all = list_changes(&app, &whole, [&before].into_iter(), find);
    let prod = &all[1];
    let was = prod.before.as_deref().unwrap();
    assert_eq!(was.replace("image: v1", "image: v2"), prod.after);
    assert!(was.contains("image: v1") && !was.contains(crate::api::label::APPLIED));
}

#[test]
fn what_was_built_is_deployed_by_its_digest_whatever_its_tag_comes_to_mean() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec: {}\n";
    let digest = format!("sha256:{}", "a1".repeat(32));
    for known in [Some(digest), None] {
        let mut c = Cluster::new(serde_json::json!([
            {"name": "early", "approval": {"requesterMayApprove": true}},
            {"name": "build", "build": {"image": "backend", "job": job, "tag": "v9"}},
            {"name": "gate", "approval": {"requesterMayApprove": true}},
            {"name": "deploy-prod", "deploy": {"environment": "prod"}},
        ]));
        c.release.spec.images.clear();
        c.settle();
        let unbuilt = |c: &Cluster, task: &str| {
            let app = c.frozen().unwrap();
            built_after(&app, &c.release.spec, &c.status(), task)
                .iter()
                .map(|i| (*i).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (unbuilt(&c, "early"), unbuilt(&c, "gate")),
            (vec!["backend".to_owned()], vec![])
        );
        c.approve("early", "me", Pass);
        c.settle();
        assert!(
            unbuilt(&c, "early").len() == 1 && c.jobs.len() == 1,
            "{:#?}",
            c.status()
        );
        for job in c.jobs.values_mut() {
            (job.succeeded, job.digest) = (true, known.clone());
        }
        c.settle();
        assert!(unbuilt(&c, "early").is_empty());
        c.approve("gate", "me", Pass);
        c.settle();
        let wanted = known.map_or("reg/a:v9".to_owned(), |digest| format!("reg/a:v9@{digest}"));
        let live = &c.sims[&name("a-prod")].live;
        assert_eq!(
            live["spec"]["template"]["spec"]["containers"][0]["image"],
            wanted.as_str(),
            "{:#?}",
            c.status()
        );
    }
}
