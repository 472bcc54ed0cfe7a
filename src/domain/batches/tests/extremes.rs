//! Extreme numbers in an object, or in an annotation that anybody may write: none of them
//! overflows.

use proptest::prelude::*;

use super::*;
use crate::{
    api::{RolloutRecord, RolloutState},
    domain::observe,
};

fn size() -> impl Strategy<Value = i32> {
    prop::sample::select(vec![i32::MIN, -1, 0, 1, 4, i32::MAX - 1, i32::MAX])
}

fn count() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0, 1, 4, i32::MAX as u32, u32::MAX - 1, u32::MAX])
}

fn fence() -> impl Strategy<Value = Value> {
    let texts = [
        "0%",
        "100%",
        "18446744073709551615%",
        "99999999999999999999%",
        "x",
    ];
    let numbers = [0_i32, 1, i32::MAX].map(Value::from);
    prop::sample::select(
        texts
            .map(Value::from)
            .into_iter()
            .chain(numbers)
            .collect::<Vec<_>>(),
    )
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        count().prop_map(Amount::Count),
        (0..=100_u8).prop_map(Amount::Percent)
    ]
}

proptest! {
    #[test]
    fn no_number_overflows(
        replicas in size(), sets in prop::collection::vec(size(), 0..5), own in (size(), size(), fence(), fence()),
        written in (0..3_usize, count(), count(), count(), count()), amounts in prop::collection::vec(amount(), 0..4),
        goal in (count(), any::<bool>(), prop::option::of(amount()), 0..5_usize), same: bool, marked: bool, taken: bool,
    ) {
        let (min_ready, deadline, surge, unavailable) = own;
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        let mut live = manifest(0, if same { "v2" } else { "v1" }, strategy.clone());
        live["metadata"]["uid"] = "d".into();
        for (field, n) in [("replicas", replicas), ("minReadySeconds", min_ready), ("progressDeadlineSeconds", deadline)] {
            live["spec"][field] = n.into();
        }
        let (phase, at, from, to, above) = written;
        let latch = Latch {
            release: "r-1".into(), release_uid: UID.clone(), task: "deploy".into(), attempt: at, batches: amounts.clone(),
            written: LatchStep { phase: [LatchPhase::Surge, LatchPhase::Retire, LatchPhase::Hold][phase], replicas: at, from, to, surge: above },
            template: template::short_digest(&template::of_deployment(&typed(&manifest(1, "v2", Value::Null)))),
            after: DeploymentSettings { min_ready_seconds: Some(min_ready), strategy: Some(strategy), ..DeploymentSettings::default() },
            ..Latch::default()
        };
        let latch = serde_json::to_string(&latch).unwrap();
        if marked {
            live["metadata"]["annotations"][label::LATCH] = latch.clone().into();
        }
        let live = typed(&live);
        let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "d", "controller": true}]);
        let set = |(i, n): (usize, &i32)| serde_json::from_value(json!({
            "metadata": {"name": format!("d-{i}"), "uid": format!("s{i}"), "ownerReferences": owner},
            "spec": {"replicas": n, "selector": {}, "template": manifest(1, ["v1", "v2"][i % 2], Value::Null)["spec"]["template"]},
        })).unwrap();
        let sets: Vec<observe::ObservedSet> = sets.iter().enumerate().map(set).collect();
        let seen = observe::observe_deployment(&live, &sets, [], &|_| jiff::SignedDuration::ZERO);
        let record = RolloutRecord { attempt: at, state: RolloutState::Takes, latch, ..RolloutRecord::default() };
        let records = Records { kept: taken.then_some(&record), under_way: &[] };
        let (attempt, hold, surge, upto) = goal;
        let wanted = typed(&manifest(4, "v2", Value::Null));
        let batches = plan_batches(&amounts, &[seen.replicas()]);
        let goal = Goal {
            manifest: &wanted, release: "r-1", home: None, release_uid: &UID, task: "deploy", attempt, batches: &batches, upto, hold, surge, records,
        };
        let told = measure_progress(Some(&seen), &goal);
        prop_assert!(told.done <= batches.len());
        next_action(Some(&seen), &goal);
        undo_rollout(&seen, &UID, &records);
        let _ = plan_rescue(&seen, &records);
    }
}
