//! Questions about the shown release.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Question, Shown, beside::add_versions, forecast, in_place, lane::difference};
use crate::{
    api::{App, Approval, Decision, Release, TaskPhase, TaskStatus},
    domain::{
        command_line::CommandLine,
        intent::{Intent, ReleaseWish},
        revision::{FrozenApp, short},
        wishes::{Refusal, wished},
        workflow::{Proposal, built_after, changes, decision, proposal},
    },
    ui::{
        facts::{self, Turn, split, turn},
        form::Remark,
        keymap::{Action, Context},
        model::Model,
    },
};

type Asked = Result<Question, String>;

fn selected(model: &Model) -> Result<(&String, &Arc<Release>), String> {
    model.selected_release().ok_or_else(|| match &model.app {
        Some(app) => format!(
            "{app} has no release; {} starts one",
            model.key(Context::Apps, Action::Start)
        ),
        None => "no app is selected".into(),
    })
}

/// Adds the equivalent commands: graylane's own, and `kubectl patch` of the release's control.
pub(super) fn same(
    model: &Model,
    question: &mut Question,
    name: &str,
    command: CommandLine,
    control: &Value,
) {
    question.kubectl.push(command);
    let line = CommandLine::kubectl("")
        .option("-n", &model.world.namespace)
        .flag("patch release")
        .arg(name);
    question.kubectl.push(
        line.flag("--type merge")
            .json("-p", &json!({"spec": {"control": control}})),
    );
}

