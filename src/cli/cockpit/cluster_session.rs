//! The cluster that the cockpit shows. Switching to another one ends the watches of the old one;
//! later intents go to the new one.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    api::LaneGroup,
    cluster::{
        self,
        agent::Agent,
        clusters::Clusters,
        connect::{self, ClusterSource, ConnectError, Connected},
        error, rights,
        trace::{SpanInlet, TraceFetcher},
        watch::{AllWorlds, NamespaceFeed},
    },
    domain::{
        text::Clean,
        world::{Link, LinkTrouble, ShownWorlds, World, Worlds},
    },
    ui::{
        Fault,
        effect::{ClusterChoice, ShownNamespace, cluster_of_place},
    },
};

use super::namespaces::RememberedNamespaces;

/// The cluster that the cockpit started with; it can always be selected again.
pub(super) struct HomeCluster {
    pub(super) place: String,
    /// `None` for the demo of this process.
    pub(super) source: Option<ClusterSource>,
    pub(super) connected: Connected,
    /// Worlds from a watch that runs already, if any.
    pub(super) worlds: Option<NamespaceFeed>,
}

/// The cluster that intents go to.
#[derive(Clone)]
pub(super) struct ActiveCluster {
    pub(super) clusters: Clusters,
    /// The acting user, once known.
    by: Arc<OnceCell<String>>,
    worlds: SessionWorlds,
    place: String,
    /// `None` for the demo of this process.
    source: Option<ClusterSource>,
    stop: CancellationToken,
}

impl ActiveCluster {
    /// Where the API is served; `None` is the demo of this process.
    pub(super) const fn source(&self) -> Option<&ClusterSource> {
        self.source.as_ref()
    }

    /// The worlds of a namespace, and the inlet of spans into them; `None` where nothing of it is
    /// watched.
    pub(super) fn feed_of(&self, namespace: &str) -> Option<NamespaceFeed> {
        match &self.worlds {
            SessionWorlds::One(name, feed) => (name == namespace).then(|| feed.clone()),
            SessionWorlds::All(all) => all.feed_of(namespace),
        }
    }

    /// Reads a trace from the stores of a lane group and adds its spans to the worlds.
    pub(super) fn fetch_trace(&self, inlet: SpanInlet, group: Arc<LaneGroup>, trace: String) {
        let (fetcher, stop) = (self.trace_fetcher(inlet), self.stop.clone());
        tokio::spawn(async move {
            let fetching = fetcher.fetch_until_complete(&group, &trace);
            stop.run_until_cancelled(fetching).await
        });
    }

    /// Asks this cluster's trace stores; what they return appears in its worlds.
    pub(super) fn trace_fetcher(&self, inlet: SpanInlet) -> TraceFetcher {
        TraceFetcher::new(self.clusters.home_client().clone(), inlet)
    }

    /// The acting user, as the server knows it.
    pub(super) async fn acting_user(&self) -> Result<String, Fault> {
        let asked = self
            .by
            .get_or_try_init(|| rights::current_user(self.clusters.home_client()))
            .await;
        asked.cloned().map_err(|why| {
            Fault::new(&format!(
                "the server does not say who you are: {}",
                error::describe_error(&why)
            ))
        })
    }
}

/// A cluster to show.
struct ShownCluster {
    clusters: Clusters,
    namespace: ShownNamespace,
    /// Its name on the screen.
    place: String,
    /// `None` for the demo of this process.
    source: Option<ClusterSource>,
    /// Worlds of this namespace from a watch that runs already, if any.
    worlds: Option<NamespaceFeed>,
    /// The acting user, where the server does not decide it.
    by: Option<String>,
}

/// What is watched of a cluster.
#[derive(Clone)]
enum SessionWorlds {
    /// One namespace.
    One(String, NamespaceFeed),
    /// All of them.
    All(AllWorlds),
}

/// Which namespace to show of a cluster.
#[derive(Default)]
pub(super) struct RequestedNamespace {
    /// All of them at once, whatever else is said.
    pub(super) all: bool,
    /// Named on the command line or in the configuration; takes precedence over that of a context.
    pub(super) name: Option<String>,
    /// Takes precedence over what was chosen before, too.
    pub(super) fixed: bool,
    /// What was chosen before.
    pub(super) remembered: RememberedNamespaces,
}

impl RequestedNamespace {
    /// What was chosen before of a cluster, unless something else was named.
    fn chosen_before(&self, cluster: &str) -> Option<ShownNamespace> {
        if self.all {
            return Some(ShownNamespace::All);
        }
        let known = self.remembered.find(cluster);
        known.filter(|_| !self.fixed)
    }
}

