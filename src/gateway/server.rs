//! Listens on the addresses of the table; closes connections gracefully.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    body::ResponseBody,
    deadline::ConnectionTimer,
    port_owner,
    proxy::{ConnectionInfo, DataPlane},
    tunnel::keep_alive,
    version::VersionGuard,
};
use net::{
    admission::Admission,
    caller::{Callers, WatchedStream},
    first_byte::FirstByteDeadline,
};

/// Share of this process's file descriptors for callers; each connection may need two.
const DESCRIPTOR_SHARE: f64 = 0.5;

/// The open listeners.
#[derive(Debug)]
pub(super) struct Listeners {
    admission: Admission,
    callers: Callers,
    open: HashMap<SocketAddr, (CancellationToken, JoinHandle<()>)>,
    closing: Vec<JoinHandle<()>>,
}

impl Default for Listeners {
    fn default() -> Self {
        let admission = Admission::for_descriptor_share(DESCRIPTOR_SHARE, 2);
        Self {
            admission,
            callers: Callers::default(),
            open: HashMap::new(),
            closing: Vec::new(),
        }
    }
}

impl Listeners {
    /// Opens missing listeners and closes the rest. Returns the addresses that cannot be bound;
    /// these are tried again at the next call.
    pub(super) fn update_sockets(
        &mut self,
        shared: &Arc<DataPlane>,
        wanted: &[SocketAddr],
    ) -> HashMap<SocketAddr, String> {
        self.closing.retain(|t| !t.is_finished());
        let gone: Vec<SocketAddr> = self
            .open
            .keys()
            .filter(|a| !wanted.contains(a))
            .copied()
            .collect();
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
            match bind_listener(address) {
                Ok(listener) => {
                    let stop = CancellationToken::new();
                    let doors = ConnectionGate {
                        admission: self.admission.clone(),
                        callers: self.callers.clone(),
                    };
                    let listening =
                        accept_connections(listener, address, shared.clone(), doors, stop.clone());
                    let task = tokio::spawn(listening);
                    self.open.insert(address, (stop, task));
                }
                Err(e) => {
                    let taken = e.kind() == io::ErrorKind::AddrInUse;
                    let by = taken
                        .then(|| port_owner::find_port_owner(address))
                        .flatten();
                    let why = by.map_or_else(|| e.to_string(), |by| format!("taken by {by}"));
                    failed.insert(address, format!("cannot listen on {address}: {why}"));
                }
            }
        }
        failed
    }

    /// Stops accepting and waits for requests in flight.
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

fn bind_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it.
    keep_alive(&socket)?;
    socket.bind(address)?;
    socket.listen(1024)
}

fn build_server(shared: &DataPlane) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    let limits = &shared.limits;
    let http1 = &mut server.http1();
    // Its timer is set for each connection. A head has at most 100 headers, hyper's own bound (and
    // Envoy's): for another one it takes memory from the heap at each head.
    http1.header_read_timeout(limits.idle);
    // A caller that closed its sending side may still wait for the response; `Callers` notices
    // those that have gone away.
    http1.max_buf_size(limits.head).half_close(true);
    let head = u32::try_from(limits.head).unwrap_or(u32::MAX);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(head)
        .keep_alive_interval(limits.idle);
    server
}

/// A service that answers each request of a connection.
fn connection_service(
    shared: Arc<DataPlane>,
    came: ConnectionInfo,
) -> impl Service<
    Request<Incoming>,
    Response = Response<ResponseBody>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<ResponseBody>, Infallible>> + Send,
> {
    let came = Arc::new(came);
    service_fn(move |request| {
        let (shared, came) = (shared.clone(), came.clone());
        async move { Ok::<_, Infallible>(shared.answer_request(request, came).await) }
    })
}

