//! Who speaks in another's name, or edits what was said, is refused by the server, whatever the client.

use graylane::{
    api::{App, Decision},
    cluster::{
        agent::Agent,
        connect::{ClusterSource, prepare_client},
        perform::perform_intent,
    },
    domain::{
        intent::{ControlIntent, Intent, ReleaseIntent, TaskDecision},
        revision::Revision,
    },
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{HOME, api, control_plane::ControlPlane, specs::app};

/// The very client of the cockpit and the command line.
fn cockpit(plane: &ControlPlane, who: &str) -> Client {
    prepare_client(
        &ClusterSource::Kubectl {
            kubeconfig: Some(plane.kubeconfig(who)),
            context: None,
        },
        Some(HOME),
        Agent::Engine,
    )
    .unwrap()
    .client
}

fn wish(wish: impl Into<ReleaseIntent>) -> Intent {
    Intent::Release {
        name: "a-1".into(),
        seen: None,
        wish: wish.into(),
        comment: None,
    }
}

fn approve() -> Intent {
    wish(TaskDecision {
        task: "approve".into(),
        attempt: 1,
        decision: Decision::Pass,
        digest: None,
    })
}

/// There is the release `a-1`, and `honest`, an Approval of the approver's own.
pub async fn nobody_speaks_for_another(plane: &ControlPlane, admin: &Client) {
    // Frozen as an engine does it.
    let spec = serde_json::from_value(app()).unwrap();
    let apps: Api<App> = Api::namespaced(admin.clone(), HOME);
    let frozen = apps
        .create(&PostParams::default(), &App::new("a", spec))
        .await
        .unwrap();
    let revision = Revision::from_app(&frozen);
    let revisions: Api<ControllerRevision> = Api::namespaced(admin.clone(), HOME);
    revisions
        .create(&PostParams::default(), &revision.to_object(&frozen))
        .await
        .unwrap();
    let waits = json!({"status": {"phase": "Waiting", "images": {"backend": "a:v1"}, "revision": revision.name(),
        "tasks": [{"name": "approve", "kind": "approval", "phase": "Waiting", "attempt": 1}]}});
    let releases = api(admin, "Release", "releases");
    releases
        .patch_status("a-1", &PatchParams::default(), &Patch::Merge(waits))
        .await
        .unwrap();

    // The cockpit's own client, told to be somebody else.
    let approver = cockpit(plane, "approver");
    let told = perform_intent(&approver, HOME, "approver-two", approve())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("you are approver, not approver-two"),
        "{told}"
    );
    let told = perform_intent(
        &cockpit(plane, "operator"),
        HOME,
        "approver",
        wish(ControlIntent::Pause),
    )
    .await
    .unwrap_err();
    assert!(
        told.to_string()
            .contains("spec.control.last.by must be operator"),
        "{told}"
    );
    // Whatever writes the wish: not without a name, and not under the one that stands there.
    let operators = api(&cockpit(plane, "operator"), "Release", "releases");
    let wish = |paused: bool, last: serde_json::Value| {
        let patch = Patch::Merge(json!({"spec": {"control": {"paused": paused, "last": last}}}));
        let operators = operators.clone();
        async move {
            operators
                .patch("a-1", &PatchParams::default(), &patch)
                .await
                .map_err(|e| e.to_string())
        }
    };
    let said = |by: &str| json!({"by": by, "action": "pause", "at": "2026-01-01T00:00:00Z"});
    wish(true, said("operator")).await.unwrap();
    let others = api(&cockpit(plane, "operator-two"), "Release", "releases");
    for (what, patch) in [
        ("under the last one's name", json!({"paused": false})),
        ("without a name", json!({"paused": false, "last": null})),
        ("the name alone goes", json!({"last": null})),
    ] {
        let patch = Patch::Merge(json!({"spec": {"control": patch}}));
        let told = others
            .patch("a-1", &PatchParams::default(), &patch)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("spec.control.last.by must be operator-two"),
            "{what}: {told}"
        );
    }
    // What touches no wish needs none.
    let label = Patch::Merge(json!({"metadata": {"labels": {"team": "a"}}}));
    others
        .patch("a-1", &PatchParams::default(), &label)
        .await
        .unwrap();
    wish(false, said("operator")).await.unwrap();

    let made = perform_intent(&approver, HOME, "approver", approve())
        .await
        .unwrap();
    let approval = made
        .objects
        .iter()
        .find(|(kind, _)| kind == "Approval")
        .map(|(_, name)| name.as_str())
        .unwrap();

    // What was said stays said, also by who said it.
    for (who, name) in [
        ("viewer", approval),
        ("operator", approval),
        ("approver", approval),
        ("approver", "honest"),
    ] {
        let approvals = api(&cockpit(plane, who), "Approval", "approvals");
        let edit = Patch::Merge(json!({"spec": {"decision": "refuse"}}));
        let told = approvals
            .patch(name, &PatchParams::default(), &edit)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("forbidden") && told.contains("cannot patch"),
            "{who}: {told}"
        );
        let told = approvals
            .delete(name, &DeleteParams::default())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("forbidden") && told.contains("cannot delete"),
            "{who}: {told}"
        );
    }
    // What a release was frozen to nobody changes, and only the engine makes or takes away.
    let edit = Patch::Merge(json!({"data": {"manifests": []}}));
    let told = revisions
        .patch(revision.name(), &PatchParams::default(), &edit)
        .await
        .unwrap_err()
        .to_string();
    assert!(told.contains("immutable"), "{told}");
    for who in ["viewer", "operator", "governor", "approver"] {
        let revisions: Api<ControllerRevision> = Api::namespaced(cockpit(plane, who), HOME);
        assert!(
            revisions.get(revision.name()).await.is_ok(),
            "{who} sees it"
        );
        let told = revisions
            .delete(revision.name(), &DeleteParams::default())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("forbidden") && told.contains("cannot delete"),
            "{who}: {told}"
        );
    }
    // Nor does who may only look, or only approve, wish anything of a release.
    for who in ["viewer", "approver"] {
        let pause = Patch::Merge(json!({"spec": {"control": {"paused": true}}}));
        let releases = api(&cockpit(plane, who), "Release", "releases");
        let told = releases
            .patch("a-1", &PatchParams::default(), &pause)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("forbidden") && told.contains("cannot patch"),
            "{who}: {told}"
        );
    }
}
