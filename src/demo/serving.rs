//! When the demo serves: a real request through the entry is answered by production of all three.

use std::time::Duration;

use tokio::sync::watch;

use super::seed::ORDER;
use crate::{
    api::{ProbeSpec, Served},
    domain::world::World,
    probe,
};

/// The lane group of the demo.
pub const GROUP: &str = "mse-demo";

/// Until a request went `A -> B -> C` through the baseline; what stands in its way is told when that changes.
pub async fn serving(worlds: &watch::Receiver<World>, tell: impl Fn(String)) {
    // A request may hang for long at whoever has our port.
    tokio::select! {
        () = answered(worlds) => {}
        () = blocked(worlds.clone(), tell) => {}
    }
}

async fn answered(worlds: &watch::Receiver<World>) {
    // A request before that could only fail, and would be told as a failure.
    let mut ready = worlds.clone();
    let serves = |world: &World| {
        ORDER
            .iter()
            .all(|app| world.pods_of(app, "prod").any(|pod| pod.ready))
    };
    if ready.wait_for(serves).await.is_err() {
        return std::future::pending().await;
    }
    // Endpoints follow their pods a moment later.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let probe = ProbeSpec {
        path: "/A/a".into(),
        expect: ORDER.map(|app| (app.to_owned(), Served::Base)).into(),
        count: 1,
        ..ProbeSpec::default()
    };
    loop {
        match probe::run(&probe, GROUP, worlds, &probe::Via::Entry).await {
            Ok(probed) if probed.iter().all(probe::Probed::is_ok) => return,
            Ok(probed) => {
                tracing::debug!(problems = ?probed.iter().flat_map(|p| &p.problems).collect::<Vec<_>>(), "not yet")
            }
            Err(why) => tracing::debug!(%why, "not yet"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Never ends.
async fn blocked(mut worlds: watch::Receiver<World>, tell: impl Fn(String)) {
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
