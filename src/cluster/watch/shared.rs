//! Watches all namespaces of the home cluster at once: one watch a kind, whatever the number of
//! namespaces. What a watch tells is split by namespace and passed on to the hub of each namespace
//! that needs it, so that a changed object renews the world of its namespace only.
//!
//! A namespace has a hub as long as it holds a resource of graylane. Rows are kept here too, for
//! hubs that need those of a namespace later; Events are so many that only those of namespaces that
//! are needed are kept, and listed again when one is added.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    hub::links::{ServerState, SourceState, describe_gap, record_failure},
    source::{self, HubMessage, Reporter, SourceChange, SourceFailure, SourceId, SourceKind},
};
use crate::{
    api::ClusterName,
    cluster::{clusters::Clusters, trace::SpanInlet},
    domain::world::{World, Worlds},
};
use rows::{Delivery, SharedRows};

mod rows;

/// How long further namespaces are waited for before Events are listed again.
const EVENTS_PAUSE: Duration = Duration::from_millis(500);

/// A hub's request for the rows of one kind in one namespace.
pub(super) struct Subscription {
    /// Namespace of the hub.
    pub(super) hub: String,
    pub(super) id: SourceId,
    pub(super) out: mpsc::Sender<HubMessage>,
    pub(super) stop: CancellationToken,
}

/// The watches that hubs share.
#[derive(Clone)]
pub(super) struct SharedWatches(mpsc::UnboundedSender<Subscription>);

impl SharedWatches {
    /// Asks for rows until the subscription is stopped.
    pub(super) fn subscribe(&self, wanted: Subscription) {
        // Without a receiver everything is about to stop.
        let _ = self.0.send(wanted);
    }
}

/// The worlds of one namespace, and the inlet through which spans get into them.
pub type NamespaceFeed = (watch::Receiver<World>, SpanInlet);

/// The worlds of all namespaces.
#[derive(Clone)]
pub struct AllWorlds {
    /// All of them together.
    pub worlds: watch::Receiver<Worlds>,
    feeds: Arc<Mutex<BTreeMap<String, NamespaceFeed>>>,
}

impl AllWorlds {
    /// The worlds of one namespace; `None` while it holds nothing of graylane.
    pub fn feed_of(&self, namespace: &str) -> Option<NamespaceFeed> {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.get(namespace).cloned()
    }
}

/// Watches all namespaces until `stop`. Name of the cluster and acting user are those of `first`.
pub fn spawn_all(clusters: Clusters, first: World, stop: CancellationToken) -> AllWorlds {
    let (out, worlds) = watch::channel(Worlds {
        cluster: first,
        by_namespace: BTreeMap::new(),
    });
    let (messages, inbox) = mpsc::channel(1024);
    let (requests, subscriptions) = mpsc::unbounded_channel();
    let feeds = Arc::<Mutex<BTreeMap<String, NamespaceFeed>>>::default();
    let splitter = Splitter {
        clusters,
        messages,
        watches: SharedWatches(requests),
        out,
        feeds: Arc::clone(&feeds),
        stop,
        kinds: BTreeMap::new(),
        server: ServerState::default(),
        hubs: BTreeMap::new(),
        subscriptions: BTreeMap::new(),
        event_namespaces: BTreeSet::new(),
        events_due: None,
    };
    tokio::spawn(splitter.run(inbox, subscriptions));
    AllWorlds { worlds, feeds }
}

/// One kind: its watch and its rows.
#[derive(Default)]
struct SharedKind {
    state: SourceState,
    rows: SharedRows,
}

/// Owns the shared watches and the hubs of the namespaces.
struct Splitter {
    clusters: Clusters,
    messages: mpsc::Sender<HubMessage>,
    watches: SharedWatches,
    out: watch::Sender<Worlds>,
    feeds: Arc<Mutex<BTreeMap<String, NamespaceFeed>>>,
    stop: CancellationToken,
    kinds: BTreeMap<SourceKind, SharedKind>,
    server: ServerState,
    hubs: BTreeMap<String, CancellationToken>,
    /// By kind, namespace of the rows, and namespace of the hub.
    subscriptions: BTreeMap<(SourceKind, Arc<str>, String), Subscription>,
    event_namespaces: BTreeSet<Arc<str>>,
    events_due: Option<Instant>,
}

