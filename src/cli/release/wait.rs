//! `release wait NAME [--task T [--batch N]] --phase P --timeout 60s`: waits on a watch, without
//! polling.

use std::time::Duration;

use clap::Args;
use color_eyre::eyre::{Result, bail, eyre};
use kube::{Api, runtime::wait::await_condition};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    api::{BatchPhase, Release, ReleasePhase, TaskPhase},
    cli::{
        objects,
        session::{Session, usage_error},
    },
};

#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// The release
    name: String,
    /// One of its tasks, instead of the whole
    #[arg(long)]
    task: Option<String>,
    /// One batch of that task (from 1), instead of the task
    #[arg(long, requires = "task", value_name = "N")]
    batch: Option<u32>,
    /// A release: Pending, Running, Waiting, Paused, Aborting, Succeeded, Failed, Aborted; a task
    /// also Skipped; a batch: Pending, Surging, Retiring, Done
    #[arg(long)]
    phase: String,
    /// Give up after
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
}

/// A text is no duration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration; write 60s or 2m")]
pub(in crate::cli) struct DurationError(String);

/// Parses `60s`, `2m`, `1h30m`, or seconds.
pub(in crate::cli) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let wrong = || DurationError(text.to_owned());
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    span.try_into().map_err(|_| wrong())
}

/// What to wait for.
#[derive(Clone, Debug, PartialEq)]
enum WaitTarget {
    Release(ReleasePhase),
    Task(String, TaskPhase),
    Batch(String, u32, BatchPhase),
}

/// Whether a release has reached the target.
#[derive(Clone, Debug, PartialEq)]
enum WaitState {
    Holds,
    NotYet(String),
    /// It cannot be reached any more unless somebody acts.
    Never(String),
}

fn parse_phase<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> Result<T> {
    let mut word = text.to_lowercase();
    if let Some(first) = word.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    serde_json::from_value(Value::String(word))
        .map_err(|e| usage_error(format!("--phase {text}: {e}")))
}

impl WaitTarget {
    fn from_args(args: &WaitArgs) -> Result<Self> {
        Ok(match (&args.task, args.batch) {
            (None, _) => Self::Release(parse_phase(&args.phase)?),
            (Some(task), None) => Self::Task(task.clone(), parse_phase(&args.phase)?),
            (Some(task), Some(batch)) => {
                Self::Batch(task.clone(), batch, parse_phase(&args.phase)?)
            }
        })
    }

    fn evaluate_release(&self, release: &Release) -> WaitState {
        let Some(status) = &release.status else {
            return WaitState::NotYet("no engine has seen it yet".into());
        };
        let told = |what: String, message: &Option<String>| {
            message
                .as_ref()
                .map_or(what.clone(), |m| format!("{what}: {m}"))
        };
        if let Self::Release(phase) = self {
            let now = told(format!("{:?}", status.phase), &status.message);
            return match status.phase {
                p if p == *phase => WaitState::Holds,
                p if p.is_final() || p == ReleasePhase::Failed => WaitState::Never(now),
                _ => WaitState::NotYet(now),
            };
        }
        let (Self::Task(name, _) | Self::Batch(name, ..)) = self else {
            unreachable!("the release was handled above")
        };
        let Some(task) = status.tasks.iter().find(|t| t.name == *name) else {
            if status.tasks.is_empty() {
                return WaitState::NotYet("its tasks are not known yet".into());
            }
            let known: Vec<String> = status.tasks.iter().map(|t| t.name.clone()).collect();
            return WaitState::Never(format!(
                "no task {name}; there {}",
                objects::describe_names(&known)
            ));
        };
        let now = told(format!("{name} is {:?}", task.phase), &task.message);
        let ended = status.phase.is_final()
            || matches!(
                task.phase,
                TaskPhase::Succeeded | TaskPhase::Skipped | TaskPhase::Aborted | TaskPhase::Failed
            );
        let holds = match self {
            Self::Batch(_, number, phase) => task
                .batches
                .iter()
                .any(|b| b.number == *number && b.phase == *phase),
            Self::Task(_, phase) => task.phase == *phase,
            Self::Release(_) => false,
        };
        match (holds, ended) {
            (true, _) => WaitState::Holds,
            (false, true) => WaitState::Never(now),
            (false, false) => WaitState::NotYet(now),
        }
    }
}

