//! Tables of objects, for `get` and `release list`.

use std::collections::BTreeMap;

use color_eyre::eyre::Result;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    api::{
        App, AppTemplate, Approval, Decision, Environment, EnvironmentStatus, Lane, LaneGroup,
        LaneSpec, RecordedTime, Release, RouteStatus, Served, VariableGroup,
    },
    cli::{
        output::{Table, format_age},
        session::Session,
    },
    domain::{apps, lanes::text, prune, text::truncate, variables},
};

/// An environment of an App and the pods that run in it.
pub(super) struct EnvironmentRow<'a> {
    pub(super) app: &'a App,
    pub(super) environment: &'a Environment,
    /// Ready and wanted pods; `None` if not known, or not visible to this user.
    pub(super) pods: Option<(i32, i32)>,
}

impl EnvironmentRow<'_> {
    fn status(&self) -> EnvironmentStatus {
        let all = self.app.status.as_ref().map(|s| &s.environments);
        all.and_then(|e| e.get(&self.environment.name))
            .cloned()
            .unwrap_or_default()
    }

    pub(super) fn to_json(&self) -> Result<Value> {
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

/// The table of objects; of all namespaces it is made for each of them alone, as equal names of two
/// namespaces have nothing to do with each other.
pub(in crate::cli) fn by_namespace<T: ResourceExt + Clone>(
    session: &Session,
    items: &[T],
    table: impl Fn(&[T], &str) -> Table,
) -> Table {
    if !session.lists_all {
        return table(items, &session.namespace);
    }
    let mut split: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for item in items {
        let namespace = item.namespace().unwrap_or_default();
        split.entry(namespace).or_default().push(item.clone());
    }
    let mut all = Table::new(&[]);
    for (namespace, items) in &split {
        let own = table(items, namespace).with_first_column("NAMESPACE", namespace);
        all.append(own);
    }
    all
}

/// Those of a namespace.
pub(super) fn select_namespace<T: ResourceExt + Clone>(items: &[T], namespace: &str) -> Vec<T> {
    let own = items
        .iter()
        .filter(|item| item.namespace().is_none_or(|name| name == namespace));
    own.cloned().collect()
}

fn creation_time(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.creation_timestamp.as_ref().map(|t| t.0)
}

/// Width limit of free text, in columns; `-o yaml` shows all of it.
const TEXT_WIDTH: usize = 60;
/// The same for a wide table.
const WIDE_TEXT_WIDTH: usize = 100;
/// Names of a list that are shown.
const LISTED_NAMES: usize = 3;

fn truncate_text(text: &str, most: usize) -> String {
    truncate(text, most).into_owned()
}

/// The first names and the number of the rest, as `a,b,c,+18`.
fn join_first_names<S: AsRef<str>>(all: &[S]) -> String {
    let named: Vec<&str> = all.iter().take(LISTED_NAMES).map(AsRef::as_ref).collect();
    let rest = all.len().saturating_sub(LISTED_NAMES);
    if rest == 0 {
        named.join(",")
    } else {
        format!("{},+{rest}", named.join(","))
    }
}

/// The number of problems and the first one.
fn summarize_problems(all: &[String]) -> String {
    match all {
        [] => String::new(),
        [one] => truncate_text(one, WIDE_TEXT_WIDTH),
        [first, ..] => truncate_text(&format!("{}: {first}", all.len()), WIDE_TEXT_WIDTH),
    }
}

/// Images by name, as `backend=spring-cloud-a:v2`.
fn format_images(map: &BTreeMap<String, String>) -> String {
    map.iter()
        .map(|(name, reference)| format!("{name}={reference}"))
        .collect::<Vec<_>>()
        .join(",")
}

pub(super) fn apps_table(items: &[App], wide: bool, now: Timestamp) -> Table {
    let mut table = Table::new(if wide {
        &[
            "NAME",
            "ENVIRONMENTS",
            "STAGES",
            "AGE",
            "IMAGES",
            "KEEPS",
            "REPOSITORY",
        ]
    } else {
        &["NAME", "ENVIRONMENTS", "STAGES", "AGE"]
    });
    for app in items {
        let stages = app.spec.workflow.stage_names();
        let mut row = vec![
            app.name_any(),
            truncate_text(&app.summary(), TEXT_WIDTH),
            truncate_text(&stages.join(","), TEXT_WIDTH),
            format_age(creation_time(&app.metadata), now),
        ];
        if wide {
            let sources = app
                .spec
                .images
                .iter()
                .map(|(k, v)| (k.clone(), v.repository.clone()))
                .collect();
            let repository = app.spec.repository.clone().unwrap_or_default();
            row.extend([
                truncate_text(&format_images(&sources), WIDE_TEXT_WIDTH),
                prune::describe_history(&app.spec.history),
                repository,
            ]);
        }
        table.add_row(row);
    }
    table
}

pub(super) fn templates_table(items: &[AppTemplate], made: &[App], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "NAME",
        "ENVIRONMENTS",
        "STAGES",
        "APPS",
        "AGE",
        "DESCRIPTION",
    ]);
    for template in items {
        let spec = &template.spec.app;
        let environments: Vec<&str> = spec.environments.iter().map(|e| e.name.as_str()).collect();
        let stages = spec.workflow.stage_names();
        let name = template.name_any();
        let apps = made
            .iter()
            .filter(|app| apps::template_name(app) == Some(&name))
            .count();
        table.add_row([
            name,
            environments.join(","),
            stages.join(","),
            apps.to_string(),
            format_age(creation_time(&template.metadata), now),
            template.spec.description.clone().unwrap_or_default(),
        ]);
    }
    table
}

