//! The rows of all kinds, one table for each kind.

use std::{collections::BTreeSet, sync::Arc};

use super::super::{
    rows::Row,
    source::{Kind, SourceId},
    table::Table,
};
use crate::{
    api::{App, AppTemplate, Approval, Lane, LaneGroup, Release, VariableGroup},
    domain::{
        revision::Revision,
        world::{Engine, Event, Key, Pod, Route, Workload},
    },
};

/// Number of events that a world holds.
const EVENTS: usize = 500;

#[derive(Default)]
pub(super) struct Tables {
    pub(super) apps: Table<String, Arc<App>>,
    pub(super) templates: Table<String, Arc<AppTemplate>>,
    pub(super) variables: Table<String, Arc<VariableGroup>>,
    pub(super) releases: Table<String, Arc<Release>>,
    pub(super) revisions: Table<String, Arc<Revision>>,
    pub(super) approvals: Table<String, Arc<Approval>>,
    pub(super) groups: Table<String, Arc<LaneGroup>>,
    pub(super) lanes: Table<String, Arc<Lane>>,
    pub(super) deployments: Table<Key, Workload>,
    pub(super) stateful: Table<Key, Workload>,
    pub(super) pods: Table<Key, Pod>,
    pub(super) routes: Table<Key, Route>,
    pub(super) events: Table<Key, Event>,
    pub(super) engine: Table<Key, Engine>,
}

impl Tables {
    pub(super) fn begin(&mut self, id: &SourceId) {
        let ns = &id.place();
        match id.kind {
            Kind::App => self.apps.begin(ns),
            Kind::Template => self.templates.begin(ns),
            Kind::Variables => self.variables.begin(ns),
            Kind::Release => self.releases.begin(ns),
            Kind::Revision => self.revisions.begin(ns),
            Kind::Approval => self.approvals.begin(ns),
            Kind::Group => self.groups.begin(ns),
            Kind::Lane => self.lanes.begin(ns),
            Kind::Deployment => self.deployments.begin(ns),
            Kind::Stateful => self.stateful.begin(ns),
            Kind::Pod => self.pods.begin(ns),
            Kind::Route => self.routes.begin(ns),
            Kind::Event => self.events.begin(ns),
            Kind::Engine => self.engine.begin(ns),
        }
    }

    pub(super) fn listed(&mut self, ns: &str, key: Key, row: Row) {
        match row {
            Row::App(row) => self.apps.listed(ns, key.name, row),
            Row::Template(row) => self.templates.listed(ns, key.name, row),
            Row::Variables(row) => self.variables.listed(ns, key.name, row),
            Row::Release(row) => self.releases.listed(ns, key.name, row),
            Row::Revision(row) => self.revisions.listed(ns, key.name, row),
            Row::Approval(row) => self.approvals.listed(ns, key.name, row),
            Row::Group(row) => self.groups.listed(ns, key.name, row),
            Row::Lane(row) => self.lanes.listed(ns, key.name, row),
            Row::Deployment(row) => self.deployments.listed(ns, key, row),
            Row::Stateful(row) => self.stateful.listed(ns, key, row),
            Row::Pod(row) => self.pods.listed(ns, key, row),
            Row::Route(row) => self.routes.listed(ns, key, row),
            Row::Event(row) => self.events.listed(ns, key, row),
            Row::Engine(row) => self.engine.listed(ns, key, row),
        }
    }

    pub(super) fn ready(&mut self, id: &SourceId) {
        let place = id.place();
        let ns = place.as_str();
        let of = |key: &Key| key.namespace == ns;
        match id.kind {
            Kind::App => self.apps.ready(ns, |_| true),
            Kind::Template => self.templates.ready(ns, |_| true),
            Kind::Variables => self.variables.ready(ns, |_| true),
            Kind::Release => self.releases.ready(ns, |_| true),
            Kind::Revision => self.revisions.ready(ns, |_| true),
            Kind::Approval => self.approvals.ready(ns, |_| true),
            Kind::Group => self.groups.ready(ns, |_| true),
            Kind::Lane => self.lanes.ready(ns, |_| true),
            Kind::Deployment => self.deployments.ready(ns, of),
            Kind::Stateful => self.stateful.ready(ns, of),
            Kind::Pod => self.pods.ready(ns, of),
            Kind::Route => self.routes.ready(ns, of),
            Kind::Event => self.events.ready(ns, of),
            Kind::Engine => self.engine.ready(ns, of),
        }
    }

    pub(super) fn set(&mut self, key: Key, row: Row) -> bool {
        match row {
            Row::App(row) => self.apps.set(key.name, row),
            Row::Template(row) => self.templates.set(key.name, row),
            Row::Variables(row) => self.variables.set(key.name, row),
            Row::Release(row) => self.releases.set(key.name, row),
            Row::Revision(row) => self.revisions.set(key.name, row),
            Row::Approval(row) => self.approvals.set(key.name, row),
            Row::Group(row) => self.groups.set(key.name, row),
            Row::Lane(row) => self.lanes.set(key.name, row),
            Row::Deployment(row) => self.deployments.set(key, row),
            Row::Stateful(row) => self.stateful.set(key, row),
            Row::Pod(row) => self.pods.set(key, row),
            Row::Route(row) => self.routes.set(key, row),
            Row::Event(row) => self.events.set(key, row),
            Row::Engine(row) => self.engine.set(key, row),
        }
    }

    pub(super) fn gone(&mut self, kind: Kind, key: &Key) -> bool {
        match kind {
            Kind::App => self.apps.gone(&key.name),
            Kind::Template => self.templates.gone(&key.name),
            Kind::Variables => self.variables.gone(&key.name),
            Kind::Release => self.releases.gone(&key.name),
            Kind::Revision => self.revisions.gone(&key.name),
            Kind::Approval => self.approvals.gone(&key.name),
            Kind::Group => self.groups.gone(&key.name),
            Kind::Lane => self.lanes.gone(&key.name),
            Kind::Deployment => self.deployments.gone(key),
            Kind::Stateful => self.stateful.gone(key),
            Kind::Pod => self.pods.gone(key),
            Kind::Route => self.routes.gone(key),
            Kind::Event => self.events.gone(key),
            Kind::Engine => self.engine.gone(key),
        }
    }

    pub(super) fn forget(&mut self, namespace: &str) {
        let elsewhere = |key: &Key| key.namespace != namespace;
        self.deployments.retain(|k, _| elsewhere(k));
        self.stateful.retain(|k, _| elsewhere(k));
        self.pods.retain(|k, _| elsewhere(k));
        self.routes.retain(|k, _| elsewhere(k));
        self.events.retain(|k, _| elsewhere(k));
    }

    /// The newest events, oldest first; older ones are removed for good.
    pub(super) fn newest_events(&mut self) -> Arc<Vec<Event>> {
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
