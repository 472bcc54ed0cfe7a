//! Detects whether a caller that sends no more still waits for its answer.
//!
//! A caller may shut down its sending side after its last request and keep reading. On the network
//! that looks the same as a full close, until something is sent to it. On this machine the socket
//! table tells the two apart: a closed socket has no owner. Remote callers cannot be checked; they
//! count as gone, as with nginx.

use std::{
    collections::HashSet,
    future::poll_fn,
    io,
    net::{SocketAddr, SocketAddrV4},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, sleep, sleep_until},
};

use super::sockets;

/// How often a waiting caller is checked.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum time between two reads of the table, however many callers are checked.
const SCAN_GAP: Duration = Duration::from_millis(100);

type SocketPair = (SocketAddrV4, SocketAddrV4);

/// A connection that can be watched while it is read and written in the same task.
#[derive(Clone, Debug)]
pub struct WatchedStream(Arc<Mutex<TcpStream>>);

impl WatchedStream {
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    fn lock_stream(&self) -> MutexGuard<'_, TcpStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes closing it send a reset.
    pub fn set_zero_linger(&self) {
        let _ = self.lock_stream().set_zero_linger();
    }

    /// The peer's and our address; `None` when the connection is broken.
    fn socket_pair(&self) -> Option<SocketPair> {
        let stream = self.lock_stream();
        let (Ok(SocketAddr::V4(peer)), Ok(SocketAddr::V4(here))) =
            (stream.peer_addr(), stream.local_addr())
        else {
            return None;
        };
        Some((peer, here))
    }

    /// Waits until the peer has closed its sending side or broken the connection. Unread data
    /// delays this; reading it wakes this up.
    async fn wait_end(&self) {
        let mut byte = [0; 1];
        poll_fn(|cx| {
            match self
                .lock_stream()
                .poll_peek(cx, &mut ReadBuf::new(&mut byte))
            {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock_stream()).poll_read(cx, into)
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock_stream()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        all: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock_stream()).poll_write_vectored(cx, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock_stream().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock_stream()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock_stream()).poll_shutdown(cx)
    }
}

/// The connections that were open at a time.
type SocketScan = (Instant, HashSet<SocketPair>);

/// Checks callers; clones share the results.
#[derive(Clone, Debug, Default)]
pub struct Callers(Arc<tokio::sync::Mutex<Option<SocketScan>>>);

impl Callers {
    /// Waits until the caller on a connection has gone.
    pub async fn wait_gone(&self, line: &WatchedStream) {
        line.wait_end().await;
        let Some(ends) = line.socket_pair() else {
            return;
        };
        while self.is_connected(&ends).await {
            sleep(RECHECK_INTERVAL).await;
        }
    }

    /// Uses a scan that began after the question.
    async fn is_connected(&self, ends: &SocketPair) -> bool {
        let asked = Instant::now();
        let mut seen = self.0.lock().await;
        if let Some((at, ends_then)) = &*seen {
            if *at >= asked {
                return ends_then.contains(ends);
            }
            sleep_until(*at + SCAN_GAP).await;
        }
        let now = Instant::now();
        let held = tokio::task::spawn_blocking(sockets::held_connections)
            .await
            .unwrap_or_default();
        let (_, held) = seen.insert((now, held));
        held.contains(ends)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};

    use super::*;

    async fn connected() -> (TcpStream, WatchedStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let client = TcpStream::connect(here).await.unwrap();
        (
            client,
            WatchedStream::new(listener.accept().await.unwrap().0),
        )
    }

    #[tokio::test]
    async fn who_sends_no_more_is_there_until_it_closes() {
        let callers = Callers::default();
        let (mut client, line) = connected().await;
        client.shutdown().await.unwrap();
        line.wait_end().await;
        assert!(callers.is_connected(&line.socket_pair().unwrap()).await);
        let gone = tokio::spawn(async move { callers.wait_gone(&line).await });
        drop(client);
        timeout(Duration::from_mins(1), gone)
            .await
            .expect("it is gone")
            .unwrap();
    }

    #[tokio::test]
    async fn who_closes_or_resets_is_gone() {
        for reset in [false, true] {
            let callers = Callers::default();
            let (client, line) = connected().await;
            if reset {
                client.set_zero_linger().unwrap();
            }
            drop(client);
            timeout(Duration::from_mins(1), callers.wait_gone(&line))
                .await
                .expect("it is gone");
        }
    }
}