pub(super) fn variable_groups_table(
    items: &[VariableGroup],
    apps: &[App],
    wide: bool,
    now: Timestamp,
) -> Table {
    let mut table = Table::new(if wide {
        &[
            "NAME",
            "APP",
            "VALUES",
            "REACHES",
            "AGE",
            "KEYS",
            "DESCRIPTION",
        ]
    } else {
        &["NAME", "APP", "VALUES", "REACHES", "AGE"]
    });
    let group_of = |name: &str| items.iter().find(|g| g.name_any() == name);
    for group in items {
        let name = group.name_any();
        let reached: Vec<String> = variables::find_reached(&name, apps, group_of)
            .iter()
            .map(|r| r.place())
            .collect();
        let mut row = vec![
            name,
            group.spec.app.clone().unwrap_or_default(),
            group.spec.values.len().to_string(),
            if wide {
                reached.join(",")
            } else {
                join_few_names(&reached)
            },
            format_age(creation_time(&group.metadata), now),
        ];
        if wide {
            let keys: Vec<&str> = group.spec.values.keys().map(String::as_str).collect();
            row.extend([
                keys.join(","),
                group.spec.description.clone().unwrap_or_default(),
            ]);
        }
        table.add_row(row);
    }
    table
}

/// Up to four names, else the first three and the number of the rest.
fn join_few_names(all: &[String]) -> String {
    match all.len() {
        0..=4 => all.join(","),
        n => format!("{},+{}", all[..3].join(","), n - 3),
    }
}

pub(super) fn environments_table(items: &[EnvironmentRow], wide: bool, now: Timestamp) -> Table {
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
        &[
            "APP",
            "ENVIRONMENT",
            "LANE",
            "STATE",
            "READY",
            "IMAGES",
            "CHANGED",
        ]
    });
    for item in items {
        let status = item.status();
        let ready = item
            .pods
            .map_or_else(|| "?".into(), |(ready, wanted)| format!("{ready}/{wanted}"));
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
            truncate_text(
                &format_images(&status.images),
                if wide { WIDE_TEXT_WIDTH } else { TEXT_WIDTH },
            ),
            format_age(
                status.changed_at.as_ref().and_then(RecordedTime::timestamp),
                now,
            ),
        ];
        if wide {
            let lock = item
                .environment
                .lock
                .as_ref()
                .map(|l| format!("{}: {}", l.by, l.reason));
            row.extend([
                item.environment.namespace.clone(),
                status.release.unwrap_or_default(),
                truncate_text(&lock.unwrap_or_default(), TEXT_WIDTH),
                truncate_text(&status.message.unwrap_or_default(), WIDE_TEXT_WIDTH),
            ]);
        }
        table.add_row(row);
    }
    table
}

pub(in crate::cli) fn releases_table(items: &[Release], wide: bool, now: Timestamp) -> Table {
    let mut table = Table::new(if wide {
        &[
            "NAME",
            "APP",
            "STAGE",
            "PHASE",
            "TASK",
            "AGE",
            "REQUESTER",
            "WINDOW",
            "IMAGES",
            "MESSAGE",
        ]
    } else {
        &["NAME", "APP", "STAGE", "PHASE", "TASK", "AGE"]
    });
    for release in items {
        let status = release.status.clone().unwrap_or_default();
        let stage = release
            .spec
            .teardown
            .as_ref()
            .map(|t| format!("(teardown {})", t.environment));
        let mut row = vec![
            release.name_any(),
            release.spec.app.clone(),
            stage.unwrap_or_else(|| release.spec.stage.clone()),
            format!("{:?}", status.phase),
            status.task.unwrap_or_default(),
            format_age(creation_time(&release.metadata), now),
        ];
        if wide {
            row.extend([
                release.spec.requester.clone(),
                release.spec.window.clone().unwrap_or_default(),
                truncate_text(&format_images(&status.images), WIDE_TEXT_WIDTH),
                truncate_text(&status.message.unwrap_or_default(), WIDE_TEXT_WIDTH),
            ]);
        }
        table.add_row(row);
    }
    table
}

