//! The story from start to end, and its ways back.

use super::{super::*, cluster::*};
use crate::api::{
    ApprovalSpec, BatchPhase, Decision::Pass, EnvironmentState, HistoryEntry, ReleasePhase,
    TaskPhase, Wish,
};

fn at_batch_one() -> Cluster {
    let mut c = Cluster::new(production());
    c.settle();
    c.approve("gate", "me", Pass);
    c.control().allow.insert("go".into(), 1);
    c.settle();
    c
}

#[test]
fn an_approval_counts_for_its_release_attempt_task_and_images_only() {
    let others: [fn(&mut ApprovalSpec); 11] = [
        |a| drop(a.images.insert("backend".into(), "another".into())),
        |a| a.images.clear(),
        |a| drop(a.images.insert("more".into(), "v2".into())),
        |a| a.attempt += 1,
        |a| a.task = "go".into(),
        |a| a.release = "a-8".into(),
        |a| a.release_uid = "an earlier namesake".into(),
        |a| a.digest = None,
        |a| a.digest = Some(format!("sha256:{}", "0".repeat(64))),
        |a| a.revision = None,
        |a| a.revision = Some("a-0".into()),
    ];
    for (n, other) in others.into_iter().enumerate() {
        let mut c = Cluster::new(production());
        c.settle();
        c.approve("gate", "me", Pass);
        other(&mut c.approvals[0].spec);
        c.settle();
        assert_eq!(
            (c.status().phase, c.status().task.as_deref()),
            (ReleasePhase::Waiting, Some("gate")),
            "case {n}"
        );
        assert!(c.made.is_empty(), "case {n}: {:?}", c.made);
        c.approve("gate", "me", Pass);
        c.settle();
        assert!(
            !c.made.is_empty(),
            "case {n}: the same, rightly said, counts"
        );
    }
}

#[test]
fn approval_gray_lane_proceed_batches_and_clean_up() {
    let mut c = Cluster::new(production());
    c.settle();
    assert_eq!(
        (c.status().phase, c.status().task.as_deref()),
        (ReleasePhase::Waiting, Some("gate"))
    );
    assert!(c.made.is_empty(), "{:?}", c.made);
    c.approve("gate", "me", Pass);
    c.settle();
    assert_eq!(c.status().task.as_deref(), Some("go"));
    assert_eq!(
        c.made,
        [
            "ConfigMap a-gray-conf",
            "Deployment a-gray",
            "Service a-gray"
        ],
        "pods first, then their Service"
    );
    assert_eq!(c.environment("gray").state, EnvironmentState::Running);
    assert!(
        c.environment("gray")
            .inventory
            .iter()
            .all(|i| !i.uid.is_empty())
    );
    assert!(c.routes.backends.contains(&name(GRAY)));
    assert_eq!(c.prod(), (0, 4));
    c.control().allow.insert("go".into(), 1);
    c.settle();
    assert_eq!(c.prod(), (1, 3));
    let task = c.task("deploy-prod");
    assert_eq!(
        task.message.as_deref(),
        Some("batch 1 of 3 done, 1 of 4 pods new; batch 2 waits to proceed")
    );
    assert_eq!(
        task.batches
            .iter()
            .map(|b| (b.target, b.phase))
            .collect::<Vec<_>>(),
        [
            (1, BatchPhase::Done),
            (2, BatchPhase::Pending),
            (4, BatchPhase::Pending)
        ]
    );
    assert_eq!(
        (
            task.old_images["backend"].as_str(),
            task.new_images["backend"].as_str()
        ),
        ("v1", "v2")
    );
    assert!(task.new_version.unwrap().ends_with("-007"));
    c.control().allow.insert("deploy-prod".into(), 2);
    c.settle();
    assert_eq!(
        c.status().phase,
        ReleasePhase::Succeeded,
        "{:#?}",
        c.status()
    );
    assert_eq!(c.prod(), (4, 0));
    assert!(!c.has_gray() && c.routes.backends.is_empty());
    assert_eq!(c.environment("gray").state, EnvironmentState::Cleaned);
    assert_eq!(c.environment("prod").images["backend"], "v2");
    let told: Vec<String> = c
        .status()
        .history
        .iter()
        .map(|h| format!("{} {}", h.action, h.task.clone().unwrap_or_default()))
        .collect();
    for want in [
        "approved gate",
        "batch 1 of 3 done deploy-prod",
        "batch 3 of 3 done deploy-prod",
        "succeeded clean",
        "succeeded ",
    ] {
        assert_eq!(
            told.iter().filter(|t| *t == want).count(),
            1,
            "{want}: {told:#?}"
        );
    }
}

