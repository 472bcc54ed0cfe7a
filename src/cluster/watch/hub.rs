//! Collects the messages of all watches and publishes worlds.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    shared::{SharedWatches, Subscription},
    source::{self, HubMessage, Reporter, SourceChange, SourceFailure, SourceId, SourceKind},
};
use crate::{
    api::{ClusterName, NamespaceRef},
    cluster::{
        clusters::Clusters,
        trace::{HopInbox, HopUpdate},
    },
    domain::{
        hop::Hop,
        join::{JoinContext, Joiner},
        pods::PodIndex,
        rights::Rights,
        text::Clean,
        world::{HopSourceSeen, Link, Pods, World, pause_after_world},
    },
};
use links::{ServerState, SourceState, record_failure};
use tables::Tables;

pub(super) mod links;
mod repeated;
mod tables;

/// Minimum time between two worlds.
const GAP: Duration = Duration::from_millis(50);
/// Number of hops that a world holds.
pub(crate) const HOPS: usize = 2000;
/// The one task that owns the rows.
pub(super) struct Hub {
    clusters: Clusters,
    namespace: String,
    /// Watches of all namespaces of the home cluster, where this hub is of one among them.
    shared: Option<SharedWatches>,
    place: Clean,
    me: Option<Clean>,
    messages: mpsc::Sender<HubMessage>,
    out: watch::Sender<World>,
    stop: CancellationToken,
    sources: BTreeMap<SourceId, SourceState>,
    servers: BTreeMap<ClusterName, ServerState>,
    tables: Tables,
    events_changed: bool,
    hops: VecDeque<Arc<Hop>>,
    hops_seen: u64,
    /// Dropped by the writers of the logs.
    hops_dropped: u64,
    hop_sources: Arc<Vec<HopSourceSeen>>,
    joiner: Joiner,
    pod_index: PodIndex,
    indexed: Arc<Pods>,
    revision: u64,
    rights: Arc<Rights>,
}

