//! Gathers what the watches say and lets worlds out.

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
    rows::Row,
    source::{self, Change, Kind, Lost, Message, SourceId},
    table::Table,
};
use crate::{
    api::{App, Approval, Lane, LaneGroup, Release},
    cluster::{clusters::Clusters, trace::HopInbox},
    domain::{
        hop::Hop,
        rights::Rights,
        text::Clean,
        world::{Engine, Event, Gap, Key, Link, Pod, Route, Trouble, Workload, World},
    },
};

/// The shortest time between two worlds.
const GAP: Duration = Duration::from_millis(50);
/// Hops that a world holds.
pub(crate) const HOPS: usize = 2000;
/// Events that a world holds.
const EVENTS: usize = 500;

#[derive(Default)]
struct SourceState {
    listed: bool,
    broken: Option<(Timestamp, Lost)>,
    /// Nothing is seen of it, though the server answers.
    barred: Option<(Timestamp, Lost)>,
    stop: CancellationToken,
}

/// One cluster, by its context; none is home.
#[derive(Default)]
struct Server {
    lost: Option<(Timestamp, Lost)>,
    /// It answers again; what was seen before is old until all is listed anew.
    anew: Option<(Timestamp, Lost)>,
    was_live: bool,
    stop: CancellationToken,
}