#[test]
fn a_first_look_that_fails_makes_nothing_that_stands_in_no_inventory() {
    let mut c = Cluster::new(production());
    let foreign = serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": GRAY, "namespace": "demo"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}});
    let marks = OwnershipMarks {
        app: Some("a".into()),
        environment: Some("gray".into()),
        ..OwnershipMarks::default()
    };
    c.objects.insert(
        ObjectRef::from_object(&foreign),
        ObjectSeen {
            uid: "foreign".into(),
            marks,
            ..ObjectSeen::default()
        },
    );
    c.sims.insert(
        name(GRAY),
        crate::domain::batches::simulator::Sim::create(&foreign, "foreign", c.now),
    );
    c.settle();
    c.approve("gate", "me", Pass);
    c.settle();
    let task = c.task("deploy-gray");
    assert!(
        task.phase == TaskPhase::Failed && task.message.as_ref().unwrap().contains("selector"),
        "{task:#?}"
    );
    assert_eq!(c.environment("gray").state, EnvironmentState::Error);
    assert!(
        c.unnoted().len() == 1 && c.made.is_empty(),
        "nothing but what was there: {:?}",
        c.made
    );
    // Once it can, it creates everything.
    c.objects.remove(&ObjectRef::from_object(&foreign));
    c.sims.remove(&name(GRAY));
    c.control().retry.insert("deploy-gray".into(), 1);
    c.settle();
    assert_eq!(c.status().task.as_deref(), Some("go"));
    assert!(c.unnoted().is_empty() && c.made.len() == 3, "{:?}", c.made);
}

#[test]
fn an_abort_leaves_what_is_half_way_in_another_release_and_says_so() {
    let mut c = at_batch_one();
    // The other release is deleted half-way.
    c.release = release("a-8", "v3");
    c.settle();
    c.approve("gate", "me", Pass);
    c.control().allow.insert("go".into(), 1);
    c.settle();
    let task = c.task("deploy-prod");
    assert!(
        task.phase == TaskPhase::Failed && task.message.as_ref().unwrap().contains("release a-7"),
        "{task:#?}"
    );
    c.control().abort = true;
    c.settle();
    assert_eq!(
        (c.status().phase, c.prod()),
        (ReleasePhase::Aborted, (1, 3))
    );
    let prod = c.environment("prod");
    assert!(
        prod.message
            .as_ref()
            .is_some_and(|m| m.contains("half-way in release a-7")),
        "{prod:#?}"
    );
    assert_eq!(prod.state, EnvironmentState::Error);
}

/// Regression: an aborted release showed the message of its build as the reason.
#[test]
fn an_aborted_release_says_who_ended_it_and_what_had_failed() {
    let abort = |c: &mut Cluster, comment: Option<&str>| {
        let (by, comment) = ("mia".into(), comment.map(str::to_owned));
        c.control().last = Some(Wish {
            by,
            action: "abort".into(),
            at: "2026-01-01T00:00:00Z".into(),
            comment,
        });
        c.control().abort = true;
        c.settle();
        assert_eq!(c.status().phase, ReleasePhase::Aborted, "{:#?}", c.status());
        c.status().message.unwrap()
    };
    let mut c = at_batch_one();
    c.release.status.as_mut().unwrap().tasks[0].message = Some("built reg/a:v2".into());
    assert_eq!(
        abort(&mut c, Some("wrong build")),
        "aborted by mia: wrong build"
    );
    let mut c = Cluster::new(production());
    c.broken = vec!["v2".into()];
    c.settle();
    c.approve("gate", "me", Pass);
    c.settle();
    for _ in 0..30 {
        c.pass(30);
        c.settle();
    }
    assert_eq!(c.status().phase, ReleasePhase::Failed, "{:#?}", c.status());
    let told = abort(&mut c, None);
    assert!(
        told.starts_with(
            "aborted by mia; deploy-gray had failed: batch 1 of 1 was not done within"
        ),
        "{told}"
    );
}

