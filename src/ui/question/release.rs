//! Questions about the shown release.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    AskError, ObservedObject, Question, changes::add_changes, forecast, in_place, lane::diff_lines,
    versions::add_versions,
};
use crate::{
    api::{App, Approval, Decision, Release, TaskKind, TaskPhase, TaskStatus},
    domain::{
        command_line::CommandLine,
        intent::{ControlIntent, Intent, ReleaseIntent, TaskDecision},
        release_intents::{Refusal, preview_intent},
        revision::{FrozenApp, short_name},
        text::join_errors,
        workflow::{Proposal, built_after, list_changes, new_decision, render_proposal},
    },
    ui::{
        facts::{self, ReleaseState, count_versions, release_state},
        form::Remark,
        keymap::{Action, KeyContext},
        model::Model,
    },
};

type QuestionResult = Result<Question, AskError>;

fn selected_release(model: &Model) -> Result<(&String, &Arc<Release>), AskError> {
    model.selected_release().ok_or_else(|| match &model.app {
        Some(app) => AskError::NoRelease {
            app: app.clone(),
            key: model.key_for(KeyContext::Apps, Action::Start),
        },
        None => AskError::NoApp,
    })
}

/// The release is in no state for the action.
fn wrong_state(release: &str, wrong: &'static str, now: ReleaseState<'_>) -> AskError {
    AskError::WrongState {
        release: release.to_owned(),
        wrong,
        state: now.state_label(),
    }
}

/// Adds the equivalent commands: graylane's own, and `kubectl patch` of the release's control.
pub(super) fn add_equivalent_commands(
    model: &Model,
    question: &mut Question,
    name: &str,
    command: CommandLine,
    control: &Value,
) {
    question.kubectl.push(command);
    let line = CommandLine::kubectl("")
        .option("-n", &model.world.namespace)
        .fixed_args("patch release")
        .arg(name);
    question.kubectl.push(
        line.fixed_args("--type merge")
            .json_option("-p", &json!({"spec": {"control": control}})),
    );
}

fn new_question(
    model: &Model,
    name: &str,
    title: String,
    verb: &str,
    wish: impl Into<ReleaseIntent>,
    sent: &str,
) -> Question {
    let shown = ObservedObject::from_world(&model.world, "releases", name, None);
    // Pause, resume and abort must succeed whatever the engine writes meanwhile.
    let wish = wish.into();
    let firm = !matches!(
        wish,
        ReleaseIntent::Control(ControlIntent::Pause | ControlIntent::Abort | ControlIntent::Resume)
    );
    let seen = shown.as_ref().map(|s| {
        let mut seen = s.to_seen();
        seen.state = seen.state.filter(|_| firm);
        seen
    });
    let intent = Intent::Release {
        name: name.into(),
        seen,
        wish,
        comment: None,
    };
    let mut question = Question::new(title, verb, intent, name, sent);
    question.objects.extend(shown);
    question.ask_for_comment();
    if let Some(release) = model.world.releases.get(name) {
        let stage = if release.spec.stage.is_empty() {
            "teardown"
        } else {
            &release.spec.stage
        };
        question.add_fact(
            "release",
            format!("{name} ({stage} of {})", release.spec.app),
        );
        if let Some(window) = &release.spec.window {
            question.add_fact("window", window.strip_prefix("window-").unwrap_or(window));
        }
    }
    question
}

fn release_tasks(release: &Release) -> &[TaskStatus] {
    release
        .status
        .as_ref()
        .map(|s| s.tasks.as_slice())
        .unwrap_or_default()
}

fn add_images(question: &mut Question, release: &Release) {
    let status = release.status.clone().unwrap_or_default();
    for (image, reference) in &status.images {
        let (name, pinned) = reference
            .split_once('@')
            .map_or((&**reference, None), |(name, d)| (name, Some(d)));
        let digest = pinned
            .or_else(|| status.digests.get(image).map(String::as_str))
            .filter(|d| d.starts_with("sha256:"));
        let digest = digest.map_or_else(
            || "  by its tag alone".to_owned(),
            |d| format!("  {}", short_digest(d)),
        );
        question.add_fact("image", format!("{image} {name}{digest}"));
    }
}

fn short_digest(digest: &str) -> String {
    digest.chars().take(19).collect()
}

/// The frozen App of a release, or the live App where none is frozen.
fn frozen_or_live_app(model: &Model, release: &Release) -> Option<App> {
    let frozen = model.world.frozen_app(release).map(|app| App::clone(&app));
    frozen.or_else(|| {
        model
            .world
            .apps
            .get(&release.spec.app)
            .map(|app| App::clone(app))
    })
}

