//! The columns of `get`.

use std::collections::BTreeMap;

use color_eyre::eyre::Result;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    api::{App, Approval, Decision, Environment, EnvironmentStatus, Lane, LaneGroup, LaneSpec, Release, RouteStatus},
    cli::output::{Table, age},
    domain::lanes::text,
};

/// One environment of one App, and what runs in it.
pub(super) struct EnvironmentRow<'a> {
    pub(super) app: &'a App,
    pub(super) environment: &'a Environment,
    /// Ready pods and wanted pods. None: not known from here, or not to be seen by this user.
    pub(super) pods: Option<(i32, i32)>,
}

impl EnvironmentRow<'_> {
    fn status(&self) -> EnvironmentStatus {
        let all = self.app.status.as_ref().map(|s| &s.environments);
        all.and_then(|e| e.get(&self.environment.name)).cloned().unwrap_or_default()
    }

    pub(super) fn data(&self) -> Result<Value> {
        let (ready, replicas) = self.pods.unzip();
        Ok(json!({
            "app": self.app.name_any(),
            "name": self.environment.name,
            "spec": serde_json::to_value(self.environment)?,
            "status": serde_json::to_value(self.status())?,
            "ready": ready,
            "replicas": replicas,
        }))
    }
}

fn born(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.creation_timestamp.as_ref().map(|t| t.0)
}

/// The images, without what all of them share: `backend=spring-cloud-a:v2`.
fn images(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(name, reference)| format!("{name}={reference}")).collect::<Vec<_>>().join(",")
}

pub(super) fn apps(items: &[App], wide: bool, now: Timestamp) -> Table {
    let mut table = Table::new(if wide {
        &["NAME", "ENVIRONMENTS", "STAGES", "AGE", "IMAGES", "REPOSITORY"]
    } else {
        &["NAME", "ENVIRONMENTS", "STAGES", "AGE"]
    });
    for app in items {
        let stages: Vec<&str> = app.spec.workflow.stages.iter().map(|s| s.name.as_str()).collect();
        let mut row = vec![app.name_any(), app.summary(), stages.join(","), age(born(&app.metadata), now)];
        if wide {
            let sources = app.spec.images.iter().map(|(k, v)| (k.clone(), v.repository.clone())).collect();
            row.extend([images(&sources), app.spec.repository.clone().unwrap_or_default()]);
        }
        table.row(row);
    }
    table
}

pub(super) fn environments(items: &[EnvironmentRow], wide: bool, now: Timestamp) -> Table {
    let mut table = Table::new(if wide {
        &[
            "APP",
            "ENVIRONMENT",
            "LANE",
            "STATE",
            "READY",
            "IMAGES",
            "CHANGED",
            "NAMESPACE",
            "RELEASE",
            "LOCK",
            "MESSAGE",
        ]
    } else {
        &["APP", "ENVIRONMENT", "LANE", "STATE", "READY", "IMAGES", "CHANGED"]
    });
    for item in items {
        let status = item.status();
        let ready = item.pods.map_or_else(|| "?".into(), |(ready, wanted)| format!("{ready}/{wanted}"));
        let state = if item.environment.lock.is_some() {
            format!("{:?},Locked", status.state)
        } else {
            format!("{:?}", status.state)
        };
        let mut row = vec![
            item.app.name_any(),
            item.environment.name.clone(),
            item.environment.lane.clone().unwrap_or_default(),
            state,
            ready,
            images(&status.images),
            age(status.changed_at.as_deref().and_then(|t| t.parse().ok()), now),
        ];
        if wide {
            let lock = item.environment.lock.as_ref().map(|l| format!("{}: {}", l.by, l.reason));
            row.extend([
                item.environment.namespace.clone(),
                status.release.unwrap_or_default(),
                lock.unwrap_or_default(),
                status.message.unwrap_or_default(),
            ]);
        }
        table.row(row);
    }
    table
}

pub(in crate::cli) fn releases(items: &[Release], wide: bool, now: Timestamp) -> Table {
    let mut table = Table::new(if wide {
        &["NAME", "APP", "STAGE", "PHASE", "TASK", "AGE", "REQUESTER", "WINDOW", "IMAGES", "MESSAGE"]
    } else {
        &["NAME", "APP", "STAGE", "PHASE", "TASK", "AGE"]
    });
    for release in items {
        let status = release.status.clone().unwrap_or_default();
        let stage = release.spec.teardown.as_ref().map(|t| format!("(teardown {})", t.environment));
        let mut row = vec![
            release.name_any(),
            release.spec.app.clone(),
            stage.unwrap_or_else(|| release.spec.stage.clone()),
            format!("{:?}", status.phase),
            status.task.unwrap_or_default(),
            age(born(&release.metadata), now),
        ];
        if wide {
            row.extend([
                release.spec.requester.clone(),
                release.spec.window.clone().unwrap_or_default(),
                images(&status.images),
                status.message.unwrap_or_default(),
            ]);
        }
        table.row(row);
    }
    table
}

