//! Reads the digest of a built image from the termination message of the build Job's pod. No
//! registry has to be queried, since builders can write it there (kaniko:
//! `--digest-file=/dev/termination-log`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::Options;
use crate::{
    api::{NamespaceRef, Release},
    cluster::error,
    domain::workflow::JobSeen,
};

/// Label with the Job's name on its pods.
const JOB: &str = "batch.kubernetes.io/job-name";

/// Adds the digests of Jobs that have just succeeded. The pods are listed because their watch may
/// lag behind that of Jobs, and approvals are bound to digests.
#[tracing::instrument(level = "debug", skip_all, fields(release = release.metadata.name))]
pub(super) async fn fill_digests(
    options: &Options,
    release: &Release,
    jobs: &mut BTreeMap<String, JobSeen>,
) -> kube::Result<()> {
    let tasks = release
        .status
        .as_ref()
        .map(|s| s.tasks.as_slice())
        .unwrap_or_default();
    let taken = |name: &String| {
        tasks
            .iter()
            .any(|t| t.job.as_ref() == Some(name) && t.phase.is_passed())
    };
    for (name, job) in jobs
        .iter_mut()
        .filter(|(name, job)| job.succeeded && !taken(name))
    {
        job.digest = read_job_digest(options, name, &job.item.object.key.namespace).await?;
    }
    Ok(())
}

#[tracing::instrument(level = "debug", skip_all)]
async fn read_job_digest(
    options: &Options,
    name: &str,
    namespace: &NamespaceRef,
) -> kube::Result<Option<String>> {
    let api: Api<Pod> = Api::namespaced(options.client.clone(), &namespace.name);
    match api
        .list(&ListParams::default().labels(&format!("{JOB}={name}")))
        .await
    {
        Ok(pods) => Ok(digest_from_pods(&pods.items)),
        // Without the right to list pods there is no digest, and approvals are bound to the image's
        // name.
        Err(why) if error::status_code(&why) == Some(403) => Ok(None),
        Err(why) => Err(why),
    }
}

/// The digest that the Job's pods reported. `None` if there is none, or several.
fn digest_from_pods(pods: &[Pod]) -> Option<String> {
    let ended = pods
        .iter()
        .filter_map(|p| p.status.as_ref())
        .filter(|s| s.phase.as_deref() == Some("Succeeded"));
    let states = ended
        .flat_map(|s| s.container_statuses.iter().flatten())
        .filter_map(|c| c.state.as_ref());
    let messages = states.filter_map(|s| s.terminated.as_ref()?.message.as_deref());
    let mut digests: Vec<String> = messages.flat_map(parse_digests).collect();
    digests.sort();
    digests.dedup();
    digests.pop().filter(|_| digests.is_empty())
}

fn parse_digests(message: &str) -> Vec<String> {
    const PREFIX: &str = "sha256:";
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let words = message
        .match_indices(PREFIX)
        .map(|(at, _)| &message[at + PREFIX.len()..]);
    let hex = words.map(|rest| &rest[..rest.find(|c: char| !is_hex(c)).unwrap_or(rest.len())]);
    hex.filter(|hex| hex.len() == 64)
        .map(|hex| format!("{PREFIX}{hex}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(phase: &str, messages: &[&str]) -> Pod {
        let state = |m: &&str| {
            json!({"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "message": m}}})
        };
        let states: Vec<Value> = messages.iter().map(state).collect();
        let pod = json!({"metadata": {"name": "p"}, "status": {"phase": phase, "containerStatuses": states}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_digest_is_what_a_pod_that_ended_well_says_once() {
        let (a, b) = (
            format!("sha256:{}", "a1".repeat(32)),
            format!("sha256:{}", "b2".repeat(32)),
        );
        let table: [(Vec<Pod>, Option<&String>); 10] = [
            (vec![], None),
            (vec![pod("Succeeded", &[&a])], Some(&a)),
            (
                vec![pod("Succeeded", &[&format!("registry/app:1@{a}\n")])],
                Some(&a),
            ),
            (
                vec![
                    pod("Succeeded", &[&format!("{{\"digest\": \"{a}\"}}")]),
                    pod("Succeeded", &[&a]),
                ],
                Some(&a),
            ),
            (
                vec![pod("Failed", &[&b]), pod("Succeeded", &["done", &a])],
                Some(&a),
            ),
            (vec![pod("Failed", &[&a])], None),
            (vec![pod("Succeeded", &[&a, &b])], None),
            (vec![pod("Succeeded", &[&a[..70]])], None),
            (vec![pod("Succeeded", &[&format!("{a}0")])], None),
            (vec![pod("Succeeded", &["", "sha256:"])], None),
        ];
        for (n, (pods, wanted)) in table.into_iter().enumerate() {
            assert_eq!(digest_from_pods(&pods).as_ref(), wanted, "case {n}");
        }
    }
}
