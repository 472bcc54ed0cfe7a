//! Several namespaces at once. One of them is current: `Model::world` and `Model::facts` are its, and
//! every pane but the lists, every question and every action is about it. Selecting a row of another
//! namespace makes that one current. The others wait beside it, each with a world of its own, so that
//! equal names of two namespaces never meet.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::Model;
use crate::{
    domain::{
        command_line::CommandLine,
        world::{ObjectKey, World, Worlds},
    },
    ui::{
        facts::{Facts, Traffic, release_state},
        pane::apps::AppRow,
    },
};

/// What is kept of a namespace that is not current.
#[derive(Clone, Debug)]
pub struct NamespaceView {
    /// Its latest world.
    pub world: Arc<World>,
    /// Data derived from that.
    pub facts: Facts,
    /// As [`Model::heard`].
    heard: (Option<Timestamp>, Timestamp),
}

/// An engine that has not renewed its Lease for so long is late.
const LATE_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// One of the namespaces that are shown, to read from.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceScope<'a> {
    /// Its world.
    pub world: &'a World,
    /// Data derived from that.
    pub facts: &'a Facts,
    /// When its engine's last renewal was seen, by our clock.
    heard: Timestamp,
}

impl<'a> NamespaceScope<'a> {
    /// Name of the namespace.
    pub fn name(&self) -> &'a str {
        &self.world.namespace
    }

    /// Whether its engine has stopped renewing the Lease. The engine's clock may differ from ours,
    /// so what counts is when we saw the renewal.
    pub fn is_engine_late(&self, now: Timestamp) -> bool {
        let renews = self
            .world
            .engine
            .as_ref()
            .is_some_and(|e| e.renewed.is_some());
        renews && now.duration_since(self.heard) > LATE_AFTER
    }

    /// Whether one of its releases goes on by itself: without an engine none does.
    pub(super) fn is_advancing(&self, now: Timestamp) -> bool {
        let mut releases = self
            .facts
            .active
            .iter()
            .filter_map(|name| self.world.releases.get(name));
        self.world.engine.is_some()
            && !self.is_engine_late(now)
            && releases.any(|r| release_state(r).is_busy())
    }

    /// Key of one of its objects.
    pub fn key_of(&self, name: &str) -> ObjectKey {
        ObjectKey::at_home(self.world.namespace.as_str(), name)
    }
}

