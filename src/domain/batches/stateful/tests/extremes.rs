//! Extreme numbers in a StatefulSet or its annotation: none of them overflows.

use proptest::prelude::*;

use super::*;
use crate::domain::observe;

fn count() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0, 1, 4, i32::MAX as u32, u32::MAX - 1, u32::MAX])
}

proptest! {
    #[test]
    fn no_number_overflows(
        replicas in prop::sample::select(vec![i32::MIN, -1, 0, 1, 4, 4000, i32::MAX]),
        own in prop::sample::select(vec![-1, 0, 1, 4, i32::MAX]), start in prop::sample::select(vec![-1, 0, 1, i32::MAX]),
        (partition, at, attempt) in (count(), count(), count()), upto in 0..5_usize, hold: bool, marked: bool, same: bool,
        percent in 0..=100_u8,
    ) {
        let mut live = manifest(0, if same { "v2" } else { "v1" }, &json!({"minReadySeconds": own, "ordinals": {"start": start},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": own}}}));
        live["spec"]["replicas"] = replicas.into();
        let wanted = typed(&manifest(4, "v2", &json!({})));
        let latch = Latch::<PartitionStep, StatefulSettings> {
            release: "r-1".into(), release_uid: UID.clone(), task: "deploy".into(), attempt: at,
            written: PartitionStep { partition, replicas: at }, template: template::short_digest(&template::of_stateful(&wanted)),
            ..Latch::default()
        };
        if marked {
            live["metadata"]["annotations"][label::LATCH] = serde_json::to_string(&latch).unwrap().into();
        }
        let pods: Vec<observe::ObservedPod> = [0, 1, u32::MAX].iter().map(|n| serde_json::from_value(
            json!({"metadata": {"name": format!("s-{n}"), "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet",
                "name": "s", "uid": "s", "controller": true}]}})).unwrap()).collect();
        live["metadata"]["uid"] = "s".into();
        let seen = observe::observe_stateful_set(&typed(&live), &pods, &|_| jiff::SignedDuration::ZERO);
        let batches = plan_batches(&[Amount::Count(at), Amount::Percent(percent)], &[seen.replicas()]);
        let goal = Goal {
            manifest: &wanted, release: "r-1", home: None, release_uid: &UID, task: "deploy", attempt, batches: &batches, upto, hold,
            surge: None, records: Records::default(),
        };
        prop_assert!(measure_progress(Some(&seen), &goal).done <= batches.len());
        next_action(Some(&seen), &goal);
        undo_rollout(&seen, &UID, &Records::default());
        let _ = plan_rescue(&seen, &Records::default());
    }
}
