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

use super::source::{self, Change, Kind, Lost, Message, Reports, SourceId};
use crate::{
    cluster::{
        clusters::Clusters,
        trace::{HopInbox, Told},
    },
    domain::{
        hop::Hop,
        join::{Joiner, Known},
        pods::PodIndex,
        rights::Rights,
        text::Clean,
        world::{HopSourceSeen, Key, Link, Pod, World},
    },
};
use links::{Server, SourceState, is_news};
use tables::Tables;

mod links;
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
    place: Clean,
    messages: mpsc::Sender<Message>,
    out: watch::Sender<World>,
    stop: CancellationToken,
    sources: BTreeMap<SourceId, SourceState>,
    servers: BTreeMap<Option<String>, Server>,
    tables: Tables,
    events_changed: bool,
    hops: VecDeque<Arc<Hop>>,
    hops_seen: u64,
    /// Dropped by the writers of the logs.
    hops_dropped: u64,
    hop_sources: Arc<Vec<HopSourceSeen>>,
    joiner: Joiner,
    pod_index: PodIndex,
    indexed: Arc<BTreeMap<Key, Pod>>,
    revision: u64,
    rights: Arc<Rights>,
}

impl Hub {
    pub(super) fn new(
        clusters: Clusters,
        messages: mpsc::Sender<Message>,
        out: watch::Sender<World>,
        stop: CancellationToken,
    ) -> Self {
        let (namespace, place) = (out.borrow().namespace.clone(), out.borrow().place.clone());
        Self {
            clusters,
            namespace,
            place,
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

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>, mut hops: HopInbox) {
        self.serve(None);
        for kind in Kind::HOME {
            self.watch(SourceId {
                context: None,
                kind,
                namespace: self.namespace.clone(),
            });
        }
        let stop = self.stop.clone();
        let mut batch = Vec::with_capacity(256);
        let mut hop_batch = Vec::with_capacity(256);
        let mut due: Option<Instant> = None;
        let mut earliest = Instant::now();
        loop {
            let wake = due;
            let settle = self
                .joiner
                .due()
                .map(|at| Timestamp::now().duration_until(at));
            let settle = settle.map(|left| Duration::try_from(left).unwrap_or_default());
            let changed = tokio::select! {
                () = stop.cancelled() => return,
                () = async { tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)).await }, if wake.is_some() => {
                    let began = Instant::now();
                    self.publish(hops.dropped() + self.hops_dropped + self.joiner.dropped());
                    due = None;
                    // Copying a large world takes longer: spend at most a tenth of the time on it.
                    earliest = Instant::now() + GAP.max(began.elapsed() * 10);
                    continue;
                }
                n = inbox.recv_many(&mut batch, 256) => {
                    if n == 0 { return; }
                    let mut any = false;
                    for message in batch.drain(..) {
                        any |= self.take(message);
                    }
                    any
                }
                () = async { tokio::time::sleep(settle.unwrap_or_default()).await }, if settle.is_some() => self.settle(),
                n = hops.recv_many(&mut hop_batch, 256) => {
                    if n == 0 { return; }
                    let mut any = false;
                    for told in hop_batch.drain(..) {
                        any |= self.hear(told);
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
    fn hear(&mut self, told: Told) -> bool {
        match told {
            Told::Hop(hop) => self.add_hops([Arc::new(*hop)]),
            Told::Span(span) => {
                self.joiner.take(*span, Timestamp::now());
                return false;
            }
            Told::Dropped(more) => self.hops_dropped = self.hops_dropped.saturating_add(more),
        }
        true
    }

    fn add_hops(&mut self, hops: impl IntoIterator<Item = Arc<Hop>>) {
        let before = self.hops.len();
        self.hops.extend(hops);
        self.hops_seen += (self.hops.len() - before) as u64;
        self.hops.drain(..self.hops.len().saturating_sub(HOPS));
    }

    /// Turns traces that have become quiet into hops; returns whether there were any.
    fn settle(&mut self) -> bool {
        let now = Timestamp::now();
        let pods = self.tables.pods.rows();
        if !Arc::ptr_eq(pods, &self.indexed) {
            self.indexed = Arc::clone(pods);
            self.pod_index.follow(pods, now);
        }
        let known = Known {
            pods: &self.pod_index,
            groups: self.tables.groups.rows(),
        };
        let mut hops = self.joiner.settle(now, known);
        repeated::drop_repeated(&mut hops, &self.hops, now);
        let any = !hops.is_empty();
        self.add_hops(hops);
        any
    }

    fn watch(&mut self, id: SourceId) {
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
        let client = self.clusters.of(id.context.as_deref());
        let meter = Arc::clone(self.clusters.meter());
        let to = Reports {
            id,
            out: self.messages.clone(),
            meter,
            shown,
        };
        tokio::spawn(source::run(client, to, stop));
    }

    /// Starts to probe the server of a cluster.
    fn serve(&mut self, context: Option<String>) {
        let stop = self.stop.child_token();
        let client = self.clusters.of(context.as_deref());
        let meter = Arc::clone(self.clusters.meter());
        tokio::spawn(source::probe(
            client,
            context.clone(),
            self.messages.clone(),
            meter,
            stop.clone(),
        ));
        self.servers.insert(
            context,
            Server {
                stop,
                ..Server::default()
            },
        );
    }

    /// Handles a message; returns whether the world changed.
    fn take(&mut self, message: Message) -> bool {
        let (id, change) = match message {
            Message::From(id, change) => (id, change),
            Message::Server(context, said) => return self.server_said(&context, said),
            Message::HopSources(sources) => {
                let changed = *self.hop_sources != sources;
                self.hop_sources = Arc::new(sources);
                return changed;
            }
            Message::Rights(rights) => {
                self.rights = Arc::new(rights);
                return true;
            }
        };
        let Some(source) = self.sources.get_mut(&id) else {
            return false;
        };
        match change {
            Change::Broken(lost) => return is_news(&mut source.broken, lost),
            Change::Barred(lost) => {
                (source.listed, source.shown) = (true, false);
                source.broken = None;
                let news = is_news(&mut source.barred, lost);
                self.tables.begin(&id);
                self.tables.ready(&id);
                self.events_changed |= id.kind == Kind::Event;
                self.follow_namespaces(id.kind);
                return news;
            }
            Change::Ready => {
                (source.listed, source.shown) = (true, true);
                (source.broken, source.barred) = (None, None);
                self.tables.ready(&id);
                self.events_changed |= id.kind == Kind::Event;
                self.follow_namespaces(id.kind);
                return true;
            }
            Change::Begin => self.tables.begin(&id),
            Change::Listed(key, row) => self.tables.listed(&id.place(), key, *row),
            Change::Set(key, row) => {
                let changed = self.tables.set(key, *row);
                self.events_changed |= id.kind == Kind::Event;
                self.follow_namespaces(id.kind);
                return changed;
            }
            Change::Gone(key) => {
                let changed = self.tables.gone(id.kind, &key);
                self.events_changed |= id.kind == Kind::Event;
                self.follow_namespaces(id.kind);
                return changed;
            }
        }
        false
    }

    fn server_said(&mut self, context: &Option<String>, said: Result<(), Lost>) -> bool {
        let Some(server) = self.servers.get_mut(context) else {
            return false;
        };
        match said {
            Err(lost) => is_news(&mut server.lost, lost),
            Ok(()) => {
                if let Some(was) = server.lost.take() {
                    // Its watches may be dead without an error.
                    server.anew.get_or_insert(was);
                    let all: Vec<SourceId> = self
                        .sources
                        .keys()
                        .filter(|id| id.context == *context)
                        .cloned()
                        .collect();
                    all.into_iter().for_each(|id| self.watch(id));
                }
                // Publish the requests that were counted meanwhile.
                true
            }
        }
    }

    /// Watches the namespaces of all environments, each in its cluster, and no others.
    fn follow_namespaces(&mut self, changed: Kind) {
        if changed != Kind::App {
            return;
        }
        let environments = self
            .tables
            .apps
            .rows()
            .values()
            .flat_map(|a| &a.spec.environments);
        let mut wanted: BTreeSet<(Option<String>, String)> = environments
            .map(|e| {
                (
                    self.clusters
                        .canonical(e.context.as_deref())
                        .map(str::to_owned),
                    e.namespace.clone(),
                )
            })
            .collect();
        wanted.insert((None, self.namespace.clone()));
        let is_wanted =
            |id: &SourceId| wanted.contains(&(id.context.clone(), id.namespace.clone()));
        let unwanted: Vec<SourceId> = self
            .sources
            .keys()
            .filter(|id| Kind::EVERYWHERE.contains(&id.kind) && !is_wanted(id))
            .cloned()
            .collect();
        for id in unwanted {
            if let Some(state) = self.sources.remove(&id) {
                state.stop.cancel();
            }
            self.tables.forget(&id.place());
        }
        let contexts: BTreeSet<&Option<String>> =
            wanted.iter().map(|(context, _)| context).collect();
        self.servers.retain(|context, server| {
            let kept = contexts.contains(context);
            if !kept {
                server.stop.cancel();
            }
            kept
        });
        for (context, namespace) in wanted {
            if !self.servers.contains_key(&context) {
                self.serve(context.clone());
            }
            for kind in Kind::EVERYWHERE {
                let id = SourceId {
                    context: context.clone(),
                    kind,
                    namespace: namespace.clone(),
                };
                if !self.sources.contains_key(&id) {
                    self.watch(id);
                }
            }
        }
    }

    fn publish(&mut self, hops_dropped: u64) {
        self.revision += 1;
        let link = self.link(&None);
        let names: Vec<String> = self.servers.keys().flatten().cloned().collect();
        let contexts: BTreeMap<String, Link> = names
            .into_iter()
            .map(|n| (n.clone(), self.link(&Some(n))))
            .collect();
        let old = Arc::clone(&self.out.borrow().contexts);
        let contexts = if *old == contexts {
            old
        } else {
            Arc::new(contexts)
        };
        let gaps = self.gaps();
        let mut asked = self.clusters.meter().asked();
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
            me: None,
            revision: self.revision,
            place: self.place.clone(),
            link,
            contexts,
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
