//! Probes: our own requests to the entry of a lane group, and the chains that they took.
//!
//! A probe tests the routes with real requests, so it enters like any other request. It is judged
//! by the hops that gateways reported or, if nobody reports, by what the services return.

mod compare;
mod feed;
mod outcome;
mod send;

use std::sync::Arc;

use futures::{StreamExt, stream};
use http::HeaderName;
use jiff::Timestamp;

use crate::{
    api::{LaneGroup, ProbeSpec},
    cluster::proxy::{Proxy, ProxyTarget},
    domain::{
        chain::{self, Chain, assemble_chains, from_links},
        hop::Hop,
        lanes,
        request::{RequestParts, parse_request},
        text::Clean,
        world::World,
    },
};

pub use compare::{CompareError, ComparedAnswers, compare_pair};
pub use feed::HopFeed;
pub use outcome::{ProbeVerdict, Probed, ProbedHop};
use send::{EntryConnection, ProbeSender};

/// Requests in flight at the same time.
const CONCURRENT_PROBES: usize = 8;
/// Maximum number of requests of a probe.
const MAX_PROBES: u32 = 1000;

/// How a probe reaches the entry.
#[derive(Clone, Default)]
pub enum Via {
    /// Directly to the address in the Gateway's status.
    #[default]
    Entry,
    /// Through the API server, to this Service or the one known to belong to the Gateway.
    Proxy(kube::Client, Option<ProxyTarget>),
}

/// Why a probe cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The lane group does not exist.
    #[error("there is no lane group {0:?}")]
    NoGroup(String),
    /// The Gateway has no address.
    #[error(
        "lane group {group}: its Gateway {gateway} has no address; is it programmed? `--via proxy` goes through the \
         API server"
    )]
    NoAddress {
        /// Name of the lane group.
        group: String,
        /// Name of its Gateway.
        gateway: String,
    },
    /// The API server cannot forward the request.
    #[error("through the API server: {0}")]
    Proxy(String),
    /// The request is invalid.
    #[error(transparent)]
    Request(#[from] crate::domain::request::RequestError),
    /// A header is invalid, or the HTTP client failed.
    #[error("{0}")]
    Http(String),
}

/// Sends a probe's requests to the entry of a lane group and judges each. Failed requests are part
/// of the result.
#[tracing::instrument(level = "debug", skip_all, fields(group, path = spec.path.split('?').next()))]
pub async fn send_probes(
    spec: &ProbeSpec,
    group: &str,
    feed: &HopFeed,
    via: &Via,
) -> Result<Vec<Probed>, ProbeError> {
    let world = feed.current_world();
    let found = world
        .groups
        .get(group)
        .cloned()
        .ok_or_else(|| ProbeError::NoGroup(group.into()))?;
    let headers: Vec<String> = spec
        .headers
        .iter()
        .map(|(k, v)| format!("{k}: {v}"))
        .collect();
    let request = parse_request(&spec.path, &headers, &[])?;
    let way = match via {
        Via::Entry => EntryConnection::connect_directly(&entry_address(&found, group)?)?,
        Via::Proxy(client, target) => EntryConnection::Proxy(
            open_proxy(client, target.as_ref(), &found, &world.namespace).await?,
        ),
    };
    let sender = ProbeSender::new(way, found.spec.entry.host.as_deref(), &request, &spec.path)?;
    let carried = ["traceparent", "baggage"].map(HeaderName::from_static);
    let carried = [&carried[..], &[lanes::tag_header(&found)]].concat();
    let own = sender.describe_stripped_header(&carried);
    let (sender, request, found) = (&sender, &request, &found);
    let own = &own;
    let one = async |_| {
        let before = feed.current_world();
        let answer = sender.send().await;
        let mut probed = Probed::from_answer(&spec.path, &answer);
        if answer.reached {
            feed.wait_for_hops(found, &answer.trace).await;
        }
        let after = feed.current_world();
        let told = build_chains(&answer, group, request, &before, &after);
        probed.judge(spec, found, told, &after, own.as_deref());
        probed
    };
    Ok(stream::iter(0..spec.count.clamp(1, MAX_PROBES))
        .map(one)
        .buffered(CONCURRENT_PROBES)
        .collect()
        .await)
}

