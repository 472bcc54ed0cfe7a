//! Questions about the release that is looked at.

use std::sync::Arc;

use serde_json::{Value, json};
use tui_input::Input;

use super::{
    Question, Shown,
    ask::{until_gate, until_next_gate},
    in_place,
    lane::difference,
};
use crate::{
    api::{BatchPhase, Decision, Release, TaskPhase, TaskStatus},
    domain::{
        command_line::CommandLine,
        intent::{Intent, ReleaseWish},
        revision::{FrozenApp, short},
        workflow::{Proposal, built_after, changes, proposal},
    },
    ui::{
        facts::{self, Turn, gates_production, split, turn},
        form::Remark,
        keymap::{Action, Context},
        model::Model,
    },
};

type Asked = Result<Question, String>;

fn selected(model: &Model) -> Result<(&String, &Arc<Release>), String> {
    model.selected_release().ok_or_else(|| match &model.app {
        Some(app) => format!("{app} has no release; {} starts one", model.key(Context::Apps, Action::Start)),
        None => "no app is selected".into(),
    })
}

/// What does the same: our own command, and `kubectl patch` of the release's control.
pub(super) fn same(model: &Model, question: &mut Question, name: &str, command: CommandLine, control: &Value) {
    question.kubectl.push(command);
    let line = CommandLine::kubectl("").option("-n", &model.world.namespace).flag("patch release").arg(name);
    question.kubectl.push(line.flag("--type merge").json("-p", &json!({"spec": {"control": control}})));
}

fn wish(model: &Model, name: &str, title: String, verb: &str, wish: ReleaseWish, sent: &str) -> Question {
    let shown = Shown::of(&model.world, "releases", name, None);
    // Holding and rolling back must win over whatever the engine writes meanwhile.
    let firm = !matches!(wish, ReleaseWish::Pause | ReleaseWish::Abort | ReleaseWish::Resume);
    let seen = shown.as_ref().map(|s| {
        let mut seen = s.seen();
        seen.meaning = seen.meaning.filter(|_| firm);
        seen
    });
    let intent = Intent::Release { name: name.into(), seen, wish, comment: None };
    let mut question = Question::new(title, verb, intent, name, sent);
    question.objects.extend(shown);
    question.comment = Some(Input::default());
    if let Some(release) = model.world.releases.get(name) {
        let stage = if release.spec.stage.is_empty() { "teardown" } else { &release.spec.stage };
        question.fact("release", format!("{name} ({stage} of {})", release.spec.app));
        if let Some(window) = &release.spec.window {
            question.fact("window", window.clone());
        }
    }
    question
}

fn tasks(release: &Release) -> &[TaskStatus] {
    release.status.as_ref().map(|s| s.tasks.as_slice()).unwrap_or_default()
}

fn images(question: &mut Question, release: &Release) {
    let status = release.status.clone().unwrap_or_default();
    for (image, reference) in &status.images {
        let (name, pinned) = reference.split_once('@').map_or((&**reference, None), |(name, d)| (name, Some(d)));
        let digest =
            pinned.or_else(|| status.digests.get(image).map(String::as_str)).filter(|d| d.starts_with("sha256:"));
        let digest = digest.map_or_else(|| "  by its tag alone".to_owned(), |d| format!("  {}", short_digest(d)));
        question.fact("image", format!("{image} {name}{digest}"));
    }
}

fn short_digest(digest: &str) -> String {
    digest.chars().take(19).collect()
}

/// Asks for the production environment's name where the task leads there without asking again.
fn guard(model: &Model, question: &mut Question, release: &Release, task: &str) {
    let frozen = model.world.frozen(release);
    let app = frozen.as_deref().or_else(|| model.world.apps.get(&release.spec.app).map(|app| &**app));
    if let Some(production) = app.and_then(|app| gates_production(app, release, task)) {
        question.type_name(&production);
    }
}

