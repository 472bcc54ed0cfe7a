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
        get,
        session::{Session, usage},
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
    #[arg(long, default_value = "60s", value_parser = duration)]
    timeout: Duration,
}

/// Parses `60s`, `2m`, `1h30m`, or seconds.
pub(in crate::cli) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let wrong = || format!("{text:?} is no length of time; write 60s or 2m");
    let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    span.try_into().map_err(|_| wrong())
}

/// What to wait for.
#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Release(ReleasePhase),
    Task(String, TaskPhase),
    Batch(String, u32, BatchPhase),
}

/// Whether a release has reached the target.
#[derive(Clone, Debug, PartialEq)]
enum Standing {
    Holds,
    NotYet(String),
    /// It cannot be reached any more unless somebody acts.
    Never(String),
}

fn phase<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> Result<T> {
    let mut word = text.to_lowercase();
    if let Some(first) = word.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    serde_json::from_value(Value::String(word)).map_err(|e| usage(format!("--phase {text}: {e}")))
}

impl Wanted {
    fn of(args: &WaitArgs) -> Result<Self> {
        Ok(match (&args.task, args.batch) {
            (None, _) => Self::Release(phase(&args.phase)?),
            (Some(task), None) => Self::Task(task.clone(), phase(&args.phase)?),
            (Some(task), Some(batch)) => Self::Batch(task.clone(), batch, phase(&args.phase)?),
        })
    }

    fn standing(&self, release: &Release) -> Standing {
        let Some(status) = &release.status else {
            return Standing::NotYet("no engine has looked at it yet".into());
        };
        let told = |what: String, message: &Option<String>| {
            message
                .as_ref()
                .map_or(what.clone(), |m| format!("{what}: {m}"))
        };
        if let Self::Release(phase) = self {
            let now = told(format!("{:?}", status.phase), &status.message);
            return match status.phase {
                p if p == *phase => Standing::Holds,
                p if p.is_final() || p == ReleasePhase::Failed => Standing::Never(now),
                _ => Standing::NotYet(now),
            };
        }
        let (Self::Task(name, _) | Self::Batch(name, ..)) = self else {
            unreachable!("the release was handled above")
        };
        let Some(task) = status.tasks.iter().find(|t| t.name == *name) else {
            if status.tasks.is_empty() {
                return Standing::NotYet("its tasks are not known yet".into());
            }
            let known: Vec<String> = status.tasks.iter().map(|t| t.name.clone()).collect();
            return Standing::Never(format!("no task {name}; there {}", get::names(&known)));
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
            (true, _) => Standing::Holds,
            (false, true) => Standing::Never(now),
            (false, false) => Standing::NotYet(now),
        }
    }
}

pub(super) async fn run(session: &Session, args: WaitArgs) -> Result<()> {
    let wanted = Wanted::of(&args)?;
    wait(session, &args.name, &wanted, &args.phase, args.timeout).await
}

/// Waits until a release is in a phase.
pub(in crate::cli) async fn phase_of(
    session: &Session,
    name: &str,
    phase: ReleasePhase,
    timeout: Duration,
) -> Result<()> {
    wait(
        session,
        name,
        &Wanted::Release(phase),
        &format!("{phase:?}"),
        timeout,
    )
    .await
}

async fn wait(
    session: &Session,
    name: &str,
    wanted: &Wanted,
    phase: &str,
    timeout: Duration,
) -> Result<()> {
    // Fails at once if there is no such release.
    let first = wanted.standing(&get::one(session, name).await?);
    let api: Api<Release> = Api::namespaced(session.client.clone(), &session.namespace);
    let (seen, mut standings) = tokio::sync::watch::channel(first);
    let ends = |release: Option<&Release>| {
        let standing = release.map_or_else(
            || Standing::Never("it was deleted".into()),
            |r| wanted.standing(r),
        );
        let done = !matches!(standing, Standing::NotYet(_));
        seen.send_replace(standing);
        done
    };
    let waited = tokio::time::timeout(timeout, await_condition(api, name, ends)).await;
    let last = standings.borrow_and_update().clone();
    match (last, waited) {
        (Standing::Holds, _) => Ok(()),
        (Standing::Never(now), _) => bail!("release {name}: {now}"),
        (Standing::NotYet(now), Err(_)) => Err(eyre!(
            "release {name}: not {phase} within {timeout:?}; {now}"
        )),
        (Standing::NotYet(now), Ok(ended)) => {
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
        let task = |name: &str, phase| Wanted::Task(name.into(), phase).standing(&now);
        assert_eq!(task("ok", TaskPhase::Waiting), Standing::Holds);
        assert!(matches!(
            task("ok", TaskPhase::Succeeded),
            Standing::NotYet(_)
        ));
        assert!(matches!(
            task("build", TaskPhase::Running),
            Standing::Never(_)
        ));
        assert_eq!(
            task("prod", TaskPhase::Succeeded),
            Standing::Never("prod is Failed: pod x crashed".into())
        );
        assert_eq!(
            task("nil", TaskPhase::Running),
            Standing::Never("no task nil; there are build, ok, prod".into())
        );
        assert_eq!(
            Wanted::Batch("prod".into(), 1, BatchPhase::Done).standing(&now),
            Standing::Holds
        );
        assert!(matches!(
            Wanted::Release(ReleasePhase::Succeeded).standing(&now),
            Standing::NotYet(_)
        ));
        assert!(matches!(
            Wanted::Release(ReleasePhase::Waiting).standing(&release(json!({"phase": "Aborted"}))),
            Standing::Never(_)
        ));
    }

    #[test]
    fn phases_are_read_in_any_case_and_durations_in_any_unit() {
        assert_eq!(
            phase::<TaskPhase>("succeeded").unwrap(),
            TaskPhase::Succeeded
        );
        assert!(
            phase::<BatchPhase>("Succeeded")
                .unwrap_err()
                .to_string()
                .contains("Surging")
        );
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("soon").is_err() && duration("-5s").is_err());
    }
}
