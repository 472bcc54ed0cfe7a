//! Runs the demo in a state folder: pocket, engine and workspace. Reports when production serves.

use std::{future::Future, path::Path, time::Duration};

use kube::Client;
use pocket::{images::ImageError, run::Pocket};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{images, readiness::wait_until_serving, seed, traffic};
use crate::{
    cluster::{
        self,
        agent::Agent,
        clusters::Clusters,
        install::{self, InstallError},
    },
    domain::world::World,
    embedded::{self, StartError},
};

/// Why the demo cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The pocket did not start; another graylane process may run it.
    #[error(transparent)]
    Pocket(#[from] StartError),
    /// The images could not be created.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// The resource definitions could not be installed.
    #[error(transparent)]
    Definitions(#[from] InstallError),
}

/// Progress of the demo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Only the pocket is running.
    #[default]
    Starting,
    /// A seeding step, described for people.
    Seeding(String),
    /// The workspace is complete; the entry does not respond yet.
    Seeded,
    /// The entry cannot respond, and why.
    Blocked(String),
    /// Production of all three apps responds through the entry.
    Serving,
    /// Seeding failed, and why.
    Failed(String),
}

/// A short restart back-off: users who try out a crash want to see what follows.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Time limit for each part of the shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// Starts the demo in an existing folder. `engine` runs until its token is cancelled.
    pub async fn start<E>(
        dir: &Path,
        engine: impl FnOnce(Client, CancellationToken) -> E,
    ) -> Result<Self, DemoError>
    where
        E: Future<Output = ()> + Send + 'static,
    {
        let pocket = embedded::start(dir, Some(BACK_OFF)).await?;
        // The pocket holds the folder's lock by now: two demos must not write images at the same
        // time.
        images::create_missing(dir)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let client = pocket.client();
        // Before the watches start, or missing definitions would be reported as trouble.
        install::apply_definitions(&client).await?;
        tasks.spawn(engine(client.clone(), stop.clone()));
        let clusters = Clusters::from_client(client.clone(), Agent::Cockpit);
        let (worlds, inlet) =
            cluster::watch::spawn_with_inlet(clusters.clone(), seed::NAMESPACE, stop.clone());
        let (tell, progress) = watch::channel(Progress::Starting);
        let (seen, until) = (worlds.clone(), stop.clone());
        tasks.spawn(async move {
            until
                .run_until_cancelled(prepare_workspace(&client, &seen, &tell))
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

    /// The state of the cluster.
    pub fn worlds(&self) -> watch::Receiver<World> {
        self.worlds.clone()
    }

    /// Adds spans to the worlds.
    pub fn inlet(&self) -> cluster::trace::SpanInlet {
        self.inlet.clone()
    }

    /// The progress of the demo.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// The pocket, and the remote clusters of its environments; requests of watches and intents are
    /// counted.
    pub fn clusters(&self) -> Clusters {
        self.clusters.clone()
    }

    /// A client that stays within this process.
    pub fn client(&self) -> Client {
        self.pocket.client()
    }

    /// Ends the load, the engine and the pocket, in this order.
    pub async fn stop(self) {
        // Only for a clean end: without it some requests of the load fail.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, traffic::pause_load(&self.pocket.client()))
            .await;
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::error!("the engine does not end, and is not waited for any more");
        }
        self.pocket.stop().await;
    }
}

async fn prepare_workspace(
    client: &Client,
    worlds: &watch::Receiver<World>,
    tell: &watch::Sender<Progress>,
) {
    let seeded = seed::seed_workspace(client, |step| {
        drop(tell.send_replace(Progress::Seeding(step)));
    })
    .await;
    if let Err(why) = seeded {
        tracing::error!(%why, "the workspace");
        tell.send_replace(Progress::Failed(why.to_string()));
        return;
    }
    tell.send_replace(Progress::Seeded);
    wait_until_serving(worlds, |why| {
        drop(tell.send_replace(Progress::Blocked(why)));
    })
    .await;
    traffic::resume_load(client).await;
    tell.send_replace(Progress::Serving);
}