#[test]
fn a_pause_holds_and_a_resume_goes_on() {
    let mut c = at_batch_one();
    c.control().allow.insert("deploy-prod".into(), 2);
    c.control().paused = true;
    c.settle();
    assert_eq!((c.prod(), c.status().phase), ((1, 3), ReleasePhase::Paused));
    c.control().paused = false;
    c.settle();
    assert_eq!(
        (c.prod(), c.status().phase),
        ((4, 0), ReleasePhase::Succeeded)
    );
}

#[test]
fn an_abort_closes_the_lane_first_and_leaves_nothing_behind() {
    let mut c = at_batch_one();
    c.control().abort = true;
    let decision = c.look();
    assert!(decision.steps.is_empty() && decision.status.phase == ReleasePhase::Aborting);
    c.settle();
    assert_eq!(c.status().phase, ReleasePhase::Aborted, "{:#?}", c.status());
    assert_eq!(c.prod(), (0, 4));
    assert!(!c.has_gray());
    assert_eq!(c.environment("gray").state, EnvironmentState::Cleaned);
    let prod = c.environment("prod");
    assert_eq!(
        (prod.state, prod.images["backend"].as_str()),
        (EnvironmentState::Running, "v1")
    );
    assert!(
        c.status()
            .tasks
            .iter()
            .all(|t| t.phase == TaskPhase::Aborted || t.phase.is_passed())
    );
}

/// The engine's wall clock is set again and again, and the timestamps come from other clocks.
#[test]
fn a_clock_that_is_set_freezes_nothing_and_lets_nothing_through_early() {
    for step in [-90_000, 90_000, -20, 20] {
        for abort in [false, true] {
            let mut c = at_batch_one();
            if abort {
                c.control().abort = true;
            } else {
                c.control().allow.insert("deploy-prod".into(), 2);
            }
            let (mut closed, mut cleaned) = (None, None);
            for _ in 0..120 {
                let decision = c.look();
                let deletes = |s: &ReleaseStep| matches!(s, ReleaseStep::Delete { item: i, .. } if i.object.key.name.starts_with(GRAY));
                if decision.steps.iter().any(deletes) {
                    cleaned = cleaned.or(Some(c.clock));
                }
                c.take(&decision, usize::MAX);
                c.now += step;
                c.tick();
                c.sims
                    .values_mut()
                    .for_each(crate::domain::batches::simulator::Sim::settle);
                c.route();
                if c.routes.backends.is_empty() {
                    closed = closed.or(Some(c.clock));
                }
            }
            let (phase, pods) = if abort {
                (ReleasePhase::Aborted, (0, 4))
            } else {
                (ReleasePhase::Succeeded, (4, 0))
            };
            assert_eq!(
                (c.status().phase, c.prod(), c.has_gray()),
                (phase, pods, false),
                "{step}: {:#?}",
                c.status()
            );
            assert!(
                cleaned.unwrap() >= closed.unwrap() + 3,
                "{step}: drained from {closed:?} to {cleaned:?}"
            );
        }
    }
}

#[test]
fn a_clean_up_says_why_its_route_does_not_close() {
    let mut c = at_batch_one();
    c.control().allow.insert("deploy-prod".into(), 2);
    c.routes
        .troubles
        .insert(name(GRAY), "HTTPRoute g-a: cannot be deleted: no".into());
    for _ in 0..60 {
        let decision = c.look();
        c.take(&decision, usize::MAX);
        c.tick();
        // The lane reconciler does not run.
        c.sims
            .values_mut()
            .for_each(crate::domain::batches::simulator::Sim::settle);
    }
    let told = "waits for the lane routes to Service a-gray to close: HTTPRoute g-a: cannot be deleted: no";
    assert_eq!(
        (c.task("clean").message.as_deref(), c.has_gray()),
        (Some(told), true)
    );
    c.settle();
    assert_eq!(
        (c.status().phase, c.has_gray()),
        (ReleasePhase::Succeeded, false)
    );
}

