//! What else an engine meets in a release: StatefulSets, other engines, other hands, approvals that do not count.

use graylane::{
    api::{
        App, Approval, ApprovalSpec, Decision, FIELD_MANAGER, ObjectKey, ObjectRef, Release,
        ReleasePhase, ReleaseSpec, TaskPhase, label,
    },
    cluster::{lease::ENGINE_LEASE, owner, perform::perform_intent},
    domain::{
        intent::{ControlIntent, Intent, TaskDecision},
        owner::Owner,
    },
};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet, StatefulSetSpec},
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    cluster::{Place, cases, eventually},
    story::rig::{MANIFEST, Rig, app},
};

cases!(
    a_stateful_set_in_batches_and_back,
    engines_follow_each_other,
    what_was_there_before_is_not_rolled_at_once,
    what_is_wrong_is_told_at_its_task,
    fields_are_taken_over_only_when_asked,
    of_two_releases_the_second_waits,
    of_two_engines_that_make_one_object_one_does,
    what_the_manifests_no_longer_name_goes,
    approvals_that_do_not_count,
);

/// The same for a StatefulSet: one batch, back, and all of it, each to the pod.
async fn a_stateful_set_in_batches_and_back(at: Place) {
    let rig = Rig::new(&at).await;
    rig.engine("one");
    let manifest = MANIFEST.replace("kind: Deployment", "kind: StatefulSet");
    let stateful = json!({"spec": {"manifests": [{"name": "a.yaml", "template": manifest}]}});
    at.api::<App>()
        .patch("a", &PatchParams::default(), &Patch::Merge(&stateful))
        .await
        .unwrap();
    rig.baseline().await;
    let set = async || {
        at.api::<StatefulSet>()
            .get("a-prod")
            .await
            .unwrap()
            .spec
            .unwrap()
    };
    let partition =
        |s: StatefulSetSpec| s.update_strategy.unwrap().rolling_update.unwrap().partition;
    let new = async || {
        let pods = at
            .api::<Pod>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items;
        let new = pods
            .iter()
            .filter(|p| p.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("a:v2"));
        let mut names: Vec<String> = new.map(ResourceExt::name_any).collect();
        names.sort();
        names
    };
    for back in [true, false] {
        let name = rig.start("baseline", "a:v2").await;
        let held = rig.phase(&name, "deploy", TaskPhase::Waiting).await;
        let task = &held.status.unwrap().tasks[0];
        assert_eq!(
            task.batches.iter().map(|b| b.target).collect::<Vec<_>>(),
            [1, 2, 4]
        );
        assert_eq!(
            (new().await, partition(set().await)),
            (vec!["a-prod-3".to_owned()], Some(3))
        );
        if back {
            rig.wish(&name, ControlIntent::Abort).await;
            rig.ends(&name, ReleasePhase::Aborted).await;
            assert_eq!((new().await, rig.pods("a-prod", "a:v1").await), (vec![], 4));
        } else {
            rig.wish(
                &name,
                ControlIntent::Allow {
                    task: "deploy".into(),
                    batch: 2,
                },
            )
            .await;
            rig.ends(&name, ReleasePhase::Succeeded).await;
            assert_eq!(
                (new().await.len(), rig.pods("a-prod", "a:v1").await),
                (4, 0)
            );
        }
        assert_eq!(partition(set().await).unwrap_or(0), 0, "the user's own");
    }
}