impl Splitter {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<HubMessage>,
        mut subscriptions: mpsc::UnboundedReceiver<Subscription>,
    ) {
        for kind in SourceKind::ALL {
            self.start_watch(kind);
        }
        tokio::spawn(source::probe_server(
            self.clusters.home_client().clone(),
            ClusterName::Home,
            self.messages.clone(),
            Arc::clone(self.clusters.meter()),
            self.stop.child_token(),
        ));
        let stop = self.stop.clone();
        loop {
            let due = self.events_due;
            tokio::select! {
                () = stop.cancelled() => return,
                Some(wanted) = subscriptions.recv() => self.add_subscription(wanted).await,
                Some(message) = inbox.recv() => self.handle_message(message).await,
                () = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                    self.events_due = None;
                    self.start_watch(SourceKind::Event);
                }
            }
        }
    }

    /// Starts the watch of a kind, or starts it anew.
    fn start_watch(&mut self, kind: SourceKind) {
        let of = self.kinds.entry(kind).or_default();
        of.state.stop.cancel();
        let shown = of.state.shown;
        of.state = SourceState {
            shown,
            stop: self.stop.child_token(),
            ..SourceState::default()
        };
        if kind == SourceKind::Event && self.event_namespaces.is_empty() {
            of.state.listed = true;
            return;
        }
        let to = Reporter {
            id: source_id(kind),
            out: self.messages.clone(),
            meter: Arc::clone(self.clusters.meter()),
            shown,
        };
        let client = self.clusters.home_client().clone();
        tokio::spawn(source::run_watch(client, to, of.state.stop.clone()));
    }

    async fn add_subscription(&mut self, wanted: Subscription) {
        let (kind, namespace) = (wanted.id.kind, wanted.id.namespace.clone());
        if kind == SourceKind::Event && self.event_namespaces.insert(namespace.clone()) {
            // Until they are listed there are none.
            self.events_due = Some(Instant::now() + EVENTS_PAUSE);
        }
        self.subscriptions.retain(|_, s| !s.stop.is_cancelled());
        let of = self.kinds.entry(kind).or_default();
        let ready = of.state.listed || kind == SourceKind::Event;
        let changes = match (&of.state.barred, ready) {
            (Some((_, lost)), _) => vec![SourceChange::Unavailable(lost.clone())],
            (None, true) => of.rows.list_namespace(&namespace),
            (None, false) => vec![],
        };
        let broken = of.state.broken.as_ref();
        let broken = broken.map(|(_, lost)| SourceChange::Broken(lost.clone()));
        for change in changes.into_iter().chain(broken) {
            send_change(&wanted, change).await;
        }
        let key = (kind, namespace, wanted.hub.clone());
        self.subscriptions.insert(key, wanted);
    }

    async fn handle_message(&mut self, message: HubMessage) {
        match message {
            HubMessage::From(id, change) => self.handle_change(id.kind, change).await,
            HubMessage::Server(_, said) => self.handle_server_report(said).await,
            // Hubs hear of these by themselves.
            HubMessage::Rights(_) | HubMessage::HopSources(_) => {}
        }
    }

    async fn handle_change(&mut self, kind: SourceKind, change: SourceChange) {
        let wanted = |namespace: &str| {
            kind != SourceKind::Event || self.event_namespaces.contains(namespace)
        };
        let of = self.kinds.entry(kind).or_default();
        let told = note_change(&mut of.state, &change);
        let delivery = of.rows.apply_change(change, wanted);
        if SourceKind::MARKING.contains(&kind)
            && !matches!(delivery, Delivery::Nothing | Delivery::Failure(_))
        {
            self.update_hubs();
        }
        self.deliver(kind, delivery).await;
        if told {
            self.publish_cluster();
        }
    }

    async fn deliver(&self, kind: SourceKind, delivery: Delivery) {
        let of_kind = self.subscriptions.iter().filter(|(key, _)| key.0 == kind);
        match delivery {
            Delivery::Nothing => {}
            Delivery::Namespace(namespace, change) => {
                for (_, to) in of_kind.filter(|(key, _)| key.1 == namespace) {
                    send_change(to, change.clone()).await;
                }
            }
            Delivery::Failure(change) => {
                for (_, to) in of_kind {
                    send_change(to, change.clone()).await;
                }
            }
            Delivery::Lists => {
                for (key, to) in of_kind {
                    let rows = self.kinds.get(&kind).map(|of| &of.rows);
                    let changes = rows.map(|rows| rows.list_namespace(&key.1));
                    for change in changes.into_iter().flatten() {
                        send_change(to, change).await;
                    }
                }
            }
        }
    }

    async fn handle_server_report(&mut self, said: Result<(), SourceFailure>) {
        match &said {
            Err(lost) => {
                record_failure(&mut self.server.lost, lost.clone());
            }
            Ok(()) => {
                if let Some(was) = self.server.lost.take() {
                    // Its watches may be dead without an error. Hubs then subscribe again, and get
                    // their rows once these are listed.
                    self.server.anew.get_or_insert(was);
                    for kind in SourceKind::ALL {
                        self.start_watch(kind);
                    }
                }
            }
        }
        let mut told = BTreeSet::new();
        for to in self.subscriptions.values() {
            if told.insert(&to.hub) {
                let _ = to
                    .out
                    .send(HubMessage::Server(ClusterName::Home, said.clone()))
                    .await;
            }
        }
        self.publish_cluster();
    }

    /// Publishes the connection and what cannot be read.
    fn publish_cluster(&mut self) {
        let states = self.kinds.values().map(|of| &of.state);
        let link = self.server.judge_link(states);
        let gaps = self
            .kinds
            .iter()
            .filter_map(|(kind, of)| describe_gap(&source_id(*kind), &of.state))
            .collect::<Vec<_>>();
        let mut asked = self.clusters.meter().request_stats();
        asked.watches = u32::try_from(self.kinds.len()).unwrap_or(u32::MAX);
        self.out.send_modify(|worlds| {
            let cluster = &mut worlds.cluster;
            cluster.revision += 1;
            (cluster.link, cluster.asked) = (link, asked);
            if *cluster.gaps != gaps {
                cluster.gaps = Arc::new(gaps);
            }
        });
    }

    /// Gives each namespace with resources of graylane a hub, and no other.
    fn update_hubs(&mut self) {
        let marking = SourceKind::MARKING.iter();
        let wanted: BTreeSet<String> = marking
            .filter_map(|kind| self.kinds.get(kind))
            .flat_map(|of| of.rows.namespaces().map(str::to_owned))
            .collect();
        let gone: Vec<String> = self.hubs.keys().cloned().collect();
        for namespace in gone.into_iter().filter(|name| !wanted.contains(name)) {
            self.stop_hub(&namespace);
        }
        for namespace in wanted {
            if !self.hubs.contains_key(&namespace) {
                self.start_hub(namespace);
            }
        }
    }

    fn start_hub(&mut self, namespace: String) {
        let stop = self.stop.child_token();
        let first = World {
            namespace: namespace.clone(),
            ..self.out.borrow().cluster.clone()
        };
        let is_followed = self.hubs.len() < super::MAX_FOLLOWED;
        let (worlds, inlet) = super::spawn_hub(
            self.clusters.clone(),
            first,
            Some((self.watches.clone(), is_followed)),
            stop.clone(),
        );
        self.hubs.insert(namespace.clone(), stop.clone());
        let feed = (worlds.clone(), inlet);
        self.lock_feeds().insert(namespace.clone(), feed);
        tokio::spawn(forward_worlds(namespace, worlds, self.out.clone(), stop));
    }

    fn stop_hub(&mut self, namespace: &str) {
        if let Some(stop) = self.hubs.remove(namespace) {
            stop.cancel();
        }
        self.subscriptions.retain(|key, _| key.2 != namespace);
        self.lock_feeds().remove(namespace);
        self.out.send_modify(|worlds| {
            worlds.by_namespace.remove(namespace);
        });
    }

    fn lock_feeds(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, NamespaceFeed>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn source_id(kind: SourceKind) -> SourceId {
    SourceId {
        cluster: ClusterName::Home,
        kind,
        namespace: Arc::default(),
    }
}

/// Notes what a change says of the watch; returns whether that is news.
fn note_change(state: &mut SourceState, change: &SourceChange) -> bool {
    match change {
        SourceChange::Broken(lost) => record_failure(&mut state.broken, lost.clone()),
        SourceChange::Unavailable(lost) => {
            (state.listed, state.shown) = (true, false);
            state.broken = None;
            record_failure(&mut state.barred, lost.clone())
        }
        SourceChange::Ready => {
            (state.listed, state.shown) = (true, true);
            (state.broken, state.barred) = (None, None);
            true
        }
        SourceChange::Begin
        | SourceChange::Listed(..)
        | SourceChange::Set(..)
        | SourceChange::Gone(_) => false,
    }
}

async fn send_change(to: &Subscription, change: SourceChange) {
    if !to.stop.is_cancelled() {
        // A hub that has ended needs nothing.
        let _ = to.out.send(HubMessage::From(to.id.clone(), change)).await;
    }
}

/// Puts the worlds of a namespace to the others.
async fn forward_worlds(
    namespace: String,
    mut worlds: watch::Receiver<World>,
    out: watch::Sender<Worlds>,
    stop: CancellationToken,
) {
    worlds.mark_changed();
    while let Some(Ok(())) = stop.run_until_cancelled(worlds.changed()).await {
        let world = Arc::new(worlds.borrow_and_update().clone());
        out.send_if_modified(|all| {
            let goes_on = !stop.is_cancelled();
            if goes_on {
                all.by_namespace.insert(namespace.clone(), world);
            }
            goes_on
        });
    }
}
