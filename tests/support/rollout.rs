//! Looks on while production is rolled out: never too few pods that serve.

use std::{collections::BTreeMap, time::Duration};

use graylane::{
    cluster::watch,
    domain::world::{Link, World},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::demo::Demo;

/// Of production, 4 are wanted at all times.
const WANTED: usize = 4;

pub struct Watched {
    stop: CancellationToken,
    fewest: JoinHandle<BTreeMap<String, usize>>,
}

impl Watched {
    pub async fn start(demo: &Demo) -> Self {
        let stop = CancellationToken::new();
        let mut worlds = watch::spawn(demo.client.clone(), "demo", stop.clone());
        let live = worlds.wait_for(|w| w.link == Link::Live && w.pods.len() >= 3 * WANTED);
        tokio::time::timeout(Duration::from_mins(1), live)
            .await
            .expect("a world")
            .unwrap();
        let fewest = tokio::spawn(async move {
            let mut fewest = BTreeMap::new();
            while worlds.changed().await.is_ok() {
                look(&worlds.borrow_and_update(), &mut fewest);
            }
            fewest
        });
        Self { stop, fewest }
    }

    /// Ends, and says no if there were ever too few.
    pub async fn stop(self) {
        self.stop.cancel();
        let fewest = self.fewest.await.unwrap();
        assert_eq!(fewest.len(), 3, "{fewest:?}");
        assert!(
            fewest.values().all(|n| *n >= WANTED),
            "fewest pods that served: {fewest:?}"
        );
    }
}

fn look(world: &World, fewest: &mut BTreeMap<String, usize>) {
    for app in world.apps.keys() {
        let serving = world
            .pods_of(app, "prod")
            .filter(|p| p.ready && !p.terminating)
            .count();
        let least = fewest.entry(app.clone()).or_insert(serving);
        *least = serving.min(*least);
    }
}