/// An engine is stopped at each wait of the story, without giving anything up, and another one goes
/// on.
async fn engines_follow_each_other(at: Place) {
    let rig = Rig::new(&at).await;
    rig.lanes().await;
    let first = rig.engine("one");
    rig.baseline().await;
    let second = rig.engine("two");
    let name = rig.start("production", "a:v2").await;
    rig.phase(&name, "gate", TaskPhase::Waiting).await;
    let holder = || async {
        at.api::<Lease>()
            .get(ENGINE_LEASE)
            .await
            .unwrap()
            .spec
            .unwrap()
            .holder_identity
    };
    assert_eq!(holder().await.as_deref(), Some("one"));
    first.cancel();
    rig.wish(
        &name,
        TaskDecision {
            task: "gate".into(),
            attempt: 1,
            decision: Decision::Pass,
            digest: None,
        },
    )
    .await;
    rig.phase(&name, "go", TaskPhase::Waiting).await;
    assert_eq!(holder().await.as_deref(), Some("two"));
    rig.wish(
        &name,
        ControlIntent::Allow {
            task: "go".into(),
            batch: 1,
        },
    )
    .await;
    rig.phase(&name, "deploy-prod", TaskPhase::Waiting).await;
    second.cancel();
    rig.wish(
        &name,
        ControlIntent::Allow {
            task: "deploy-prod".into(),
            batch: 2,
        },
    )
    .await;
    rig.engine("three");
    rig.ends(&name, ReleasePhase::Succeeded).await;
    assert_eq!(
        (
            rig.pods("a-prod", "a:v2").await,
            rig.pods("a-prod", "a:v1").await
        ),
        (4, 0)
    );
    let revisions = at
        .api::<ReplicaSet>()
        .list(&ListParams::default().labels("app=a-prod"))
        .await
        .unwrap();
    assert_eq!(revisions.items.len(), 2, "nothing was rolled twice");
}

/// What runs already, made by other hands, is not touched until it is adopted, and then rolled
/// batch by batch like anything else.
async fn what_was_there_before_is_not_rolled_at_once(at: Place) {
    let rig = Rig::new(&at).await;
    at.create::<Deployment>(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a-prod"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "a-prod"}}, "template": {"metadata": {"labels": {"app": "a-prod"}},
            "spec": {"containers": [{"name": "c", "image": "a:v0"}]}}}}))
        .await;
    let ready = async || {
        at.api::<Deployment>()
            .get("a-prod")
            .await
            .unwrap()
            .status
            .and_then(|s| s.ready_replicas)
    };
    eventually("it serves", async || {
        (ready().await == Some(4)).then_some(())
    })
    .await;
    rig.engine("one");
    // Nobody has adopted it: it is refused by name, beforehand and by the engine, whoever manages its fields.
    let intent = Intent::StartRelease {
        apps: vec!["a".into()],
        stage: "baseline".into(),
        images: Default::default(),
        comment: None,
        window: None,
    };
    let refusal = format!(
        "Deployment {}/a-prod exists already and belongs to no App",
        at.namespace
    );
    let told = perform_intent(&at.client, &at.namespace, "admin", intent)
        .await
        .unwrap_err()
        .to_string();
    assert!(told.contains(&refusal), "{told}");
    let spec = ReleaseSpec {
        app: "a".into(),
        stage: "baseline".into(),
        ..ReleaseSpec::default()
    };
    at.api::<Release>()
        .create(&PostParams::default(), &Release::new("early", spec))
        .await
        .unwrap();
    let early = rig.ends("early", ReleasePhase::Failed).await;
    let told = early.status.unwrap().message.unwrap();
    assert!(told.contains(&refusal), "{told}");
    rig.wish("early", ControlIntent::Abort).await;
    rig.ends("early", ReleasePhase::Aborted).await;
    assert_eq!(rig.pods("a-prod", "a:v0").await, 4);
    let key = ObjectKey::at_home(at.namespace.as_str(), "a-prod");
    let object = ObjectRef::new("apps/v1", "Deployment", key);
    let me = Owner {
        home: Some(at.namespace.clone()),
        app: "a".into(),
        environment: "prod".into(),
    };
    owner::adopt_object(at.client.clone(), &object, &me, None)
        .await
        .unwrap();
    let name = rig.start("baseline", "a:v1").await;
    rig.phase(&name, "deploy", TaskPhase::Waiting).await;
    assert_eq!(
        (
            rig.pods("a-prod", "a:v1").await,
            rig.pods("a-prod", "a:v0").await
        ),
        (1, 3)
    );
    rig.wish(&name, ControlIntent::Abort).await;
    rig.ends(&name, ReleasePhase::Aborted).await;
    assert_eq!(rig.pods("a-prod", "a:v0").await, 4);
}

