//! The home cluster, and the others that environments name by their context: each with a client that connects when it
//! is first used, so that one which cannot be reached holds nobody else up.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use kube::Client;

use super::{
    agent::Agent,
    connect::{self, Source},
    meter::Meter,
    wire,
};
use crate::domain::account::Account;

/// Clients by context. Clones share them.
#[derive(Clone)]
pub struct Clusters {
    home: Client,
    home_context: Option<String>,
    kubeconfig: Option<PathBuf>,
    others: Arc<Mutex<BTreeMap<String, Client>>>,
    acting: Arc<Mutex<BTreeMap<Account, Client>>>,
    meter: Arc<Meter>,
    agent: Agent,
}

impl Clusters {
    /// `home` is what `home_context` names; the others stand in `kubeconfig` (none: where kubectl looks).
    pub fn new(
        home: Client,
        home_context: Option<String>,
        kubeconfig: Option<PathBuf>,
        meter: Arc<Meter>,
        agent: Agent,
    ) -> Self {
        Self {
            home,
            home_context,
            kubeconfig,
            others: Arc::default(),
            acting: Arc::default(),
            meter,
            agent,
        }
    }

    /// A client of this very process, counted from now on, and kubectl's contexts.
    #[must_use]
    pub fn within(client: Client, agent: Agent) -> Self {
        let meter = Arc::<Meter>::default();
        Self::new(
            wire::metered(client, Arc::clone(&meter)),
            None,
            None,
            meter,
            agent,
        )
    }

    /// The same, with another client for home.
    #[must_use]
    pub fn at_home(self, home: Client) -> Self {
        Self {
            home,
            acting: Arc::default(),
            ..self
        }
    }

    /// The cluster of our own resources.
    pub fn home(&self) -> &Client {
        &self.home
    }

    /// What is asked of all of them.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The context's name, or none when it is home.
    pub fn canonical<'a>(&self, context: Option<&'a str>) -> Option<&'a str> {
        context.filter(|c| Some(*c) != self.home_context.as_deref())
    }

    /// The client of a context; none is home. A context that nobody knows is told by its first request.
    pub fn of(&self, context: Option<&str>) -> Client {
        let Some(name) = self.canonical(context) else {
            return self.home.clone();
        };
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let source = Source::Kubectl {
                kubeconfig: self.kubeconfig.clone(),
                context: Some(name.to_owned()),
            };
            wire::lazy(
                connect::dial(source, name.to_owned(), self.agent),
                false,
                "default",
                Arc::clone(&self.meter),
            )
        };
        others.entry(name.to_owned()).or_insert_with(make).clone()
    }

    /// A client of the account's cluster whose requests are made as the account: the server decides whether its own user
    /// may impersonate it, and then by the account's rights.
    pub fn acting_as(&self, account: &Account) -> Client {
        let context = self.canonical(account.context.as_deref());
        let account = Account {
            context: context.map(str::to_owned),
            ..account.clone()
        };
        let mut acting = self.acting.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || wire::impersonating(self.of(context), &account);
        acting.entry(account.clone()).or_insert_with(make).clone()
    }
}

impl From<Client> for Clusters {
    /// For whoever watches and asks in no part's name.
    fn from(client: Client) -> Self {
        Self::within(client, Agent::Cli)
    }
}
