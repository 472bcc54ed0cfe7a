//! Whoever edits an App may not thereby take away the approvals that stand in his way. What the command line tells
//! beforehand is what the server's policy says.

use graylane::{
    api::{App, Workflow},
    cluster::rights,
    domain::{approval_guard::find_weakened_approvals, rights::Right},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{HOME, control_plane::ControlPlane, eventually, specs::app};

fn workflow() -> Value {
    json!({"stages": [
        {"name": "test", "tasks": [{"name": "up", "deploy": {"environment": "gray"}}]},
        {"name": "production", "tasks": [
            {"name": "gray", "deploy": {"environment": "gray"}},
            {"name": "gate", "approval": {"approvers": ["ann", "bob"], "mode": "count", "count": 2, "timeoutSeconds": 600}},
            {"name": "prod", "deploy": {"environment": "prod"}},
            {"name": "again", "approval": {}},
        ]},
    ]})
}

/// Edits, each with whether it weakens.
fn edits() -> Vec<(&'static str, bool, Value)> {
    let edit = |change: &dyn Fn(&mut Value)| {
        let mut after = workflow();
        change(&mut after);
        after
    };
    let gate = |change: Value| {
        edit(&move |w: &mut Value| {
            json_patch::merge(&mut w["stages"][1]["tasks"][1]["approval"], &change);
        })
    };
    let again = |change: Value| {
        edit(&move |w: &mut Value| {
            json_patch::merge(&mut w["stages"][1]["tasks"][3]["approval"], &change);
        })
    };
    let tasks = |w: &mut Value| w["stages"][1]["tasks"].as_array().unwrap().clone();
    let stage = |environment: &str| {
        let stage = json!({"name": "more", "tasks": [{"name": "t", "deploy": {"environment": environment}}]});
        edit(&move |w: &mut Value| w["stages"].as_array_mut().unwrap().push(stage.clone()))
    };
    vec![
        ("nothing", false, workflow()),
        (
            "a task more",
            false,
            edit(&|w| {
                w["stages"][1]["tasks"]
                    .as_array_mut()
                    .unwrap()
                    .insert(0, json!({"name": "go", "proceed": {}}));
            }),
        ),
        (
            "the other order of approvers",
            false,
            gate(json!({"approvers": ["bob", "ann"]})),
        ),
        ("a shorter wait", false, gate(json!({"timeoutSeconds": 60}))),
        (
            "named approvers where anybody could",
            false,
            again(json!({"approvers": ["ann"], "mode": "all"})),
        ),
        ("a stage to what nothing guards", false, stage("gray")),
        ("no workflow", true, json!({"stages": []})),
        (
            "no gate",
            true,
            edit(&|w| {
                let mut left = tasks(w);
                left.remove(1);
                w["stages"][1]["tasks"] = left.into();
            }),
        ),
        (
            "another name",
            true,
            edit(&|w| w["stages"][1]["tasks"][1]["name"] = "gate-2".into()),
        ),
        (
            "another kind",
            true,
            edit(&|w| w["stages"][1]["tasks"][1] = json!({"name": "gate", "proceed": {}})),
        ),
        (
            "another stage",
            true,
            edit(&|w| w["stages"][1]["name"] = "prod".into()),
        ),
        (
            "the gate behind its deploy",
            true,
            edit(&|w| w["stages"][1]["tasks"].as_array_mut().unwrap().swap(1, 2)),
        ),
        ("a stage around the gate", true, stage("prod")),
        ("fewer approvers", true, gate(json!({"approvers": ["ann"]}))),
        (
            "more people",
            true,
            gate(json!({"approvers": ["ann", "bob", "eve"]})),
        ),
        ("anybody", true, gate(json!({"approvers": null}))),
        ("one is enough", true, gate(json!({"count": 1}))),
        (
            "mode any",
            true,
            gate(json!({"mode": "any", "count": null})),
        ),
        (
            "the requester himself",
            true,
            again(json!({"requesterMayApprove": true})),
        ),
        ("a longer wait", true, gate(json!({"timeoutSeconds": 601}))),
    ]
}

async fn edit(client: &Client, workflow: &Value) -> Result<(), String> {
    let apps: Api<App> = Api::namespaced(client.clone(), HOME);
    // A list is replaced as a whole.
    let patch = Patch::Merge(json!({"spec": {"workflow": workflow}}));
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    apps.patch("guarded", &params, &patch)
        .await
        .map(drop)
        .map_err(|e| e.to_string())
}

pub async fn approvals_are_not_the_operators_to_take(plane: &ControlPlane, admin: &Client) {
    let mut spec = app();
    spec["workflow"] = workflow();
    let guarded = App::new("guarded", serde_json::from_value(spec).unwrap());
    let apps: Api<App> = Api::namespaced(admin.clone(), HOME);
    apps.create(&PostParams::default(), &guarded).await.unwrap();
    let (operator, governor) = (
        plane.client("operator").await,
        plane.client("governor").await,
    );
    assert!(
        !rights::has_right(&operator, Right::Weaken, HOME)
            .await
            .unwrap()
    );
    assert!(
        rights::has_right(&governor, Right::Weaken, HOME)
            .await
            .unwrap()
    );
    let none = json!({"stages": []});
    eventually("the policy is in force", async || {
        edit(&operator, &none).await.is_err().then_some(())
    })
    .await;
    let before: Workflow = serde_json::from_value(workflow()).unwrap();
    for (what, weakens, after) in edits() {
        let told =
            find_weakened_approvals(&before, &serde_json::from_value(after.clone()).unwrap());
        assert_eq!(!told.is_empty(), weakens, "{what}: {told:?}");
        let said = edit(&operator, &after).await;
        assert_eq!(said.is_err(), weakens, "{what}: {said:?}");
        if let Err(said) = said {
            assert!(
                said.contains("graylane-workflows") && said.contains("weaken-approvals"),
                "{what}: {said}"
            );
        }
        edit(&governor, &after)
            .await
            .unwrap_or_else(|why| panic!("{what}: {why}"));
    }
    // Everything else of the App is the operator's.
    let apps: Api<App> = Api::namespaced(operator, HOME);
    let patch = Patch::Merge(json!({"spec": {"manifests": [{"name": "d.yaml", "template": "y"}]}}));
    apps.patch("guarded", &PatchParams::default(), &patch)
        .await
        .unwrap();
}