async fn what_is_wrong_is_told_at_its_task(at: Place) {
    let rig = Rig::new(&at).await;
    rig.engine("one");
    rig.baseline().await;
    // A template that asks for what is not there: all errors, with their places.
    let broken = json!({"spec": {"manifests": [{"name": "a.yaml", "template": "kind: {{ .Values.nope }}\nx: {{ .Values.nada }}"}]}});
    let whole = json!({"spec": {"manifests": app(&at.namespace)["spec"]["manifests"]}});
    let apps = at.api::<App>();
    apps.patch("a", &PatchParams::default(), &Patch::Merge(&broken))
        .await
        .unwrap();
    // Made past the command line's own check: it does not begin before that is fixed.
    let images = [("backend".to_owned(), "a:v2".to_owned())].into();
    let spec = ReleaseSpec {
        app: "a".into(),
        stage: "baseline".into(),
        images,
        ..ReleaseSpec::default()
    };
    let made = at
        .api::<Release>()
        .create(&PostParams::default(), &Release::new("broken", spec))
        .await
        .unwrap();
    let name = made.name_any();
    let told = |r: &Release| {
        let why = r
            .status
            .as_ref()
            .and_then(|s| s.message.as_deref())
            .unwrap_or_default();
        ["a.yaml:1:", "nope", "a.yaml:2:", "nada"]
            .iter()
            .all(|w| why.contains(w))
    };
    rig.until(&name, "what is wrong, with its places", told)
        .await;
    apps.patch("a", &PatchParams::default(), &Patch::Merge(&whole))
        .await
        .unwrap();
    rig.phase(&name, "deploy", TaskPhase::Waiting).await;
    // Somebody sets an image while the latch holds: the next batch would roll what nobody approved.
    let foreign =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "a:evil"}]}}}});
    let by = PatchParams {
        field_manager: Some("kubectl-set".into()),
        ..PatchParams::default()
    };
    at.api::<Deployment>()
        .patch("a-prod", &by, &Patch::Merge(&foreign))
        .await
        .unwrap();
    rig.wish(
        &name,
        ControlIntent::Allow {
            task: "deploy".into(),
            batch: 2,
        },
    )
    .await;
    let failed = rig.phase(&name, "deploy", TaskPhase::Failed).await;
    let why = failed.status.unwrap().tasks[0].message.clone().unwrap();
    assert!(
        why.contains("a:evil") && why.contains("kubectl-set"),
        "{why}"
    );
    assert_eq!(rig.pods("a-prod", "a:evil").await, 0);
    rig.wish(
        &name,
        ControlIntent::Retry {
            task: "deploy".into(),
            force: false,
        },
    )
    .await;
    rig.ends(&name, ReleasePhase::Succeeded).await;
    assert_eq!(rig.pods("a-prod", "a:v2").await, 4);
    // A stage that is not there, made past the command line's own check.
    let spec = ReleaseSpec {
        app: "a".into(),
        stage: "nope".into(),
        ..ReleaseSpec::default()
    };
    let made = at
        .api::<Release>()
        .create(&PostParams::default(), &Release::new("odd", spec))
        .await
        .unwrap();
    let odd = rig.ends(&made.name_any(), ReleasePhase::Failed).await;
    assert!(
        odd.status
            .unwrap()
            .message
            .unwrap()
            .contains("it has baseline, production")
    );
}

