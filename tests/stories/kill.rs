//! kill -9 of the whole process at one instant of the story after the other; each time it is started again on the
//! same state and goes on. Nothing is done twice, nothing is skipped, no batch goes back or too far.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::support::{demo::Demo, program::until};
use graylane::{
    api::{BatchPhase, Release, ReleasePhase, ReleaseStatus, TaskPhase, label},
    cluster::{
        agent::Agent,
        connect::{ClusterSource, connect},
    },
};
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::{Api, api::ListParams};
use serde_json::Value;
use tokio::task::JoinHandle;

const A: &str = "spring-cloud-a";
const TASKS: [&str; 7] = [
    "build",
    "approve",
    "deploy-gray",
    "verify",
    "proceed",
    "deploy-prod",
    "clean-gray",
];

async fn status(demo: &Demo, name: &str) -> ReleaseStatus {
    let api: Api<Release> = Api::namespaced(demo.client.clone(), "demo");
    api.get(name).await.unwrap().status.unwrap_or_default()
}

async fn release(
    demo: &Demo,
    name: &str,
    what: &str,
    fact: impl Fn(&ReleaseStatus) -> bool,
) -> ReleaseStatus {
    until(what, async || Some(status(demo, name).await).filter(&fact)).await
}

fn task(status: &ReleaseStatus, name: &str, phase: TaskPhase) -> bool {
    status
        .tasks
        .iter()
        .any(|t| t.name == name && t.phase == phase)
}

fn batch(status: &ReleaseStatus, number: u32) -> Option<BatchPhase> {
    let batches = status
        .tasks
        .iter()
        .filter(|t| t.name == "deploy-prod")
        .flat_map(|t| &t.batches);
    batches
        .into_iter()
        .find(|b| b.number == number)
        .map(|b| b.phase)
}

/// Each once: the times that a task was begun, was passed, and that each batch was done.
fn once(status: &ReleaseStatus) {
    let count = |task: &str, action: &str| {
        status
            .history
            .iter()
            .filter(|h| h.task.as_deref() == Some(task) && h.action == action)
            .count()
    };
    for name in TASKS {
        assert_eq!(count(name, "succeeded"), 1, "{name}: {:#?}", status.history);
        assert_eq!(count(name, "failed"), 0, "{name}: {:#?}", status.history);
        assert_eq!(
            status
                .tasks
                .iter()
                .filter(|t| t.name == name && t.attempt == 1)
                .count(),
            1,
            "{name}"
        );
    }
    for number in 1..=3 {
        assert_eq!(
            count("deploy-prod", &format!("batch {number} of 3 done")),
            1,
            "{:#?}",
            status.history
        );
    }
    let passed: Vec<&str> = status
        .history
        .iter()
        .filter(|h| h.action == "succeeded" && h.task.is_some())
        .filter_map(|h| h.task.as_deref())
        .collect();
    assert_eq!(passed, TASKS, "in their order");
}

/// Looks at production's pods while engines come and go: the new ones never grow fewer, nor more than allowed.
struct Batches {
    allowed: Arc<AtomicU32>,
    looks: JoinHandle<()>,
}