impl Model {
    /// The current namespace.
    pub fn current_scope(&self) -> NamespaceScope<'_> {
        NamespaceScope {
            world: &self.world,
            facts: &self.facts,
            heard: self.heard.1,
        }
    }

    /// All namespaces that are shown, by name.
    pub fn scopes(&self) -> impl Iterator<Item = NamespaceScope<'_>> {
        let current = self.world.namespace.as_str();
        let others = |before: bool| {
            let of = self.others.iter();
            of.filter(move |(name, _)| (name.as_str() < current) == before)
                .map(|(_, view)| view.as_scope())
        };
        others(true)
            .chain([self.current_scope()])
            .chain(others(false))
    }

    /// A namespace that is shown.
    pub fn scope_of(&self, namespace: &str) -> Option<NamespaceScope<'_>> {
        if self.world.namespace == namespace {
            return Some(self.current_scope());
        }
        self.others.get(namespace).map(|view| view.as_scope())
    }

    /// An object's name where its namespace must be told too.
    pub fn qualified_name(&self, namespace: &str, name: &str) -> String {
        if self.shows_all {
            format!("{namespace}/{name}")
        } else {
            name.to_owned()
        }
    }

    /// A command as it is shown: with the current namespace, where several are shown.
    pub fn place_command(&self, line: CommandLine) -> CommandLine {
        // Without any namespace there is none to name.
        if self.shows_all && !self.world.namespace.is_empty() {
            line.in_namespace(&self.world.namespace)
        } else {
            line
        }
    }

    /// Makes a namespace current; `false` when it is not shown. Selections within the one before are
    /// forgotten.
    pub fn enter_namespace(&mut self, namespace: &str) -> bool {
        if self.world.namespace == namespace {
            return true;
        }
        let Some(view) = self.others.remove(namespace) else {
            return false;
        };
        let view = Arc::unwrap_or_clone(view);
        let left = NamespaceView {
            world: std::mem::replace(&mut self.world, view.world),
            facts: std::mem::replace(&mut self.facts, view.facts),
            heard: std::mem::replace(&mut self.heard, view.heard),
        };
        if !left.world.namespace.is_empty() {
            let name = left.world.namespace.clone();
            self.others.insert(name, Arc::new(left));
        }
        self.select_app(None);
        (self.release, self.task, self.pod, self.lane) = (None, None, None, None);
        self.trace.leave_namespace();
        true
    }

    /// Makes a namespace current, with one of its Apps selected where none was named.
    pub fn visit_namespace(&mut self, namespace: &str) -> bool {
        let moved = self.world.namespace != namespace;
        let there = self.enter_namespace(namespace);
        if there && moved {
            let own = |row: &AppRow<'_>| row.scope.name() == namespace;
            let first = self.visible_apps().into_iter().find(own);
            let first = first.map(|row| row.name.clone());
            let first = first.or_else(|| self.world.apps.keys().next().cloned());
            self.select_app(first);
        }
        there
    }

    /// Takes the newest worlds of all namespaces. Only those that have changed are looked at.
    pub fn take_worlds(&mut self, worlds: &Worlds) {
        self.shows_all = true;
        let current = self.world.namespace.clone();
        let row = self.row_of_lost_app(worlds);
        for (name, world) in &worlds.by_namespace {
            if *name == current {
                if !Arc::ptr_eq(&self.world, world) {
                    self.take_world(Arc::clone(world));
                }
                continue;
            }
            match self.others.get_mut(name) {
                Some(view) if Arc::ptr_eq(&view.world, world) => {}
                Some(view) => Arc::make_mut(view).take_world(world, self.now),
                None => {
                    let view = NamespaceView::new(world, self.now);
                    self.others.insert(name.clone(), Arc::new(view));
                }
            }
        }
        self.others
            .retain(|name, _| worlds.by_namespace.contains_key(name));
        if !worlds.by_namespace.contains_key(&current) {
            self.leave_gone_namespace(&current, worlds);
        }
        self.repair_selection(row);
    }

    /// Row of the selected App, where these worlds have it no more.
    fn row_of_lost_app(&self, worlds: &Worlds) -> Option<usize> {
        let app = self.app.as_ref()?;
        let world = worlds.by_namespace.get(&self.world.namespace);
        let stays = world.is_some_and(|world| world.apps.contains_key(app));
        if stays { None } else { self.selected_app_row() }
    }

    /// The current namespace holds nothing any more, or none was current yet.
    fn leave_gone_namespace(&mut self, current: &str, worlds: &Worlds) {
        // What is open is about this namespace: it says so, empty, until it is closed.
        let stays = !self.overlays.is_empty() && !current.is_empty();
        let empty = World {
            namespace: current.to_owned(),
            ..worlds.cluster.clone()
        };
        self.take_world(Arc::new(empty));
        let next = self.others.keys().next().cloned();
        if let Some(next) = next.filter(|_| !stays) {
            self.enter_namespace(&next);
            self.others.remove(current);
        }
    }

    /// Takes a world of the current namespace.
    pub(in crate::ui) fn take_world(&mut self, world: Arc<World>) {
        self.facts.refresh(&world, self.now);
        self.world = world;
        note_renewal(&mut self.heard, &self.world, self.now);
    }

    /// Lets time pass in all namespaces.
    pub(in crate::ui) fn advance_clock(&mut self, now: Timestamp) {
        self.facts.advance_clock(now);
        for view in self.others.values_mut() {
            Arc::make_mut(view).facts.advance_clock(now);
        }
    }

    /// Traffic of all namespaces; the worst is named with its namespace.
    pub fn shown_traffic(&self) -> Traffic {
        let mut all = self.facts.figures.traffic.clone();
        if !self.shows_all {
            return all;
        }
        let name = |namespace: &str, words: Option<String>| {
            words.map(|words| format!("{namespace}: {words}"))
        };
        all.worst = name(&self.world.namespace, all.worst);
        for (namespace, view) in &self.others {
            let own = &view.facts.figures.traffic;
            // A leak is told before a failure.
            if own.leaks > 0 && all.leaks == 0 || all.worst.is_none() {
                all.worst = name(namespace, own.worst.clone()).or(all.worst);
            }
            all.chains += own.chains;
            all.tagged += own.tagged;
            all.leaks += own.leaks;
            all.failed += own.failed;
        }
        all
    }

    /// Names of Apps that several namespaces have.
    pub fn ambiguous_apps(&self) -> BTreeSet<&str> {
        let (mut once, mut twice) = (BTreeSet::new(), BTreeSet::new());
        for scope in self.scopes() {
            for name in scope.world.apps.keys() {
                if !once.insert(name.as_str()) {
                    twice.insert(name.as_str());
                }
            }
        }
        twice
    }
}

impl NamespaceView {
    fn new(world: &Arc<World>, now: Timestamp) -> Self {
        let mut view = Self {
            world: Arc::default(),
            facts: Facts::default(),
            heard: (None, now),
        };
        view.take_world(world, now);
        view
    }

    fn take_world(&mut self, world: &Arc<World>, now: Timestamp) {
        self.facts.refresh(world, now);
        self.world = Arc::clone(world);
        note_renewal(&mut self.heard, &self.world, now);
    }

    fn as_scope(&self) -> NamespaceScope<'_> {
        NamespaceScope {
            world: &self.world,
            facts: &self.facts,
            heard: self.heard.1,
        }
    }
}

/// Notes when the engine was last heard of.
fn note_renewal(heard: &mut (Option<Timestamp>, Timestamp), world: &World, now: Timestamp) {
    let renewed = world.engine.as_ref().and_then(|e| e.renewed);
    if heard.0 != renewed {
        *heard = (renewed, now);
    }
}