/// What another manager has is told with its name, and taken only by the attempt for which somebody
/// asked.
async fn fields_are_taken_over_only_when_asked(at: Place) {
    let rig = Rig::new(&at).await;
    rig.engine("one");
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a-prod",
        "labels": {label::APP: "a", label::ENVIRONMENT: "prod"}}, "data": {"env": "x"}});
    let maps = at.api::<ConfigMap>();
    maps.patch(
        "a-prod",
        &PatchParams::apply("gitops"),
        &Patch::Apply(&theirs),
    )
    .await
    .unwrap();
    let name = rig.start("baseline", "a:v1").await;
    let is_theirs = async || maps.get("a-prod").await.unwrap().data.unwrap()["env"] == "x";
    let named = format!("ConfigMap {}/a-prod", at.namespace);
    for (attempt, force) in [(1, false), (2, true)] {
        let fails = |r: &Release| {
            r.status
                .as_ref()
                .and_then(|s| s.tasks.first())
                .is_some_and(|t| {
                    let why = t.message.as_deref().unwrap_or_default();
                    let told = [
                        &*named,
                        "\"gitops\"",
                        ".data.env",
                        "--force-conflicts",
                        "graylane abort",
                    ];
                    t.attempt == attempt
                        && t.phase == TaskPhase::Failed
                        && told.iter().all(|w| why.contains(w))
                })
        };
        rig.until(&name, "the conflict", fails).await;
        assert!(is_theirs().await);
        rig.wish(
            &name,
            ControlIntent::Retry {
                task: "deploy".into(),
                force,
            },
        )
        .await;
    }
    rig.ends(&name, ReleasePhase::Succeeded).await;
    assert!(!is_theirs().await);
}

/// Two releases begun in one instant: exactly one takes the environment.
async fn of_two_releases_the_second_waits(at: Place) {
    let rig = Rig::new(&at).await;
    let engine = rig.engine("one");
    rig.baseline().await;
    engine.cancel();
    for name in ["x-1", "x-2"] {
        let images = [("backend".to_owned(), format!("a:{name}"))].into();
        let spec = ReleaseSpec {
            app: "a".into(),
            stage: "baseline".into(),
            images,
            ..ReleaseSpec::default()
        };
        at.api::<Release>()
            .create(&PostParams::default(), &Release::new(name, spec))
            .await
            .unwrap();
    }
    rig.engine("two");
    rig.phase("x-1", "deploy", TaskPhase::Waiting).await;
    let second = rig.phase("x-2", "deploy", TaskPhase::Pending).await;
    let why = second.status.unwrap().tasks[0]
        .message
        .clone()
        .unwrap_or_default();
    assert!(why.contains("in use by release x-1"), "{why}");
    assert_eq!(rig.pods("a-prod", "a:x-2").await, 0);
    rig.wish("x-1", ControlIntent::Abort).await;
    rig.phase("x-2", "deploy", TaskPhase::Waiting).await;
    assert_eq!(
        (
            rig.pods("a-prod", "a:x-2").await,
            rig.pods("a-prod", "a:v1").await
        ),
        (1, 3)
    );
}

/// Apps of one name in two namespaces, each with an engine, want to make one object: a create lets
/// one of them, and the other one tells whose it is.
async fn of_two_engines_that_make_one_object_one_does(at: Place) {
    let place = |name: &str| Place {
        namespace: format!("{}-{name}", at.namespace),
        ..at.clone()
    };
    let (two, shared) = (place("two"), place("shared"));
    two.make().await;
    shared.make().await;
    let homes = [at.clone(), two];
    let rigs = [Rig::new(&homes[0]).await, Rig::new(&homes[1]).await];
    let mut names = vec![];
    for (rig, home) in rigs.iter().zip(&homes) {
        let own =
            "metadata: {name: a-{{ .AppStack.envName }}}\ndata: {env: '{{ .AppStack.envName }}'}";
        let one = format!(
            "metadata: {{name: shared, namespace: {}}}\ndata: {{by: {}}}",
            shared.namespace, home.namespace
        );
        let manifest = MANIFEST.replace(own, &one);
        assert_ne!(manifest, MANIFEST);
        let manifests = json!({"spec": {"manifests": [{"name": "a.yaml", "template": manifest}]}});
        home.api::<App>()
            .patch("a", &PatchParams::default(), &Patch::Merge(&manifests))
            .await
            .unwrap();
        // Both before either has made anything: nobody is refused beforehand.
        names.push(rig.start("baseline", "a:v1").await);
    }
    rigs.iter().for_each(|rig| drop(rig.engine("one")));
    let phase = |r: &Release| r.status.as_ref().map(|s| s.phase).unwrap_or_default();
    let over = |r: &Release| matches!(phase(r), ReleasePhase::Succeeded | ReleasePhase::Failed);
    let (first, second) = tokio::join!(
        rigs[0].until(&names[0], "over", over),
        rigs[1].until(&names[1], "over", over)
    );
    let (won, lost) = if phase(&first) == ReleasePhase::Succeeded {
        (0, &second)
    } else {
        (1, &first)
    };
    assert_eq!(
        phase([&first, &second][won]),
        ReleasePhase::Succeeded,
        "{first:#?} {second:#?}"
    );
    assert_eq!(phase(lost), ReleasePhase::Failed, "{lost:#?}");
    let map = shared.api::<ConfigMap>().get("shared").await.unwrap();
    assert_eq!(map.data.unwrap()["by"], homes[won].namespace);
    let told = lost.status.as_ref().unwrap().message.clone().unwrap();
    assert!(
        told.contains(&format!("ConfigMap {}/shared", shared.namespace))
            && told.contains(&homes[won].namespace),
        "{told}"
    );
}

