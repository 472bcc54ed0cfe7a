//! Approval: one person's yes or no to one task of one release. Immutable.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One person's decision on one attempt of one approval task.
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
    /// The Release's name.
    pub release: String,
    /// The Release's uid: a later namesake is not approved by this.
    pub release_uid: String,
    /// The task's name.
    pub task: String,
    /// The attempt it was given for.
    pub attempt: u32,
    /// Yes or no.
    pub decision: Decision,
    /// Who; a cluster's admission policy ties it to the caller.
    pub approver: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The images (name to digest, or reference where no digest is known) that were approved; others do not count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// The revision of the App that was approved; without it an Approval does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// `sha256:…` of the rendered objects that were approved, as the task's status has it; others do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Yes.
    Pass,
    /// No.
    #[default]
    Refuse,
}
