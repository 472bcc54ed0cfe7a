//! Who speaks in another's name, or edits what was said, is refused by the server, whatever the client.

use graylane::{
    api::Decision,
    cluster::{
        connect::{Source, prepare},
        perform::perform,
    },
    domain::intent::{Intent, ReleaseWish},
};
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use super::{HOME, api, control_plane::ControlPlane};

/// The very client of the cockpit and the command line.
fn cockpit(plane: &ControlPlane, who: &str) -> Client {
    prepare(&Source::Kubectl { kubeconfig: Some(plane.kubeconfig(who)), context: None }, Some(HOME)).unwrap().client
}

fn wish(wish: ReleaseWish) -> Intent {
    Intent::Release { name: "a-1".into(), seen: None, wish, comment: None }
}

fn approve() -> Intent {
    wish(ReleaseWish::Decide { task: "approve".into(), attempt: 1, decision: Decision::Pass })
}

/// There is the release `a-1`, and `honest`, an Approval of the approver's own.
pub async fn nobody_speaks_for_another(plane: &ControlPlane, admin: &Client) {
    let waits = json!({"status": {"phase": "Waiting", "images": {"backend": "a:v1"},
        "tasks": [{"name": "approve", "kind": "approval", "phase": "Waiting", "attempt": 1}]}});
    let releases = api(admin, "Release", "releases");
    releases.patch_status("a-1", &PatchParams::default(), &Patch::Merge(waits)).await.unwrap();

    // The cockpit's own client, told to be somebody else.
    let approver = cockpit(plane, "approver");
    let told = perform(&approver, HOME, "approver-two", approve()).await.unwrap_err().to_string();
    assert!(told.contains("you are approver, not approver-two"), "{told}");
    let told = perform(&cockpit(plane, "operator"), HOME, "approver", wish(ReleaseWish::Pause)).await.unwrap_err();
    assert!(told.to_string().contains("spec.control.last.by must be operator"), "{told}");
    let made = perform(&approver, HOME, "approver", approve()).await.unwrap();
    let approval = made.objects.iter().find(|(kind, _)| kind == "Approval").map(|(_, name)| name.as_str()).unwrap();

    // What was said stays said, also by who said it.
    for (who, name) in [("viewer", approval), ("operator", approval), ("approver", approval), ("approver", "honest")] {
        let approvals = api(&cockpit(plane, who), "Approval", "approvals");
        let edit = Patch::Merge(json!({"spec": {"decision": "refuse"}}));
        let told = approvals.patch(name, &PatchParams::default(), &edit).await.unwrap_err().to_string();
        assert!(told.contains("forbidden") && told.contains("cannot patch"), "{who}: {told}");
        let told = approvals.delete(name, &DeleteParams::default()).await.unwrap_err().to_string();
        assert!(told.contains("forbidden") && told.contains("cannot delete"), "{who}: {told}");
    }
    // Nor does who may only look, or only approve, wish anything of a release.
    for who in ["viewer", "approver"] {
        let pause = Patch::Merge(json!({"spec": {"control": {"paused": true}}}));
        let releases = api(&cockpit(plane, who), "Release", "releases");
        let told = releases.patch("a-1", &PatchParams::default(), &pause).await.unwrap_err().to_string();
        assert!(told.contains("forbidden") && told.contains("cannot patch"), "{who}: {told}");
    }
}