/// Made by a create, which must be the first, and yet a later apply takes away what is no longer
/// named.
async fn what_the_manifests_no_longer_name_goes(at: Place) {
    let rig = Rig::new(&at).await;
    rig.engine("one");
    let more = MANIFEST.replace("data: {env", "data: {more: x, env");
    for (template, data) in [
        (more.as_str(), json!({"env": "prod", "more": "x"})),
        (MANIFEST, json!({"env": "prod"})),
    ] {
        let manifests = json!({"spec": {"manifests": [{"name": "a.yaml", "template": template}]}});
        at.api::<App>()
            .patch("a", &PatchParams::default(), &Patch::Merge(&manifests))
            .await
            .unwrap();
        rig.baseline().await;
        let map = at.api::<ConfigMap>().get("a-prod").await.unwrap();
        assert_eq!(
            serde_json::to_value(&map.data).unwrap(),
            data,
            "{:#?}",
            map.metadata.managed_fields
        );
    }
}

async fn approvals_that_do_not_count(at: Place) {
    let rig = Rig::new(&at).await;
    rig.engine("one");
    rig.baseline().await;
    let name = rig.start("production", "a:v2").await;
    let release = rig.phase(&name, "gate", TaskPhase::Waiting).await;
    let status = release.status.clone().unwrap();
    let approve = |uid: Option<String>, image: &str, by: &str| {
        let images = [("backend".to_owned(), image.to_owned())].into();
        let spec = ApprovalSpec {
            release: name.clone(),
            release_uid: uid.unwrap().into(),
            task: "gate".into(),
            attempt: 1,
            decision: Decision::Pass,
            approver: by.into(),
            comment: None,
            images,
            revision: status.revision.clone(),
            digest: status
                .tasks
                .iter()
                .find(|t| t.name == "gate")
                .and_then(|t| t.digest.clone()),
        };
        Approval::new(&format!("by-{by}"), spec)
    };
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    };
    let api = at.api::<Approval>();
    api.create(&params, &approve(Some("another".into()), "a:v2", "ann"))
        .await
        .unwrap();
    api.create(&params, &approve(release.uid(), "a:v3", "bob"))
        .await
        .unwrap();
    let told = rig.until(&name, "told", |r| {
        let words = r.status.iter().filter_map(|s| s.message.clone());
        words
            .clone()
            .any(|m| m.contains("bob decided on other images"))
    });
    assert_eq!(
        told.await.status.unwrap().tasks[0].phase,
        TaskPhase::Waiting
    );
    api.create(&params, &approve(release.uid(), "a:v2", "eve"))
        .await
        .unwrap();
    rig.phase(&name, "gate", TaskPhase::Succeeded).await;
}
