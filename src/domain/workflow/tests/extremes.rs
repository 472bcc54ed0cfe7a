//! Extreme numbers that people write: none starts attempts without end, and none overflows.

use proptest::prelude::*;
use serde_json::json;

use super::cluster::{Cluster, production};
use crate::api::{HistoryEntry, MAX_RETRIES, TaskPhase, Wish};

#[test]
fn a_number_of_retries_is_no_loop() {
    let verify =
        json!([{"name": "look", "verify": {"laneGroup": "g", "probes": [], "timeoutSeconds": 0}}]);
    for retries in [1, MAX_RETRIES, u32::MAX - 1, u32::MAX] {
        let mut c = Cluster::new(verify.clone());
        c.control().retry.insert("look".into(), retries);
        let mut attempts = vec![];
        for _ in 0..20 {
            let decision = c.look();
            c.take(&decision, usize::MAX);
            c.pass(100);
            attempts.push(c.task("look").attempt);
        }
        attempts.dedup();
        assert_eq!(
            attempts,
            [1, retries.min(MAX_RETRIES) + 1],
            "each once, upwards"
        );
        assert!(
            c.task("look").phase == TaskPhase::Failed && c.status().history.len() < 12,
            "{:#?}",
            c.status().history
        );
    }
}

/// An intent is recorded once, whatever its timestamp says, and however its text is cleaned.
#[test]
fn a_wish_is_told_once_and_at_a_time_that_can_be() {
    let wish = |at: &str, action: &str| Wish {
        by: "ann".into(),
        action: action.into(),
        at: at.into(),
        comment: None,
    };
    for (at, action) in [
        ("2099-01-01T00:00:00Z", "pause"),
        ("1970-01-01T00:00:00Z", "pause"),
        ("never\u{1b}[31m", "pause"),
        ("", "pa\u{1b}]52;c;aGFja2Vk\u{7}use\u{202e}"),
    ] {
        let mut c = Cluster::new(production());
        c.settle();
        // A full history does not hide an intent with an old timestamp.
        let old = HistoryEntry {
            at: c.status().history[0].at.clone(),
            by: "engine".into(),
            action: "x".into(),
            ..HistoryEntry::default()
        };
        c.release.status.as_mut().unwrap().history.resize(200, old);
        let before = c.now;
        c.control().last = Some(wish(at, action));
        for _ in 0..5 {
            let decision = c.look();
            c.take(&decision, usize::MAX);
            c.tick();
        }
        let told: Vec<HistoryEntry> = c
            .status()
            .history
            .into_iter()
            .filter(|h| h.by == "ann")
            .collect();
        assert_eq!(told.len(), 1, "{at} {action:?}: {told:#?}");
        let time = told[0].at.timestamp().unwrap();
        assert!(
            (time.as_second() - before).abs() < 400
                && told[0].action.chars().all(|c| !c.is_control()),
            "{told:?}"
        );
        c.control().last = Some(wish(at, "resume"));
        let decision = c.look();
        c.take(&decision, usize::MAX);
        assert_eq!(
            c.status().history.iter().filter(|h| h.by == "ann").count(),
            2,
            "another one is"
        );
    }
}

fn number() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0, 1, 2, u32::MAX - 1, u32::MAX])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_number_overflows(numbers in prop::collection::vec(number(), 10), abort: bool) {
        let n = |i: usize| numbers[i];
        let mut tasks = production();
        tasks[0]["approval"] = json!({"requesterMayApprove": true, "mode": "count", "count": n(0), "timeoutSeconds": n(1)});
        let mut c = Cluster::new(tasks);
        for environment in &mut c.app.spec.environments {
            environment.rollout.timeout_seconds = n(2);
            environment.rollout.drain_seconds = n(3);
            environment.rollout.batches = vec![crate::api::Amount::Count(n(4))];
        }
        c.app.spec.history.limit = n(5);
        c.app.spec.history.ttl_seconds_after_finished = Some(n(6));
        crate::domain::prune::describe_history(&c.app.spec.history);
        for task in ["gate", "deploy-gray", "go", "deploy-prod", "clean"] {
            let control = c.control();
            control.allow.insert(task.into(), n(7));
            control.retry.insert(task.into(), n(8));
            control.take_over.insert(task.into(), n(9));
        }
        for round in 0..12 {
            let decision = c.look();
            c.take(&decision, usize::MAX);
            c.pass(100);
            c.settle_sims();
            c.route();
            if round == 1 {
                c.approve("gate", "me", crate::api::Decision::Pass);
            }
            c.control().abort = abort && round > 6;
        }
        prop_assert!(c.status().tasks.iter().all(|t| t.attempt <= MAX_RETRIES + 1));
    }
}
