//! Detects edits of an App that weaken its approvals. They need a separate right
//! ([`super::rights::Right::Weaken`]); an operator may change everything else. The admission policy
//! that `install` creates checks the same in CEL.
//!
//! An approval is weakened if it is removed, if more people may give it or fewer must, or if a
//! deploy that needed it can run without it.

use std::collections::BTreeSet;

use crate::api::{ApprovalMode, ApprovalTask, Stage, Task, Workflow};

/// Describes how `after` weakens the approvals of `before`. Empty if it does not.
pub fn find_weakened_approvals(before: &Workflow, after: &Workflow) -> Vec<String> {
    let mut told = vec![];
    for (stage, task, approval) in approval_tasks(before) {
        let place = format!("approval {} of stage {}", task.name, stage.name);
        let now = after.stages.iter().find(|s| s.name == stage.name);
        let kept = now.and_then(|s| {
            s.tasks
                .iter()
                .find(|t| t.name == task.name)?
                .approval
                .as_ref()
        });
        let (Some(now), Some(kept)) = (now, kept) else {
            told.push(format!("{place} is gone"));
            continue;
        };
        told.extend(
            weakened_rules(approval, kept)
                .into_iter()
                .map(|why| format!("{place}: {why}")),
        );
        let before: BTreeSet<&str> = deploys_before(stage, &task.name).collect();
        let early =
            deploys_before(now, &task.name).filter(|environment| !before.contains(environment));
        told.extend(
            early.map(|environment| format!("{place}: {environment} is deployed to before it")),
        );
    }
    for stage in &after.stages {
        let deploys = stage
            .tasks
            .iter()
            .filter_map(|t| t.deploy.as_ref())
            .map(|d| d.environment.as_str());
        for environment in deploys.collect::<BTreeSet<_>>() {
            let known = before
                .stages
                .iter()
                .any(|s| s.name == stage.name && deploy_position(s, environment).is_some());
            if !known && before.stages.iter().any(|s| is_guarded(s, environment)) {
                told.push(format!(
                    "stage {} is a new way to {environment}, which needs an approval",
                    stage.name
                ));
            }
        }
    }
    told
}

fn approval_tasks(workflow: &Workflow) -> impl Iterator<Item = (&Stage, &Task, &ApprovalTask)> {
    let tasks = workflow
        .stages
        .iter()
        .flat_map(|s| s.tasks.iter().map(move |t| (s, t)));
    tasks.filter_map(|(s, t)| Some((s, t, t.approval.as_ref()?)))
}

/// Environments that a stage deploys to before a task.
fn deploys_before<'a>(stage: &'a Stage, task: &str) -> impl Iterator<Item = &'a str> {
    let at = stage.tasks.iter().position(|t| t.name == task).unwrap_or(0);
    stage.tasks[..at]
        .iter()
        .filter_map(|t| t.deploy.as_ref())
        .map(|d| d.environment.as_str())
}

fn deploy_position(stage: &Stage, environment: &str) -> Option<usize> {
    stage.tasks.iter().position(|t| {
        t.deploy
            .as_ref()
            .is_some_and(|d| d.environment == environment)
    })
}

/// Whether an approval comes before the last deploy to the environment.
fn is_guarded(stage: &Stage, environment: &str) -> bool {
    let first = stage.tasks.iter().position(|t| t.approval.is_some());
    let last = stage.tasks.iter().rposition(|t| {
        t.deploy
            .as_ref()
            .is_some_and(|d| d.environment == environment)
    });
    matches!((first, last), (Some(first), Some(last)) if first < last)
}

