//! Builds the question for an action on the selection; the error says why there is none.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{
    AskError, ObservedObject, Question, changes, environment, forecast, lane, many, release,
};
use crate::{
    api::{App, ClusterName, Release, ReleaseSpec, Stage},
    domain::{
        command_line::CommandLine,
        intent::Intent,
        owner::ClaimedNames,
        prune,
        revision::FrozenApp,
        text::{format_count, join_errors},
        variables, workflow,
    },
    ui::{
        facts::{ReleaseState, release_state},
        keymap::Action,
        model::Model,
    },
};

/// The question before a dangerous action; the error says why the action is not available now.
pub fn build_question(model: &Model, action: Action) -> Result<Question, AskError> {
    let mut question = if many::is_about_marked(model, action) {
        many::ask_about_marked(model, action)
    } else {
        build_single_question(model, action)
    }?;
    question.again = Some(action);
    Ok(question)
}

/// The question about the selection alone.
pub(super) fn build_single_question(model: &Model, action: Action) -> Result<Question, AskError> {
    ask_about_selection(model, action).map(|question| question.in_namespace_of(model))
}

fn ask_about_selection(model: &Model, action: Action) -> Result<Question, AskError> {
    match action {
        Action::Approve | Action::Refuse => {
            release::ask_to_decide(model, action == Action::Approve)
        }
        Action::Continue => release::ask_to_continue(model),
        Action::Pause => release::ask_to_pause(model),
        Action::Resume => release::ask_to_resume(model),
        Action::Abort => release::ask_to_abort(model),
        Action::Retry => release::ask_to_retry(model),
        Action::Skip => release::ask_to_skip(model),
        Action::StopTheLine => ask_to_stop_the_line(model),
        Action::ToggleLane => lane::ask_to_toggle_lane(model),
        Action::DeleteLane => lane::ask_to_delete_lane(model),
        Action::Teardown => environment::ask_to_tear_down(model),
        _ => Err(AskError::NoConfirmation(action.word())),
    }
}

fn ask_to_stop_the_line(model: &Model) -> Result<Question, AskError> {
    let running: Vec<&String> = model
        .facts
        .active
        .iter()
        .filter(|name| {
            let turn = model.world.releases.get(*name).map(|r| release_state(r));
            turn.is_some_and(|t| !matches!(t, ReleaseState::Held | ReleaseState::Aborting))
        })
        .collect();
    if running.is_empty() {
        return Err(AskError::NothingRuns);
    }
    let mut question = Question::new(
        format!(
            "Stop the line: hold {}?",
            format_count(running.len(), "running release")
        ),
        "Stop the line",
        Intent::StopTheLine,
        "line",
        "stopping the line",
    );
    for name in running {
        if let Some(found) = model.world.releases.get(name) {
            question.add_fact(
                "release",
                format!("{name}: {}", release_state(found).state_label()),
            );
        }
    }
    question
        .kubectl
        .push(CommandLine::graylane("stop-the-line"));
    question.happens = vec![
        "none of them takes another step; pods stay as they are now, both versions keep serving"
            .into(),
        "lanes stay as they are; nothing is rolled back; each is resumed on its own".into(),
    ];
    Ok(question)
}

/// Changes of variable group values that the stage's deploy tasks would apply.
fn changed_values(model: &Model, name: &str, stage: &Stage) -> Vec<(String, String)> {
    let Some(app) = model.world.apps.get(name) else {
        return vec![];
    };
    let mut told = vec![];
    for environment in stage
        .tasks
        .iter()
        .filter_map(|t| app.spec.environment(&t.deploy.as_ref()?.environment))
    {
        let group_of = |group: &str| model.world.variables.get(group).map(|g| &**g);
        let now = variables::resolve_effective_values(name, &app.spec, environment, group_of)
            .unwrap_or_default();
        let last = variables::deployed_release(app, &environment.name)
            .and_then(|r| model.world.releases.get(r));
        let changes = variables::pending_changes(&now, last.map(|r| &**r), &environment.name);
        told.extend(changes.iter().map(|c| {
            (
                "value".to_owned(),
                format!("{} {name}: {c}", environment.name),
            )
        }));
    }
    told
}

