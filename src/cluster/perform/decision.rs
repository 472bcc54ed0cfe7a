//! Approval decisions. Each person's decision is an Approval object, bound to the release, the
//! attempt, the images and the objects that it lets through.
//!
//! Approvers may write nothing but Approvals, so they cannot lock the task, and two may decide at
//! the same moment. The second one learns of it: before deciding if that is already known, else
//! right after.

use kube::{
    Resource, ResourceExt,
    api::{ListParams, PostParams},
    core::ObjectMeta,
};

use super::{Outcome, PerformContext, PerformError, Result, api_error, is_conflict, refusal_error};
use crate::{
    api::{self, Approval, ApprovalSpec, Decision, Release, TaskPhase},
    cluster::revision::{self, Proposed},
    domain::{command_line::CommandLine, intent::TaskDecision, release_intents, workflow},
};

/// Records a person's yes or no as an Approval, for these images and objects only.
#[tracing::instrument(level = "debug", skip_all, fields(release = release.metadata.name))]
pub(super) async fn record_decision(
    at: &PerformContext<'_>,
    release: &Release,
    said: &TaskDecision,
    comment: Option<String>,
) -> Result<Outcome> {
    let TaskDecision {
        task: of,
        attempt,
        decision,
        digest,
    } = said;
    let (attempt, decision) = (*attempt, *decision);
    let name = release.name_any();
    release_intents::may_decide(release, of, attempt).map_err(refusal_error)?;
    let what = format!("task {of} of release {name}");
    let Proposed { proposal, .. } =
        revision::read_proposal(at.client, at.namespace, release, Some(of))
            .await
            .map_err(|unknown| PerformError::Refused(unknown.to_string()))?;
    if digest.as_ref().is_some_and(|seen| *seen != proposal.digest) {
        let why = "what would be applied is not what you were shown".into();
        return Err(PerformError::Stale { what, why });
    }
    let digest = Some(proposal.digest.clone());
    let spec = ApprovalSpec {
        comment,
        ..workflow::new_decision(release, (of, attempt), at.by, decision, digest)
    };
    let made = approval_name(&name, of, attempt, at.by, &proposal.digest);
    create_approval(at, release, &made, &spec, &what).await?;
    let message = weigh_against_others(at, &spec).await?;
    Ok(Outcome {
        message,
        objects: vec![("Release".into(), name), ("Approval".into(), made)],
    })
}

fn past_tense(decision: Decision) -> &'static str {
    if decision == Decision::Pass {
        "approved"
    } else {
        "refused"
    }
}

