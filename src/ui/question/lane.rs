//! Questions about lanes: what changes, and which requests move to another lane.

use serde_json::json;
use similar::{ChangeTag, TextDiff};

use super::{AskError, ObservedObject, Question};
use crate::{
    api::{LaneSpec, OnLoss},
    domain::{
        command_line::CommandLine,
        intent::Intent,
        lanes::{Severity, text},
        world::World,
    },
    ui::{form::Remark, model::Model, rule},
};

/// Diff of two specs as YAML.
pub fn diff_specs(before: Option<&LaneSpec>, after: &LaneSpec) -> Vec<Remark> {
    diff_lines(
        &before.map(rule::spec_to_yaml).unwrap_or_default(),
        &rule::spec_to_yaml(after),
    )
}

/// Removed and added lines.
pub(super) fn diff_lines(old: &str, new: &str) -> Vec<Remark> {
    TextDiff::from_lines(old, new)
        .iter_all_changes()
        .filter_map(|change| {
            let line = change.value().trim_end().to_owned();
            match change.tag() {
                ChangeTag::Delete => Some(Remark::Minus(line)),
                ChangeTag::Insert => Some(Remark::Plus(line)),
                ChangeTag::Equal => None,
            }
        })
        .collect()
}

fn add_moves(
    question: &mut Question,
    world: &World,
    group: &str,
    name: &str,
    spec: Option<&LaneSpec>,
) {
    let seen = rule::recent_requests(world, group).len();
    let moves = rule::describe_moves(world, group, name, spec);
    if seen == 0 {
        question
            .happens
            .push("no recent request is at hand to try it on".into());
    } else if moves.is_empty() {
        question.happens.push(format!(
            "none of the {seen} recent kinds of requests goes elsewhere"
        ));
    }
    question.happens.extend(moves.into_iter().take(8));
}

fn add_served_apps(question: &mut Question, model: &Model, name: &str) {
    let Some(lane) = model.world.lanes.get(name) else {
        return;
    };
    let status = lane.status.clone().unwrap_or_default();
    for app in &status.apps {
        question.add_fact(
            "app",
            format!(
                "{} by {}: {}",
                model.facts.short_name(&app.app),
                app.served.as_str(),
                app.reason
            ),
        );
    }
}

/// The question before a lane is created or changed.
pub fn ask_to_set_lane(
    model: &Model,
    name: &str,
    is_new: bool,
    spec: &LaneSpec,
) -> Result<Question, AskError> {
    let before = model.world.lanes.get(name);
    let shown = ObservedObject::from_world(&model.world, "lanes", name, None);
    let seen = shown.as_ref().map(ObservedObject::to_seen);
    if is_new && before.is_some() {
        return Err(AskError::LaneExists(name.to_owned()));
    }
    let verb = if is_new { "Add" } else { "Save" };
    let intent = Intent::SetLane {
        name: name.into(),
        seen,
        spec: spec.clone(),
    };
    let mut question = Question::new(
        format!("{verb} lane {name}?"),
        verb,
        intent,
        name,
        "lane sent",
    );
    question.add_fact("group", spec.group.clone());
    question.add_fact(
        "rule",
        format!("{} → tag {}", rule::describe_rule(spec), spec.tag),
    );
    question.diff = diff_specs(before.map(|l| &l.spec), spec);
    if question.diff.is_empty() {
        return Err(AskError::Unchanged);
    }
    for problem in rule::check_lane(&model.world, name, spec) {
        match problem.severity {
            Severity::Error => return Err(AskError::Refused(problem.to_string())),
            Severity::Warning => question.doubts.push(problem.to_string()),
        }
    }
    add_moves(&mut question, &model.world, &spec.group, name, Some(spec));
    question.kubectl.push(set_command(name, spec));
    question.objects.extend(shown);
    Ok(question)
}