/// Adds the forecast of an intent and the current state; the error says why the intent is refused.
fn add_forecast(
    model: &Model,
    question: &mut Question,
    release: &Release,
    wish: &ControlIntent,
) -> Result<(), AskError> {
    let wanted = preview_intent(release, wish).map_err(|refusal| match refusal {
        Refusal::NotApplicable(why) => AskError::Refused(why),
        Refusal::TooLate(what, why) => AskError::Refused(format!("{what}: {why}")),
    })?;
    add_forecast_of(model, question, &wanted, None);
    Ok(())
}

/// Adds the forecast of a release, once `decided` is recorded, and the current state.
fn add_forecast_of(
    model: &Model,
    question: &mut Question,
    wanted: &Release,
    decided: Option<&Approval>,
) {
    if let Some(app) = frozen_or_live_app(model, wanted) {
        forecast::add_current_state(model, question, &app);
        forecast::add_steps(
            model,
            question,
            &app,
            &forecast::forecast_from_world(model, &app, wanted, decided),
        );
    }
}

pub(super) fn ask_to_decide(model: &Model, pass: bool) -> QuestionResult {
    let (name, release) = selected_release(model)?;
    let now = release_state(release);
    let ReleaseState::Approve(task) = now else {
        return Err(wrong_state(name, "waits for no approval", now));
    };
    let (said, verb, word) = if pass {
        (Decision::Pass, "Approve", "approval")
    } else {
        (Decision::Refuse, "Refuse", "refusal")
    };
    let (app, proposal) = proposal_for_task(model, name, release, &task.name)?;
    let digest = Some(proposal.digest.clone());
    let decide = TaskDecision {
        task: task.name.clone(),
        attempt: task.attempt,
        decision: said,
        digest,
    };
    let title = format!("{verb} {name}?");
    let mut question = new_question(model, name, title, verb, decide, &format!("{word} sent"));
    question.add_fact("task", format!("{}, attempt {}", task.name, task.attempt));
    if let Some(comment) = &release.spec.comment {
        question.add_fact(
            "requested",
            format!("{} by {}", comment, release.spec.requester),
        );
    }
    add_images(&mut question, release);
    question.add_fact(
        "revision",
        format!(
            "{}  {}",
            short_name(app.revision().name()),
            short_digest(&proposal.digest)
        ),
    );
    add_changes(model, &mut question, &app, release);
    add_release_doubts(model, &mut question, release, &app, &task.name);
    add_versions(model, &mut question, release);
    question.diff = describe_changes(model, release, &app, &proposal);
    question.happens.push(format!(
        "an Approval by {} is recorded; it holds for exactly these images and objects",
        model.world.acting_user()
    ));
    if pass {
        let digest = Some(proposal.digest.clone());
        add_forecast_of_pass(model, &mut question, release, task, digest);
    } else {
        question
            .happens
            .push("the task fails; the release waits for retry, skip or abort".into());
    }
    let command = CommandLine::graylane(if pass { "approve" } else { "refuse" });
    let command = command.arg(name).option("--task", &task.name);
    question
        .kubectl
        .push(command.option("--digest", &proposal.digest));
    Ok(question)
}

/// Adds what is not part of what an approval binds.
fn add_release_doubts(
    model: &Model,
    question: &mut Question,
    release: &Release,
    app: &FrozenApp,
    task: &str,
) {
    if model
        .world
        .apps
        .get(&release.spec.app)
        .is_some_and(|live| app.revision().is_changed(live))
    {
        question.doubts.push(
            "the App has changed since the release began: the release does not use the change"
                .into(),
        );
    }
    let status = release.status.clone().unwrap_or_default();
    for image in built_after(app, &release.spec, &status, task) {
        question.doubts.push(format!(
            "image {image} is built after this: its result is deployed unseen"
        ));
    }
}

/// Adds what happens once the approval is recorded.
fn add_forecast_of_pass(
    model: &Model,
    question: &mut Question,
    release: &Release,
    task: &TaskStatus,
    digest: Option<String>,
) {
    let mine = new_decision(
        release,
        (&task.name, task.attempt),
        model.world.acting_user(),
        Decision::Pass,
        digest.clone(),
    );
    // The engine records the digest a moment after the task starts to wait.
    let mut shown = Release::clone(release);
    let tasks = shown
        .status
        .iter_mut()
        .flat_map(|s| &mut s.tasks)
        .filter(|t| t.name == task.name);
    tasks.for_each(|t| t.digest.clone_from(&digest));
    add_forecast_of(model, question, &shown, Some(&Approval::new("", mine)));
}

