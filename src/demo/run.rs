//! Runs the demo in a state folder: pocket, engine, workspace; says when production serves.

use std::{future::Future, path::Path, time::Duration};

use kube::Client;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{images, seed, serving::serving, traffic};
use crate::{
    cluster::{
        self,
        agent::Agent,
        clusters::Clusters,
        install::{self, InstallError},
    },
    domain::world::World,
    pocket::{
        images::ImageError,
        run::{Pocket, PocketError, Settings},
    },
};

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No pocket; another graylane may run it.
    #[error(transparent)]
    Pocket(#[from] PocketError),
    /// No images.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// No resource definitions.
    #[error(transparent)]
    Definitions(#[from] InstallError),
}

/// How far the demo is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Pocket is up, nothing else.
    #[default]
    Starting,
    /// A step of the seeding, in words.
    Seeding(String),
    /// The workspace is there; the entry does not answer yet.
    Seeded,
    /// Nor can it, in words, until that is mended.
    Blocked(String),
    /// Production of all three answers through the entry.
    Serving,
    /// The workspace could not be made.
    Failed(String),
}

/// Who tries a crash out wants to see what comes after it.
const SETTINGS: Settings = Settings {
    back_off: (Duration::from_secs(1), Duration::from_secs(30)),
};

/// Nothing holds the end up for longer.
const LONGEST_END: Duration = Duration::from_secs(30);

/// A running demo.
pub struct Demo {
    pocket: Pocket,
    clusters: Clusters,
    worlds: watch::Receiver<World>,
    inlet: cluster::trace::SpanInlet,
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Demo {
    /// Starts it in a folder that is there. `engine` runs until its token is cancelled.
    pub async fn start<E>(
        dir: &Path,
        engine: impl FnOnce(Client, CancellationToken) -> E,
    ) -> Result<Self, DemoError>
    where
        E: Future<Output = ()> + Send + 'static,
    {
        let pocket = Pocket::start(dir, SETTINGS).await?;
        // After the folder is ours: two demos must not write images at once.
        images::create_missing(dir)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let client = pocket.client();
        // Before anybody looks: what is not installed yet would be told as trouble.
        install::definitions(&client).await?;
        tasks.spawn(engine(client.clone(), stop.clone()));
        let clusters = Clusters::within(client.clone(), Agent::Cockpit);
        let (worlds, inlet) =
            cluster::watch::spawn_with_inlet(clusters.clone(), seed::NAMESPACE, stop.clone());
        let (tell, progress) = watch::channel(Progress::Starting);
        let (seen, until) = (worlds.clone(), stop.clone());
        tasks.spawn(async move {
            until
                .run_until_cancelled(prepare(&client, &seen, &tell))
                .await
        });
        Ok(Self {
            pocket,
            clusters,
            worlds,
            inlet,
            progress,
            stop,
            tasks,
        })
    }

    /// The cluster as it is.
    pub fn worlds(&self) -> watch::Receiver<World> {
        self.worlds.clone()
    }

    /// A way into the worlds for spans.
    pub fn inlet(&self) -> cluster::trace::SpanInlet {
        self.inlet.clone()
    }

    /// How far it is.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// The pocket, and the clusters that its environments may name; what the watches and wishes ask is counted.
    pub fn clusters(&self) -> Clusters {
        self.clusters.clone()
    }

    /// A client within this process.
    pub fn client(&self) -> Client {
        self.pocket.client()
    }

    /// Ends the load, the engine, then the pocket.
    pub async fn stop(self) {
        // Only for a quiet end: without it some requests of the load fail.
        let _ = tokio::time::timeout(LONGEST_END, traffic::sleep(&self.pocket.client())).await;
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(LONGEST_END, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::error!("the engine does not end, and is not waited for any more");
        }
        self.pocket.stop().await;
    }
}

async fn prepare(client: &Client, worlds: &watch::Receiver<World>, tell: &watch::Sender<Progress>) {
    let seeded = seed::seed(client, |step| {
        drop(tell.send_replace(Progress::Seeding(step)))
    })
    .await;
    if let Err(why) = seeded {
        tracing::error!(%why, "the workspace");
        tell.send_replace(Progress::Failed(why.to_string()));
        return;
    }
    tell.send_replace(Progress::Seeded);
    serving(worlds, |why| {
        drop(tell.send_replace(Progress::Blocked(why)))
    })
    .await;
    traffic::wake(client).await;
    tell.send_replace(Progress::Serving);
}