/// The `graylane lane set` command for the whole spec.
fn set_command(name: &str, spec: &LaneSpec) -> CommandLine {
    let line = CommandLine::graylane("lane set")
        .arg(name)
        .option("--group", &spec.group)
        .option("--tag", &spec.tag);
    let line = spec
        .rule
        .paths
        .iter()
        .fold(line, |line, p| line.option("--path", p));
    let line = spec.rule.all.iter().fold(line, |line, c| {
        line.option("--when", text::format_condition(c))
    });
    let line = spec.rule.any.iter().fold(line, |line, c| {
        line.option("--any", text::format_condition(c))
    });
    let line = line.option_if("--share", spec.share.map(|s| s.to_string()));
    let loss = match spec.on_loss {
        OnLoss::FallBack => "fall-back",
        OnLoss::Hold => "hold",
        OnLoss::Close => "close",
    };
    line.option("--priority", spec.priority.to_string())
        .option("--enabled", if spec.enabled { "true" } else { "false" })
        .option("--strict", if spec.strict { "true" } else { "false" })
        .option("--on-loss", loss)
}

pub(super) fn ask_to_toggle_lane(model: &Model) -> Result<Question, AskError> {
    let (name, lane) = model.selected_lane().ok_or(AskError::NoLane)?;
    let shown =
        ObservedObject::from_world(&model.world, "lanes", name, None).ok_or(AskError::LaneGone)?;
    let enabled = !lane.spec.enabled;
    let (verb, sent) = if enabled {
        ("Enable", "enabling")
    } else {
        ("Disable", "disabling")
    };
    let intent = Intent::EnableLane {
        name: name.clone(),
        seen: Some(shown.to_seen()),
        enabled,
    };
    let mut question = Question::new(format!("{verb} lane {name}?"), verb, intent, name, sent);
    question.add_fact(
        "rule",
        format!(
            "{} → tag {}",
            rule::describe_rule(&lane.spec),
            lane.spec.tag
        ),
    );
    add_served_apps(&mut question, model, name);
    let mut after = lane.spec.clone();
    after.enabled = enabled;
    for problem in rule::check_lane(&model.world, name, &after) {
        question.doubts.push(problem.to_string());
    }
    add_moves(
        &mut question,
        &model.world,
        &lane.spec.group,
        name,
        Some(&after),
    );
    let namespace = &model.world.namespace;
    question.kubectl.push(
        CommandLine::graylane(if enabled {
            "lane enable"
        } else {
            "lane disable"
        })
        .arg(name),
    );
    let line = CommandLine::kubectl("")
        .option("-n", namespace)
        .fixed_args("patch lane")
        .arg(name)
        .fixed_args("--type merge");
    question
        .kubectl
        .push(line.json_option("-p", &json!({"spec": {"enabled": enabled}})));
    question.objects.push(shown);
    Ok(question)
}

pub(super) fn ask_to_delete_lane(model: &Model) -> Result<Question, AskError> {
    let (name, lane) = model.selected_lane().ok_or(AskError::NoLane)?;
    let shown =
        ObservedObject::from_world(&model.world, "lanes", name, None).ok_or(AskError::LaneGone)?;
    let intent = Intent::DeleteLane {
        name: name.clone(),
        seen: Some(shown.to_seen()),
    };
    let mut question = Question::new(
        format!("Delete lane {name}?"),
        "Delete",
        intent,
        name,
        "deletion sent",
    );
    question.add_fact(
        "rule",
        format!(
            "{} → tag {}",
            rule::describe_rule(&lane.spec),
            lane.spec.tag
        ),
    );
    add_served_apps(&mut question, model, name);
    question.happens.push(
        "its routes are deleted; its requests take the next lane that matches, or the baseline"
            .into(),
    );
    add_moves(&mut question, &model.world, &lane.spec.group, name, None);
    question
        .kubectl
        .push(CommandLine::graylane("lane delete").arg(name));
    question.kubectl.push(
        CommandLine::kubectl("")
            .option("-n", &model.world.namespace)
            .fixed_args("delete lane")
            .arg(name),
    );
    question.objects.push(shown);
    question.require_typed_name(name);
    Ok(question)
}