/// The rule in one line: `/A and parameter group == gray`.
fn rule(spec: &LaneSpec) -> String {
    if let Some(share) = spec.share {
        return format!("{share}% of all");
    }
    if spec.rule.is_empty() {
        return "every request".into();
    }
    let mut parts = vec![];
    if !spec.rule.paths.is_empty() {
        parts.push(spec.rule.paths.join("|"));
    }
    parts.extend(spec.rule.all.iter().map(text::print));
    if !spec.rule.any.is_empty() {
        let any: Vec<String> = spec.rule.any.iter().map(text::print).collect();
        parts.push(format!("({})", any.join(" or ")));
    }
    parts.join(" and ")
}

pub(in crate::cli) fn lanes(items: &[Lane], wide: bool, now: Timestamp) -> Table {
    let mut table = Table::new(if wide {
        &["NAME", "GROUP", "TAG", "ENABLED", "PRIORITY", "MATCH", "SERVED", "AGE", "PROBLEMS"]
    } else {
        &["NAME", "GROUP", "TAG", "ENABLED", "PRIORITY", "MATCH", "SERVED", "AGE"]
    });
    let mut sorted: Vec<&Lane> = items.iter().collect();
    // The order in which they are asked.
    sorted.sort_by_key(|l| (l.spec.group.clone(), l.spec.priority, l.name_any()));
    for lane in sorted {
        let status = lane.status.clone().unwrap_or_default();
        let served: Vec<String> = status.apps.iter().map(|a| format!("{}={}", a.app, a.served.word())).collect();
        let mut row = vec![
            lane.name_any(),
            lane.spec.group.clone(),
            lane.spec.tag.clone(),
            lane.spec.enabled.to_string(),
            lane.spec.priority.to_string(),
            rule(&lane.spec),
            served.join(","),
            age(born(&lane.metadata), now),
        ];
        if wide {
            row.push(status.problems.join("; "));
        }
        table.row(row);
    }
    table
}

/// How many routes their controllers have taken, and which they have not.
fn taken(routes: &[RouteStatus]) -> String {
    let taken = routes.iter().filter(|r| r.accepted == Some(true)).count();
    let count = format!("{taken}/{}", routes.len());
    let refused = routes.iter().find(|r| r.accepted == Some(false)).map(|r| format!("{} refused", r.name));
    let silent = routes.iter().find(|r| r.accepted.is_none() && r.message.is_some());
    let silent = silent.map(|r| format!("{} unanswered", r.name));
    refused.or(silent).map_or(count.clone(), |words| format!("{count}, {words}"))
}

pub(super) fn groups(items: &[LaneGroup], wide: bool, now: Timestamp) -> Table {
    let mut table = Table::new(if wide {
        &["NAME", "GATEWAY", "ADDRESS", "ROUTES", "APPS", "AGE", "HEADER", "MODE", "INSIDE", "BY", "PROBLEMS"]
    } else {
        &["NAME", "GATEWAY", "ADDRESS", "ROUTES", "APPS", "AGE"]
    });
    for group in items {
        let status = group.status.clone().unwrap_or_default();
        let apps: Vec<&str> = group.spec.apps.iter().map(|a| a.app.as_str()).collect();
        let mut row = vec![
            group.name_any(),
            group.spec.entry.gateway.clone(),
            status.addresses.join(","),
            taken(&status.routes),
            apps.join(","),
            age(born(&group.metadata), now),
        ];
        if wide {
            let mode = format!("{:?}", group.spec.mode).to_lowercase();
            let gateway = status.gateway.unwrap_or_default();
            let by = gateway.controller.map_or(gateway.class.clone(), |c| format!("{} ({c})", gateway.class));
            let wrong = status.routes.iter().filter_map(|r| Some(format!("{}: {}", r.name, r.message.as_ref()?)));
            let problems: Vec<String> = status.problems.iter().cloned().chain(wrong).collect();
            let inside = status.internal.join(",");
            row.extend([group.spec.propagation.header.clone(), mode, inside, by, problems.join("; ")]);
        }
        table.row(row);
    }
    table
}

pub(super) fn approvals(items: &[Approval], now: Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "RELEASE", "TASK", "ATTEMPT", "DECISION", "APPROVER", "AGE", "COMMENT"]);
    for approval in items {
        let spec = &approval.spec;
        table.row([
            approval.name_any(),
            spec.release.clone(),
            spec.task.clone(),
            spec.attempt.to_string(),
            if spec.decision == Decision::Pass { "pass".into() } else { "refuse".into() },
            spec.approver.clone(),
            age(born(&approval.metadata), now),
            spec.comment.clone().unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_reads_as_a_sentence() {
        let spec = |v: Value| serde_json::from_value::<LaneSpec>(v).unwrap();
        let one = json!({"type": "parameter", "key": "group", "op": "==", "values": ["gray"]});
        let two = json!({"type": "cookie", "key": "u", "op": "exists"});
        assert_eq!(rule(&spec(json!({"group": "g", "tag": "t", "match": {"all": [one]}}))), "parameter group == gray");
        let any = spec(json!({"group": "g", "tag": "t", "match": {"paths": ["/A"], "any": [one, two]}}));
        assert_eq!(rule(&any), "/A and (parameter group == gray or cookie u exists)");
        assert_eq!(rule(&spec(json!({"group": "g", "tag": "t"}))), "every request");
        assert_eq!(rule(&spec(json!({"group": "g", "tag": "t", "share": 12.5}))), "12.5% of all");
    }
}