/// The frozen App and what a task of the release would apply. An error when any of it is unknown,
/// because the unknown must not be approved.
fn proposal_for_task(
    model: &Model,
    name: &str,
    release: &Release,
    task: &str,
) -> Result<(FrozenApp, Proposal), AskError> {
    let status = release.status.clone().unwrap_or_default();
    if status.revision.is_none() {
        return Err(AskError::NotFrozen(name.to_owned()));
    }
    let app = model.world.frozen_app(release);
    let app = app.ok_or_else(|| AskError::NoRevision(name.to_owned()))?;
    let proposal = render_proposal(&app, &release.spec, &status, Some(task))
        .map_err(|all| AskError::Refused(join_errors(&all, "; ")))?;
    let known = status
        .tasks
        .iter()
        .find(|t| t.name == task)
        .and_then(|t| t.digest.as_ref());
    if known.is_some_and(|known| *known != proposal.digest) {
        let command = CommandLine::graylane("release show").arg(name);
        return Err(AskError::OtherProposal(command));
    }
    Ok((app, proposal))
}

/// Diff between what runs and what the proposal would apply.
fn describe_changes(
    model: &Model,
    release: &Release,
    app: &FrozenApp,
    proposal: &Proposal,
) -> Vec<Remark> {
    let world = &model.world;
    let releases = world.releases_of(&release.spec.app);
    let mut lines = vec![];
    for change in list_changes(app, proposal, releases, |name| {
        world.revisions.get(name).cloned()
    }) {
        let told = match &change.before {
            None => "what runs is not from a frozen release; everything is shown",
            Some(before) if *before == change.after => "nothing",
            Some(_) => "",
        };
        let colon = if told.is_empty() { "" } else { ": " };
        lines.push(Remark::Fact(format!(
            "environment {}{colon}{told}",
            change.environment
        )));
        lines.extend(diff_lines(
            change.before.as_deref().unwrap_or_default(),
            &change.after,
        ));
    }
    lines
}

pub(super) fn ask_to_continue(model: &Model) -> QuestionResult {
    let (name, release) = selected_release(model)?;
    match release_state(release) {
        ReleaseState::Batch(task, next) => {
            ask_to_let_batch_through(model, name, release, task, next)
        }
        ReleaseState::Proceed(task) => {
            let allow = ControlIntent::Allow {
                task: task.name.clone(),
                batch: 1,
            };
            let title = format!("Let {name} go on after {}?", task.name);
            let mut question = new_question(
                model,
                name,
                title,
                "Let it proceed",
                allow.clone(),
                "go-ahead sent",
            );
            question.add_fact("task", task.name.clone());
            if let Some(message) = &task.message {
                question.add_fact("look at", message.clone());
            }
            add_images(&mut question, release);
            add_versions(model, &mut question, release);
            add_forecast(model, &mut question, release, &allow)?;
            let command = CommandLine::graylane("proceed")
                .arg(name)
                .option("--task", &task.name);
            add_equivalent_commands(
                model,
                &mut question,
                name,
                command,
                &json!({"allow": {&task.name: 1}}),
            );
            Ok(question)
        }
        ReleaseState::Held => Err(AskError::Paused {
            release: name.clone(),
            key: model.key_for(KeyContext::Release, Action::Resume),
        }),
        ReleaseState::Approve(_) => {
            let key = |action| model.key_for(KeyContext::Release, action);
            Err(AskError::AwaitsApproval {
                release: name.clone(),
                approve: key(Action::Approve),
                refuse: key(Action::Refuse),
            })
        }
        other => Err(wrong_state(name, "waits for nobody", other)),
    }
}

