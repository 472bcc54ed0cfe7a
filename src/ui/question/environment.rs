//! Questions about an environment: tear down, lock, unlock.

use super::{AskError, ObservedObject, Question};
use crate::{
    api::{Environment, EnvironmentLock, EnvironmentState, InventoryItem, ObjectRef},
    domain::{command_line::CommandLine, intent::Intent, text::format_count},
    ui::{
        keymap::{Action, KeyContext},
        model::Model,
    },
};

pub(super) fn ask_to_tear_down(model: &Model) -> Result<Question, AskError> {
    let app = model.selected_app().ok_or(AskError::NoApp)?;
    let environment = model
        .selected_environment()
        .ok_or(AskError::NoEnvironment)?;
    let name = model.app.clone().unwrap_or_default();
    let status = app
        .status
        .as_ref()
        .and_then(|s| s.environments.get(&environment.name));
    let inventory = status.map(|s| s.inventory.as_slice()).unwrap_or_default();
    let state = status.map(|s| s.state).unwrap_or_default();
    check_teardown(model, &name, environment, inventory, state)?;
    let intent = Intent::Teardown {
        app: name.clone(),
        environment: environment.name.clone(),
        comment: None,
    };
    let title = format!("Take {} of {name} down?", environment.name);
    let mut question = Question::new(title, "Take it down", intent, &name, "teardown sent");
    question.add_fact(
        "environment",
        format!("{}, namespace {}", environment.name, environment.namespace),
    );
    for item in inventory {
        let ObjectRef { kind, key, .. } = &item.object;
        let what = format!("{kind} {}/{}", key.namespace, key.name);
        question.add_fact("deletes", what);
    }
    if inventory.is_empty() {
        question
            .doubts
            .push("no inventory is recorded: what the engine finds by label is deleted".into());
    }
    match &environment.lane {
        Some(tag) => question.happens.push(format!(
            "routes first: from then on requests tagged {tag} use the baseline of {name}"
        )),
        None => question.doubts.push(format!(
            "{} is a baseline: nothing will answer its requests",
            environment.name
        )),
    }
    if let Some(running) = model.facts.active_of(&name) {
        question.doubts.push(format!(
            "release {running} is under way, and may need what is taken down"
        ));
    }
    add_teardown_steps(model, &mut question, &name, environment, inventory);
    question.kubectl.push(
        CommandLine::graylane("teardown")
            .arg(&name)
            .option("--environment", &environment.name),
    );
    question.objects.extend(ObservedObject::from_world(
        &model.world,
        "apps",
        &name,
        Some(&environment.name),
    ));
    question.ask_for_comment();
    question.require_typed_name(&environment.name);
    Ok(question)
}

/// Refuses to take down what runs nothing, or is locked.
fn check_teardown(
    model: &Model,
    name: &str,
    environment: &Environment,
    inventory: &[InventoryItem],
    state: EnvironmentState,
) -> Result<(), AskError> {
    if inventory.is_empty() && matches!(state, EnvironmentState::New | EnvironmentState::Cleaned) {
        return Err(AskError::RunsNothing {
            app: name.to_owned(),
            environment: environment.name.clone(),
        });
    }
    if let Some(lock) = &environment.lock {
        return Err(AskError::Locked {
            app: name.to_owned(),
            environment: environment.name.clone(),
            by: lock.by.clone(),
            reason: lock.reason.clone(),
            key: model.key_for(KeyContext::Environments, Action::Lock),
        });
    }
    Ok(())
}

/// Tells what happens once the routes are gone.
fn add_teardown_steps(
    model: &Model,
    question: &mut Question,
    name: &str,
    environment: &Environment,
    inventory: &[InventoryItem],
) {
    let pods = model.facts.pods_of(name, &environment.name).len();
    let pods = format_count(pods, "pod");
    question.happens.push(format!(
        "{} s of draining, then {pods} and the objects below go",
        environment.rollout.drain_seconds
    ));
    let objects = inventory.iter().map(|i| &i.object);
    for set in objects.filter(|o| o.kind == "StatefulSet") {
        let name = &set.key.name;
        question.happens.push(format!(
            "volume claims of StatefulSet {name} stay, unless its manifest says otherwise"
        ));
    }
    question
        .happens
        .push("the environment itself stays: the next release brings it up again".into());
}

/// The question before an environment is locked or unlocked.
pub fn ask_to_lock(
    model: &Model,
    app: &str,
    environment: &str,
    lock: Option<EnvironmentLock>,
) -> Result<Question, AskError> {
    let shown = ObservedObject::spec_from_world(&model.world, app, environment)
        .ok_or_else(|| AskError::Gone("app", app.to_owned()))?;
    let found = model
        .world
        .apps
        .get(app)
        .and_then(|a| a.spec.environment(environment));
    let found = found.ok_or_else(|| AskError::UnknownEnvironment {
        app: app.to_owned(),
        environment: environment.to_owned(),
    })?;
    let (verb, sent) = if lock.is_some() {
        ("Lock", "lock sent")
    } else {
        ("Unlock", "unlock sent")
    };
    let intent = Intent::Lock {
        app: app.into(),
        environment: environment.into(),
        seen: Some(shown.to_seen()),
        lock: lock.clone(),
    };
    let mut question = Question::new(
        format!("{verb} {environment} of {app}?"),
        verb,
        intent,
        app,
        sent,
    );
    question.add_fact("environment", format!("{environment} of {app}"));
    match (&lock, &found.lock) {
        (Some(lock), _) => {
            question.add_fact("reason", lock.reason.clone());
            question
                .happens
                .push("no release deploys here or cleans it until it is unlocked".into());
            let line = CommandLine::graylane("lock")
                .arg(app)
                .option("--environment", environment);
            question.kubectl.push(line.option("--reason", &lock.reason));
        }
        (None, held) => {
            if let Some(held) = held {
                question.add_fact("locked by", format!("{}: {}", held.by, held.reason));
                if held.by != model.world.acting_user() {
                    question
                        .doubts
                        .push(format!("it is {}'s lock, not yours", held.by));
                }
            }
            question
                .happens
                .push("releases may deploy here and clean it again".into());
            question.kubectl.push(
                CommandLine::graylane("unlock")
                    .arg(app)
                    .option("--environment", environment),
            );
        }
    }
    question.objects.push(shown);
    Ok(question)
}
