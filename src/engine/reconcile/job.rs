//! What the engine reconciles, and what one reconcile has to cover.

use std::collections::BTreeSet;

use reconcile::queue::Load;

use crate::{api::Uid, engine::change_queue::ChangeKey};

/// A unit of reconciliation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    /// Label pods that are older than their App.
    Adopted,
    /// Reconcile a lane group.
    Group(String),
    /// Reconcile the releases of an App, one after the other, because they share environments.
    App(String),
    /// Delete finished releases that no App keeps any more.
    Prune,
}

/// What a job has to cover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct JobScope {
    /// For an App: UIDs of the releases.
    pub(super) releases: BTreeSet<Uid>,
    /// For pods: what has changed.
    pub(super) changed: BTreeSet<ChangeKey>,
}

impl Load for JobScope {
    fn merge(&mut self, other: Self) {
        self.releases.extend(other.releases);
        self.changed.extend(other.changed);
    }
}
