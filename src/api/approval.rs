//! Approval: the decision of one person on one task of a release. Immutable.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Uid;

/// Decision of one person on one attempt of an approval task.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "graylane.dev",
    version = "v1alpha1",
    kind = "Approval",
    plural = "approvals",
    shortname = "gappr",
    namespaced
)]
#[kube(derive = "Default", derive = "PartialEq", category = "graylane")]
#[kube(printcolumn(name = "Release", type_ = "string", json_path = ".spec.release"))]
#[kube(printcolumn(name = "Task", type_ = "string", json_path = ".spec.task"))]
#[kube(printcolumn(name = "Attempt", type_ = "integer", json_path = ".spec.attempt"))]
#[kube(printcolumn(name = "Decision", type_ = "string", json_path = ".spec.decision"))]
#[kube(printcolumn(name = "Approver", type_ = "string", json_path = ".spec.approver"))]
#[kube(printcolumn(
    name = "Age",
    type_ = "date",
    json_path = ".metadata.creationTimestamp"
))]
#[serde(rename_all = "camelCase")]
pub struct ApprovalSpec {
    /// Name of the Release.
    pub release: String,
    /// UID of the Release, so that a later Release of the same name is not approved by this.
    pub release_uid: Uid,
    /// Name of the task.
    pub task: String,
    /// Attempt that the decision is for.
    pub attempt: u32,
    /// Whether the task is approved.
    pub decision: Decision,
    /// Person who decided. An admission policy ties it to the caller.
    pub approver: String,
    /// Reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Approved images: name to digest, or to the reference if no digest is known. The Approval
    /// does not count for others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Approved revision of the App. Without it the Approval does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// `sha256:…` of the rendered objects that were approved, as in the task's status. The Approval
    /// does not count for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Outcome of an approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Approved.
    Pass,
    /// Refused.
    #[default]
    Refuse,
}