impl Batches {
    fn watch(demo: &Demo, image: &str) -> Self {
        let (source, image) = (ClusterSource::State(demo.state().into()), image.to_owned());
        let allowed = Arc::new(AtomicU32::new(1));
        let most = Arc::clone(&allowed);
        let looks = tokio::spawn(async move {
            let mut before = 0;
            loop {
                if let Ok(cluster) = connect(&source, None, Agent::Cli).await {
                    let pods: Api<Pod> = Api::namespaced(cluster.client, "demo");
                    // Until this one is killed too.
                    while let Ok(new) = count(&pods, &image).await {
                        let most = most.load(Ordering::SeqCst);
                        assert!(
                            new >= before && new <= most,
                            "{new} new pods after {before}, allowed are {most}"
                        );
                        before = new;
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Self { allowed, looks }
    }

    fn allow(&self, pods: u32) {
        self.allowed.store(pods, Ordering::SeqCst);
    }

    async fn end(self) {
        self.looks.abort();
        let ended = self.looks.await;
        assert!(ended.as_ref().is_err_and(|e| e.is_cancelled()), "{ended:?}");
    }
}

async fn count(pods: &Api<Pod>, image: &str) -> kube::Result<u32> {
    let selector = format!("{}={A},{}=prod", label::APP, label::ENVIRONMENT);
    let all = pods.list(&ListParams::default().labels(&selector)).await?;
    let runs = |p: &&Pod| {
        p.metadata.deletion_timestamp.is_none()
            && p.spec
                .as_ref()
                .is_some_and(|s| s.containers[0].image.as_deref() == Some(image))
    };
    Ok(all.iter().filter(runs).count().try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_instant_it_goes_on() {
    let mut demo = Demo::start().await;
    demo.set_pause(A, "every").await;
    let b = demo.pods("spring-cloud-b", "prod").await;

    // While the build's process is being made, or runs.
    let name = demo
        .ok(&["release", "start", A, "--stage", "production"])
        .await
        .trim()
        .to_owned();
    let name = name.as_str();
    release(&demo, name, "a build", |s| {
        s.tasks.iter().any(|t| t.job.is_some())
    })
    .await;
    demo.kill().await;

    // While it waits for a person.
    let waiting = release(&demo, name, "the approval", |s| {
        task(s, "approve", TaskPhase::Waiting)
    })
    .await;
    let image = waiting.images["backend"].clone();
    demo.kill().await;
    demo.ok(&["approve", name]).await;

    // While gray comes up.
    until("a gray pod", async || {
        (!demo.pods(A, "gray").await.is_empty()).then_some(())
    })
    .await;
    demo.kill().await;
    release(&demo, name, "gray verified", |s| {
        task(s, "proceed", TaskPhase::Waiting)
    })
    .await;
    assert_eq!(
        demo.pods(A, "gray").await.len(),
        1,
        "gray was not made twice"
    );
    assert_eq!(demo.split(A, "v1").await, (4, 0));

    // While the first pod of production comes up; after a batch was let go; while old pods go.
    let batches = Batches::watch(&demo, &image);
    demo.ok(&["proceed", name, "--task", "proceed"]).await;
    let pods: Api<Pod> = Api::namespaced(demo.client.clone(), "demo");
    until("a new pod", async || {
        (count(&pods, &image).await.unwrap() == 1).then_some(())
    })
    .await;
    demo.kill().await;
    release(&demo, name, "batch 1", |s| {
        task(s, "deploy-prod", TaskPhase::Waiting)
    })
    .await;
    assert_eq!(demo.split(A, "v1").await, (3, 1));
    batches.allow(2);
    demo.ok(&["proceed", name, "--task", "deploy-prod"]).await;
    demo.kill().await;
    let waits = |s: &ReleaseStatus| {
        batch(s, 2) == Some(BatchPhase::Done) && task(s, "deploy-prod", TaskPhase::Waiting)
    };
    release(&demo, name, "batch 2", waits).await;
    assert_eq!(demo.split(A, "v1").await, (2, 2));
    batches.allow(4);
    demo.ok(&["proceed", name, "--task", "deploy-prod"]).await;
    // Or gone already, on a machine that lets this test wait: then only the moment is another.
    let retires =
        |s: &ReleaseStatus| matches!(batch(s, 3), Some(BatchPhase::Retiring | BatchPhase::Done));
    release(&demo, name, "old pods going", retires).await;
    demo.kill().await;

    // While gray is taken down.
    release(&demo, name, "the clean-up", |s| {
        !task(s, "clean-gray", TaskPhase::Pending)
    })
    .await;
    demo.kill().await;
    let done = release(&demo, name, "the end", |s| s.phase.is_final()).await;
    assert_eq!(done.phase, ReleasePhase::Succeeded, "{done:#?}");
    once(&done);
    batches.end().await;
    assert_eq!(demo.split(A, "v1").await, (0, 4));
    assert_eq!(demo.pods(A, "gray").await, BTreeSet::new());
    let sets: Api<ReplicaSet> = Api::namespaced(demo.client.clone(), "demo");
    let selector = format!("{}={A},{}=prod", label::APP, label::ENVIRONMENT);
    let sets = sets
        .list(&ListParams::default().labels(&selector))
        .await
        .unwrap();
    assert_eq!(
        sets.items.len(),
        2,
        "one rollout each: the baseline, and this"
    );

    // While an abort rolls back.
    let start = [
        "release",
        "start",
        A,
        "--stage",
        "production",
        "--image",
        "backend=spring-cloud-a:v2",
    ];
    let again = demo.ok(&start).await.trim().to_owned();
    let again = again.as_str();
    demo.wait(again, Some("approve"), "Waiting").await;
    demo.ok(&["approve", again]).await;
    demo.wait(again, Some("proceed"), "Waiting").await;
    demo.ok(&["proceed", again, "--task", "proceed"]).await;
    demo.wait(again, Some("deploy-prod"), "Waiting").await;
    assert_eq!(demo.split(A, "v2").await, (1, 3));
    demo.ok(&["abort", again]).await;
    release(&demo, again, "the way back", |s| {
        s.phase == ReleasePhase::Aborting || s.phase.is_final()
    })
    .await;
    demo.kill().await;
    let back = release(&demo, again, "the end", |s| s.phase.is_final()).await;
    assert_eq!(back.phase, ReleasePhase::Aborted, "{back:#?}");
    until("its last pod gone", async || {
        (demo.split(A, "v2").await == (0, 4)).then_some(())
    })
    .await;
    assert_eq!(demo.pods(A, "gray").await, BTreeSet::new());
    let gray: Value = serde_json::from_str(
        &demo
            .ok(&["get", "environments", "spring-cloud-a/gray", "-o", "json"])
            .await,
    )
    .unwrap();
    assert_eq!(gray["status"]["state"], "Cleaned", "{gray}");

    assert_eq!(
        demo.pods("spring-cloud-b", "prod").await,
        b,
        "nobody touched B"
    );
    demo.ok(&["probe", "/A/a", "--count", "4"]).await;
    demo.stop().await;
}