/// The question before releases are started.
pub fn ask_to_start(
    model: &Model,
    apps: &[String],
    stage: &str,
    images: BTreeMap<String, BTreeMap<String, String>>,
    comment: Option<String>,
) -> Result<Question, AskError> {
    let intent = Intent::StartRelease {
        apps: apps.to_vec(),
        stage: stage.into(),
        images: images.clone(),
        comment: comment.clone(),
        window: None,
    };
    let is_home = |cluster: &ClusterName| !model.world.clusters.contains_key(cluster);
    let group_of = |group: &str| model.world.variables.get(group).map(|g| &**g);
    let mut taken = ClaimedNames::new(&is_home, &group_of);
    model
        .world
        .apps
        .values()
        .for_each(|app| taken.add_applied(app));
    let mut question = Question::new(
        start_title(apps, stage),
        "Start",
        intent,
        apps.first().map_or("", String::as_str),
        "start sent",
    );
    for name in apps {
        let app = model
            .world
            .apps
            .get(name)
            .ok_or_else(|| AskError::Gone("app", name.clone()))?;
        let unknown = || AskError::UnknownStage {
            app: name.clone(),
            stage: stage.into(),
        };
        let found = app.spec.stage(stage).ok_or_else(unknown)?;
        let deployed = |name: &str| deploys_to(found, name);
        if let [first, ..] = taken.find_clashes(app, deployed).as_slice() {
            return Err(AskError::Refused(first.clone()));
        }
        let wanted = ReleaseSpec {
            app: name.clone(),
            stage: stage.into(),
            images: images.get(name).cloned().unwrap_or_default(),
            ..ReleaseSpec::default()
        };
        let begun = begin_release(model, app, wanted)?;
        question.facts.extend(changed_values(model, name, found));
        if let Some(running) = model.facts.active_of(name) {
            question
                .doubts
                .push(format!("release {running} of {name} is still under way"));
        }
        add_images(&mut question, app, name, images.get(name));
        let frozen = FrozenApp::for_new_release(app);
        changes::add_changes(model, &mut question, &frozen, &begun);
        add_tasks(&mut question, found);
        let before = question.happens.len();
        forecast::add_current_state(model, &mut question, app);
        forecast::add_steps(
            model,
            &mut question,
            app,
            &forecast::forecast_from_world(model, app, &begun, None),
        );
        if let ([_, _, ..], Some(own)) = (apps, question.happens.get_mut(before..)) {
            own.iter_mut()
                .for_each(|words| *words = format!("{name}: {words}"));
        }
        warn_of_history(model, &mut question, app, stage);
        warn_of_no_stop(&mut question, app, found);
        question
            .objects
            .extend(ObservedObject::from_world(&model.world, "apps", name, None));
    }
    question
        .kubectl
        .push(start_command(apps, stage, &images, comment.as_deref()));
    if apps.len() > 1 {
        question
            .happens
            .push("their lane opens only when every one of them has its gray pods ready".into());
    }
    if let Some(comment) = comment {
        question.add_fact("comment", comment);
    }
    Ok(question)
}

fn start_title(apps: &[String], stage: &str) -> String {
    match apps {
        [one] => format!("Start {stage} of {one}?"),
        many => format!("Start {stage} of {} apps in one window?", many.len()),
    }
}

fn deploys_to(stage: &Stage, environment: &str) -> bool {
    let deploys = stage.tasks.iter().filter_map(|t| t.deploy.as_ref());
    deploys.into_iter().any(|d| d.environment == environment)
}

/// The release as the engine would begin it.
fn begin_release(model: &Model, app: &App, wanted: ReleaseSpec) -> Result<Release, AskError> {
    let name = wanted.app.clone();
    let group_of = |group: &str| model.world.variables.get(group).map(|g| &**g);
    let planned = workflow::plan_release(app, &wanted, group_of, model.now);
    let planned = planned.map_err(|all| AskError::CannotBegin {
        app: name,
        why: join_errors(&all, "; "),
    })?;
    let mut begun = Release::new("", wanted);
    begun.status = Some(planned.into_status());
    Ok(begun)
}

/// Adds where each image comes from.
fn add_images(
    question: &mut Question,
    app: &App,
    name: &str,
    chosen: Option<&BTreeMap<String, String>>,
) {
    let each: Vec<String> = app
        .spec
        .images
        .keys()
        .map(|image| {
            let existing = chosen.and_then(|c| c.get(image));
            format!("{image} {}", existing.map_or("is built", String::as_str))
        })
        .collect();
    question.add_fact(
        "app",
        format!(
            "{name}: {}",
            if each.is_empty() {
                "no image".into()
            } else {
                each.join(", ")
            }
        ),
    );
}

fn add_tasks(question: &mut Question, stage: &Stage) {
    let tasks: Vec<String> = stage
        .tasks
        .iter()
        .map(|t| match t.spec() {
            Some(crate::api::TaskSpec::Deploy(d)) => format!("{} ({})", t.name, d.environment),
            _ => t.name.clone(),
        })
        .collect();
    question.add_fact("tasks", tasks.join(" → "));
}

fn warn_of_history(model: &Model, question: &mut Question, app: &App, stage: &str) {
    let name = app.name_any();
    if prune::is_full(
        model.world.releases.values().map(|r| &**r),
        &name,
        stage,
        &app.spec.history,
    ) {
        let kept = prune::describe_history(&app.spec.history);
        question.happens.push(format!(
            "when it ends, the oldest finished release that nothing needs is deleted: {name} keeps {kept}"
        ));
    }
}

/// A doubt where nobody is asked before production.
fn warn_of_no_stop(question: &mut Question, app: &App, stage: &Stage) {
    if question.typed.is_some()
        && !stage
            .tasks
            .iter()
            .any(|t| t.approval.is_some() || t.proceed.is_some())
    {
        let production = forecast::production_environment(app).unwrap_or_default();
        let words = format!("nothing stops this before {production}: no approval, no proceed");
        question.doubts.push(words);
    }
}

/// One command for all Apps: they share a window.
fn start_command(
    apps: &[String],
    stage: &str,
    images: &BTreeMap<String, BTreeMap<String, String>>,
    comment: Option<&str>,
) -> CommandLine {
    let mut line = CommandLine::graylane("release start")
        .args(apps)
        .option("--stage", stage);
    for (app, chosen) in images {
        for (image, reference) in chosen {
            let of = if apps.len() > 1 {
                format!("{app}/{image}")
            } else {
                image.clone()
            };
            line = line.option("--image", format!("{of}={reference}"));
        }
    }
    line.option_if("--comment", comment)
}