pub(super) async fn wait_for_release(session: &Session, args: WaitArgs) -> Result<()> {
    let wanted = WaitTarget::from_args(&args)?;
    wait_for_target(session, &args.name, &wanted, &args.phase, args.timeout).await
}

/// Waits until a release is in a phase.
pub(in crate::cli) async fn wait_for_phase(
    session: &Session,
    name: &str,
    phase: ReleasePhase,
    timeout: Duration,
) -> Result<()> {
    wait_for_target(
        session,
        name,
        &WaitTarget::Release(phase),
        &format!("{phase:?}"),
        timeout,
    )
    .await
}

async fn wait_for_target(
    session: &Session,
    name: &str,
    wanted: &WaitTarget,
    phase: &str,
    timeout: Duration,
) -> Result<()> {
    // Fails at once if there is no such release.
    let first = wanted.evaluate_release(&objects::get_object(session, name).await?);
    let api: Api<Release> = Api::namespaced(session.client.clone(), &session.namespace);
    let (seen, mut standings) = tokio::sync::watch::channel(first);
    let ends = |release: Option<&Release>| {
        let standing = release.map_or_else(
            || WaitState::Never("it was deleted".into()),
            |r| wanted.evaluate_release(r),
        );
        let done = !matches!(standing, WaitState::NotYet(_));
        seen.send_replace(standing);
        done
    };
    let waited = tokio::time::timeout(timeout, await_condition(api, name, ends)).await;
    let last = standings.borrow_and_update().clone();
    match (last, waited) {
        (WaitState::Holds, _) => Ok(()),
        (WaitState::Never(now), _) => bail!("release {name}: {now}"),
        (WaitState::NotYet(now), Err(_)) => Err(eyre!(
            "release {name}: not {phase} within {timeout:?}; {now}"
        )),
        (WaitState::NotYet(now), Ok(ended)) => {
            let why = ended
                .err()
                .map_or_else(|| "the watch ended".to_owned(), |e| e.to_string());
            bail!("release {name}: {why}; last seen: {now}")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn release(status: Value) -> Release {
        let object = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Release", "metadata": {"name": "r"},
            "spec": {"app": "a", "stage": "s"}, "status": status});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_phase_that_cannot_come_any_more_is_not_waited_for() {
        let now = release(json!({"phase": "Running", "tasks": [
            {"name": "build", "kind": "build", "phase": "Succeeded"},
            {"name": "ok", "kind": "approval", "phase": "Waiting"},
            {"name": "prod", "kind": "deploy", "phase": "Failed", "message": "pod x crashed",
             "batches": [{"number": 1, "target": 1, "phase": "Done"}]}]}));
        let task = |name: &str, phase| WaitTarget::Task(name.into(), phase).evaluate_release(&now);
        assert_eq!(task("ok", TaskPhase::Waiting), WaitState::Holds);
        assert!(matches!(
            task("ok", TaskPhase::Succeeded),
            WaitState::NotYet(_)
        ));
        assert!(matches!(
            task("build", TaskPhase::Running),
            WaitState::Never(_)
        ));
        assert_eq!(
            task("prod", TaskPhase::Succeeded),
            WaitState::Never("prod is Failed: pod x crashed".into())
        );
        assert_eq!(
            task("nil", TaskPhase::Running),
            WaitState::Never("no task nil; there are build, ok, prod".into())
        );
        assert_eq!(
            WaitTarget::Batch("prod".into(), 1, BatchPhase::Done).evaluate_release(&now),
            WaitState::Holds
        );
        assert!(matches!(
            WaitTarget::Release(ReleasePhase::Succeeded).evaluate_release(&now),
            WaitState::NotYet(_)
        ));
        assert!(matches!(
            WaitTarget::Release(ReleasePhase::Waiting)
                .evaluate_release(&release(json!({"phase": "Aborted"}))),
            WaitState::Never(_)
        ));
    }

    #[test]
    fn phases_are_read_in_any_case_and_durations_in_any_unit() {
        assert_eq!(
            parse_phase::<TaskPhase>("succeeded").unwrap(),
            TaskPhase::Succeeded
        );
        assert!(
            parse_phase::<BatchPhase>("Succeeded")
                .unwrap_err()
                .to_string()
                .contains("Surging")
        );
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_mins(2)));
        assert!(parse_duration("soon").is_err() && parse_duration("-5s").is_err());
    }
}
