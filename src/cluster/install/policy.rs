//! Admission policies for what RBAC cannot express: that the names in an object are the caller's
//! own. RBAC decides whether a user may create an Approval or edit an App, but not what is written
//! in it. A ValidatingAdmissionPolicy does, whatever the client is.

use serde_json::{Value, json};

use super::roles::WEAKEN;
use crate::api::{FIELD_MANAGER, GROUP, VERSION};

pub const APPROVALS: &str = "graylane-approvals";
pub const RELEASES: &str = "graylane-releases";
pub const WORKFLOWS: &str = "graylane-workflows";

/// All three policies, each with its binding.
pub(super) fn render_policies() -> Vec<Value> {
    let made_or_changed = ["CREATE", "UPDATE"].as_slice();
    [
        policy_with_binding(
            APPROVALS,
            "approvals",
            made_or_changed,
            &json!([]),
            &approval_rules(),
        ),
        policy_with_binding(
            RELEASES,
            "releases",
            made_or_changed,
            &json!([]),
            &release_rules(),
        ),
        policy_with_binding(
            WORKFLOWS,
            "apps",
            &["UPDATE"],
            &workflow_variables(),
            &workflow_rules(),
        ),
    ]
    .concat()
}

/// The approver must be the caller, and an Approval cannot be changed. Owners and finalizers stay
/// open for the garbage collector.
fn approval_rules() -> Value {
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

/// Without this, requesters could use another name and approve their own release.
fn release_rules() -> Value {
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
                "(request.operation == 'CREATE' && (!has(object.spec.control) || !has(object.spec.control.last))) || \
                 (request.operation == 'UPDATE' && has(object.spec.control) == has(oldObject.spec.control) && \
                 (!has(object.spec.control) || object.spec.control == oldObject.spec.control)) || \
                 (has(object.spec.control) && has(object.spec.control.last) && object.spec.control.last.by == {you})"
            ),
            "messageExpression": format!("'who wishes is whoever writes it: spec.control.last.by must be ' + {you}"),
            "message": "who wishes something of a Release is whoever writes it: spec.control.last.by",
            "reason": "Forbidden",
        },
    ])
}

/// As in `domain::guard`: each approval is kept or made stricter, with no more deployments before
/// it; and no stage gains a deployment to an environment that some stage guards with an approval.
fn workflow_variables() -> Value {
    let stages = |of: &str| {
        format!(
            "has({of}.spec.workflow) && has({of}.spec.workflow.stages) ? {of}.spec.workflow.stages : []"
        )
    };
    let requester =
        |of: &str| format!("(has({of}.requesterMayApprove) && {of}.requesterMayApprove)");
    let seconds = |of: &str| format!("(has({of}.timeoutSeconds) ? {of}.timeoutSeconds : 86400)");
    let mode = |of: &str| format!("(has({of}.mode) ? {of}.mode : 'any')");
    let count = |of: &str| format!("(has({of}.count) ? {of}.count : 1)");
    // `t` is the old task, `u` the new one.
    let (t, u) = ("t.approval", "u.approval");
    let strong = [
        format!("({} || !{})", requester(t), requester(u)),
        format!("{} <= {}", seconds(u), seconds(t)),
        format!(
            "(!has({t}.approvers) || {t}.approvers.size() == 0 || (has({u}.approvers) && \
             {t}.approvers.all(a, a in {u}.approvers) && {u}.approvers.all(a, a in {t}.approvers)))"
        ),
        format!(
            "({was} == 'any' || ({was} == {is} && ({was} != 'count' || {} >= {})))",
            count(u),
            count(t),
            was = mode(t),
            is = mode(u)
        ),
    ]
    .join(" && ");
    let is_before = |stage: &str, a: &str, b: &str| {
        let names = format!("{stage}.tasks.map(x, x.name)");
        format!("{names}.indexOf({a}.name) < {names}.indexOf({b}.name)")
    };
    let same = "has(o.deploy) && o.deploy.environment == d.deploy.environment";
    let kept = format!(
        "variables.before.all(s, s.tasks.all(t, !has(t.approval) || variables.after.exists(n, n.name == s.name && \
         n.tasks.exists(u, u.name == t.name && has(u.approval) && {strong}) && \
         n.tasks.all(d, !has(d.deploy) || !({}) || s.tasks.exists(o, {same} && {})))))",
        is_before("n", "d", "t"),
        is_before("s", "o", "t")
    );
    let ways = format!(
        "variables.after.all(n, n.tasks.all(d, !has(d.deploy) || \
         variables.before.exists(s, s.name == n.name && s.tasks.exists(o, {same})) || \
         !variables.before.exists(s, s.tasks.exists(g, has(g.approval) && s.tasks.exists(o, {same} && {})))))",
        is_before("s", "g", "o")
    );
    json!([
        {"name": "before", "expression": stages("oldObject")},
        {"name": "after", "expression": stages("object")},
        {"name": "kept", "expression": kept},
        {"name": "ways", "expression": ways},
    ])
}

/// Editing an App must not allow removing the approvals that guard it.
fn workflow_rules() -> Value {
    let may = format!(
        "authorizer.group('{GROUP}').resource('apps').namespace(request.namespace).name(request.name)\
         .check('{WEAKEN}').allowed()"
    );
    json!([{
        "expression": format!("(variables.kept && variables.ways) || {may}"),
        "message": format!(
            "this takes an approval away, makes it weaker, or leads around it: that needs {WEAKEN} apps.{GROUP}, \
             a right of its own"
        ),
        "reason": "Forbidden",
    }])
}

fn policy_with_binding(
    name: &str,
    resource: &str,
    operations: &[&str],
    variables: &Value,
    validations: &Value,
) -> Vec<Value> {
    let metadata = json!({"name": name, "labels": {"app.kubernetes.io/managed-by": FIELD_MANAGER}});
    let mut policy = plain_policy(&metadata, resource, operations, validations);
    if variables.as_array().is_some_and(|v| !v.is_empty()) {
        policy["spec"]["variables"] = variables.clone();
    }
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    vec![policy, binding]
}

fn plain_policy(
    metadata: &Value,
    resource: &str,
    operations: &[&str],
    validations: &Value,
) -> Value {
    json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": metadata,
            "spec": {
                "failurePolicy": "Fail",
                // Includes the server's defaults; otherwise applying the same policy as another
                // manager would conflict.
                "matchConstraints": {
                    "matchPolicy": "Equivalent",
                    "namespaceSelector": {},
                    "objectSelector": {},
                    "resourceRules": [{
                        "apiGroups": [GROUP],
                        "apiVersions": [VERSION],
                        "operations": operations,
                        "resources": [resource],
                        "scope": "*",
                    }],
                },
                "validations": validations,
            },
    })
}
