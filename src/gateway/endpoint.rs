//! The pods behind a Service port, and the connections kept to each.
//!
//! An `Endpoint` lives as long as the table or a request holds it. When its pod goes, new requests
//! no longer find it, those in flight finish, and its idle connections close with it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::backend_connection::BackendConnection;

/// One ready pod.
#[derive(Debug)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// The IP address as text, as reported in hops.
    pub ip: String,
    /// Name of the pod; empty if the EndpointSlice names none.
    pub pod: String,
    /// App from the pod's labels.
    pub app: Option<String>,
    /// Lane tag of the pod.
    pub tag: Option<String>,
    pending: AtomicUsize,
    idle: Mutex<Vec<IdleConnection>>,
}

#[derive(Debug)]
struct IdleConnection {
    connection: BackendConnection,
    since: Instant,
}

impl Endpoint {
    pub(super) fn new(
        address: SocketAddr,
        pod: String,
        app: Option<String>,
        tag: Option<String>,
    ) -> Self {
        Self {
            address,
            ip: address.ip().to_string(),
            pod,
            app,
            tag,
            pending: AtomicUsize::new(0),
            idle: Mutex::default(),
        }
    }

    /// A kept connection that still seems to be open.
    pub(super) fn take_connection(&self, idle: Duration) -> Option<BackendConnection> {
        let mut kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The last one kept is the most likely to be open; stale ones that are met on the way are
        // closed.
        let mut at = kept.len();
        while at > 0 {
            at -= 1;
            if kept[at].since.elapsed() >= idle || kept[at].connection.has_ended() {
                kept.swap_remove(at);
            } else if kept[at].connection.is_ready() {
                return Some(kept.swap_remove(at).connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep_connection(&self, connection: BackendConnection, most: usize) {
        let mut kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < most {
            kept.push(IdleConnection {
                connection,
                since: Instant::now(),
            });
        }
    }

    /// Closes connections that were idle for too long.
    pub(super) fn prune(&self, idle: Duration) {
        let mut kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain_mut(|i| i.since.elapsed() < idle && !i.connection.has_ended());
    }
}

/// Counts a request in flight at its endpoint while it lives.
#[derive(Debug)]
pub(super) struct InFlightGuard(pub(super) Arc<Endpoint>);

impl InFlightGuard {
    pub(super) fn for_endpoint(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.pending.fetch_add(1, Relaxed);
        Self(endpoint.clone())
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Relaxed);
    }
}

/// The ready pods behind a port.
#[derive(Debug, Default)]
pub struct Endpoints {
    list: Vec<Arc<Endpoint>>,
    turn: AtomicUsize,
}

/// Endpoints compared for each request at most.
const MAX_COMPARED: usize = 8;

impl Endpoints {
    pub(super) fn new(list: Vec<Arc<Endpoint>>) -> Self {
        Self {
            list,
            turn: AtomicUsize::new(0),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Round robin among the endpoints with the fewest requests in flight; avoids `tried` if
    /// possible.
    pub(super) fn pick(&self, tried: &[SocketAddr]) -> Option<&Arc<Endpoint>> {
        let n = self.list.len();
        let start = self.turn.fetch_add(1, Relaxed);
        let in_turn = || (0..n).map(|i| &self.list[start.wrapping_add(i) % n]);
        let fresh = in_turn()
            .filter(|e| !tried.contains(&e.address))
            .take(MAX_COMPARED);
        fresh
            .min_by_key(|e| e.pending.load(Relaxed))
            .or_else(|| in_turn().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(n: u16) -> Endpoints {
        let one = |port| {
            Arc::new(Endpoint::new(
                SocketAddr::from(([127, 0, 0, 1], port)),
                String::new(),
                None,
                None,
            ))
        };
        Endpoints::new((1..=n).map(one).collect())
    }

    #[test]
    fn turns_go_round_and_the_busy_are_spared() {
        let all = endpoints(3);
        let ports: Vec<u16> = (0..6)
            .map(|_| all.pick(&[]).unwrap().address.port())
            .collect();
        assert_eq!(ports, [1, 2, 3, 1, 2, 3]);
        let busy = InFlightGuard::for_endpoint(&all.list[0]);
        assert!((0..6).all(|_| all.pick(&[]).unwrap().address.port() != 1));
        drop(busy);
        assert!((0..3).any(|_| all.pick(&[]).unwrap().address.port() == 1));
    }

    #[test]
    fn a_retry_goes_elsewhere_where_it_can() {
        let all = endpoints(2);
        let tried = [all.list[0].address];
        assert!((0..4).all(|_| all.pick(&tried).unwrap().address != tried[0]));
        assert!(endpoints(1).pick(&tried).is_some());
        assert!(endpoints(0).pick(&[]).is_none());
    }
}