#[test]
fn what_the_server_does_not_show_is_told_and_an_abort_goes_on_without_it() {
    let mut c = at_batch_one();
    let conf = |name: &str| {
        let key = ObjectKey::at_home("demo", name);
        ObjectRef::new("v1", "ConfigMap", key)
    };
    for name in ["a-prod-conf", "a-gray-conf"] {
        assert!(c.objects.contains_key(&conf(name)));
        c.unseen
            .insert(conf(name), format!("configmaps {name:?} is forbidden"));
    }
    c.control().allow.insert("deploy-prod".into(), 2);
    let decision = c.look();
    assert_eq!(
        (decision.steps, decision.status.phase),
        (vec![], ReleasePhase::Running)
    );
    let told = "ConfigMap a-prod-conf cannot be read: configmaps \"a-prod-conf\" is forbidden";
    assert_eq!(decision.status.message.as_deref(), Some(told));
    c.control().abort = true;
    for _ in 0..60 {
        let decision = c.look();
        c.take(&decision, usize::MAX);
        c.tick();
        c.sims
            .values_mut()
            .for_each(crate::domain::batches::simulator::Sim::settle);
        c.route();
    }
    assert_eq!(
        (c.status().phase, c.prod()),
        (ReleasePhase::Aborted, (0, 4))
    );
    assert!(!c.sims.contains_key(&name(GRAY)));
    for (name, left) in [("prod", 3), ("gray", 1)] {
        let environment = c.environment(name);
        let message = environment.message.unwrap_or_default();
        assert!(
            message.starts_with("rolled back, but ConfigMap a-"),
            "{message}"
        );
        assert_eq!(
            (environment.state, environment.inventory.len()),
            (EnvironmentState::Error, left),
            "{name}"
        );
    }
    // Once the objects can be read, they can be cleaned up.
    c.unseen.clear();
    assert!(
        c.objects.contains_key(&conf("a-gray-conf")),
        "what nobody saw nobody took"
    );
}

#[test]
fn a_gray_version_that_was_there_before_comes_back() {
    let mut c = at_batch_one();
    c.control().allow.insert("deploy-prod".into(), 2);
    // The first release ends without its clean-up; the second one is aborted.
    c.control().skip.push("clean".into());
    c.settle();
    assert!(c.has_gray(), "skipped");
    c.release = release("a-8", "v3");
    c.approvals.clear();
    c.settle();
    let spec = crate::api::ApprovalSpec {
        release: "a-8".into(),
        release_uid: "uid-a-8".into(),
        task: "gate".into(),
        attempt: 1,
        decision: Pass,
        approver: "me".into(),
        images: c.status().images,
        revision: c.status().revision,
        digest: c.task("gate").digest,
        ..Default::default()
    };
    c.approvals.push(Approval::new("x", spec));
    c.settle();
    assert_eq!(c.sims[&name(GRAY)].count_by_image("v3"), (1, 1));
    assert_eq!(c.status().task.as_deref(), Some("go"));
    c.control().abort = true;
    c.settle();
    assert_eq!(c.status().phase, ReleasePhase::Aborted);
    assert_eq!(c.sims[&name(GRAY)].count_by_image("v2"), (1, 1));
    assert_eq!(c.environment("gray").images["backend"], "v2");
    assert_eq!(c.environment("gray").state, EnvironmentState::Running);
    assert!(
        c.routes.backends.contains(&name(GRAY)),
        "and its lane is open again"
    );
}

#[test]
fn a_version_that_never_comes_up_fails_holds_and_can_be_retried_or_taken_back() {
    let mut c = at_batch_one();
    for sim in c.sims.values_mut() {
        sim.broken.push("v2".into());
    }
    c.control().allow.insert("deploy-prod".into(), 3);
    c.settle();
    // The pods of batch 2 never become ready.
    c.pass(700);
    c.settle();
    let task = c.task("deploy-prod");
    assert_eq!(
        (c.status().phase, task.phase),
        (ReleasePhase::Failed, TaskPhase::Failed)
    );
    let why = task.message.unwrap();
    assert!(
        why.contains("batch 2 of 3 was not done within 600 s") && why.contains("CrashLoopBackOff"),
        "{why}"
    );
    assert_eq!(c.environment("prod").state, EnvironmentState::Error);
    assert_eq!(c.prod().1, 3, "no old pod is lost");
    for sim in c.sims.values_mut() {
        sim.broken.clear();
    }
    c.settle();
    assert_eq!(
        c.status().phase,
        ReleasePhase::Failed,
        "it holds until somebody says so"
    );
    c.control().skip.push("deploy-prod".into());
    c.settle();
    assert_eq!(
        c.status().phase,
        ReleasePhase::Failed,
        "half-way, it is not skipped"
    );
    c.control().skip.clear();
    c.control().retry.insert("deploy-prod".into(), 1);
    c.settle();
    assert_eq!(
        (c.status().phase, c.prod()),
        (ReleasePhase::Succeeded, (4, 0)),
        "{:#?}",
        c.status()
    );
    assert_eq!(c.task("deploy-prod").attempt, 2);
}