/// The rule in one line: `/A and parameter group == gray`.
fn describe_rule(spec: &LaneSpec) -> String {
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
    parts.extend(spec.rule.all.iter().map(text::format_condition));
    if !spec.rule.any.is_empty() {
        let any: Vec<String> = spec.rule.any.iter().map(text::format_condition).collect();
        parts.push(format!("({})", any.join(" or ")));
    }
    parts.join(" and ")
}

pub(in crate::cli) fn lanes_table(items: &[Lane], wide: bool, now: Timestamp) -> Table {
    let mut table = Table::new(if wide {
        &[
            "NAME", "GROUP", "TAG", "ENABLED", "PRIORITY", "MATCH", "GRAY", "AGE", "APPS",
            "PROBLEMS",
        ]
    } else {
        &[
            "NAME", "GROUP", "TAG", "ENABLED", "PRIORITY", "MATCH", "GRAY", "AGE",
        ]
    });
    let mut sorted: Vec<&Lane> = items.iter().collect();
    // In the order in which lanes are matched.
    sorted.sort_by_key(|l| (l.spec.group.clone(), l.spec.priority, l.name_any()));
    for lane in sorted {
        let status = lane.status.clone().unwrap_or_default();
        let gray: Vec<&str> = status
            .apps
            .iter()
            .filter(|a| a.served == Served::Gray)
            .map(|a| a.app.as_str())
            .collect();
        let served = if status.apps.is_empty() {
            String::new()
        } else {
            format!("{}/{}", gray.len(), status.apps.len())
        };
        let mut row = vec![
            lane.name_any(),
            lane.spec.group.clone(),
            lane.spec.tag.clone(),
            lane.spec.enabled.to_string(),
            lane.spec.priority.to_string(),
            truncate_text(&describe_rule(&lane.spec), TEXT_WIDTH),
            served,
            format_age(creation_time(&lane.metadata), now),
        ];
        if wide {
            row.extend([
                join_first_names(&gray),
                summarize_problems(&status.problems),
            ]);
        }
        table.add_row(row);
    }
    table
}

/// How many routes were accepted by their controllers, and the first that was not.
fn describe_acceptance(routes: &[RouteStatus]) -> String {
    let taken = routes.iter().filter(|r| r.accepted == Some(true)).count();
    let count = format!("{taken}/{}", routes.len());
    let refused = routes
        .iter()
        .find(|r| r.accepted == Some(false))
        .map(|r| format!("{} refused", r.name));
    let silent = routes
        .iter()
        .find(|r| r.accepted.is_none() && r.message.is_some());
    let silent = silent.map(|r| format!("{} unanswered", r.name));
    refused
        .or(silent)
        .map_or(count.clone(), |words| format!("{count}, {words}"))
}

pub(super) fn lane_groups_table(items: &[LaneGroup], wide: bool, now: Timestamp) -> Table {
    let mut table = Table::new(if wide {
        &[
            "NAME", "GATEWAY", "ADDRESS", "ROUTES", "APPS", "AGE", "HEADER", "MODE", "INSIDE",
            "BY", "PROBLEMS",
        ]
    } else {
        &["NAME", "GATEWAY", "ADDRESS", "ROUTES", "APPS", "AGE"]
    });
    for group in items {
        let status = group.status.clone().unwrap_or_default();
        let apps: Vec<&str> = group.spec.apps.iter().map(|a| a.app.as_str()).collect();
        let mut row = vec![
            group.name_any(),
            group.spec.entry.gateway.clone(),
            join_first_names(&status.addresses),
            truncate_text(&describe_acceptance(&status.routes), TEXT_WIDTH),
            join_first_names(&apps),
            format_age(creation_time(&group.metadata), now),
        ];
        if wide {
            let mode = format!("{:?}", group.spec.mode).to_lowercase();
            let gateway = status.gateway.unwrap_or_default();
            let by = gateway.controller.map_or(gateway.class.clone(), |c| {
                format!("{} ({c})", gateway.class)
            });
            let wrong = status
                .routes
                .iter()
                .filter_map(|r| Some(format!("{}: {}", r.name, r.message.as_ref()?)));
            let all: Vec<String> = status.problems.iter().cloned().chain(wrong).collect();
            let header = group.spec.propagation.header.clone();
            row.extend([
                header,
                mode,
                join_first_names(&status.internal),
                truncate_text(&by, TEXT_WIDTH),
                summarize_problems(&all),
            ]);
        }
        table.add_row(row);
    }
    table
}