fn ask_to_let_batch_through(
    model: &Model,
    name: &str,
    release: &Release,
    task: &TaskStatus,
    next: u32,
) -> QuestionResult {
    let environment = task.environment.clone().unwrap_or_default();
    let of = task.batches.len();
    let allow = ControlIntent::Allow {
        task: task.name.clone(),
        batch: next,
    };
    let title = format!("Let batch {next} of {of} in {environment} proceed?");
    let mut question = new_question(
        model,
        name,
        title,
        "Let it proceed",
        allow.clone(),
        &format!("batch {next} sent"),
    );
    question.add_fact("task", format!("{}, environment {environment}", task.name));
    for (image, new) in &task.new_images {
        let old = task.old_images.get(image).map_or("nothing", String::as_str);
        question.add_fact("image", format!("{image} {old} → {new}"));
    }
    let app = &release.spec.app;
    let workloads: Vec<_> = model.world.workloads_of(app, &environment).collect();
    let now = count_versions(
        Some(task),
        &workloads,
        facts::environment_pods(&model.facts, &model.world, app, &environment),
    );
    question.add_fact(
        "pods now",
        format!(
            "{} new ready, {} old, {} wanted",
            now.new_ready, now.old, now.wanted
        ),
    );
    add_versions(model, &mut question, release);
    add_forecast(model, &mut question, release, &allow)?;
    let command = CommandLine::graylane("proceed")
        .arg(name)
        .option("--task", &task.name);
    let command = command.option("--batch", next.to_string());
    add_equivalent_commands(
        model,
        &mut question,
        name,
        command,
        &json!({"allow": {&task.name: next}}),
    );
    Ok(question)
}

pub(super) fn ask_to_pause(model: &Model) -> QuestionResult {
    let (name, release) = selected_release(model)?;
    let now = release_state(release);
    match now {
        ReleaseState::Held => {
            return Err(AskError::PausedAlready {
                release: name.clone(),
                key: model.key_for(KeyContext::Release, Action::Resume),
            });
        }
        ReleaseState::Succeeded | ReleaseState::Aborted | ReleaseState::Aborting => {
            return Err(wrong_state(name, "cannot be paused", now));
        }
        _ => {}
    }
    let mut question = new_question(
        model,
        name,
        format!("Pause {name}?"),
        "Pause",
        ControlIntent::Pause,
        "pause sent",
    );
    question.add_fact("now", now.state_label());
    question
        .happens
        .push("no other step is taken; pods stay as they are, both versions keep serving".into());
    add_equivalent_commands(
        model,
        &mut question,
        name,
        CommandLine::graylane("pause").arg(name),
        &json!({"paused": true}),
    );
    question.objects.clear();
    Ok(question)
}

pub(super) fn ask_to_resume(model: &Model) -> QuestionResult {
    let (name, release) = selected_release(model)?;
    let now = release_state(release);
    if now != ReleaseState::Held {
        return Err(wrong_state(name, "is not paused", now));
    }
    let mut question = new_question(
        model,
        name,
        format!("Resume {name}?"),
        "Resume",
        ControlIntent::Resume,
        "resume sent",
    );
    add_forecast(model, &mut question, release, &ControlIntent::Resume)?;
    add_equivalent_commands(
        model,
        &mut question,
        name,
        CommandLine::graylane("resume").arg(name),
        &json!({"paused": false}),
    );
    // The engine still writes to the release while it is paused.
    question.objects.clear();
    Ok(question)
}

pub(super) fn ask_to_abort(model: &Model) -> QuestionResult {
    let (name, release) = selected_release(model)?;
    let now = release_state(release);
    if now.is_over() || now == ReleaseState::Aborting {
        return Err(wrong_state(name, "cannot be aborted", now));
    }
    let mut question = new_question(
        model,
        name,
        format!("Roll {name} back and end it?"),
        "Roll back",
        ControlIntent::Abort,
        "abort sent",
    );
    question.add_fact("now", now.state_label());
    add_versions(model, &mut question, release);
    question
        .happens
        .push("lanes close first: tagged requests take the baseline".into());
    for task in release_tasks(release)
        .iter()
        .rev()
        .filter(|t| t.kind == TaskKind::Deploy && t.started_at.is_some())
    {
        question.happens.extend(describe_undo(model, release, task));
    }
    question
        .happens
        .push("the release ends; it cannot be resumed".into());
    if let Some(app) = frozen_or_live_app(model, release) {
        forecast::add_current_state(model, &mut question, &app);
    }
    add_equivalent_commands(
        model,
        &mut question,
        name,
        CommandLine::graylane("abort").arg(name),
        &json!({"abort": true}),
    );
    // A rollback must stay possible while the release changes.
    question.objects.clear();
    Ok(question)
}

