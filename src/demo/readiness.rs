//! Determines when the demo serves: production of all three apps answers a request through the
//! entry.

use std::time::Duration;

use tokio::sync::watch;

use super::seed::DEPLOY_ORDER;
use crate::{
    api::{ProbeSpec, Served},
    domain::world::World,
    probe,
};

/// Lane group of the demo.
pub const GROUP: &str = "mse-demo";

/// Waits until a request went `A -> B -> C` through the baseline. `tell` is called with the
/// problems whenever they change.
pub async fn wait_until_serving(worlds: &watch::Receiver<World>, tell: impl Fn(String)) {
    // A request may hang for long if another program listens on our port.
    tokio::select! {
        () = wait_for_answer(worlds) => {}
        () = report_problems(worlds.clone(), tell) => {}
    }
}

async fn wait_for_answer(worlds: &watch::Receiver<World>) {
    // An earlier request could only fail, and would be counted as a failure.
    let (mut ready, feed) = (worlds.clone(), worlds.clone().into());
    let serves = |world: &World| {
        DEPLOY_ORDER
            .iter()
            .all(|app| world.pods_of(app, "prod").any(|pod| pod.ready))
    };
    if ready.wait_for(serves).await.is_err() {
        return std::future::pending().await;
    }
    // Endpoints are updated shortly after their pods.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let probe = ProbeSpec {
        path: "/A/a".into(),
        expect: DEPLOY_ORDER
            .map(|app| (app.to_owned(), Served::Base))
            .into(),
        count: 1,
        ..ProbeSpec::default()
    };
    loop {
        match probe::send_probes(&probe, GROUP, &feed, &probe::Via::Entry).await {
            Ok(probed) if probed.iter().all(probe::Probed::is_ok) => return,
            Ok(probed) => {
                tracing::debug!(problems = ?probed.iter().flat_map(|p| &p.problems).collect::<Vec<_>>(), "not yet");
            }
            Err(why) => tracing::debug!(%why, "not yet"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reports problems of the lane group; never returns.
async fn report_problems(mut worlds: watch::Receiver<World>, tell: impl Fn(String)) {
    let mut told = vec![];
    loop {
        let status = worlds
            .borrow_and_update()
            .groups
            .get(GROUP)
            .and_then(|g| g.status.clone());
        let problems = status.map(|s| s.problems).unwrap_or_default();
        if problems != told && !problems.is_empty() {
            tell(problems.join("; "));
        }
        told = problems;
        if worlds.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