pub(super) fn decide(model: &Model, pass: bool) -> Asked {
    let (name, release) = selected(model)?;
    let Turn::Approve(task) = turn(release) else {
        return Err(format!("{name} waits for no approval: {}", turn(release).word()));
    };
    let (decision, verb, word) =
        if pass { (Decision::Pass, "Approve", "approval") } else { (Decision::Refuse, "Refuse", "refusal") };
    let (app, proposal) = proposed(model, name, release, &task.name)?;
    let digest = Some(proposal.digest.clone());
    let decide = ReleaseWish::Decide { task: task.name.clone(), attempt: task.attempt, decision, digest };
    let title = format!("{verb} {name}?");
    let mut question = wish(model, name, title, verb, decide, &format!("{word} sent"));
    question.fact("task", format!("{}, attempt {}", task.name, task.attempt));
    if let Some(comment) = &release.spec.comment {
        question.fact("requested", format!("{} by {}", comment, release.spec.requester));
    }
    images(&mut question, release);
    question.fact("revision", format!("{}  {}", short(app.revision().name()), short_digest(&proposal.digest)));
    if model.world.apps.get(&release.spec.app).is_some_and(|live| app.revision().is_changed(live)) {
        question.doubts.push("the App has changed since the release began: that is no part of it".into());
    }
    let status = release.status.clone().unwrap_or_default();
    for image in built_after(&app, &release.spec, &status, &task.name) {
        question.doubts.push(format!("image {image} is built after this: what the build makes is deployed unseen"));
    }
    question.diff = change(model, release, &app, &proposal);
    question.happens.push(format!(
        "an Approval by {} is recorded; it holds for exactly these images and objects",
        model.world.acting()
    ));
    if pass {
        question.happens.extend(until_gate(tasks(release), &task.name));
        question.doubts.extend(in_places(model, release, &task.name));
        guard(model, &mut question, release, &task.name);
    } else {
        question.happens.push("the task fails; the release waits for retry, skip or abort".into());
    }
    let command = CommandLine::graylane(if pass { "approve" } else { "refuse" });
    question.kubectl.push(command.arg(name).option("--task", &task.name));
    Ok(question)
}

/// The App as the release has it, and what a task of it lets through: what is not known is not said yes to.
fn proposed(model: &Model, name: &str, release: &Release, task: &str) -> Result<(FrozenApp, Proposal), String> {
    let status = release.status.clone().unwrap_or_default();
    if status.revision.is_none() {
        return Err(format!("{name} is not frozen yet: an engine of this version has to look at it first"));
    }
    let app = model.world.frozen(release);
    let app = app.ok_or_else(|| format!("what {name} would apply is not seen: its ControllerRevision is not there"))?;
    let proposal = proposal(&app, &release.spec, &status, Some(task)).map_err(|all| all.join("; "))?;
    let known = status.tasks.iter().find(|t| t.name == task).and_then(|t| t.digest.as_ref());
    if known.is_some_and(|known| *known != proposal.digest) {
        return Err(format!(
            "the engine would apply something else than is shown here: look with `{}`",
            CommandLine::graylane("release show").arg(name)
        ));
    }
    Ok((app, proposal))
}

/// What it changes of what runs.
fn change(model: &Model, release: &Release, app: &FrozenApp, proposal: &Proposal) -> Vec<Remark> {
    let world = &model.world;
    let releases = world.releases.values().filter(|r| r.spec.app == release.spec.app).map(|r| &**r);
    let mut lines = vec![];
    for change in changes(app, proposal, releases, |name| world.revisions.get(name).cloned()) {
        let told = match &change.before {
            None => "what runs is of no release that was frozen; all is shown",
            Some(before) if *before == change.after => "nothing",
            Some(_) => "",
        };
        let colon = if told.is_empty() { "" } else { ": " };
        lines.push(Remark::Fact(format!("environment {}{colon}{told}", change.environment)));
        lines.extend(difference(change.before.as_deref().unwrap_or_default(), &change.after));
    }
    lines
}

pub(super) fn go_on(model: &Model) -> Asked {
    let (name, release) = selected(model)?;
    match turn(release) {
        Turn::Batch(task, next) => batch(model, name, release, task, next),
        Turn::Proceed(task) => {
            let allow = ReleaseWish::Allow { task: task.name.clone(), batch: 1 };
            let title = format!("Go on with {} of {name}?", task.name);
            let mut question = wish(model, name, title, "Go on", allow, "go-ahead sent");
            question.fact("task", task.name.clone());
            if let Some(message) = &task.message {
                question.fact("look at", message.clone());
            }
            images(&mut question, release);
            question.happens.extend(until_gate(tasks(release), &task.name));
            question.doubts.extend(in_places(model, release, &task.name));
            let command = CommandLine::graylane("proceed").arg(name).option("--task", &task.name);
            same(model, &mut question, name, command, &json!({"allow": {&task.name: 1}}));
            traffic(model, &mut question);
            guard(model, &mut question, release, &task.name);
            Ok(question)
        }
        Turn::Held => Err(format!("{name} is paused; {} resumes it", model.key(Context::Release, Action::Resume))),
        Turn::Approve(_) => {
            let key = |action| model.key(Context::Release, action);
            let (yes, no) = (key(Action::Approve), key(Action::Refuse));
            Err(format!("{name} waits for an approval: {yes} approves, {no} refuses"))
        }
        other => Err(format!("{name} waits for nobody: {}", other.word())),
    }
}