#[test]
fn one_release_at_a_time_holds_an_environment() {
    let mut c = at_batch_one();
    let mut second = Cluster::new(production());
    let first = std::mem::replace(&mut c.release, release("a-8", "v3"));
    c.others.push(first.clone());
    c.app.spec.workflow.stages[0].tasks.remove(0);
    c.settle();
    let told = c.task("deploy-gray");
    assert_eq!(
        told.message.as_deref(),
        Some("gray is in use by release a-7: this one continues when that one has ended")
    );
    assert_eq!((told.phase, told.started_at), (TaskPhase::Pending, None));
    c.others[0].status.as_mut().unwrap().phase = ReleasePhase::Succeeded;
    c.settle();
    assert!(c.task("deploy-gray").started_at.is_some());
    // A lock is reported, and holds the release.
    let lock = crate::api::EnvironmentLock {
        by: "ann".into(),
        reason: "freeze".into(),
    };
    second.app.spec.environments[0].lock = Some(lock);
    second.settle();
    second.approve("gate", "me", Pass);
    second.settle();
    assert_eq!(
        second.task("deploy-gray").message.as_deref(),
        Some("gray is locked by ann: freeze")
    );
    assert!(second.made.is_empty());
    second.app.spec.environments[0].lock = None;
    second.settle();
    assert_eq!(second.status().task.as_deref(), Some("go"));
}

#[test]
fn a_teardown_is_a_release_of_its_own() {
    let mut c = at_batch_one();
    c.control().allow.insert("deploy-prod".into(), 2);
    c.control().skip.push("clean".into());
    c.settle();
    let mut release = release("a-8", "v3");
    release.spec.stage.clear();
    release.spec.images.clear();
    release.spec.teardown = Some(crate::api::CleanUpTask {
        environment: "gray".into(),
        remove_environment: false,
    });
    c.release = release;
    // An object of the same name that somebody else created is left alone.
    let conf = c
        .objects
        .keys()
        .find(|i| i.kind == "ConfigMap" && i.key.name == "a-gray-conf")
        .unwrap()
        .clone();
    c.objects.get_mut(&conf).unwrap().uid = "another".into();
    c.settle();
    assert_eq!(
        c.status().phase,
        ReleasePhase::Succeeded,
        "{:#?}",
        c.status()
    );
    assert_eq!(c.environment("gray").state, EnvironmentState::Cleaned);
    assert!(c.objects.contains_key(&conf) && !c.sims.contains_key(&name(GRAY)));
}

#[test]
fn what_an_environment_left_behind_is_torn_down_by_its_inventory() {
    let mut c = at_batch_one();
    c.control().allow.insert("deploy-prod".into(), 2);
    c.control().skip.push("clean".into());
    c.settle();
    c.app.spec.environments.retain(|e| e.name != "gray");
    let mut release = release("a-8", "v3");
    release.spec.stage.clear();
    release.spec.images.clear();
    release.spec.teardown = Some(crate::api::CleanUpTask {
        environment: "gray".into(),
        remove_environment: false,
    });
    c.release = release;
    assert!(c.has_gray() && c.app.left_behind("gray").is_some());
    c.settle();
    assert_eq!(
        c.status().phase,
        ReleasePhase::Succeeded,
        "{:#?}",
        c.status()
    );
    assert_eq!(c.environment("gray").state, EnvironmentState::Cleaned);
    assert!(!c.has_gray() && !c.sims.contains_key(&name(GRAY)));
    // An environment that never existed, or is already gone, is not torn down.
    for (environment, says) in [
        ("nowhere", "no environment \"nowhere\""),
        ("gray", "no environment \"gray\""),
    ] {
        let mut release = super::cluster::release("a-9", "v3");
        release.spec.stage.clear();
        release.spec.teardown = Some(crate::api::CleanUpTask {
            environment: environment.into(),
            remove_environment: false,
        });
        c.release = release;
        c.settle();
        let told = c.task("teardown").message.unwrap_or_default();
        assert!(
            c.status().phase == ReleasePhase::Failed && told.contains(says),
            "{environment}: {told}"
        );
    }
}

