//! `approve|refuse|proceed|pause|resume|abort|retry|skip NAME`: wishes about a release that is under way.
//!
//! Without `--task` the one that waits (or failed) is meant; when several do, they are listed and nothing is done.

use clap::{Args, Subcommand};
use color_eyre::eyre::Result;
use kube::ResourceExt;

use super::{
    Global, get,
    session::{self, usage},
};
use crate::{
    api::{BatchPhase, Decision, Release, TaskPhase, TaskStatus},
    domain::intent::{Intent, ReleaseWish, Seen},
};

#[derive(Clone, Debug, Subcommand)]
pub enum WishCommand {
    /// Say yes to an approval task
    Approve(WishArgs),
    /// Say no to an approval task
    Refuse(WishArgs),
    /// Let the next batch, or a task that waits for a person, go on
    Proceed(WishArgs),
    /// Hold a release where it is
    Pause(WishArgs),
    /// Let a held release go on
    Resume(WishArgs),
    /// Roll a release back and end it
    Abort(WishArgs),
    /// Try a failed task again
    Retry(WishArgs),
    /// Go past a task that failed or waits
    Skip(WishArgs),
}

#[derive(Clone, Debug, Default, Args)]
pub struct WishArgs {
    /// The release
    name: String,
    /// The task [default: the one that waits]
    #[arg(long)]
    task: Option<String>,
    /// For proceed: the batch up to which it may go [default: the next]
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// For retry: take fields that another manager has, where the apply conflicted
    #[arg(long)]
    force_conflicts: bool,
    /// Why
    #[arg(long, short)]
    comment: Option<String>,
    /// How to print what was done
    #[arg(long, short, default_value = "table")]
    output: super::output::Format,
}

impl WishCommand {
    fn args(&self) -> &WishArgs {
        match self {
            Self::Approve(a) | Self::Refuse(a) | Self::Proceed(a) | Self::Pause(a) => a,
            Self::Resume(a) | Self::Abort(a) | Self::Retry(a) | Self::Skip(a) => a,
        }
    }

    const fn verb(&self) -> &'static str {
        match self {
            Self::Approve(_) => "approve",
            Self::Refuse(_) => "refuse",
            Self::Proceed(_) => "proceed",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Abort(_) => "abort",
            Self::Retry(_) => "retry",
            Self::Skip(_) => "skip",
        }
    }
}

pub(super) async fn run(global: &Global, command: WishCommand) -> Result<()> {
    let args = command.args().clone();
    if args.batch.is_some() && !matches!(command, WishCommand::Proceed(_)) {
        return Err(usage(format!("--batch goes with proceed, not with {}", command.verb())));
    }
    if args.force_conflicts && !matches!(command, WishCommand::Retry(_)) {
        return Err(usage(format!("--force-conflicts goes with retry, not with {}", command.verb())));
    }
    let session = session::open(global).await?;
    let release: Release = get::one(&session, &args.name).await?;
    let wish = resolve(&command, &release)?;
    // The wish is about what was just read: by uid, so that a namesake made meanwhile does not get it.
    let seen = Seen { uid: release.uid().unwrap_or_default(), version: None, meaning: None };
    let intent = Intent::Release { name: args.name, seen: Some(seen), wish, comment: args.comment };
    session.perform(intent, args.output).await.map(drop)
}

/// What a verb means for a release as it stands.
fn resolve(command: &WishCommand, release: &Release) -> Result<ReleaseWish, Unresolved> {
    let args = command.args();
    let status = release.status.clone().unwrap_or_default();
    let tasks = &status.tasks;
    let pick = |what: &'static str, fits: &dyn Fn(&TaskStatus) -> bool| {
        let found: Vec<&TaskStatus> = match &args.task {
            Some(name) => tasks.iter().filter(|t| t.name == *name).collect(),
            None => tasks.iter().filter(|t| fits(t)).collect(),
        };
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(Unresolved::None {
                release: release.name_any(),
                wanted: args.task.as_ref().map_or_else(|| what.to_owned(), |t| format!("{t:?}")),
                stands: stands(release),
            }),
            many => Err(Unresolved::Several(many.iter().map(|t| t.name.clone()).collect())),
        }
    };
    let waits = |t: &TaskStatus| t.phase == TaskPhase::Waiting;
    let decide = |decision| {
        pick("that waits for an approval", &|t| waits(t) && t.kind == "approval").map(|t| ReleaseWish::Decide {
            task: t.name,
            attempt: t.attempt,
            decision,
        })
    };
    match command {
        WishCommand::Approve(_) => decide(Decision::Pass),
        WishCommand::Refuse(_) => decide(Decision::Refuse),
        WishCommand::Proceed(_) => {
            let task =
                pick("that waits to be let through", &|t| waits(t) && matches!(t.kind.as_str(), "proceed" | "deploy"))?;
            let next = || task.batches.iter().find(|b| b.phase != BatchPhase::Done).map_or(1, |b| b.number);
            Ok(ReleaseWish::Allow { batch: args.batch.unwrap_or_else(next), task: task.name })
        }
        WishCommand::Retry(_) => {
            let task = pick("that failed", &|t| t.phase == TaskPhase::Failed)?;
            Ok(ReleaseWish::Retry { task: task.name, force: args.force_conflicts })
        }
        WishCommand::Skip(_) => {
            let task = pick("that failed or waits", &|t| waits(t) || t.phase == TaskPhase::Failed)?;
            Ok(ReleaseWish::Skip { task: task.name })
        }
        WishCommand::Pause(_) => named(args, tasks, release).map(|()| ReleaseWish::Pause),
        WishCommand::Resume(_) => named(args, tasks, release).map(|()| ReleaseWish::Resume),
        WishCommand::Abort(_) => named(args, tasks, release).map(|()| ReleaseWish::Abort),
    }
}

