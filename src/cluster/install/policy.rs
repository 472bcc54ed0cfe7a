//! What RBAC cannot say: names that stand in objects are the callers' own. RBAC knows whether somebody may create an
//! Approval, not what is written in it; a ValidatingAdmissionPolicy does, whoever the client is.

use serde_json::{Value, json};

use crate::api::{FIELD_MANAGER, GROUP, VERSION};

pub const APPROVALS: &str = "graylane-approvals";
pub const RELEASES: &str = "graylane-releases";

/// Both policies, each with its binding.
pub(super) fn policies() -> Vec<Value> {
    [policy(APPROVALS, "approvals", &approvals()), policy(RELEASES, "releases", &releases())].concat()
}

/// Whoever approves is who says so, and what was said stays. Owners and finalizers are the garbage collector's.
fn approvals() -> Value {
    let same = |field: &str| {
        format!(
            "has(object.metadata.{field}) == has(oldObject.metadata.{field}) && (!has(object.metadata.{field}) || \
             object.metadata.{field} == oldObject.metadata.{field})"
        )
    };
    json!([
        {
            "expression": "request.operation != 'CREATE' || object.spec.approver == request.userInfo.username",
            "messageExpression": "'the approver of an Approval is whoever creates it: you are ' + \
                request.userInfo.username + ', not ' + object.spec.approver",
            "message": "the approver of an Approval is whoever creates it",
            "reason": "Forbidden",
        },
        {
            "expression": format!(
                "request.operation != 'UPDATE' || (object.spec == oldObject.spec && {} && {})",
                same("labels"),
                same("annotations")
            ),
            "message": "an Approval cannot be changed: create another one",
            "reason": "Forbidden",
        },
    ])
}

/// A requester who could call himself somebody else could approve his own release.
fn releases() -> Value {
    let you = "request.userInfo.username";
    json!([
        {
            "expression": format!("request.operation != 'CREATE' || object.spec.requester == {you}"),
            "messageExpression": format!("'the requester of a Release is whoever creates it: spec.requester must be ' + {you}"),
            "message": "the requester of a Release is whoever creates it",
            "reason": "Forbidden",
        },
        {
            "expression": format!(
                "!has(object.spec.control) || !has(object.spec.control.last) || (request.operation == 'UPDATE' && \
                 has(oldObject.spec.control) && has(oldObject.spec.control.last) && object.spec.control.last == oldObject.spec.control.last) || \
                 object.spec.control.last.by == {you}"
            ),
            "messageExpression": format!("'who wishes is whoever writes it: spec.control.last.by must be ' + {you}"),
            "message": "who wishes something of a Release is whoever writes it",
            "reason": "Forbidden",
        },
    ])
}

fn policy(name: &str, resource: &str, validations: &Value) -> Vec<Value> {
    let metadata = json!({"name": name, "labels": {"app.kubernetes.io/managed-by": FIELD_MANAGER}});
    vec![
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": metadata,
            "spec": {
                "failurePolicy": "Fail",
                // Also what the server would fill in: else another manager's apply of the same would be a conflict.
                "matchConstraints": {
                    "matchPolicy": "Equivalent",
                    "namespaceSelector": {},
                    "objectSelector": {},
                    "resourceRules": [{
                        "apiGroups": [GROUP],
                        "apiVersions": [VERSION],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": [resource],
                        "scope": "*",
                    }],
                },
                "validations": validations,
            },
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        }),
    ]
}