/// How one deploy task is rolled back.
fn describe_undo(model: &Model, release: &Release, task: &TaskStatus) -> Vec<String> {
    let (app, environment) = (
        &release.spec.app,
        task.environment.as_deref().unwrap_or("?"),
    );
    let workloads: Vec<_> = model.world.workloads_of(app, environment).collect();
    let now = count_versions(
        Some(task),
        &workloads,
        facts::environment_pods(&model.facts, &model.world, app, environment),
    );
    let new = now.new_ready + now.new_coming;
    let gives = if new == 1 {
        "1 new pod gives".to_owned()
    } else {
        format!("{new} new pods give")
    };
    let old = task
        .old_version
        .as_deref()
        .or(task.old_images.values().next().map(String::as_str));
    let Some(old) = old else {
        // There was no old version, so what this release created is deleted.
        let goes = if new == 1 {
            "1 pod goes".to_owned()
        } else {
            format!("{new} pods go")
        };
        return vec![format!(
            "{environment}: what this release made there is deleted, {goes}"
        )];
    };
    let mut told = vec![format!(
        "{environment}: {gives} way to the old version ({old})"
    )];
    told.extend(in_place::describe_rollback(model, app, environment).filter(|_| new > 0));
    told
}

fn failed_task<'a>(
    model: &'a Model,
    name: &str,
    release: &'a Release,
    word: &'static str,
) -> Result<&'a TaskStatus, AskError> {
    let chosen = model
        .selected_task()
        .filter(|t| t.phase == TaskPhase::Failed);
    let at = match release_state(release) {
        ReleaseState::Failed(task) => task,
        _ => None,
    };
    chosen.or(at).ok_or_else(|| AskError::NoFailedTask {
        release: name.to_owned(),
        word,
    })
}

pub(super) fn ask_to_retry(model: &Model) -> QuestionResult {
    let (name, release) = selected_release(model)?;
    let task = failed_task(model, name, release, "retry")?;
    let retry = ControlIntent::Retry {
        task: task.name.clone(),
        force: false,
    };
    let title = format!("Try {} of {name} again?", task.name);
    let mut question = new_question(model, name, title, "Retry", retry.clone(), "retry sent");
    question.add_fact("task", format!("{}, attempt {}", task.name, task.attempt));
    if let Some(message) = &task.message {
        question.add_fact("failed", message.clone());
    }
    question.happens.push(format!(
        "{} runs from its beginning, as attempt {}",
        task.name,
        task.attempt.saturating_add(1)
    ));
    let level = task.attempt.max(1);
    let command = CommandLine::graylane("retry")
        .arg(name)
        .option("--task", &task.name);
    add_equivalent_commands(
        model,
        &mut question,
        name,
        command,
        &json!({"retry": {&task.name: level}}),
    );
    add_forecast(model, &mut question, release, &retry)?;
    Ok(question)
}

pub(super) fn ask_to_skip(model: &Model) -> QuestionResult {
    let (name, release) = selected_release(model)?;
    let stands = |t: &&TaskStatus| {
        matches!(
            t.phase,
            TaskPhase::Failed | TaskPhase::Waiting | TaskPhase::Paused
        )
    };
    let task = model
        .selected_task()
        .filter(stands)
        .or_else(|| release_tasks(release).iter().find(stands));
    if let Some(task) = task.filter(|t| t.kind == TaskKind::Approval) {
        return Err(AskError::SkipsApproval {
            release: name.clone(),
            task: task.name.clone(),
        });
    }
    let task = task.ok_or_else(|| AskError::NoTaskToSkip(name.clone()))?;
    if task.kind == TaskKind::Deploy && task.batches.iter().any(|b| b.started_at.is_some()) {
        let key = |action| model.key_for(KeyContext::Release, action);
        return Err(AskError::HalfWay {
            task: task.name.clone(),
            retry: key(Action::Retry),
            abort: key(Action::Abort),
        });
    }
    let skip = ControlIntent::Skip {
        task: task.name.clone(),
    };
    let title = format!("Skip {} of {name}?", task.name);
    let mut question = new_question(model, name, title, "Skip", skip.clone(), "skip sent");
    question.add_fact("task", format!("{} ({})", task.name, task.kind));
    question.doubts.push(match task.kind {
        TaskKind::Verify => "what follows goes on unverified".into(),
        TaskKind::Deploy => "the environment stays as it is now, whatever the release says".into(),
        TaskKind::Build
        | TaskKind::Approval
        | TaskKind::Proceed
        | TaskKind::CleanUp
        | TaskKind::Unknown => "what it would have done is not done".to_owned(),
    });
    add_forecast(model, &mut question, release, &skip)?;
    let command = CommandLine::graylane("skip")
        .arg(name)
        .option("--task", &task.name);
    add_equivalent_commands(
        model,
        &mut question,
        name,
        command,
        &json!({"skip": [&task.name]}),
    );
    Ok(question)
}