/// The address of the group's entry.
fn entry_address(group: &LaneGroup, name: &str) -> Result<String, ProbeError> {
    let told = group.status.as_ref().and_then(|s| s.addresses.first());
    let no = || ProbeError::NoAddress {
        group: name.into(),
        gateway: group.spec.entry.gateway.clone(),
    };
    told.cloned().ok_or_else(no)
}

async fn open_proxy(
    client: &kube::Client,
    target: Option<&ProxyTarget>,
    group: &LaneGroup,
    namespace: &str,
) -> Result<Proxy, ProbeError> {
    if let Some(host) = &group.spec.entry.host {
        return Err(ProbeError::Proxy(format!(
            "the entry takes requests for host {host} only, and the API server sends its own Host: probe from where \
             the entry can be reached"
        )));
    }
    match target {
        Some(target) => Ok(Proxy::to_service(client, target)),
        None => Proxy::to_gateway(client, namespace, &group.spec.entry.gateway)
            .await
            .map_err(|e| ProbeError::Proxy(e.to_string())),
    }
}

/// The chains of a request: from hops, or else from the response of the services.
fn build_chains(
    answer: &send::Answer,
    group: &str,
    request: &RequestParts,
    before: &World,
    after: &World,
) -> Vec<Chain> {
    let hops: Vec<Arc<Hop>> = after
        .hops
        .iter()
        .filter(|h| h.trace == answer.trace)
        .cloned()
        .collect();
    let better = |made: &dyn Fn(&World) -> Vec<Chain>| choose_chains(made, before, after);
    if !hops.is_empty() {
        let entry = hops.iter().any(|h| h.entry);
        return better(&|world| {
            let chains = assemble_chains(&hops, world, Timestamp::MAX);
            chains
                .into_iter()
                .filter(|c| {
                    !entry
                        || c.steps
                            .first()
                            .and_then(|s| s.hop.as_ref())
                            .is_some_and(|h| h.entry)
                })
                .collect()
        });
    }
    let Ok(links) = chain::text::parse_chains(&answer.body) else {
        return vec![];
    };
    better(&|world| explain_links(&links, answer, group, request, world))
}

/// The chains as they are after a request; if a lane was changed meanwhile, either state may be meant.
fn choose_chains(made: &dyn Fn(&World) -> Vec<Chain>, before: &World, after: &World) -> Vec<Chain> {
    let worst = |chains: &[Chain]| chains.iter().map(|c| c.worst).max().unwrap_or_default();
    let now = made(after);
    if !worst(&now).is_bad() {
        return now;
    }
    let then = made(before);
    if worst(&then) < worst(&now) {
        then
    } else {
        now
    }
}

/// The chains of the links that services told in their response.
fn explain_links(
    links: &[Vec<chain::text::Link>],
    answer: &send::Answer,
    group: &str,
    request: &RequestParts,
    world: &World,
) -> Vec<Chain> {
    let lanes: Vec<crate::api::Lane> = world.lanes.values().map(|l| (**l).clone()).collect();
    let traced = RequestParts {
        trace: answer.trace.clone(),
        ..request.clone()
    };
    let explained = world.groups.get(group).map(|group| {
        lanes::explain_request(
            &lanes::EntryContext {
                group,
                lanes: &lanes,
                routes: None,
                gateway: None,
            },
            &traced,
        )
    });
    let taken = explained.and_then(|e| e.outcome.as_forwarded()?.tag.clone());
    links
        .iter()
        .map(|line| from_links(line, group, taken.as_deref(), world))
        .collect()
}

/// The body as printable text.
fn to_printable(body: &[u8]) -> Clean {
    Clean::lines_from(&String::from_utf8_lossy(body))
}

#[cfg(test)]
mod tests;