/// Creates the Approval; fails when this person has decided already.
async fn create_approval(
    at: &PerformContext<'_>,
    release: &Release,
    made: &str,
    spec: &ApprovalSpec,
    what: &str,
) -> Result<()> {
    // Deleted with its release.
    let owner_references = release.owner_ref(&()).map(|owner| vec![owner]);
    let metadata = ObjectMeta {
        name: Some(made.to_owned()),
        owner_references,
        ..ObjectMeta::default()
    };
    let params = PostParams {
        field_manager: Some(api::FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    let approval = Approval {
        metadata,
        spec: spec.clone(),
    };
    let approvals = at.namespaced_api::<Approval>();
    let created = approvals.create(&params, &approval).await;
    if is_conflict(&created) {
        // The Approval is for this release. One for an earlier release of the same name has another
        // uid and is soon collected.
        let old = approvals.get(made).await.map_err(api_error(made))?.spec;
        return Err(PerformError::refused_with(format!(
            "{} {} {what} already",
            at.by,
            past_tense(old.decision)
        )));
    }
    created.map_err(api_error(format!("approval of {what}")))?;
    Ok(())
}

/// What a recorded decision comes to beside those of others; an error when it has no effect.
async fn weigh_against_others(at: &PerformContext<'_>, mine: &ApprovalSpec) -> Result<String> {
    let (of, name) = (&mine.task, &mine.release);
    let said = past_tense(mine.decision);
    let message = format!("task {of} of release {name} is {said}");
    let (same, against) = other_decisions(at, mine).await;
    if against.is_empty() {
        return Ok(if same.is_empty() {
            message
        } else {
            format!("{message}; {} said the same", same.join(", "))
        });
    }
    let they = against.join(", ");
    let also = at.namespaced_api::<Release>().get_opt(name).await;
    let also = also.ok().flatten();
    let phase = also
        .as_ref()
        .and_then(|r| r.status.as_ref()?.tasks.iter().find(|t| t.name == *of))
        .map(|t| t.phase);
    let outrun = |why: String| {
        Err(PerformError::Outrun {
            what: format!("task {of} of release {name}"),
            why,
        })
    };
    match mine.decision {
        Decision::Pass if phase != Some(TaskPhase::Succeeded) => outrun(format!(
            "your approval is recorded, but {they} refused, and a refusal outweighs it; look at the release"
        )),
        Decision::Refuse if phase.is_some_and(TaskPhase::is_passed) => outrun(format!(
            "your refusal is recorded, but {they} approved a moment before and the release has gone on; `{}` rolls \
            it back",
            CommandLine::graylane("abort").arg(name)
        )),
        Decision::Pass => Ok(format!("{message}; {they} refused it after that")),
        Decision::Refuse => Ok(format!("{message}; {they} approved it")),
    }
}

/// The other approvers who decided the same, and those who decided otherwise. Of two who decide at
/// once at least one sees the other, because each looks after writing.
async fn other_decisions(
    at: &PerformContext<'_>,
    mine: &ApprovalSpec,
) -> (Vec<String>, Vec<String>) {
    // Without permission to list approvals, the decision stands all the same.
    let all = at
        .namespaced_api::<Approval>()
        .list(&ListParams::default())
        .await
        .map(|l| l.items)
        .unwrap_or_default();
    let same_gate = |a: &ApprovalSpec| {
        a.release_uid == mine.release_uid
            && a.task == mine.task
            && a.attempt == mine.attempt
            && a.images == mine.images
            && a.digest == mine.digest
            && a.approver != mine.approver
    };
    let (same, against): (Vec<_>, Vec<_>) = all
        .into_iter()
        .map(|a| a.spec)
        .filter(same_gate)
        .partition(|a| a.decision == mine.decision);
    let names = |all: Vec<ApprovalSpec>| all.into_iter().map(|a| a.approver).collect();
    (names(same), names(against))
}

/// Each person has one approval for a task, an attempt and a digest: the name makes a second one a
/// conflict.
fn approval_name(release: &str, task: &str, attempt: u32, by: &str, digest: &str) -> String {
    let plain = |text: &str| -> String {
        let lower = text.to_lowercase();
        lower
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '-'
                }
            })
            .collect()
    };
    let person = plain(by);
    // Names that had to be changed are kept apart by a hash.
    let person = if person == by {
        person
    } else {
        format!(
            "{person}-{:08x}",
            xxhash_rust::xxh3::xxh3_64(by.as_bytes()) as u32
        )
    };
    let name: String = format!("{}-{}-{attempt}-{person}", plain(release), plain(task))
        .chars()
        .take(240)
        .collect();
    let of: String = digest
        .trim_start_matches("sha256:")
        .chars()
        .take(8)
        .collect();
    format!("{}-{of}", name.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_for_one_persons_say() {
        let approval_name = |release, task, attempt, by| {
            approval_name(release, task, attempt, by, "sha256:0123456789")
        };
        assert_eq!(
            approval_name("a-1", "gate", 1, "ann"),
            "a-1-gate-1-ann-01234567"
        );
        let (one, two) = (
            approval_name("a-1", "gate", 1, "an.n"),
            approval_name("a-1", "gate", 1, "an_n"),
        );
        assert_ne!(one, two);
        assert!(
            one.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
            "{one}"
        );
        assert!(approval_name("a-1", "gate", 1, "灰度").ends_with(|c: char| c.is_ascii_hexdigit()));
    }
}