#[derive(Default)]
struct Tables {
    apps: Table<String, Arc<App>>,
    releases: Table<String, Arc<Release>>,
    approvals: Table<String, Arc<Approval>>,
    groups: Table<String, Arc<LaneGroup>>,
    lanes: Table<String, Arc<Lane>>,
    workloads: Table<Key, Workload>,
    pods: Table<Key, Pod>,
    routes: Table<Key, Route>,
    events: Table<Key, Event>,
    engine: Table<Key, Engine>,
}

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
            revision: 0,
            rights: Arc::default(),
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>, mut hops: HopInbox) {
        self.serve(None);
        for kind in Kind::HOME {
            self.watch(SourceId { context: None, kind, namespace: self.namespace.clone() });
        }
        let stop = self.stop.clone();
        let mut batch = Vec::with_capacity(256);
        let mut hop_batch = Vec::with_capacity(256);
        let mut due: Option<Instant> = None;
        let mut earliest = Instant::now();
        loop {
            let wake = due;
            let changed = tokio::select! {
                () = stop.cancelled() => return,
                () = async { tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)).await }, if wake.is_some() => {
                    let began = Instant::now();
                    self.publish(hops.dropped());
                    due = None;
                    // A large world costs more to copy: never spend more than a tenth of the time on it.
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
                n = hops.recv_many(&mut hop_batch, 256) => {
                    if n == 0 { return; }
                    self.hops_seen += n as u64;
                    self.hops.extend(hop_batch.drain(..));
                    self.hops.drain(..self.hops.len().saturating_sub(HOPS));
                    true
                }
            };
            if changed && due.is_none() {
                due = Some(earliest.max(Instant::now()));
            }
        }
    }

    fn watch(&mut self, id: SourceId) {
        let stop = self.stop.child_token();
        let state = SourceState { stop: stop.clone(), ..SourceState::default() };
        if let Some(old) = self.sources.insert(id.clone(), state) {
            old.stop.cancel();
        }
        let client = self.clusters.of(id.context.as_deref());
        let meter = Arc::clone(self.clusters.meter());
        tokio::spawn(source::run(client, id, self.messages.clone(), meter, stop));
    }

    /// Looks after a cluster.
    fn serve(&mut self, context: Option<String>) {
        let stop = self.stop.child_token();
        let client = self.clusters.of(context.as_deref());
        let meter = Arc::clone(self.clusters.meter());
        tokio::spawn(source::probe(client, context.clone(), self.messages.clone(), meter, stop.clone()));
        self.servers.insert(context, Server { stop, ..Server::default() });
    }

    /// Whether the world changed.
    fn take(&mut self, message: Message) -> bool {
        let (id, change) = match message {
            Message::From(id, change) => (id, change),
            Message::Server(context, said) => return self.server_said(&context, said),
            Message::Rights(rights) => {
                self.rights = Arc::new(rights);
                return true;
            }
        };
        let Some(source) = self.sources.get_mut(&id) else { return false };
        match change {
            Change::Broken(lost) => return is_news(&mut source.broken, lost),
            Change::Barred(lost) => {
                source.listed = true;
                source.broken = None;
                let news = is_news(&mut source.barred, lost);
                self.tables.begin(&id);
                self.tables.ready(&id);
                self.events_changed |= id.kind == Kind::Event;
                self.follow_namespaces(id.kind);
                return news;
            }
            Change::Ready => {
                source.listed = true;
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
        let Some(server) = self.servers.get_mut(context) else { return false };
        match said {
            Err(lost) => is_news(&mut server.lost, lost),
            Ok(()) => {
                if let Some(was) = server.lost.take() {
                    // Its watches may have died without a word.
                    server.anew.get_or_insert(was);
                    let all: Vec<SourceId> = self.sources.keys().filter(|id| id.context == *context).cloned().collect();
                    all.into_iter().for_each(|id| self.watch(id));
                }
                // What was asked meanwhile is shown.
                true
            }
        }
    }

    /// Watches the namespaces of all environments, each in its cluster, and no others.
    fn follow_namespaces(&mut self, changed: Kind) {
        if changed != Kind::App {
            return;
        }
        let environments = self.tables.apps.rows().values().flat_map(|a| &a.spec.environments);
        let mut wanted: BTreeSet<(Option<String>, String)> = environments
            .map(|e| (self.clusters.canonical(e.context.as_deref()).map(str::to_owned), e.namespace.clone()))
            .collect();
        wanted.insert((None, self.namespace.clone()));
        let is_wanted = |id: &SourceId| wanted.contains(&(id.context.clone(), id.namespace.clone()));
        let unwanted: Vec<SourceId> =
            self.sources.keys().filter(|id| Kind::EVERYWHERE.contains(&id.kind) && !is_wanted(id)).cloned().collect();
        for id in unwanted {
            if let Some(state) = self.sources.remove(&id) {
                state.stop.cancel();
            }
            self.tables.forget(&id.place());
        }
        let contexts: BTreeSet<&Option<String>> = wanted.iter().map(|(context, _)| context).collect();
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
                let id = SourceId { context: context.clone(), kind, namespace: namespace.clone() };
                if !self.sources.contains_key(&id) {
                    self.watch(id);
                }
            }
        }
    }

    /// How it stands with a cluster.
    fn link(&mut self, context: &Option<String>) -> Link {
        let Some(server) = self.servers.get_mut(context) else { return Link::Connecting };
        let own = || self.sources.iter().filter(|(id, _)| id.context == *context).map(|(_, state)| state);
        let all_listed = own().all(|s| s.listed);
        if all_listed {
            server.anew = None;
        }
        let broken = own().filter_map(|s| s.broken.as_ref()).chain(&server.lost).chain(&server.anew);
        let since = broken.clone().map(|(since, _)| *since).min();
        // The most telling one: a refused credential makes a watch fail and a connection end.
        if let (Some(since), Some((_, lost))) = (since, broken.min_by_key(|(_, lost)| rank(lost.trouble))) {
            return Link::Stale { since, trouble: lost.trouble, why: Clean::from_untrusted(&lost.why) };
        }
        server.was_live |= all_listed;
        if server.was_live { Link::Live } else { Link::Connecting }
    }

    fn gaps(&self) -> Arc<Vec<Gap>> {
        let told = self.sources.iter().filter(|(id, _)| !(id.kind == Kind::Route || id.kind == Kind::Engine));
        let gaps: Vec<Gap> = told
            .filter_map(|(id, state)| {
                let (since, lost) = state.barred.as_ref()?;
                Some(Gap {
                    context: id.context.clone(),
                    resource: id.kind.resource(),
                    namespace: id.namespace.clone(),
                    trouble: lost.trouble,
                    since: *since,
                    why: Clean::from_untrusted(&lost.why),
                })
            })
            .collect();
        let old = &self.out.borrow().gaps;
        if **old == gaps { Arc::clone(old) } else { Arc::new(gaps) }
    }

    fn publish(&mut self, hops_dropped: u64) {
        self.revision += 1;
        let link = self.link(&None);
        let names: Vec<String> = self.servers.keys().flatten().cloned().collect();
        let contexts: BTreeMap<String, Link> = names.into_iter().map(|n| (n.clone(), self.link(&Some(n)))).collect();
        let old = Arc::clone(&self.out.borrow().contexts);
        let contexts = if *old == contexts { old } else { Arc::new(contexts) };
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
            revision: self.revision,
            place: self.place.clone(),
            link,
            contexts,
            gaps,
            asked,
            namespace: self.namespace.clone(),
            apps: t.apps.rows().clone(),
            releases: t.releases.rows().clone(),
            approvals: t.approvals.rows().clone(),
            groups: t.groups.rows().clone(),
            lanes: t.lanes.rows().clone(),
            workloads: t.workloads.rows().clone(),
            pods: t.pods.rows().clone(),
            routes: t.routes.rows().clone(),
            events,
            hops,
            hops_seen: self.hops_seen,
            hops_dropped,
            engine: t.engine.rows().values().next().cloned(),
            rights: self.rights.clone(),
        });
    }
}

/// Notes what is wrong; whether that is something new. Since when stays.
fn is_news(place: &mut Option<(Timestamp, Lost)>, lost: Lost) -> bool {
    match place {
        Some((_, old)) if *old == lost => false,
        Some((_, old)) => {
            *old = lost;
            true
        }
        None => {
            *place = Some((Timestamp::now(), lost));
            true
        }
    }
}

