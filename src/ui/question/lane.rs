//! Questions about lanes: what changes, and which requests go elsewhere.

use similar::{ChangeTag, TextDiff};

use super::{Question, Shown, quoted};
use crate::{
    api::{LaneSpec, OnLoss},
    domain::{
        intent::Intent,
        lanes::{Severity, text},
        world::World,
    },
    ui::{form::Remark, model::Model, rule},
};

/// A change of YAML as lines that go and come.
pub fn diff(before: Option<&LaneSpec>, after: &LaneSpec) -> Vec<Remark> {
    let (old, new) = (before.map(rule::yaml).unwrap_or_default(), rule::yaml(after));
    TextDiff::from_lines(&old, &new)
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

fn moves(question: &mut Question, world: &World, group: &str, name: &str, spec: Option<&LaneSpec>) {
    let seen = rule::recent(world, group).len();
    let moves = rule::moves(world, group, name, spec);
    if seen == 0 {
        question.happens.push("no recent request is at hand to try it on".into());
    } else if moves.is_empty() {
        question.happens.push(format!("none of the {seen} recent kinds of requests goes elsewhere"));
    }
    question.happens.extend(moves.into_iter().take(8));
}

fn served(question: &mut Question, model: &Model, name: &str) {
    let Some(lane) = model.world.lanes.get(name) else { return };
    let status = lane.status.clone().unwrap_or_default();
    for app in &status.apps {
        question.fact("app", format!("{} by {}: {}", model.facts.short(&app.app), app.served.word(), app.reason));
    }
}

/// The question before a lane is made or changed.
pub fn set(model: &Model, name: &str, is_new: bool, spec: &LaneSpec) -> Result<Question, String> {
    let before = model.world.lanes.get(name);
    let shown = Shown::of(&model.world, "lanes", name, None);
    let seen = shown.as_ref().map(Shown::seen);
    if is_new && before.is_some() {
        return Err(format!("there is a lane {name} already: edit it, or take another name"));
    }
    let verb = if is_new { "Add" } else { "Save" };
    let intent = Intent::SetLane { name: name.into(), seen, spec: spec.clone() };
    let mut question = Question::new(format!("{verb} lane {name}?"), verb, intent, name, "lane sent");
    question.fact("group", spec.group.clone());
    question.fact("rule", format!("{} → tag {}", rule::words(spec), spec.tag));
    question.diff = diff(before.map(|l| &l.spec), spec);
    if question.diff.is_empty() {
        return Err("nothing is changed".into());
    }
    for problem in rule::check(&model.world, name, spec) {
        match problem.severity {
            Severity::Error => return Err(problem.to_string()),
            Severity::Warning => question.doubts.push(problem.to_string()),
        }
    }
    moves(&mut question, &model.world, &spec.group, name, Some(spec));
    question.kubectl.push(command(name, spec));
    question.objects.extend(shown);
    Ok(question)
}

/// `graylane lane set` of the whole spec.
fn command(name: &str, spec: &LaneSpec) -> String {
    let mut line = format!("graylane lane set {name} --group {} --tag {}", quoted(&spec.group), quoted(&spec.tag));
    let mut add = |option: &str, value: &str| line.push_str(&format!(" {option} {}", quoted(value)));
    spec.rule.paths.iter().for_each(|p| add("--path", p));
    spec.rule.all.iter().for_each(|c| add("--when", &text::print(c)));
    spec.rule.any.iter().for_each(|c| add("--any", &text::print(c)));
    spec.share.iter().for_each(|s| add("--share", &s.to_string()));
    add("--priority", &spec.priority.to_string());
    add("--enabled", if spec.enabled { "true" } else { "false" });
    add("--strict", if spec.strict { "true" } else { "false" });
    let loss = match spec.on_loss {
        OnLoss::FallBack => "fall-back",
        OnLoss::Hold => "hold",
        OnLoss::Close => "close",
    };
    add("--on-loss", loss);
    line
}

pub(super) fn toggle(model: &Model) -> Result<Question, String> {
    let (name, lane) = model.selected_lane().ok_or("there is no lane")?;
    let shown = Shown::of(&model.world, "lanes", name, None).ok_or("the lane is gone")?;
    let enabled = !lane.spec.enabled;
    let (verb, sent) = if enabled { ("Enable", "enabling") } else { ("Disable", "disabling") };
    let intent = Intent::EnableLane { name: name.clone(), seen: Some(shown.seen()), enabled };
    let mut question = Question::new(format!("{verb} lane {name}?"), verb, intent, name, sent);
    question.fact("rule", format!("{} → tag {}", rule::words(&lane.spec), lane.spec.tag));
    served(&mut question, model, name);
    let mut after = lane.spec.clone();
    after.enabled = enabled;
    for problem in rule::check(&model.world, name, &after) {
        question.doubts.push(problem.to_string());
    }
    moves(&mut question, &model.world, &lane.spec.group, name, Some(&after));
    let namespace = &model.world.namespace;
    question.kubectl.push(format!("graylane lane {} {name}", if enabled { "enable" } else { "disable" }));
    question.kubectl.push(format!(
        "kubectl -n {namespace} patch lane {name} --type merge -p '{{\"spec\":{{\"enabled\":{enabled}}}}}'"
    ));
    question.objects.push(shown);
    Ok(question)
}

pub(super) fn delete(model: &Model) -> Result<Question, String> {
    let (name, lane) = model.selected_lane().ok_or("there is no lane")?;
    let shown = Shown::of(&model.world, "lanes", name, None).ok_or("the lane is gone")?;
    let intent = Intent::DeleteLane { name: name.clone(), seen: Some(shown.seen()) };
    let mut question = Question::new(format!("Delete lane {name}?"), "Delete", intent, name, "deletion sent");
    question.fact("rule", format!("{} → tag {}", rule::words(&lane.spec), lane.spec.tag));
    served(&mut question, model, name);
    question.happens.push("its routes go; its requests take the next lane that wants them, or the baseline".into());
    moves(&mut question, &model.world, &lane.spec.group, name, None);
    question.kubectl.push(format!("graylane lane delete {name}"));
    question.kubectl.push(format!("kubectl -n {} delete lane {name}", model.world.namespace));
    question.objects.push(shown);
    question.type_name(name);
    Ok(question)
}
