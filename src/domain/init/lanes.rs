//! A LaneGroup and a Lane for a first App.

use serde_json::{Value, json};

use super::comments::{LANE, LANE_GROUP, comment_yaml};
use crate::api::{
    Condition, ConditionOn, Entry, EntryRoute, GROUP, LaneApp, LaneGroupSpec, LaneMatch, LaneSpec,
    Operator, VERSION,
};

/// Names of a lane group and its lane.
#[derive(Clone, Copy, Debug)]
pub struct LaneNames<'a> {
    /// Namespace of both.
    pub namespace: &'a str,
    /// Name of the lane group.
    pub group: &'a str,
    /// Gateway of the entry.
    pub gateway: &'a str,
    /// Path prefix that leads to the App.
    pub path: &'a str,
    /// The App.
    pub app: &'a str,
    /// Service and port that callers use.
    pub service: (&'a str, u16),
    /// Lane tag of the gray version, if there is one.
    pub tag: Option<&'a str>,
}

/// A LaneGroup, and a Lane where there is a gray version, as commented YAML documents.
pub fn build_lane_objects(names: &LaneNames) -> Vec<String> {
    let (service, port) = names.service;
    let group = LaneGroupSpec {
        entry: Entry {
            gateway: names.gateway.into(),
            host: None,
            routes: vec![EntryRoute {
                path: names.path.into(),
                app: names.app.into(),
                rewrite: None,
            }],
        },
        apps: vec![LaneApp {
            app: names.app.into(),
            service: Some(service.to_owned()).filter(|s| s != names.app),
            port,
        }],
        ..LaneGroupSpec::default()
    };
    let mut texts = vec![comment_yaml(
        &write_object("LaneGroup", names.group, names.namespace, json!(group)),
        LANE_GROUP,
    )];
    if let Some(tag) = names.tag {
        let lane = LaneSpec {
            group: names.group.into(),
            tag: tag.into(),
            enabled: true,
            priority: 10,
            rule: LaneMatch {
                all: vec![Condition {
                    on: ConditionOn::Parameter,
                    key: Some("group".into()),
                    op: Operator::Equal,
                    values: vec![tag.into()],
                }],
                ..LaneMatch::default()
            },
            ..LaneSpec::default()
        };
        texts.push(comment_yaml(
            &write_object("Lane", tag, names.namespace, json!(lane)),
            LANE,
        ));
    }
    texts
}

fn write_object(kind: &str, name: &str, namespace: &str, spec: Value) -> String {
    kube_yaml::to_yaml(&json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }))
}