fn batch(model: &Model, name: &str, release: &Release, task: &TaskStatus, next: u32) -> Asked {
    let environment = task.environment.clone().unwrap_or_default();
    let of = task.batches.len();
    let allow = ReleaseWish::Allow { task: task.name.clone(), batch: next };
    let title = format!("Let batch {next} of {of} go in {environment}?");
    let mut question = wish(model, name, title, "Let it go", allow, &format!("batch {next} sent"));
    question.fact("task", format!("{}, environment {environment}", task.name));
    for (image, new) in &task.new_images {
        let old = task.old_images.get(image).map_or("nothing", String::as_str);
        question.fact("image", format!("{image} {old} → {new}"));
    }
    if let Some(found) = task.batches.iter().find(|b| b.number == next) {
        let before = task.batches.iter().filter(|b| b.phase == BatchPhase::Done).map(|b| b.target).max().unwrap_or(0);
        let more = found.target.saturating_sub(before);
        let app = &release.spec.app;
        let workloads: Vec<_> = model.world.workloads_of(app, &environment).collect();
        let now = split(Some(task), &workloads, facts::pods(&model.facts, &model.world, app, &environment));
        question.fact("pods now", format!("{} new ready, {} old, {} wanted", now.new_ready, now.old, now.wanted));
        question.happens.push(format!(
            "{more} more pod{} of the new version: {before} → {} of {}; {}",
            if more == 1 { "" } else { "s" },
            found.target,
            now.wanted.max(found.target),
            in_place::moves(&workloads),
        ));
        question.doubts.extend(in_place::cost(model, app, &environment));
        if next as usize == of {
            question.happens.push(in_place::end(&workloads));
            question.happens.extend(until_gate(tasks(release), &task.name));
        } else {
            question.happens.push("then it holds again, unless the plan says otherwise".into());
        }
    }
    let command = CommandLine::graylane("proceed").arg(name).option("--task", &task.name);
    let command = command.option("--batch", next.to_string());
    same(model, &mut question, name, command, &json!({"allow": {&task.name: next}}));
    traffic(model, &mut question);
    guard(model, &mut question, release, &task.name);
    Ok(question)
}

/// What StatefulSets cost in all environments that are deployed to after a task, without being asked again.
fn in_places(model: &Model, release: &Release, task: &str) -> Vec<String> {
    let deploys = until_next_gate(tasks(release), task).filter(|t| t.kind == "deploy");
    deploys.filter_map(|t| in_place::cost(model, &release.spec.app, t.environment.as_deref()?)).collect()
}

/// A leak is told before more pods move.
fn traffic(model: &Model, question: &mut Question) {
    let traffic = model.facts.traffic(model.now);
    if traffic.leaks + traffic.failed > 0 {
        let worst = traffic.worst.unwrap_or_default();
        question.doubts.push(format!("in the last minute {} leaks, {} failed: {worst}", traffic.leaks, traffic.failed));
    }
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
    let mut question = wish(model, name, format!("Pause {name}?"), "Pause", ReleaseWish::Pause, "pause sent");
    question.fact("now", turn(release).word());
    question.happens.push("no further step is taken; pods stay as they are, both versions keep serving".into());
    same(model, &mut question, name, CommandLine::graylane("pause").arg(name), &json!({"paused": true}));
    question.objects.clear();
    Ok(question)
}

pub(super) fn resume(model: &Model) -> Asked {
    let (name, release) = selected(model)?;
    if turn(release) != Turn::Held {
        return Err(format!("{name} is not paused: {}", turn(release).word()));
    }
    let mut question = wish(model, name, format!("Resume {name}?"), "Resume", ReleaseWish::Resume, "resume sent");
    let task = release.status.as_ref().and_then(|s| s.task.clone()).unwrap_or_default();
    question
        .happens
        .push(format!("it goes on where it was held: {}", if task.is_empty() { "at its start" } else { &task }));
    same(model, &mut question, name, CommandLine::graylane("resume").arg(name), &json!({"paused": false}));
    // The engine still writes that it holds.
    question.objects.clear();
    traffic(model, &mut question);
    guard(model, &mut question, release, &task);
    Ok(question)
}