pub(super) fn approvals_table(items: &[Approval], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "NAME", "RELEASE", "TASK", "ATTEMPT", "DECISION", "APPROVER", "AGE", "COMMENT",
    ]);
    for approval in items {
        let spec = &approval.spec;
        table.add_row([
            approval.name_any(),
            spec.release.clone(),
            spec.task.clone(),
            spec.attempt.to_string(),
            if spec.decision == Decision::Pass {
                "pass".into()
            } else {
                "refuse".into()
            },
            spec.approver.clone(),
            format_age(creation_time(&approval.metadata), now),
            truncate_text(&spec.comment.clone().unwrap_or_default(), TEXT_WIDTH),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// However many values there are, a row stays readable.
    #[test]
    fn no_row_grows_with_what_is_wrong() {
        let apps: Vec<String> = (0..21)
            .map(|n| format!("spring-cloud-service-{n}"))
            .collect();
        let long = |n: usize| {
            format!(
                "HTTPRoute group-service-{n}: {}",
                "refused by the gateway, ".repeat(10)
            )
        };
        let wrong: Vec<String> = (0..21).map(long).collect();
        let told: Vec<Value> = apps
            .iter()
            .map(|a| json!({"app": a, "served": "gray", "reason": "because"}))
            .collect();
        let any: Vec<Value> = (0..30)
            .map(|n| json!({"type": "parameter", "key": format!("k{n}"), "op": "==", "values": ["gray"]}))
            .collect();
        let lane = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Lane", "metadata": {"name": "gray"},
            "spec": {"group": "g", "tag": "gray", "enabled": true, "match": {"any": any}},
            "status": {"apps": told, "problems": wrong}});
        let lane: Lane = serde_json::from_value(lane).unwrap();
        let routes: Vec<Value> = apps
            .iter()
            .map(|a| json!({"name": a, "accepted": false, "message": "no".repeat(200)}))
            .collect();
        let members: Vec<Value> = apps.iter().map(|a| json!({"app": a, "port": 80})).collect();
        let group = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "LaneGroup", "metadata": {"name": "g"},
            "spec": {"entry": {"gateway": "edge", "routes": []}, "apps": members},
            "status": {"routes": routes, "problems": wrong, "addresses": apps}});
        let group: LaneGroup = serde_json::from_value(group).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        for (table, most) in [
            (lanes_table(std::slice::from_ref(&lane), false, now), 140),
            (lanes_table(&[lane], true, now), 340),
            (
                lane_groups_table(std::slice::from_ref(&group), false, now),
                260,
            ),
            (lane_groups_table(&[group], true, now), 460),
        ] {
            let text = table.render();
            assert!(
                text.lines().all(|l| l.chars().count() <= most),
                "{most}: {text}"
            );
        }
        assert_eq!(summarize_problems(&[]), "");
        assert!(
            summarize_problems(&wrong).starts_with("21: HTTPRoute group-service-0: "),
            "{}",
            summarize_problems(&wrong)
        );
        assert_eq!(
            (
                join_first_names(&apps[..3]).as_str(),
                join_first_names(&["a", "b", "c", "d"]).as_str()
            ),
            (apps[..3].join(",").as_str(), "a,b,c,+1")
        );
    }

    #[test]
    fn a_rule_reads_as_a_sentence() {
        let spec = |v: Value| serde_json::from_value::<LaneSpec>(v).unwrap();
        let one = json!({"type": "parameter", "key": "group", "op": "==", "values": ["gray"]});
        let two = json!({"type": "cookie", "key": "u", "op": "exists"});
        assert_eq!(
            describe_rule(&spec(
                json!({"group": "g", "tag": "t", "match": {"all": [one]}})
            )),
            "parameter group == gray"
        );
        let any =
            spec(json!({"group": "g", "tag": "t", "match": {"paths": ["/A"], "any": [one, two]}}));
        assert_eq!(
            describe_rule(&any),
            "/A and (parameter group == gray or cookie u exists)"
        );
        assert_eq!(
            describe_rule(&spec(json!({"group": "g", "tag": "t"}))),
            "every request"
        );
        assert_eq!(
            describe_rule(&spec(json!({"group": "g", "tag": "t", "share": 12.5}))),
            "12.5% of all"
        );
    }
}
