//! The rows of all kinds, one table for each kind.

use std::{collections::BTreeSet, sync::Arc};

use super::super::{
    rows::Row,
    source::{SourceId, SourceKind},
    table::Table,
};
use crate::{
    api::{App, AppTemplate, Approval, Lane, LaneGroup, NamespaceRef, Release, VariableGroup},
    domain::{
        revision::Revision,
        world::{EngineHolder, Event, ObjectKey, Pod, Route, Workload},
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
    pub(super) deployments: Table<ObjectKey, Workload>,
    pub(super) stateful: Table<ObjectKey, Workload>,
    pub(super) pods: Table<Arc<ObjectKey>, Arc<Pod>>,
    pub(super) routes: Table<ObjectKey, Route>,
    pub(super) events: Table<ObjectKey, Event>,
    pub(super) engine: Table<ObjectKey, EngineHolder>,
}

impl Tables {
    pub(super) fn begin_list(&mut self, id: &SourceId) {
        let ns = &id.namespace_ref();
        match id.kind {
            SourceKind::App => self.apps.begin_list(ns),
            SourceKind::Template => self.templates.begin_list(ns),
            SourceKind::Variables => self.variables.begin_list(ns),
            SourceKind::Release => self.releases.begin_list(ns),
            SourceKind::Revision => self.revisions.begin_list(ns),
            SourceKind::Approval => self.approvals.begin_list(ns),
            SourceKind::Group => self.groups.begin_list(ns),
            SourceKind::Lane => self.lanes.begin_list(ns),
            SourceKind::Deployment => self.deployments.begin_list(ns),
            SourceKind::Stateful => self.stateful.begin_list(ns),
            SourceKind::Pod => self.pods.begin_list(ns),
            SourceKind::Route => self.routes.begin_list(ns),
            SourceKind::Event => self.events.begin_list(ns),
            SourceKind::Engine => self.engine.begin_list(ns),
        }
    }

    pub(super) fn add_listed(&mut self, ns: &NamespaceRef, key: ObjectKey, row: Row) {
        match row {
            Row::App(row) => self.apps.add_listed(ns, key.name, row),
            Row::Template(row) => self.templates.add_listed(ns, key.name, row),
            Row::Variables(row) => self.variables.add_listed(ns, key.name, row),
            Row::Release(row) => self.releases.add_listed(ns, key.name, row),
            Row::Revision(row) => self.revisions.add_listed(ns, key.name, row),
            Row::Approval(row) => self.approvals.add_listed(ns, key.name, row),
            Row::Group(row) => self.groups.add_listed(ns, key.name, row),
            Row::Lane(row) => self.lanes.add_listed(ns, key.name, row),
            Row::Deployment(row) => self.deployments.add_listed(ns, key, row),
            Row::Stateful(row) => self.stateful.add_listed(ns, key, row),
            Row::Pod(row) => self.pods.add_listed(ns, Arc::new(key), Arc::new(row)),
            Row::Route(row) => self.routes.add_listed(ns, key, row),
            Row::Event(row) => self.events.add_listed(ns, key, row),
            Row::Engine(row) => self.engine.add_listed(ns, key, row),
        }
    }

    pub(super) fn finish_list(&mut self, id: &SourceId) {
        let ns = &id.namespace_ref();
        let of = |key: &ObjectKey| key.namespace == *ns;
        match id.kind {
            SourceKind::App => self.apps.finish_list(ns, |_| true),
            SourceKind::Template => self.templates.finish_list(ns, |_| true),
            SourceKind::Variables => self.variables.finish_list(ns, |_| true),
            SourceKind::Release => self.releases.finish_list(ns, |_| true),
            SourceKind::Revision => self.revisions.finish_list(ns, |_| true),
            SourceKind::Approval => self.approvals.finish_list(ns, |_| true),
            SourceKind::Group => self.groups.finish_list(ns, |_| true),
            SourceKind::Lane => self.lanes.finish_list(ns, |_| true),
            SourceKind::Deployment => self.deployments.finish_list(ns, of),
            SourceKind::Stateful => self.stateful.finish_list(ns, of),
            SourceKind::Pod => self.pods.finish_list(ns, |key| of(key)),
            SourceKind::Route => self.routes.finish_list(ns, of),
            SourceKind::Event => self.events.finish_list(ns, of),
            SourceKind::Engine => self.engine.finish_list(ns, of),
        }
    }

    pub(super) fn set_row(&mut self, key: ObjectKey, row: Row) -> bool {
        match row {
            Row::App(row) => self.apps.set_row(key.name, row),
            Row::Template(row) => self.templates.set_row(key.name, row),
            Row::Variables(row) => self.variables.set_row(key.name, row),
            Row::Release(row) => self.releases.set_row(key.name, row),
            Row::Revision(row) => self.revisions.set_row(key.name, row),
            Row::Approval(row) => self.approvals.set_row(key.name, row),
            Row::Group(row) => self.groups.set_row(key.name, row),
            Row::Lane(row) => self.lanes.set_row(key.name, row),
            Row::Deployment(row) => self.deployments.set_row(key, row),
            Row::Stateful(row) => self.stateful.set_row(key, row),
            Row::Pod(row) => self.pods.set_row(Arc::new(key), Arc::new(row)),
            Row::Route(row) => self.routes.set_row(key, row),
            Row::Event(row) => self.events.set_row(key, row),
            Row::Engine(row) => self.engine.set_row(key, row),
        }
    }

    pub(super) fn remove_row(&mut self, kind: SourceKind, key: &ObjectKey) -> bool {
        match kind {
            SourceKind::App => self.apps.remove_row(&key.name),
            SourceKind::Template => self.templates.remove_row(&key.name),
            SourceKind::Variables => self.variables.remove_row(&key.name),
            SourceKind::Release => self.releases.remove_row(&key.name),
            SourceKind::Revision => self.revisions.remove_row(&key.name),
            SourceKind::Approval => self.approvals.remove_row(&key.name),
            SourceKind::Group => self.groups.remove_row(&key.name),
            SourceKind::Lane => self.lanes.remove_row(&key.name),
            SourceKind::Deployment => self.deployments.remove_row(key),
            SourceKind::Stateful => self.stateful.remove_row(key),
            SourceKind::Pod => self.pods.remove_row(key),
            SourceKind::Route => self.routes.remove_row(key),
            SourceKind::Event => self.events.remove_row(key),
            SourceKind::Engine => self.engine.remove_row(key),
        }
    }

    pub(super) fn forget_namespace(&mut self, namespace: &NamespaceRef) {
        let elsewhere = |key: &ObjectKey| key.namespace != *namespace;
        self.deployments.retain(|k, _| elsewhere(k));
        self.stateful.retain(|k, _| elsewhere(k));
        self.pods.retain(|k, _| elsewhere(k));
        self.routes.retain(|k, _| elsewhere(k));
        self.events.retain(|k, _| elsewhere(k));
    }

    /// The newest events, oldest first; older ones are removed for good.
    pub(super) fn newest_events(&mut self) -> Arc<Vec<Event>> {
        let mut all: Vec<(&ObjectKey, &Event)> = self.events.rows().iter().collect();
        all.sort_by_key(|(key, e)| (e.time, (*key).clone()));
        let old = all.len().saturating_sub(EVENTS);
        let forget: BTreeSet<ObjectKey> = all[..old].iter().map(|(k, _)| (*k).clone()).collect();
        let newest = all[old..].iter().map(|(_, e)| (*e).clone()).collect();
        if !forget.is_empty() {
            self.events.retain(|k, _| !forget.contains(k));
        }
        Arc::new(newest)
    }
}
