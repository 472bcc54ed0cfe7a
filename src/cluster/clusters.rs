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
use crate::{
    api::{ClusterName, Environment, NamespaceRef},
    domain::account::Account,
};

/// Clients by context. Clones share them.
#[derive(Clone)]
pub struct Clusters {
    home: Client,
    home_name: ClusterName,
    kubeconfig: Option<PathBuf>,
    others: Arc<Mutex<BTreeMap<Arc<str>, Client>>>,
    acting: Arc<Mutex<BTreeMap<Account, Client>>>,
    meter: Arc<Meter>,
    agent: Agent,
}

impl Clusters {
    /// `home` is the client of the home cluster, `home_name` the name of its context if it has one.
    /// Remote contexts are read from `kubeconfig`; `None` means that kubectl's own search order
    /// applies.
    pub fn new(
        home: Client,
        home_name: ClusterName,
        kubeconfig: Option<PathBuf>,
        meter: Arc<Meter>,
        agent: Agent,
    ) -> Self {
        Self {
            home,
            home_name,
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
            ClusterName::Home,
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

    /// Whether it is the home cluster, by whichever name.
    pub fn is_home(&self, cluster: &ClusterName) -> bool {
        cluster.is_home() || *cluster == self.home_name
    }

    /// The one name of a cluster: the home cluster can also be named by its context.
    pub fn normalize_name(&self, cluster: &ClusterName) -> ClusterName {
        if self.is_home(cluster) {
            ClusterName::Home
        } else {
            cluster.clone()
        }
    }

    /// The one name of a namespace.
    pub fn normalize_namespace(&self, namespace: &NamespaceRef) -> NamespaceRef {
        NamespaceRef {
            cluster: self.normalize_name(&namespace.cluster),
            name: Arc::clone(&namespace.name),
        }
    }

    /// Namespace of an environment.
    pub fn namespace_of(&self, environment: &Environment) -> NamespaceRef {
        NamespaceRef::new(
            self.normalize_name(&environment.context),
            environment.namespace.as_str(),
        )
    }

    /// Client of a cluster. An unknown context becomes an error of its first request.
    pub fn client_for(&self, cluster: &ClusterName) -> Client {
        let ClusterName::Context(name) = self.normalize_name(cluster) else {
            return self.home.clone();
        };
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let source = ClusterSource::Kubectl {
                kubeconfig: self.kubeconfig.clone(),
                context: Some(name.to_string()),
            };
            transport::lazy_client(
                connect::dialer_for(source, name.to_string(), self.agent),
                false,
                "default",
                Arc::clone(&self.meter),
            )
        };
        others.entry(Arc::clone(&name)).or_insert_with(make).clone()
    }

    /// A client of the account's cluster that impersonates the account. The server decides whether
    /// the caller may impersonate it, and then checks the account's own rights.
    pub fn client_acting_as(&self, account: &Account) -> Client {
        let mut account = account.clone();
        account.namespace = self.normalize_namespace(&account.namespace);
        let mut acting = self.acting.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            transport::impersonating_client(self.client_for(&account.namespace.cluster), &account)
        };
        acting.entry(account.clone()).or_insert_with(make).clone()
    }
}

impl From<Client> for Clusters {
    /// For callers that act for no particular part of graylane, such as tests.
    fn from(client: Client) -> Self {
        Self::from_client(client, Agent::Cli)
    }
}
