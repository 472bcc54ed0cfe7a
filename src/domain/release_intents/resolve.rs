//! Resolves a verb for the current state of a release. If no task is named, the waiting (or failed)
//! task is used; if several match, they are listed and nothing is done.

use super::{describe_last_intent, expected_status};
use crate::{
    api::{BatchPhase, Decision, Release, ReleaseStatus, TaskKind, TaskPhase, TaskStatus},
    domain::intent::{ControlIntent, ReleaseIntent, TaskDecision},
};

/// Command for a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Approve an approval task.
    Approve,
    /// Refuse an approval task.
    Refuse,
    /// Let a batch (`None`: the next one) or a waiting task through.
    Proceed(Option<u32>),
    /// Pause the release.
    Pause,
    /// Resume the release.
    Resume,
    /// Roll back and end the release.
    Abort,
    /// Retry a failed task; if true, take over fields from other field managers.
    Retry(bool),
    /// Skip a failed or waiting task.
    Skip,
}

/// Resolves a verb for the expected state of a release. `task` is the task that the user named.
pub fn resolve_verb(
    release: &Release,
    verb: Verb,
    task: Option<&str>,
) -> Result<ReleaseIntent, Unresolved> {
    let status = expected_status(release);
    let tasks = &status.tasks;
    let pick = |what: &'static str, fits: &dyn Fn(&TaskStatus) -> bool| {
        let found: Vec<&TaskStatus> = match task {
            Some(name) => tasks.iter().filter(|t| t.name == *name).collect(),
            None => tasks.iter().filter(|t| fits(t)).collect(),
        };
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(no_matching_task(
                release,
                &status,
                task.map_or_else(|| what.to_owned(), |t| format!("{t:?}")),
            )),
            many => Err(Unresolved::Several(
                many.iter().map(|t| t.name.clone()).collect(),
            )),
        }
    };
    // Pause, resume and abort affect the whole release, but a named task must exist.
    let named = || match task {
        Some(name) if tasks.iter().all(|t| t.name != *name) => {
            Err(no_matching_task(release, &status, format!("{name:?}")))
        }
        _ => Ok(()),
    };
    let waits = |t: &TaskStatus| t.phase == TaskPhase::Waiting;
    let decide = |decision| {
        pick("that waits for an approval", &|t| {
            waits(t) && t.kind == TaskKind::Approval
        })
        .map(|t| {
            ReleaseIntent::Decide(TaskDecision {
                task: t.name,
                attempt: t.attempt,
                decision,
                digest: None,
            })
        })
    };
    let control = match verb {
        Verb::Approve => return decide(Decision::Pass),
        Verb::Refuse => return decide(Decision::Refuse),
        Verb::Proceed(batch) => {
            let task = pick("that waits to proceed", &|t| {
                waits(t) && matches!(t.kind, TaskKind::Proceed | TaskKind::Deploy)
            })?;
            let next = || {
                task.batches
                    .iter()
                    .find(|b| b.phase != BatchPhase::Done)
                    .map_or(1, |b| b.number)
            };
            ControlIntent::Allow {
                batch: batch.unwrap_or_else(next),
                task: task.name,
            }
        }
        Verb::Retry(force) => {
            let task = pick("that failed", &|t| t.phase == TaskPhase::Failed)?;
            ControlIntent::Retry {
                task: task.name,
                force,
            }
        }
        Verb::Skip => {
            let stands = |t: &TaskStatus| {
                matches!(
                    t.phase,
                    TaskPhase::Waiting | TaskPhase::Failed | TaskPhase::Paused
                )
            };
            ControlIntent::Skip {
                task: pick("that failed or waits", &stands)?.name,
            }
        }
        Verb::Pause => named().map(|()| ControlIntent::Pause)?,
        Verb::Resume => named().map(|()| ControlIntent::Resume)?,
        Verb::Abort => named().map(|()| ControlIntent::Abort)?,
    };
    Ok(control.into())
}

fn no_matching_task(release: &Release, status: &ReleaseStatus, wanted: String) -> Unresolved {
    let stands = if status.tasks.is_empty() {
        "no engine has seen it yet".into()
    } else {
        let tasks: Vec<String> = status
            .tasks
            .iter()
            .map(|t| format!("{} {:?}", t.name, t.phase))
            .collect();
        // If the engine has not followed yet, say whose request caused this state.
        let told = release.status.as_ref();
        let news = told
            .filter(|told| *told != status)
            .map(|_| describe_last_intent(release))
            .unwrap_or_default();
        format!("it is {:?}{news}: {}", status.phase, tasks.join(", "))
    };
    Unresolved::None {
        release: release.metadata.name.clone().unwrap_or_default(),
        wanted,
        stands,
    }
}

/// Why a verb cannot be resolved.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// No task matches.
    #[error("release {release} has no task {wanted}; {stands}")]
    None {
        /// Name of the release.
        release: String,
        /// Task that was looked for.
        wanted: String,
        /// Current state of the release.
        stands: String,
    },
    /// Several tasks match.
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

    #[test]
    fn without_a_task_the_one_that_waits_is_meant() {
        let one = release(json!([
            {"name": "build", "kind": "build", "phase": "Succeeded"},
            {"name": "gate", "kind": "approval", "phase": "Waiting", "attempt": 2},
            {"name": "prod", "kind": "deploy", "phase": "Waiting", "batches": [
                {"number": 1, "target": 1, "phase": "Done"}, {"number": 2, "target": 2, "phase": "Pending"}]}]));
        let decided = resolve_verb(&one, Verb::Refuse, None).unwrap();
        let wanted = TaskDecision {
            task: "gate".into(),
            attempt: 2,
            decision: Decision::Refuse,
            digest: None,
        };
        assert_eq!(decided, wanted.into());
        let next = resolve_verb(&one, Verb::Proceed(None), None).unwrap();
        assert_eq!(
            next,
            ControlIntent::Allow {
                task: "prod".into(),
                batch: 2
            }
            .into()
        );
        let far = resolve_verb(&one, Verb::Proceed(Some(3)), None).unwrap();
        assert_eq!(
            far,
            ControlIntent::Allow {
                task: "prod".into(),
                batch: 3
            }
            .into()
        );
        let several = resolve_verb(&one, Verb::Skip, None).unwrap_err();
        assert_eq!(
            several,
            Unresolved::Several(vec!["gate".into(), "prod".into()])
        );
        let named = resolve_verb(&one, Verb::Skip, Some("gate")).unwrap();
        assert_eq!(
            named,
            ControlIntent::Skip {
                task: "gate".into()
            }
            .into()
        );
    }

    #[test]
    fn nothing_that_fits_tells_how_the_release_stands() {
        let done = release(json!([{"name": "build", "kind": "build", "phase": "Succeeded"}]));
        let told = resolve_verb(&done, Verb::Approve, None)
            .unwrap_err()
            .to_string();
        assert_eq!(
            told,
            "release r has no task that waits for an approval; it is Waiting: build Succeeded"
        );
        let told = resolve_verb(&done, Verb::Pause, Some("nil"))
            .unwrap_err()
            .to_string();
        assert!(told.starts_with("release r has no task \"nil\""), "{told}");
        assert_eq!(
            resolve_verb(&done, Verb::Pause, None),
            Ok(ControlIntent::Pause.into())
        );
    }
}