fn wish(
    model: &Model,
    name: &str,
    title: String,
    verb: &str,
    wish: ReleaseWish,
    sent: &str,
) -> Question {
    let shown = Shown::of(&model.world, "releases", name, None);
    // Pause, resume and abort must succeed whatever the engine writes meanwhile.
    let firm = !matches!(
        wish,
        ReleaseWish::Pause | ReleaseWish::Abort | ReleaseWish::Resume
    );
    let seen = shown.as_ref().map(|s| {
        let mut seen = s.seen();
        seen.meaning = seen.meaning.filter(|_| firm);
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
    question.ask_why();
    if let Some(release) = model.world.releases.get(name) {
        let stage = if release.spec.stage.is_empty() {
            "teardown"
        } else {
            &release.spec.stage
        };
        question.fact(
            "release",
            format!("{name} ({stage} of {})", release.spec.app),
        );
        if let Some(window) = &release.spec.window {
            question.fact("window", window.strip_prefix("window-").unwrap_or(window));
        }
    }
    question
}

fn tasks(release: &Release) -> &[TaskStatus] {
    release
        .status
        .as_ref()
        .map(|s| s.tasks.as_slice())
        .unwrap_or_default()
}

fn images(question: &mut Question, release: &Release) {
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
        question.fact("image", format!("{image} {name}{digest}"));
    }
}

fn short_digest(digest: &str) -> String {
    digest.chars().take(19).collect()
}

/// The frozen App of a release, or the live App where none is frozen.
fn app_of(model: &Model, release: &Release) -> Option<App> {
    let frozen = model.world.frozen(release).map(|app| App::clone(&app));
    frozen.or_else(|| {
        model
            .world
            .apps
            .get(&release.spec.app)
            .map(|app| App::clone(app))
    })
}

/// Adds the forecast of an intent and the current state; the error says why the intent is refused.
fn foresee(
    model: &Model,
    question: &mut Question,
    release: &Release,
    wish: &ReleaseWish,
    decided: Option<&Approval>,
) -> Result<(), String> {
    let wanted = wished(release, wish).map_err(|refusal| match refusal {
        Refusal::Senseless(why) => why,
        Refusal::Late(what, why) => format!("{what}: {why}"),
    })?;
    if let Some(app) = app_of(model, release) {
        forecast::add_present(model, question, &app);
        forecast::add_steps(
            model,
            question,
            &app,
            &forecast::forecast(model, &app, &wanted, decided),
        );
    }
    Ok(())
}

pub(super) fn decide(model: &Model, pass: bool) -> Asked {
    let (name, release) = selected(model)?;
    let Turn::Approve(task) = turn(release) else {
        return Err(format!(
            "{name} waits for no approval: {}",
            turn(release).word()
        ));
    };
    let (said, verb, word) = if pass {
        (Decision::Pass, "Approve", "approval")
    } else {
        (Decision::Refuse, "Refuse", "refusal")
    };
    let (app, proposal) = proposed(model, name, release, &task.name)?;
    let digest = Some(proposal.digest.clone());
    let decide = ReleaseWish::Decide {
        task: task.name.clone(),
        attempt: task.attempt,
        decision: said,
        digest,
    };
    let title = format!("{verb} {name}?");
    let mut question = wish(
        model,
        name,
        title,
        verb,
        decide.clone(),
        &format!("{word} sent"),
    );
    question.fact("task", format!("{}, attempt {}", task.name, task.attempt));
    if let Some(comment) = &release.spec.comment {
        question.fact(
            "requested",
            format!("{} by {}", comment, release.spec.requester),
        );
    }
    images(&mut question, release);
    question.fact(
        "revision",
        format!(
            "{}  {}",
            short(app.revision().name()),
            short_digest(&proposal.digest)
        ),
    );
    if model
        .world
        .apps
        .get(&release.spec.app)
        .is_some_and(|live| app.revision().is_changed(live))
    {
        question
            .doubts
            .push("the App has changed since the release began: that is no part of it".into());
    }
    let status = release.status.clone().unwrap_or_default();
    for image in built_after(&app, &release.spec, &status, &task.name) {
        question.doubts.push(format!(
            "image {image} is built after this: what the build makes is deployed unseen"
        ));
    }
    add_versions(model, &mut question, release);
    question.diff = change(model, release, &app, &proposal);
    question.happens.push(format!(
        "an Approval by {} is recorded; it holds for exactly these images and objects",
        model.world.acting()
    ));
    if pass {
        let (me, digest) = (model.world.acting(), Some(proposal.digest.clone()));
        let mine = decision(
            release,
            (&task.name, task.attempt),
            me,
            said,
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
        foresee(
            model,
            &mut question,
            &shown,
            &decide,
            Some(&Approval::new("", mine)),
        )?;
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

/// The frozen App and what a task of the release would apply. An error when any of it is unknown,
/// because the unknown must not be approved.
fn proposed(
    model: &Model,
    name: &str,
    release: &Release,
    task: &str,
) -> Result<(FrozenApp, Proposal), String> {
    let status = release.status.clone().unwrap_or_default();
    if status.revision.is_none() {
        return Err(format!(
            "{name} is not frozen yet: an engine of this version has to look at it first"
        ));
    }
    let app = model.world.frozen(release);
    let app = app.ok_or_else(|| {
        format!("what {name} would apply is not seen: its ControllerRevision is not there")
    })?;
    let proposal =
        proposal(&app, &release.spec, &status, Some(task)).map_err(|all| all.join("; "))?;
    let known = status
        .tasks
        .iter()
        .find(|t| t.name == task)
        .and_then(|t| t.digest.as_ref());
    if known.is_some_and(|known| *known != proposal.digest) {
        return Err(format!(
            "the engine would apply something else than is shown here: look with `{}`",
            CommandLine::graylane("release show").arg(name)
        ));
    }
    Ok((app, proposal))
}

/// Diff between what runs and what the proposal would apply.
fn change(model: &Model, release: &Release, app: &FrozenApp, proposal: &Proposal) -> Vec<Remark> {
    let world = &model.world;
    let releases = world
        .releases
        .values()
        .filter(|r| r.spec.app == release.spec.app)
        .map(|r| &**r);
    let mut lines = vec![];
    for change in changes(app, proposal, releases, |name| {
        world.revisions.get(name).cloned()
    }) {
        let told = match &change.before {
            None => "what runs is of no release that was frozen; all is shown",
            Some(before) if *before == change.after => "nothing",
            Some(_) => "",
        };
        let colon = if told.is_empty() { "" } else { ": " };
        lines.push(Remark::Fact(format!(
            "environment {}{colon}{told}",
            change.environment
        )));
        lines.extend(difference(
            change.before.as_deref().unwrap_or_default(),
            &change.after,
        ));
    }
    lines
}

pub(super) fn go_on(model: &Model) -> Asked {
    let (name, release) = selected(model)?;
    match turn(release) {
        Turn::Batch(task, next) => batch(model, name, release, task, next),
        Turn::Proceed(task) => {
            let allow = ReleaseWish::Allow {
                task: task.name.clone(),
                batch: 1,
            };
            let title = format!("Let {} of {name} through?", task.name);
            let mut question = wish(
                model,
                name,
                title,
                "Let it through",
                allow.clone(),
                "go-ahead sent",
            );
            question.fact("task", task.name.clone());
            if let Some(message) = &task.message {
                question.fact("look at", message.clone());
            }
            images(&mut question, release);
            add_versions(model, &mut question, release);
            foresee(model, &mut question, release, &allow, None)?;
            let command = CommandLine::graylane("proceed")
                .arg(name)
                .option("--task", &task.name);
            same(
                model,
                &mut question,
                name,
                command,
                &json!({"allow": {&task.name: 1}}),
            );
            Ok(question)
        }
        Turn::Held => Err(format!(
            "{name} is paused; {} resumes it",
            model.key(Context::Release, Action::Resume)
        )),
        Turn::Approve(_) => {
            let key = |action| model.key(Context::Release, action);
            let (yes, no) = (key(Action::Approve), key(Action::Refuse));
            Err(format!(
                "{name} waits for an approval: {yes} approves, {no} refuses"
            ))
        }
        other => Err(format!("{name} waits for nobody: {}", other.word())),
    }
}

fn batch(model: &Model, name: &str, release: &Release, task: &TaskStatus, next: u32) -> Asked {
    let environment = task.environment.clone().unwrap_or_default();
    let of = task.batches.len();
    let allow = ReleaseWish::Allow {
        task: task.name.clone(),
        batch: next,
    };
    let title = format!("Let batch {next} of {of} in {environment} through?");
    let mut question = wish(
        model,
        name,
        title,
        "Let it through",
        allow.clone(),
        &format!("batch {next} sent"),
    );
    question.fact("task", format!("{}, environment {environment}", task.name));
    for (image, new) in &task.new_images {
        let old = task.old_images.get(image).map_or("nothing", String::as_str);
        question.fact("image", format!("{image} {old} → {new}"));
    }
    let app = &release.spec.app;
    let workloads: Vec<_> = model.world.workloads_of(app, &environment).collect();
    let now = split(
        Some(task),
        &workloads,
        facts::pods(&model.facts, &model.world, app, &environment),
    );
    question.fact(
        "pods now",
        format!(
            "{} new ready, {} old, {} wanted",
            now.new_ready, now.old, now.wanted
        ),
    );
    add_versions(model, &mut question, release);
    foresee(model, &mut question, release, &allow, None)?;
    let command = CommandLine::graylane("proceed")
        .arg(name)
        .option("--task", &task.name);
    let command = command.option("--batch", next.to_string());
    same(
        model,
        &mut question,
        name,
        command,
        &json!({"allow": {&task.name: next}}),
    );
    Ok(question)
}

pub(super) fn pause(model: &Model) -> Asked {
    let (name, release) = selected(model)?;
    match turn(release) {
        Turn::Held => {
            let key = model.key(Context::Release, Action::Resume);
            return Err(format!("{name} is paused already; {key} resumes it"));
        }
        Turn::Succeeded | Turn::Aborted | Turn::Aborting => {
            return Err(format!("{name} cannot be paused: {}", turn(release).word()));
        }
        _ => {}
    }
    let mut question = wish(
        model,
        name,
        format!("Pause {name}?"),
        "Pause",
        ReleaseWish::Pause,
        "pause sent",
    );
    question.fact("now", turn(release).word());
    question
        .happens
        .push("no further step is taken; pods stay as they are, both versions keep serving".into());
    same(
        model,
        &mut question,
        name,
        CommandLine::graylane("pause").arg(name),
        &json!({"paused": true}),
    );
    question.objects.clear();
    Ok(question)
}

pub(super) fn resume(model: &Model) -> Asked {
    let (name, release) = selected(model)?;
    if turn(release) != Turn::Held {
        return Err(format!("{name} is not paused: {}", turn(release).word()));
    }
    let mut question = wish(
        model,
        name,
        format!("Resume {name}?"),
        "Resume",
        ReleaseWish::Resume,
        "resume sent",
    );
    foresee(model, &mut question, release, &ReleaseWish::Resume, None)?;
    same(
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

pub(super) fn abort(model: &Model) -> Asked {
    let (name, release) = selected(model)?;
    let now = turn(release);
    if now.is_over() || now == Turn::Aborting {
        return Err(format!("{name} cannot be aborted: {}", now.word()));
    }
    let mut question = wish(
        model,
        name,
        format!("Roll {name} back and end it?"),
        "Roll back",
        ReleaseWish::Abort,
        "abort sent",
    );
    question.fact("now", now.word());
    add_versions(model, &mut question, release);
    question
        .happens
        .push("lanes close first: tagged requests take the baseline".into());
    for task in tasks(release)
        .iter()
        .rev()
        .filter(|t| t.kind == "deploy" && t.started_at.is_some())
    {
        question.happens.extend(undone(model, release, task));
    }
    question
        .happens
        .push("the release ends; it cannot be resumed".into());
    if let Some(app) = app_of(model, release) {
        forecast::add_present(model, &mut question, &app);
    }
    same(
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
fn undone(model: &Model, release: &Release, task: &TaskStatus) -> Vec<String> {
    let (app, environment) = (
        &release.spec.app,
        task.environment.as_deref().unwrap_or("?"),
    );
    let workloads: Vec<_> = model.world.workloads_of(app, environment).collect();
    let now = split(
        Some(task),
        &workloads,
        facts::pods(&model.facts, &model.world, app, environment),
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
    told.extend(in_place::back(model, app, environment).filter(|_| new > 0));
    told
}

fn failed<'a>(
    model: &'a Model,
    name: &str,
    release: &'a Release,
    word: &str,
) -> Result<&'a TaskStatus, String> {
    let chosen = model
        .selected_task()
        .filter(|t| t.phase == TaskPhase::Failed);
    let at = match turn(release) {
        Turn::Failed(task) => task,
        _ => None,
    };
    chosen
        .or(at)
        .ok_or_else(|| format!("no task of {name} has failed: there is nothing to {word}"))
}

pub(super) fn retry(model: &Model) -> Asked {
    let (name, release) = selected(model)?;
    let task = failed(model, name, release, "retry")?;
    let retry = ReleaseWish::Retry {
        task: task.name.clone(),
        force: false,
    };
    let title = format!("Try {} of {name} again?", task.name);
    let mut question = wish(model, name, title, "Retry", retry.clone(), "retry sent");
    question.fact("task", format!("{}, attempt {}", task.name, task.attempt));
    if let Some(message) = &task.message {
        question.fact("failed", message.clone());
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
    same(
        model,
        &mut question,
        name,
        command,
        &json!({"retry": {&task.name: level}}),
    );
    foresee(model, &mut question, release, &retry, None)?;
    Ok(question)
}

pub(super) fn skip(model: &Model) -> Asked {
    let (name, release) = selected(model)?;
    let stands = |t: &&TaskStatus| {
        matches!(
            t.phase,
            TaskPhase::Failed | TaskPhase::Waiting | TaskPhase::Paused
        )
    };
    let task = model
        .selected_task()
        .filter(stands)
        .or_else(|| tasks(release).iter().find(stands));
    if let Some(task) = task.filter(|t| t.kind == "approval") {
        return Err(format!(
            "{} of {name} is an approval, which cannot be skipped: approve it, or roll back",
            task.name
        ));
    }
    let task = task.ok_or_else(|| {
        format!("no task of {name} has failed or waits: there is nothing to skip")
    })?;
    if task.kind == "deploy" && task.batches.iter().any(|b| b.started_at.is_some()) {
        let key = |action| model.key(Context::Release, action);
        let (retry, abort) = (key(Action::Retry), key(Action::Abort));
        return Err(format!(
            "{} is half-way and cannot be skipped: {retry} tries it again, {abort} rolls back",
            task.name
        ));
    }
    let skip = ReleaseWish::Skip {
        task: task.name.clone(),
    };
    let title = format!("Skip {} of {name}?", task.name);
    let mut question = wish(model, name, title, "Skip", skip.clone(), "skip sent");
    question.fact("task", format!("{} ({})", task.name, task.kind));
    question.doubts.push(match task.kind.as_str() {
        "verify" => "what follows goes on unverified".into(),
        "deploy" => "the environment stays as it is now, whatever the release says".into(),
        _ => "what it would have done stays undone".to_owned(),
    });
    foresee(model, &mut question, release, &skip, None)?;
    let command = CommandLine::graylane("skip")
        .arg(name)
        .option("--task", &task.name);
    same(
        model,
        &mut question,
        name,
        command,
        &json!({"skip": [&task.name]}),
    );
    Ok(question)
}