impl Hub {
    pub(super) fn new(
        clusters: Clusters,
        shared: Option<SharedWatches>,
        messages: mpsc::Sender<HubMessage>,
        out: watch::Sender<World>,
        stop: CancellationToken,
    ) -> Self {
        let (namespace, place, me) = {
            let first = out.borrow();
            (
                first.namespace.clone(),
                first.cluster_name.clone(),
                first.me.clone(),
            )
        };
        Self {
            clusters,
            namespace,
            shared,
            place,
            me,
            messages,
            out,
            stop,
            sources: BTreeMap::new(),
            servers: BTreeMap::new(),
            tables: Tables::default(),
            events_changed: true,
            hops: VecDeque::with_capacity(HOPS),
            hops_seen: 0,
            hops_dropped: 0,
            hop_sources: Arc::default(),
            joiner: Joiner::default(),
            pod_index: PodIndex::default(),
            indexed: Arc::default(),
            revision: 0,
            rights: Arc::default(),
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<HubMessage>, mut hops: HopInbox) {
        self.start_probe(ClusterName::Home);
        for kind in SourceKind::HOME {
            self.start_watch(SourceId {
                cluster: ClusterName::Home,
                kind,
                namespace: self.namespace.as_str().into(),
            });
        }
        let stop = self.stop.clone();
        let mut batch = Vec::with_capacity(256);
        let mut hop_batch = Vec::with_capacity(256);
        let mut due: Option<Instant> = None;
        let mut earliest = Instant::now();
        // Spent on changes since the last world: the first one copies a table that it shares.
        let mut spent = Duration::ZERO;
        loop {
            let wake = due;
            let settle = self
                .joiner
                .next_due()
                .map(|at| Timestamp::now().duration_until(at));
            let settle = settle.map(|left| Duration::try_from(left).unwrap_or_default());
            let changed = tokio::select! {
                () = stop.cancelled() => return,
                () = async { tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)).await }, if wake.is_some() => {
                    let began = Instant::now();
                    self.publish_world(hops.dropped() + self.hops_dropped + self.joiner.dropped_spans());
                    due = None;
                    spent += began.elapsed();
                    earliest = Instant::now() + GAP.max(pause_after_world(spent));
                    spent = Duration::ZERO;
                    continue;
                }
                n = inbox.recv_many(&mut batch, 256) => {
                    if n == 0 { return; }
                    let began = Instant::now();
                    let mut any = false;
                    for message in batch.drain(..) {
                        any |= self.handle_message(message);
                    }
                    if any {
                        spent += began.elapsed();
                    }
                    any
                }
                () = async { tokio::time::sleep(settle.unwrap_or_default()).await }, if settle.is_some() => self.settle_traces(),
                n = hops.recv_many(&mut hop_batch, 256) => {
                    if n == 0 { return; }
                    let mut any = false;
                    for told in hop_batch.drain(..) {
                        any |= self.handle_hop_update(told);
                    }
                    any
                }
            };
            if changed && due.is_none() {
                due = Some(earliest.max(Instant::now()));
            }
        }
    }

    /// Handles a message from a log; returns whether the world changed.
    fn handle_hop_update(&mut self, told: HopUpdate) -> bool {
        match told {
            HopUpdate::Hop(hop) => self.add_hops([Arc::new(*hop)]),
            HopUpdate::Span(span) => {
                self.joiner.add_span(*span, Timestamp::now());
                return false;
            }
            HopUpdate::Dropped(more) => self.hops_dropped = self.hops_dropped.saturating_add(more),
        }
        true
    }

    /// A log may tell of several namespaces. Where each of them has a hub, only what was asked of
    /// the namespaces of our own Apps is ours.
    fn is_own_hop(&self, hop: &Hop) -> bool {
        let watched = |kind| SourceId {
            cluster: ClusterName::Home,
            kind,
            namespace: hop.namespace.as_str().into(),
        };
        self.shared.is_none()
            || hop.namespace.is_empty()
            || self.sources.contains_key(&watched(SourceKind::Pod))
    }

    fn add_hops(&mut self, hops: impl IntoIterator<Item = Arc<Hop>>) {
        let before = self.hops.len();
        let own: Vec<_> = hops.into_iter().filter(|h| self.is_own_hop(h)).collect();
        self.hops.extend(own);
        self.hops_seen += (self.hops.len() - before) as u64;
        self.hops.drain(..self.hops.len().saturating_sub(HOPS));
    }

    /// Turns traces that have become quiet into hops; returns whether there were any.
    fn settle_traces(&mut self) -> bool {
        let now = Timestamp::now();
        let pods = self.tables.pods.rows();
        if !Arc::ptr_eq(pods, &self.indexed) {
            self.indexed = Arc::clone(pods);
            self.pod_index.update_pods(pods, now);
        }
        let known = JoinContext {
            pods: &self.pod_index,
            groups: self.tables.groups.rows(),
        };
        let mut hops = self.joiner.settle_traces(now, known);
        repeated::drop_repeated(&mut hops, &self.hops, now);
        let any = !hops.is_empty();
        self.add_hops(hops);
        any
    }

    fn start_watch(&mut self, id: SourceId) {
        let stop = self.stop.child_token();
        let old = self.sources.remove(&id).unwrap_or_default();
        old.stop.cancel();
        let shown = old.shown;
        self.sources.insert(
            id.clone(),
            SourceState {
                shown,
                stop: stop.clone(),
                ..SourceState::default()
            },
        );
        if let Some(shared) = self.shared.as_ref().filter(|_| id.cluster.is_home()) {
            shared.subscribe(Subscription {
                hub: self.namespace.clone(),
                id,
                out: self.messages.clone(),
                stop,
            });
            return;
        }
        let client = self.clusters.client_for(&id.cluster);
        let meter = Arc::clone(self.clusters.meter());
        let to = Reporter {
            id,
            out: self.messages.clone(),
            meter,
            shown,
        };
        tokio::spawn(source::run_watch(client, to, stop));
    }

    /// Starts to probe the server of a cluster.
    fn start_probe(&mut self, cluster: ClusterName) {
        let stop = self.stop.child_token();
        if !cluster.is_home() || self.shared.is_none() {
            tokio::spawn(source::probe_server(
                self.clusters.client_for(&cluster),
                cluster.clone(),
                self.messages.clone(),
                Arc::clone(self.clusters.meter()),
                stop.clone(),
            ));
        }
        self.servers.insert(
            cluster,
            ServerState {
                stop,
                ..ServerState::default()
            },
        );
    }

    /// Handles a message; returns whether the world changed.
    fn handle_message(&mut self, message: HubMessage) -> bool {
        let (id, change) = match message {
            HubMessage::From(id, change) => (id, change),
            HubMessage::Server(cluster, said) => return self.handle_server_report(&cluster, said),
            HubMessage::HopSources(sources) => {
                let changed = *self.hop_sources != sources;
                self.hop_sources = Arc::new(sources);
                return changed;
            }
            HubMessage::Rights(rights) => {
                self.rights = Arc::new(rights);
                return true;
            }
        };
        let Some(source) = self.sources.get_mut(&id) else {
            return false;
        };
        match change {
            SourceChange::Broken(lost) => return record_failure(&mut source.broken, lost),
            SourceChange::Unavailable(lost) => {
                (source.listed, source.shown) = (true, false);
                source.broken = None;
                let news = record_failure(&mut source.barred, lost);
                self.tables.begin_list(&id);
                self.tables.finish_list(&id);
                self.events_changed |= id.kind == SourceKind::Event;
                self.follow_namespaces(id.kind);
                return news;
            }
            SourceChange::Ready => {
                (source.listed, source.shown) = (true, true);
                (source.broken, source.barred) = (None, None);
                self.tables.finish_list(&id);
                self.events_changed |= id.kind == SourceKind::Event;
                self.follow_namespaces(id.kind);
                return true;
            }
            SourceChange::Begin => self.tables.begin_list(&id),
            SourceChange::Listed(key, row) => {
                self.tables.add_listed(&id.namespace_ref(), key, *row);
            }
            SourceChange::Set(key, row) => {
                let changed = self.tables.set_row(key, *row);
                self.events_changed |= id.kind == SourceKind::Event;
                self.follow_namespaces(id.kind);
                return changed;
            }
            SourceChange::Gone(key) => {
                let changed = self.tables.remove_row(id.kind, &key);
                self.events_changed |= id.kind == SourceKind::Event;
                self.follow_namespaces(id.kind);
                return changed;
            }
        }
        false
    }

    fn handle_server_report(
        &mut self,
        cluster: &ClusterName,
        said: Result<(), SourceFailure>,
    ) -> bool {
        let Some(server) = self.servers.get_mut(cluster) else {
            return false;
        };
        if let Err(lost) = said {
            record_failure(&mut server.lost, lost)
        } else {
            if let Some(was) = server.lost.take() {
                // Its watches may be dead without an error.
                server.anew.get_or_insert(was);
                let all: Vec<SourceId> = self
                    .sources
                    .keys()
                    .filter(|id| id.cluster == *cluster)
                    .cloned()
                    .collect();
                all.into_iter().for_each(|id| self.start_watch(id));
            }
            // Publish the requests that were counted meanwhile.
            true
        }
    }

    /// Watches the namespaces of all environments, each in its cluster, and no others.
    fn follow_namespaces(&mut self, changed: SourceKind) {
        if changed != SourceKind::App {
            return;
        }
        let environments = self
            .tables
            .apps
            .rows()
            .values()
            .flat_map(|a| &a.spec.environments);
        let mut wanted: BTreeSet<NamespaceRef> = environments
            .map(|e| self.clusters.namespace_of(e))
            .collect();
        wanted.insert(NamespaceRef::at_home(self.namespace.as_str()));
        let is_wanted = |id: &SourceId| wanted.contains(&id.namespace_ref());
        let unwanted: Vec<SourceId> = self
            .sources
            .keys()
            .filter(|id| SourceKind::EVERYWHERE.contains(&id.kind) && !is_wanted(id))
            .cloned()
            .collect();
        for id in unwanted {
            if let Some(state) = self.sources.remove(&id) {
                state.stop.cancel();
            }
            self.tables.forget_namespace(&id.namespace_ref());
        }
        let clusters: BTreeSet<&ClusterName> =
            wanted.iter().map(|namespace| &namespace.cluster).collect();
        self.servers.retain(|cluster, server| {
            let kept = clusters.contains(cluster);
            if !kept {
                server.stop.cancel();
            }
            kept
        });
        for NamespaceRef { cluster, name } in wanted {
            if !self.servers.contains_key(&cluster) {
                self.start_probe(cluster.clone());
            }
            for kind in SourceKind::EVERYWHERE {
                let id = SourceId {
                    cluster: cluster.clone(),
                    kind,
                    namespace: Arc::clone(&name),
                };
                if !self.sources.contains_key(&id) {
                    self.start_watch(id);
                }
            }
        }
    }

    fn publish_world(&mut self, hops_dropped: u64) {
        self.revision += 1;
        let link = self.cluster_link(&ClusterName::Home);
        let names: Vec<ClusterName> = self.servers.keys().cloned().collect();
        let clusters: BTreeMap<ClusterName, Link> = names
            .into_iter()
            .filter(|name| !name.is_home())
            .map(|name| (name.clone(), self.cluster_link(&name)))
            .collect();
        let old = Arc::clone(&self.out.borrow().clusters);
        let clusters = if *old == clusters {
            old
        } else {
            Arc::new(clusters)
        };
        let gaps = self.collect_gaps();
        let mut asked = self.clusters.meter().request_stats();
        asked.watches = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        let events = if self.events_changed {
            self.events_changed = false;
            self.tables.newest_events()
        } else {
            self.out.borrow().events.clone()
        };
        let hops = if self.out.borrow().hops_seen == self.hops_seen {
            self.out.borrow().hops.clone()
        } else {
            Arc::new(self.hops.iter().cloned().collect())
        };
        let t = &self.tables;
        self.out.send_replace(World {
            me: self.me.clone(),
            revision: self.revision,
            cluster_name: self.place.clone(),
            link,
            clusters,
            gaps,
            asked,
            namespace: self.namespace.clone(),
            apps: t.apps.rows().clone(),
            templates: t.templates.rows().clone(),
            variables: t.variables.rows().clone(),
            releases: t.releases.rows().clone(),
            revisions: t.revisions.rows().clone(),
            approvals: t.approvals.rows().clone(),
            groups: t.groups.rows().clone(),
            lanes: t.lanes.rows().clone(),
            deployments: t.deployments.rows().clone(),
            stateful: t.stateful.rows().clone(),
            pods: t.pods.rows().clone(),
            routes: t.routes.rows().clone(),
            events,
            hops,
            hops_seen: self.hops_seen,
            hops_dropped,
            hop_sources: self.hop_sources.clone(),
            engine: t.engine.rows().values().next().cloned(),
            rights: self.rights.clone(),
        });
    }
}