/// Pause, resume and abort are about the whole release; a `--task` must at least be one of its tasks.
fn named(args: &WishArgs, tasks: &[TaskStatus], release: &Release) -> Result<(), Unresolved> {
    match &args.task {
        Some(name) if tasks.iter().all(|t| t.name != *name) => {
            Err(Unresolved::None { release: release.name_any(), wanted: format!("{name:?}"), stands: stands(release) })
        }
        _ => Ok(()),
    }
}

fn stands(release: &Release) -> String {
    let Some(status) = release.status.as_ref().filter(|s| !s.tasks.is_empty()) else {
        return "no engine has looked at it yet".into();
    };
    let tasks: Vec<String> = status.tasks.iter().map(|t| format!("{} {:?}", t.name, t.phase)).collect();
    format!("it is {:?}: {}", status.phase, tasks.join(", "))
}

/// Why a verb means nothing, or too much.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unresolved {
    #[error("release {release} has no task {wanted}; {stands}")]
    None { release: String, wanted: String, stands: String },
    #[error("several tasks are meant: {}; name one with --task", .0.join(", "))]
    Several(Vec<String>),
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn release(tasks: Value) -> Release {
        let object = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Release", "metadata": {"name": "r"},
            "spec": {"app": "a", "stage": "s"}, "status": {"phase": "Waiting", "tasks": tasks}});
        serde_json::from_value(object).unwrap()
    }

    fn args(task: Option<&str>) -> WishArgs {
        WishArgs { name: "r".into(), task: task.map(str::to_owned), ..WishArgs::default() }
    }

    #[test]
    fn without_a_task_the_one_that_waits_is_meant() {
        let one = release(json!([
            {"name": "build", "kind": "build", "phase": "Succeeded"},
            {"name": "gate", "kind": "approval", "phase": "Waiting", "attempt": 2},
            {"name": "prod", "kind": "deploy", "phase": "Waiting", "batches": [
                {"number": 1, "target": 1, "phase": "Done"}, {"number": 2, "target": 2, "phase": "Pending"}]}]));
        let decided = resolve(&WishCommand::Refuse(args(None)), &one).unwrap();
        assert_eq!(decided, ReleaseWish::Decide { task: "gate".into(), attempt: 2, decision: Decision::Refuse });
        let next = resolve(&WishCommand::Proceed(args(None)), &one).unwrap();
        assert_eq!(next, ReleaseWish::Allow { task: "prod".into(), batch: 2 });
        let far = WishArgs { batch: Some(3), ..args(None) };
        let far = resolve(&WishCommand::Proceed(far), &one).unwrap();
        assert_eq!(far, ReleaseWish::Allow { task: "prod".into(), batch: 3 });
        let several = resolve(&WishCommand::Skip(args(None)), &one).unwrap_err();
        assert_eq!(several, Unresolved::Several(vec!["gate".into(), "prod".into()]));
        let named = resolve(&WishCommand::Skip(args(Some("gate"))), &one).unwrap();
        assert_eq!(named, ReleaseWish::Skip { task: "gate".into() });
    }

    #[test]
    fn nothing_that_fits_tells_how_the_release_stands() {
        let done = release(json!([{"name": "build", "kind": "build", "phase": "Succeeded"}]));
        let told = resolve(&WishCommand::Approve(args(None)), &done).unwrap_err().to_string();
        assert_eq!(told, "release r has no task that waits for an approval; it is Waiting: build Succeeded");
        let told = resolve(&WishCommand::Pause(args(Some("nil"))), &done).unwrap_err().to_string();
        assert!(told.starts_with("release r has no task \"nil\""), "{told}");
        assert_eq!(resolve(&WishCommand::Pause(args(None)), &done), Ok(ReleaseWish::Pause));
    }
}