/// The timestamp of an intent comes from the person's own clock, which may be anything.
#[test]
fn a_wish_is_told_once_whatever_its_clock_says() {
    for at in ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "yesterday"] {
        let mut c = at_batch_one();
        let wish = |action: &str| Wish {
            by: "ann".into(),
            action: action.into(),
            at: at.into(),
            comment: None,
        };
        let told = |c: &Cluster, action: &str| {
            c.status()
                .history
                .iter()
                .filter(|h| h.action == action)
                .count()
        };
        c.control().last = Some(wish("pause"));
        c.settle();
        assert_eq!(told(&c, "pause"), 1, "{at}");
        // Pushed out of a full history, it is not recorded again; another intent is.
        let filler = HistoryEntry {
            at: "2026-01-01T00:00:00Z".into(),
            ..HistoryEntry::default()
        };
        c.release.status.as_mut().unwrap().history = vec![filler; 200];
        c.settle();
        assert_eq!(told(&c, "pause"), 0, "{at}");
        c.control().last = Some(wish("resume"));
        c.settle();
        assert_eq!((told(&c, "pause"), told(&c, "resume")), (0, 1), "{at}");
    }
}

#[test]
fn what_is_to_be_approved_is_rendered_once_while_people_think() {
    let mut c = Cluster::new(production());
    c.settle();
    assert_eq!(
        (c.task("gate").phase, c.rendered.render_count()),
        (TaskPhase::Waiting, 1)
    );
    c.pass(3600);
    c.app.status.as_mut().unwrap().summary = "another".into();
    c.approve("gate", "me", Pass);
    c.approvals[0].spec.images.clear();
    c.settle();
    assert_eq!(
        (c.task("gate").phase, c.rendered.render_count()),
        (TaskPhase::Waiting, 1)
    );
    // When an input changes, it is rendered again.
    c.release
        .status
        .as_mut()
        .unwrap()
        .images
        .insert("backend".into(), "v9".into());
    let before = c.task("gate").digest;
    let decision = c.look();
    let gate = decision
        .status
        .tasks
        .iter()
        .find(|t| t.name == "gate")
        .unwrap();
    assert!(
        c.rendered.render_count() == 2 && gate.digest != before,
        "{gate:?}"
    );
}

/// Requests for a closed lane go to the baseline: probes that pass there prove nothing.
#[test]
fn nothing_is_verified_before_its_lane_is_open() {
    let mut c = Cluster::new(serde_json::json!([
        {"name": "deploy-gray", "deploy": {"environment": "gray"}},
        {"name": "verify", "verify": {"laneGroup": "g", "probes": [{"path": "/"}], "timeoutSeconds": 60}},
    ]));
    let closed = |waits| {
        BTreeMap::from([(
            "g".to_owned(),
            ClosedLane {
                why: "waits for c".into(),
                waits,
            },
        )])
    };
    c.routes.closed = closed(true);
    let until = |c: &mut Cluster, seconds: i64| {
        for _ in 0..seconds {
            let decision = c.look();
            c.take(&decision, usize::MAX);
            c.tick();
            c.sims.values_mut().for_each(|sim| sim.settle());
        }
    };
    until(&mut c, 300);
    let task = c.task("verify");
    assert_eq!(
        (task.phase, task.message.as_deref()),
        (TaskPhase::Pending, Some("waits for c")),
        "others take their time"
    );
    assert!(c.probes.is_none());
    // The window is open but the route is not: that is up to a gateway, and has a time limit.
    c.routes.closed = closed(false);
    until(&mut c, 30);
    assert_eq!(c.task("verify").phase, TaskPhase::Running);
    assert!(c.probes.is_none());
    c.routes.closed.clear();
    until(&mut c, 1);
    assert!(c.probes.is_some(), "{:?}", c.task("verify"));
    c.probes = None;
    c.routes.closed = closed(false);
    until(&mut c, 40);
    let task = c.task("verify");
    assert_eq!(task.phase, TaskPhase::Failed);
    assert_eq!(
        task.message.as_deref(),
        Some("not as expected within 60 s: waits for c")
    );
}
