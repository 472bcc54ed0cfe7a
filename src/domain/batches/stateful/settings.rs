//! Settings of a StatefulSet that are the user's own, and what a rollout writes instead.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::latch::to_seconds;

/// The fields that a rollout takes over, with the user's own values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatefulSettings {
    /// `spec.minReadySeconds`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready_seconds: Option<i32>,
    /// `spec.updateStrategy`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<Value>,
}

/// What the last patch wrote. If it differs on the object, somebody else wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionStep {
    /// `spec.updateStrategy.rollingUpdate.partition`
    pub partition: u32,
    /// `spec.replicas` that the partition was computed for.
    pub replicas: u32,
}

impl StatefulSettings {
    /// Current settings of a StatefulSet.
    pub fn from_stateful_set(live: &StatefulSet) -> Self {
        let spec = live.spec.as_ref();
        Self {
            min_ready_seconds: spec.and_then(|s| s.min_ready_seconds),
            update_strategy: spec
                .and_then(|s| serde_json::to_value(s.update_strategy.as_ref()?).ok()),
        }
    }

    /// Settings with those of the manifest on top; what the manifest omits stays, field by field
    /// within the strategy: a partition that only the StatefulSet has is the user's own.
    #[must_use]
    pub fn overlay_manifest(&self, manifest: &StatefulSet) -> Self {
        let other = Self::from_stateful_set(manifest);
        let update_strategy = match (&self.update_strategy, other.update_strategy) {
            (Some(live), Some(named)) if named["type"] != "OnDelete" => {
                let mut merged = json!({"type": "RollingUpdate"});
                for rolling in [live, &named]
                    .map(|s| &s["rollingUpdate"])
                    .into_iter()
                    .filter(|r| r.is_object())
                {
                    json_patch::merge(&mut merged, &json!({"rollingUpdate": rolling}));
                }
                Some(merged)
            }
            (live, named) => named.or_else(|| live.clone()),
        };
        Self {
            min_ready_seconds: other.min_ready_seconds.or(self.min_ready_seconds),
            update_strategy,
        }
    }

    /// Seconds a pod must be Ready before it counts.
    pub fn min_ready(&self) -> u32 {
        to_seconds(self.min_ready_seconds)
    }

    /// Whether pods are replaced only when somebody deletes them.
    pub fn is_on_delete(&self) -> bool {
        self.update_strategy
            .as_ref()
            .is_some_and(|s| s["type"] == "OnDelete")
    }

    /// The user's own partition: pods at positions below it are left alone.
    pub fn partition(&self) -> u32 {
        if self.is_on_delete() {
            u32::MAX
        } else {
            self.update_strategy.as_ref().map_or(0, partition_of)
        }
    }

    /// The user's strategy with another partition.
    pub fn strategy_stopping_at(&self, partition: u32) -> Value {
        let mut strategy = match &self.update_strategy {
            Some(Value::Object(map)) => map.clone(),
            _ => Map::new(),
        };
        strategy.insert("type".into(), "RollingUpdate".into());
        let rolling = strategy
            .entry("rollingUpdate")
            .or_insert_with(|| Value::Object(Map::new()));
        if !rolling.is_object() {
            *rolling = Value::Object(Map::new());
        }
        rolling["partition"] = partition.into();
        Value::Object(strategy)
    }
}

fn partition_of(strategy: &Value) -> u32 {
    let told = strategy["rollingUpdate"]["partition"].as_u64().unwrap_or(0);
    u32::try_from(told).unwrap_or(u32::MAX)
}