pub(super) struct ClusterSession {
    home: HomeCluster,
    /// The acting user on the home cluster, where the server does not decide it.
    by: Option<String>,
    kubeconfig: Option<PathBuf>,
    namespace: RequestedNamespace,
    here: Mutex<Option<ActiveCluster>>,
    out: watch::Sender<ShownWorlds>,
}

impl ClusterSession {
    pub(super) fn new(
        home: HomeCluster,
        by: Option<String>,
        kubeconfig: Option<PathBuf>,
        namespace: RequestedNamespace,
    ) -> Self {
        let seat = Self {
            home,
            by,
            kubeconfig,
            namespace,
            here: Mutex::default(),
            out: watch::Sender::default(),
        };
        seat.switch_home();
        seat
    }

    /// The current cluster; `None` if the selected context cannot be used.
    pub(super) fn active_cluster(&self) -> Option<ActiveCluster> {
        self.here
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn worlds(&self) -> watch::Receiver<ShownWorlds> {
        self.out.subscribe()
    }

    pub(super) fn place(&self) -> String {
        self.active_cluster()
            .map_or_else(|| self.home.place.clone(), |here| here.place)
    }

    /// Lets the requests to the home cluster go that were held until the first frame.
    pub(super) fn release_requests(&self) {
        self.home.connected.clusters.meter().release_requests();
    }

    /// The home cluster and all contexts of the kubeconfig.
    pub(super) fn cluster_choices(&self) -> Result<Vec<ClusterChoice>, ConnectError> {
        let known = connect::read_kubeconfig(self.kubeconfig.as_deref())
            .map(|kubeconfig| connect::list_contexts(&kubeconfig));
        // A missing kubeconfig is no error: not everybody uses kubectl.
        let known = if self.kubeconfig.is_none() && !connect::has_kubeconfig() {
            Ok(vec![])
        } else {
            known
        };
        let mut choices: Vec<ClusterChoice> = known?
            .into_iter()
            .map(|context| ClusterChoice {
                chosen: self
                    .namespace
                    .chosen_before(&format!("context {}", context.name)),
                place: format!("context {}", context.name),
                server: Clean::from_untrusted(&context.server),
                namespace: Clean::from_untrusted(
                    self.namespace
                        .name
                        .as_ref()
                        .or(context.namespace.as_ref())
                        .map_or("default", |n| n),
                ),
                current: context.current,
                name: context.name,
            })
            .collect();
        if choices.iter().all(|c| c.place != self.home.place) {
            let own = ClusterChoice {
                name: self.home.place.clone(),
                place: self.home.place.clone(),
                server: Clean::from("where it started"),
                namespace: Clean::from_untrusted(&self.home.connected.namespace),
                current: false,
                chosen: self.namespace.chosen_before(&self.home.place),
            };
            choices.insert(0, own);
        }
        Ok(choices)
    }

    /// Switches to another context, whether or not its cluster can be reached.
    pub(super) fn switch_context(&self, name: &str) {
        let home_context = matches!(&self.home.source, Some(ClusterSource::Kubectl { .. }))
            && name == self.home.connected.name;
        if name == self.home.place || home_context {
            self.switch_home();
            return;
        }
        let source = ClusterSource::Kubectl {
            kubeconfig: self.kubeconfig.clone(),
            context: Some(name.to_owned()),
        };
        let place = format!("context {name}");
        match connect::prepare_client(&source, self.namespace.name.as_deref(), Agent::Cockpit) {
            Ok(connected) => self.activate_chosen(ShownCluster {
                clusters: connected.clusters,
                namespace: ShownNamespace::One(connected.namespace),
                place,
                source: Some(source),
                worlds: None,
                by: None,
            }),
            Err(why) => {
                let chosen = self.namespace.chosen_before(&place);
                let place =
                    chosen.map_or_else(|| place.clone(), |namespace| namespace.place_in(&place));
                self.stop_watching();
                let why = Clean::from_untrusted(&why.to_string().replace('\n', "; "));
                let link = Link::Stale {
                    since: Timestamp::now(),
                    trouble: LinkTrouble::Unauthorized,
                    why,
                };
                let unusable = World {
                    cluster_name: Clean::from_untrusted(&place),
                    link,
                    ..World::default()
                };
                self.out.send_replace(unusable.into());
            }
        }
    }

    fn switch_home(&self) {
        let home = &self.home;
        self.activate_chosen(ShownCluster {
            clusters: home.connected.clusters.clone(),
            namespace: ShownNamespace::One(home.connected.namespace.clone()),
            place: home.place.clone(),
            source: home.source.clone(),
            worlds: home.worlds.clone(),
            by: self.by.clone(),
        });
    }

    /// Shows a cluster, with the namespace of it that was chosen before.
    fn activate_chosen(&self, mut cluster: ShownCluster) {
        if let Some(chosen) = self.namespace.chosen_before(&cluster.place) {
            // A running watch is of the cluster's own namespace.
            cluster.worlds = cluster.worlds.filter(|_| chosen == cluster.namespace);
            cluster.place = chosen.place_in(&cluster.place);
            cluster.namespace = chosen;
        }
        self.activate_cluster(cluster);
    }

    /// Shows another namespace of the same cluster, or all of them, and remembers that for the next
    /// start.
    pub(super) fn switch_namespace(&self, namespace: &ShownNamespace) {
        let Some(here) = self.active_cluster() else {
            return;
        };
        let cluster = cluster_of_place(&here.place).to_owned();
        self.namespace.remembered.remember(&cluster, namespace);
        let home = cluster == self.home.place;
        let own = ShownNamespace::One(self.home.connected.namespace.clone());
        let worlds = self.home.worlds.clone();
        self.activate_cluster(ShownCluster {
            clusters: here.clusters,
            namespace: namespace.clone(),
            place: namespace.place_in(&cluster),
            source: here.source.clone(),
            worlds: worlds.filter(|_| home && *namespace == own),
            by: self.by.clone().filter(|_| home),
        });
    }

    fn activate_cluster(&self, cluster: ShownCluster) {
        let ShownCluster {
            clusters,
            namespace,
            place,
            source,
            worlds,
            by,
        } = cluster;
        self.stop_watching();
        let stop = CancellationToken::new();
        let named = WorldLabel {
            place: Clean::from_untrusted(&place),
            me: by.as_deref().map(Clean::from_untrusted),
        };
        let (out, until) = (self.out.clone(), stop.clone());
        let worlds = match namespace {
            ShownNamespace::One(namespace) => {
                let first = named.label_world(World {
                    namespace: namespace.clone(),
                    ..World::default()
                });
                self.out.send_replace(first.into());
                let feed = worlds.unwrap_or_else(|| {
                    let (of, stop) = (namespace.clone(), stop.clone());
                    cluster::watch::spawn_with_inlet(clusters.clone(), of, stop)
                });
                let label = move |world: &World| named.label_world(world.clone()).into();
                tokio::spawn(forward_worlds(feed.0.clone(), out, label, until));
                SessionWorlds::One(namespace, feed)
            }
            ShownNamespace::All => {
                let first = named.label_world(World::default());
                let all = cluster::watch::spawn_all(clusters.clone(), first, stop.clone());
                let shown = |worlds: &Worlds| ShownWorlds::All(Box::new(worlds.clone()));
                self.out.send_replace(shown(&all.worlds.borrow()));
                tokio::spawn(forward_worlds(all.worlds.clone(), out, shown, until));
                SessionWorlds::All(all)
            }
        };
        let by = Arc::new(OnceCell::new_with(by));
        let here = ActiveCluster {
            clusters,
            by,
            worlds,
            place,
            source,
            stop,
        };
        *self.here.lock().unwrap_or_else(PoisonError::into_inner) = Some(here);
    }

    /// Ends the watches of the current cluster.
    pub(super) fn stop_watching(&self) {
        if let Some(old) = self
            .here
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            old.stop.cancel();
        }
    }
}

/// How a world is labelled.
struct WorldLabel {
    place: Clean,
    /// The acting user, where the server does not decide it.
    me: Option<Clean>,
}

impl WorldLabel {
    fn label_world(&self, world: World) -> World {
        World {
            cluster_name: self.place.clone(),
            me: self.me.clone(),
            ..world
        }
    }
}

/// Forwards worlds, under the name of their cluster, until another one is selected.
async fn forward_worlds<W: Send + Sync>(
    mut worlds: watch::Receiver<W>,
    out: watch::Sender<ShownWorlds>,
    label: impl Fn(&W) -> ShownWorlds + Send,
    stop: CancellationToken,
) {
    worlds.mark_changed();
    while let Some(Ok(())) = stop.run_until_cancelled(worlds.changed()).await {
        let shown = label(&worlds.borrow_and_update());
        out.send_if_modified(|old| {
            // Another cluster was selected meanwhile: its worlds take precedence.
            let same = old.cluster().cluster_name == shown.cluster().cluster_name;
            let ours = same && !stop.is_cancelled();
            if ours {
                *old = shown;
            }
            ours
        });
    }
}