pub(super) fn abort(model: &Model) -> Asked {
    let (name, release) = selected(model)?;
    let now = turn(release);
    if now.is_over() || now == Turn::Aborting {
        return Err(format!("{name} cannot be aborted: {}", now.word()));
    }
    let mut question =
        wish(model, name, format!("Roll {name} back and end it?"), "Roll back", ReleaseWish::Abort, "abort sent");
    question.fact("now", now.word());
    question.happens.push("lanes close first: tagged requests take the baseline".into());
    for task in tasks(release).iter().filter(|t| t.kind == "deploy" && t.phase != TaskPhase::Pending) {
        let environment = task.environment.as_deref().unwrap_or("?");
        let old = task.old_version.as_deref().or(task.old_images.values().next().map(String::as_str));
        let moved = task.batches.iter().filter(|b| b.phase != BatchPhase::Pending).map(|b| b.target).max().unwrap_or(0);
        let back = old.map_or_else(|| "what was there before".to_owned(), |old| format!("the old version ({old})"));
        let pods = if moved == 1 { "1 new pod gives" } else { &format!("{moved} new pods give") };
        question.happens.push(format!("{environment}: up to {pods} way to {back}, in one patch"));
        if moved > 0 {
            question.happens.extend(in_place::back(model, &release.spec.app, environment));
        }
    }
    question.happens.push("the release ends; it cannot be resumed".into());
    same(model, &mut question, name, CommandLine::graylane("abort").arg(name), &json!({"abort": true}));
    // A rollback must stay possible while its release moves.
    question.objects.clear();
    Ok(question)
}

fn failed<'a>(model: &'a Model, name: &str, release: &'a Release, word: &str) -> Result<&'a TaskStatus, String> {
    let chosen = model.selected_task().filter(|t| t.phase == TaskPhase::Failed);
    let at = match turn(release) {
        Turn::Failed(task) => task,
        _ => None,
    };
    chosen.or(at).ok_or_else(|| format!("no task of {name} has failed: there is nothing to {word}"))
}

pub(super) fn retry(model: &Model) -> Asked {
    let (name, release) = selected(model)?;
    let task = failed(model, name, release, "retry")?;
    let retry = ReleaseWish::Retry { task: task.name.clone(), force: false };
    let mut question = wish(model, name, format!("Try {} of {name} again?", task.name), "Retry", retry, "retry sent");
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
    let command = CommandLine::graylane("retry").arg(name).option("--task", &task.name);
    same(model, &mut question, name, command, &json!({"retry": {&task.name: level}}));
    guard(model, &mut question, release, &task.name);
    Ok(question)
}

pub(super) fn skip(model: &Model) -> Asked {
    let (name, release) = selected(model)?;
    let stands = |t: &&TaskStatus| matches!(t.phase, TaskPhase::Failed | TaskPhase::Waiting | TaskPhase::Paused);
    let task = model.selected_task().filter(stands).or_else(|| tasks(release).iter().find(stands));
    if let Some(task) = task.filter(|t| t.kind == "approval") {
        return Err(format!(
            "{} of {name} is an approval, which cannot be skipped: approve it, or roll back",
            task.name
        ));
    }
    let task = task.ok_or_else(|| format!("no task of {name} has failed or waits: there is nothing to skip"))?;
    let skip = ReleaseWish::Skip { task: task.name.clone() };
    let mut question = wish(model, name, format!("Skip {} of {name}?", task.name), "Skip", skip, "skip sent");
    question.fact("task", format!("{} ({})", task.name, task.kind));
    question.doubts.push(match task.kind.as_str() {
        "verify" => "what follows goes on unverified".into(),
        "deploy" => "the environment stays as it is now, whatever the release says".into(),
        _ => "what it would have done stays undone".to_owned(),
    });
    question.happens.extend(until_gate(tasks(release), &task.name));
    question.doubts.extend(in_places(model, release, &task.name));
    let command = CommandLine::graylane("skip").arg(name).option("--task", &task.name);
    same(model, &mut question, name, command, &json!({"skip": [&task.name]}));
    guard(model, &mut question, release, &task.name);
    Ok(question)
}
