//! Listening: sockets follow the table, connections end gracefully.

use std::{collections::HashMap, convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::HeaderValue;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::holder;
use super::proxy::{Came, Shared};

/// The open listeners.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: HashMap<SocketAddr, (CancellationToken, JoinHandle<()>)>,
    closing: Vec<JoinHandle<()>>,
}

impl Listeners {
    /// Opens what is wanted and not open, closes the rest. What cannot be opened is told, and tried again at
    /// the next call.
    pub(super) fn follow(&mut self, shared: &Arc<Shared>, wanted: &[SocketAddr]) -> HashMap<SocketAddr, String> {
        self.closing.retain(|t| !t.is_finished());
        let gone: Vec<SocketAddr> = self.open.keys().filter(|a| !wanted.contains(a)).copied().collect();
        for address in gone {
            if let Some((stop, task)) = self.open.remove(&address) {
                stop.cancel();
                self.closing.push(task);
            }
        }
        let mut failed = HashMap::new();
        for &address in wanted {
            if self.open.contains_key(&address) {
                continue;
            }
            match bind(address) {
                Ok(listener) => {
                    let stop = CancellationToken::new();
                    let task = tokio::spawn(listen(listener, address, shared.clone(), stop.clone()));
                    self.open.insert(address, (stop, task));
                }
                Err(e) => {
                    let taken = e.kind() == io::ErrorKind::AddrInUse;
                    let by = taken.then(|| holder::of(address)).flatten();
                    let why = by.map_or_else(|| e.to_string(), |by| format!("taken by {by}"));
                    failed.insert(address, format!("cannot listen on {address}: {why}"));
                }
            }
        }
        failed
    }

    /// Accepts nothing more, and waits for what is in flight.
    pub(super) async fn drain(&mut self, limit: Duration) {
        for (_, (stop, task)) in self.open.drain() {
            stop.cancel();
            self.closing.push(task);
        }
        let all = futures::future::join_all(self.closing.iter_mut());
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("requests were still in flight after {limit:?} and are cut off");
            self.closing.iter().for_each(JoinHandle::abort);
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn listen(listener: TcpListener, at: SocketAddr, shared: Arc<Shared>, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let mut server = auto::Builder::new(TokioExecutor::new());
    let limits = &shared.limits;
    let http1 = &mut server.http1();
    http1.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_headers(limits.headers);
    http1.max_buf_size(limits.head).half_close(false);
    let head = u32::try_from(limits.head).unwrap_or(u32::MAX);
    server.http2().timer(TokioTimer::new()).max_header_list_size(head).keep_alive_interval(limits.idle);
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    // Out of descriptors, most likely: others have to finish first.
                    tracing::warn!("cannot accept on {at}: {e}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        if let Some(port) = shared.raw_at(at) {
            let passed = shared.clone().pass(stream, port);
            shared.switched.spawn(passed);
            continue;
        }
        let Ok(from) = HeaderValue::try_from(peer.ip().to_string()) else { continue };
        let (shared, came) = (shared.clone(), Came { at, from });
        let answer = service_fn(move |request| {
            let (shared, came) = (shared.clone(), came.clone());
            async move { Ok::<_, Infallible>(shared.answer(request, came).await) }
        });
        let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), answer).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _ = connection.await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