/// Serves one connection that came in at an address, until it ends.
pub(super) async fn serve_connection<S>(shared: Arc<DataPlane>, stream: S, at: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let peer = SocketAddr::from(([127, 0, 0, 1], 0));
    let from = HeaderValue::from_static("127.0.0.1");
    let came = ConnectionInfo {
        at,
        local: at.to_string().into(),
        peer,
        from,
        cut: Arc::default(),
    };
    let mut server = build_server(&shared);
    server.http1().timer(ConnectionTimer::default());
    let stream = TokioIo::new(VersionGuard::new(stream));
    let _ = server
        .serve_connection_with_upgrades(stream, connection_service(shared, came))
        .await;
}

/// A caller's connection. An HTTP/1.0 response may end with it, so a response that broke off must
/// not end with a regular close.
struct CallerStream {
    stream: WatchedStream,
    cut: Arc<AtomicBool>,
}

impl Drop for CallerStream {
    fn drop(&mut self) {
        if self.cut.load(Relaxed) {
            // Closing sends a reset.
            self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for CallerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for CallerStream {
    net::pass_writes!();

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.load(Relaxed) {
            // Shutdown would send a regular end before the reset in `drop`.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// State shared by all listeners: admission, and detection of callers that have gone.
#[derive(Clone)]
struct ConnectionGate {
    admission: Admission,
    callers: Callers,
}

async fn accept_connections(
    listener: TcpListener,
    at: SocketAddr,
    shared: Arc<DataPlane>,
    doors: ConnectionGate,
    stop: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let listening = ListeningAddress {
        at,
        local: at.to_string().into(),
        server: build_server(&shared),
        shared,
        doors,
    };
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    // Most likely out of file descriptors: wait until others finish.
                    tracing::warn!("cannot accept on {at}: {e}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        tokio::spawn(
            listening
                .clone()
                .serve_caller(stream, peer, graceful.watcher()),
        );
    }
    drop(listener);
    graceful.shutdown().await;
}

/// What all connections to one address share.
#[derive(Clone)]
struct ListeningAddress {
    at: SocketAddr,
    local: Arc<str>,
    server: auto::Builder<TokioExecutor>,
    shared: Arc<DataPlane>,
    doors: ConnectionGate,
}

impl ListeningAddress {
    /// Serves the connection of a caller until it ends.
    async fn serve_caller(self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        let Self {
            at,
            local,
            mut server,
            shared,
            doors,
        } = self;
        // Closed at once: the source or the gateway has too many connections.
        let Some(place) = doors.admission.admit_peer(peer, at).await else {
            return;
        };
        if let Some(port) = shared.raw_port_at(at) {
            let passed = shared.clone().pass_through(stream, port);
            shared.switched.spawn(async move {
                passed.await;
                drop(place);
            });
            return;
        }
        let Ok(from) = HeaderValue::try_from(peer.ip().to_string()) else {
            return;
        };
        let stream = WatchedStream::new(stream);
        let watched = stream.clone();
        let line = CallerStream {
            stream,
            cut: Arc::default(),
        };
        let came = ConnectionInfo {
            at,
            local,
            peer,
            from,
            cut: line.cut.clone(),
        };
        let answer = connection_service(shared.clone(), came);
        let stream = VersionGuard::new(FirstByteDeadline::new(
            line,
            shared.limits.first_byte,
            Some(place),
        ));
        server.http1().timer(ConnectionTimer::default());
        let connection = server
            .serve_connection_with_upgrades(TokioIo::new(stream), answer)
            .into_owned();
        tokio::select! {
            biased;
            _ = watcher.watch(connection) => {}
            // Requests in flight end with their connection.
            () = doors.callers.wait_gone(&watched) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn accepted_connections_find_out_by_themselves_that_their_peer_is_gone() {
        let listener = bind_listener("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(rustix::net::sockopt::socket_keepalive(&accepted).unwrap());
        assert!(rustix::net::sockopt::tcp_keepidle(&accepted).unwrap() <= Duration::from_mins(1));
        drop(client);
    }
}
