//! The home cluster, and the remote clusters that environments name by their context. Each client
//! connects when it is first used, so that an unreachable cluster does not delay the others.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use kube::Client;

use super::{
    agent::Agent,
    connect::{self, ClusterSource},
    meter::Meter,
    transport,
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
    /// `home` is the client of `home_context`. Remote contexts are read from `kubeconfig`; `None`
    /// means that kubectl's own search order applies.
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

    /// Wraps a client of this process and counts its requests from now on; remote clusters come
    /// from kubectl's contexts.
    #[must_use]
    pub fn from_client(client: Client, agent: Agent) -> Self {
        let meter = Arc::<Meter>::default();
        Self::new(
            transport::metered_client(client, Arc::clone(&meter)),
            None,
            None,
            meter,
            agent,
        )
    }

    /// The same clusters with another client for home.
    #[must_use]
    pub fn with_home_client(self, home: Client) -> Self {
        Self {
            home,
            acting: Arc::default(),
            ..self
        }
    }

    /// Client of the home cluster, which holds graylane's own resources.
    pub fn home_client(&self) -> &Client {
        &self.home
    }

    /// Counts the requests to all of these clusters.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The context's name, or `None` when it is the home context.
    pub fn normalize_context<'a>(&self, context: Option<&'a str>) -> Option<&'a str> {
        context.filter(|c| Some(*c) != self.home_context.as_deref())
    }

    /// Client of a context; `None` is home. An unknown context becomes an error of its first
    /// request.
    pub fn client_for(&self, context: Option<&str>) -> Client {
        let Some(name) = self.normalize_context(context) else {
            return self.home.clone();
        };
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let source = ClusterSource::Kubectl {
                kubeconfig: self.kubeconfig.clone(),
                context: Some(name.to_owned()),
            };
            transport::lazy_client(
                connect::dialer_for(source, name.to_owned(), self.agent),
                false,
                "default",
                Arc::clone(&self.meter),
            )
        };
        others.entry(name.to_owned()).or_insert_with(make).clone()
    }

    /// A client of the account's cluster that impersonates the account. The server decides whether
    /// the caller may impersonate it, and then checks the account's own rights.
    pub fn client_acting_as(&self, account: &Account) -> Client {
        let context = self.normalize_context(account.context.as_deref());
        let account = Account {
            context: context.map(str::to_owned),
            ..account.clone()
        };
        let mut acting = self.acting.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || transport::impersonating_client(self.client_for(context), &account);
        acting.entry(account.clone()).or_insert_with(make).clone()
    }
}

impl From<Client> for Clusters {
    /// For callers that act for no particular part of graylane, such as tests.
    fn from(client: Client) -> Self {
        Self::from_client(client, Agent::Cli)
    }
}