/// The lower, the more it says of why the others are there.
const fn rank(trouble: Trouble) -> u8 {
    match trouble {
        Trouble::Unauthorized => 0,
        Trouble::Missing => 1,
        Trouble::Throttled => 2,
        Trouble::Failing => 3,
        Trouble::Slept => 4,
        Trouble::Offline => 5,
        Trouble::Expired | Trouble::Forbidden => 6,
    }
}

impl Tables {
    fn begin(&mut self, id: &SourceId) {
        let ns = &id.place();
        match id.kind {
            Kind::App => self.apps.begin(ns),
            Kind::Release => self.releases.begin(ns),
            Kind::Approval => self.approvals.begin(ns),
            Kind::Group => self.groups.begin(ns),
            Kind::Lane => self.lanes.begin(ns),
            Kind::Workload => self.workloads.begin(ns),
            Kind::Pod => self.pods.begin(ns),
            Kind::Route => self.routes.begin(ns),
            Kind::Event => self.events.begin(ns),
            Kind::Engine => self.engine.begin(ns),
        }
    }

    fn listed(&mut self, ns: &str, key: Key, row: Row) {
        match row {
            Row::App(row) => self.apps.listed(ns, key.name, row),
            Row::Release(row) => self.releases.listed(ns, key.name, row),
            Row::Approval(row) => self.approvals.listed(ns, key.name, row),
            Row::Group(row) => self.groups.listed(ns, key.name, row),
            Row::Lane(row) => self.lanes.listed(ns, key.name, row),
            Row::Workload(row) => self.workloads.listed(ns, key, row),
            Row::Pod(row) => self.pods.listed(ns, key, row),
            Row::Route(row) => self.routes.listed(ns, key, row),
            Row::Event(row) => self.events.listed(ns, key, row),
            Row::Engine(row) => self.engine.listed(ns, key, row),
        }
    }

    fn ready(&mut self, id: &SourceId) {
        let place = id.place();
        let ns = place.as_str();
        let of = |key: &Key| key.namespace == ns;
        match id.kind {
            Kind::App => self.apps.ready(ns, |_| true),
            Kind::Release => self.releases.ready(ns, |_| true),
            Kind::Approval => self.approvals.ready(ns, |_| true),
            Kind::Group => self.groups.ready(ns, |_| true),
            Kind::Lane => self.lanes.ready(ns, |_| true),
            Kind::Workload => self.workloads.ready(ns, of),
            Kind::Pod => self.pods.ready(ns, of),
            Kind::Route => self.routes.ready(ns, of),
            Kind::Event => self.events.ready(ns, of),
            Kind::Engine => self.engine.ready(ns, of),
        }
    }

    fn set(&mut self, key: Key, row: Row) -> bool {
        match row {
            Row::App(row) => self.apps.set(key.name, row),
            Row::Release(row) => self.releases.set(key.name, row),
            Row::Approval(row) => self.approvals.set(key.name, row),
            Row::Group(row) => self.groups.set(key.name, row),
            Row::Lane(row) => self.lanes.set(key.name, row),
            Row::Workload(row) => self.workloads.set(key, row),
            Row::Pod(row) => self.pods.set(key, row),
            Row::Route(row) => self.routes.set(key, row),
            Row::Event(row) => self.events.set(key, row),
            Row::Engine(row) => self.engine.set(key, row),
        }
    }

    fn gone(&mut self, kind: Kind, key: &Key) -> bool {
        match kind {
            Kind::App => self.apps.gone(&key.name),
            Kind::Release => self.releases.gone(&key.name),
            Kind::Approval => self.approvals.gone(&key.name),
            Kind::Group => self.groups.gone(&key.name),
            Kind::Lane => self.lanes.gone(&key.name),
            Kind::Workload => self.workloads.gone(key),
            Kind::Pod => self.pods.gone(key),
            Kind::Route => self.routes.gone(key),
            Kind::Event => self.events.gone(key),
            Kind::Engine => self.engine.gone(key),
        }
    }

    fn forget(&mut self, namespace: &str) {
        let elsewhere = |key: &Key| key.namespace != namespace;
        self.workloads.retain(|k, _| elsewhere(k));
        self.pods.retain(|k, _| elsewhere(k));
        self.routes.retain(|k, _| elsewhere(k));
        self.events.retain(|k, _| elsewhere(k));
    }

    /// The newest events, oldest first; older ones are forgotten for good.
    fn newest_events(&mut self) -> Arc<Vec<Event>> {
        let mut all: Vec<(&Key, &Event)> = self.events.rows().iter().collect();
        all.sort_by_key(|(key, e)| (e.time, (*key).clone()));
        let old = all.len().saturating_sub(EVENTS);
        let forget: BTreeSet<Key> = all[..old].iter().map(|(k, _)| (*k).clone()).collect();
        let newest = all[old..].iter().map(|(_, e)| (*e).clone()).collect();
        if !forget.is_empty() {
            self.events.retain(|k, _| !forget.contains(k));
        }
        Arc::new(newest)
    }
}
