//! From an action on what is selected to its question; a refusal says why in words.

use std::collections::BTreeMap;

use super::{Question, Shown, environment, in_place, lane, quoted, release};
use crate::{
    api::TaskStatus,
    domain::intent::Intent,
    ui::{
        facts::{Turn, turn},
        keymap::Action,
        model::Model,
    },
};

/// The question before a dangerous action; the error says why it makes no sense now.
pub fn ask(model: &Model, action: Action) -> Result<Question, String> {
    let mut question = match action {
        Action::Approve | Action::Refuse => release::decide(model, action == Action::Approve),
        Action::Continue => release::go_on(model),
        Action::Pause => release::pause(model),
        Action::Resume => release::resume(model),
        Action::Abort => release::abort(model),
        Action::Retry => release::retry(model),
        Action::Skip => release::skip(model),
        Action::StopTheLine => stop_the_line(model),
        Action::ToggleLane => lane::toggle(model),
        Action::DeleteLane => lane::delete(model),
        Action::Teardown => environment::teardown(model),
        _ => Err(format!("{} needs no confirmation", action.word())),
    }?;
    question.again = Some(action);
    Ok(question)
}

fn stop_the_line(model: &Model) -> Result<Question, String> {
    let running: Vec<&String> = model
        .facts
        .active
        .iter()
        .filter(|name| {
            let turn = model.world.releases.get(*name).map(|r| turn(r));
            turn.is_some_and(|t| !matches!(t, Turn::Held | Turn::Aborting))
        })
        .collect();
    if running.is_empty() {
        return Err("no release is running: there is nothing to hold".into());
    }
    let mut question = Question::new(
        format!("Stop the line: hold {} running release{}?", running.len(), if running.len() == 1 { "" } else { "s" }),
        "Stop the line",
        Intent::StopTheLine,
        "line",
        "stopping the line",
    );
    for name in running {
        if let Some(found) = model.world.releases.get(name) {
            question.fact("release", format!("{name}: {}", turn(found).word()));
        }
    }
    question.kubectl.push("graylane stop-the-line".into());
    question.happens = vec![
        "each of them takes no further step; pods stay as they are now, both versions keep serving".into(),
        "lanes stay as they are; nothing is rolled back; each is resumed on its own".into(),
    ];
    Ok(question)
}

/// The question before releases are started.
pub fn start(
    model: &Model,
    apps: &[String],
    stage: &str,
    images: BTreeMap<String, BTreeMap<String, String>>,
    comment: Option<String>,
) -> Result<Question, String> {
    let intent = Intent::StartRelease {
        apps: apps.to_vec(),
        stage: stage.into(),
        images: images.clone(),
        comment: comment.clone(),
        window: None,
    };
    let title = match apps {
        [one] => format!("Start {stage} of {one}?"),
        many => format!("Start {stage} of {} apps in one window?", many.len()),
    };
    let mut question = Question::new(title, "Start", intent, apps.first().map_or("", String::as_str), "start sent");
    for name in apps {
        let app = model.world.apps.get(name).ok_or_else(|| format!("app {name} is gone"))?;
        let found = app.spec.stage(stage).ok_or_else(|| format!("app {name} has no stage {stage}"))?;
        if let Some(running) = model.facts.active_of(name) {
            question.doubts.push(format!("release {running} of {name} is still under way"));
        }
        let chosen = images.get(name);
        let each: Vec<String> = app
            .spec
            .images
            .keys()
            .map(|image| {
                let existing = chosen.and_then(|c| c.get(image));
                format!("{image} {}", existing.map_or("is built", String::as_str))
            })
            .collect();
        question.fact("app", format!("{name}: {}", if each.is_empty() { "no image".into() } else { each.join(", ") }));
        let tasks: Vec<String> = found
            .tasks
            .iter()
            .map(|t| match t.kind() {
                Some(crate::api::TaskKind::Deploy(d)) => format!("{} ({})", t.name, d.environment),
                _ => t.name.clone(),
            })
            .collect();
        question.happens.push(format!("{name}: {}", tasks.join(" → ")));
        if let Some(production) = app.spec.environments.last().filter(|e| e.lane.is_none()) {
            let gate = found.tasks.iter().position(|t| t.approval.is_some() || t.proceed.is_some());
            let hit =
                found.tasks.iter().position(|t| t.deploy.as_ref().is_some_and(|d| d.environment == production.name));
            if hit.is_some_and(|hit| gate.is_none_or(|gate| hit < gate)) {
                question
                    .doubts
                    .push(format!("nothing stands between this and {}: no approval, no proceed", production.name));
                question.type_name(&production.name);
            }
        }
        // Where somebody is asked first, that question tells it.
        let unasked = found.tasks.iter().take_while(|t| t.approval.is_none() && t.proceed.is_none());
        let deploys = unasked.filter_map(|t| t.deploy.as_ref());
        question.doubts.extend(deploys.filter_map(|d| in_place::cost(model, name, &d.environment)));
        question.kubectl.push(command(name, stage, chosen, comment.as_deref()));
        question.objects.extend(Shown::of(&model.world, "apps", name, None));
    }
    if apps.len() > 1 {
        question.happens.push("their lane opens only when every one of them has its gray pods ready".into());
    }
    if let Some(comment) = comment {
        question.fact("comment", comment);
    }
    Ok(question)
}

fn command(app: &str, stage: &str, images: Option<&BTreeMap<String, String>>, comment: Option<&str>) -> String {
    let mut line = format!("graylane release start {app} --stage {stage}");
    for (image, reference) in images.into_iter().flatten() {
        line.push_str(&format!(" --image {image}={reference}"));
    }
    if let Some(comment) = comment {
        line.push_str(&format!(" --comment {}", quoted(comment)));
    }
    line
}

/// The tasks after this one, up to the next that asks.
pub(super) fn until_next_gate<'a>(tasks: &'a [TaskStatus], task: &'a str) -> impl Iterator<Item = &'a TaskStatus> {
    after(tasks, task).take_while(|t| !asks(t))
}

/// What follows a task until somebody is asked again.
pub(super) fn until_gate(tasks: &[TaskStatus], task: &str) -> Vec<String> {
    let environment = |t: &TaskStatus| t.environment.clone().unwrap_or_else(|| "?".into());
    let words = |t: &TaskStatus| match t.kind.as_str() {
        "deploy" => format!("then {} deploys to {}", t.name, environment(t)),
        "cleanUp" => format!("then {} takes {} down", t.name, environment(t)),
        _ => format!("then {}", t.name),
    };
    let gate = after(tasks, task).find(|t| asks(t)).map(|t| format!("then {} asks again", t.name));
    until_next_gate(tasks, task).map(words).chain(gate).collect()
}

fn after<'a>(tasks: &'a [TaskStatus], task: &'a str) -> impl Iterator<Item = &'a TaskStatus> {
    tasks.iter().skip_while(move |t| t.name != task).skip(1)
}

fn asks(task: &TaskStatus) -> bool {
    matches!(task.kind.as_str(), "approval" | "proceed")
}