fn weakened_rules(before: &ApprovalTask, after: &ApprovalTask) -> Vec<&'static str> {
    let set = |task: &ApprovalTask| task.approvers.iter().cloned().collect::<BTreeSet<_>>();
    let count = |task: &ApprovalTask| task.count.unwrap_or(1);
    // Any other list allows other people. For `all`, a shorter list requires fewer of them.
    let others = !before.approvers.is_empty() && set(before) != set(after);
    let mode = match (before.mode, after.mode) {
        (ApprovalMode::Any, _) | (ApprovalMode::All, ApprovalMode::All) => false,
        (ApprovalMode::Count, ApprovalMode::Count) => count(after) < count(before),
        _ => true,
    };
    let requester = after.requester_may_approve && !before.requester_may_approve;
    let told = [
        (others, "it has other approvers"),
        (mode, "it needs fewer approvals"),
        (requester, "the requester may approve"),
        (
            after.timeout_seconds > before.timeout_seconds,
            "it waits for longer",
        ),
    ];
    told.into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, why)| why)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn workflow(stages: Value) -> Workflow {
        serde_json::from_value(json!({"stages": stages})).unwrap()
    }

    fn production(gate: Value) -> Value {
        json!([
            {"name": "test", "tasks": [{"name": "up", "deploy": {"environment": "test"}}]},
            {"name": "production", "tasks": [
                {"name": "gray", "deploy": {"environment": "gray"}},
                {"name": "gate", "approval": gate},
                {"name": "prod", "deploy": {"environment": "prod"}},
            ]},
        ])
    }

    #[test]
    fn an_approval_is_kept_or_made_stronger_and_whatever_is_weaker_is_told() {
        let two =
            json!({"approvers": ["ann", "bob"], "mode": "count", "count": 2, "timeoutSeconds": 60});
        let table = [
            (two.clone(), two.clone(), ""),
            (json!({}), two.clone(), ""),
            (
                json!({"approvers": ["ann", "bob"]}),
                json!({"approvers": ["bob", "ann"], "mode": "all"}),
                "",
            ),
            (json!({"requesterMayApprove": true}), json!({}), ""),
            (
                json!({"mode": "count", "count": 1}),
                json!({"mode": "count", "count": 2}),
                "",
            ),
            (
                json!({"timeoutSeconds": 60}),
                json!({"timeoutSeconds": 59}),
                "",
            ),
            (
                json!({"approvers": ["ann"]}),
                json!({}),
                "it has other approvers",
            ),
            (
                json!({"approvers": ["ann"]}),
                json!({"approvers": ["ann", "eve"]}),
                "it has other approvers",
            ),
            (
                json!({"approvers": ["ann", "bob"], "mode": "all"}),
                json!({"approvers": ["ann"], "mode": "all"}),
                "it has other approvers",
            ),
            (
                json!({"mode": "all"}),
                json!({}),
                "it needs fewer approvals",
            ),
            (
                json!({"mode": "all"}),
                json!({"mode": "count", "count": 9}),
                "it needs fewer approvals",
            ),
            (
                json!({"mode": "count", "count": 2}),
                json!({"mode": "count", "count": 1}),
                "it needs fewer approvals",
            ),
            (
                json!({"mode": "count", "count": 2}),
                json!({"mode": "count"}),
                "it needs fewer approvals",
            ),
            (
                json!({}),
                json!({"requesterMayApprove": true}),
                "the requester may approve",
            ),
            (
                json!({"timeoutSeconds": 60}),
                json!({"timeoutSeconds": 61}),
                "it waits for longer",
            ),
        ];
        for (before, after, wanted) in table {
            let told = find_weakened_approvals(
                &workflow(production(before.clone())),
                &workflow(production(after.clone())),
            );
            let right = if wanted.is_empty() {
                told.is_empty()
            } else {
                told.len() == 1 && told[0].contains(wanted)
            };
            assert!(right, "{before} → {after}: {told:?}");
        }
    }

    #[test]
    fn no_way_leads_around_an_approval() {
        let before = production(json!({}));
        type Edit = fn(&mut Value);
        fn add_stage(w: &mut Value, to: &str) {
            let stage =
                json!({"name": "s", "tasks": [{"name": "t", "deploy": {"environment": to}}]});
            w.as_array_mut().unwrap().push(stage);
        }
        fn tasks(w: &mut Value) -> &mut Vec<Value> {
            w[1]["tasks"].as_array_mut().unwrap()
        }
        let edits: [(&str, Edit); 10] = [
            ("", |w| {
                tasks(w).push(json!({"name": "more", "deploy": {"environment": "prod"}}));
            }),
            ("", |w| {
                tasks(w).insert(0, json!({"name": "go", "proceed": {}}));
            }),
            ("", |w| add_stage(w, "new")),
            ("", |w| add_stage(w, "gray")),
            ("is gone", |w| drop(tasks(w).remove(1))),
            ("is gone", |w| drop(w.as_array_mut().unwrap().remove(1))),
            ("is gone", |w| w[1]["name"] = "other".into()),
            ("is gone", |w| {
                w[1]["tasks"][1] = json!({"name": "gate", "proceed": {}});
            }),
            ("prod is deployed to before it", |w| tasks(w).swap(1, 2)),
            ("stage s is a new way to prod", |w| add_stage(w, "prod")),
        ];
        for (n, (wanted, edit)) in edits.into_iter().enumerate() {
            let mut after = before.clone();
            edit(&mut after);
            let told = find_weakened_approvals(&workflow(before.clone()), &workflow(after));
            let right = if wanted.is_empty() {
                told.is_empty()
            } else {
                told.iter().any(|t| t.contains(wanted))
            };
            assert!(right, "case {n}: {told:?}");
        }
    }
}
