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
const EACH: Duration = Duration::from_secs(1);

/// Minimum time between two reads of the table, however many callers are checked.
const GAP: Duration = Duration::from_millis(100);

type Ends = (SocketAddrV4, SocketAddrV4);

/// A connection that can be watched while it is read and written in the same task.
#[derive(Clone, Debug)]
pub struct Watched(Arc<Mutex<TcpStream>>);

impl Watched {
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    fn stream(&self) -> MutexGuard<'_, TcpStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes closing it send a reset.
    pub fn set_zero_linger(&self) {
        let _ = self.stream().set_zero_linger();
    }

    /// The peer's and our address; `None` when the connection is broken.
    fn ends(&self) -> Option<Ends> {
        let stream = self.stream();
        let (Ok(SocketAddr::V4(peer)), Ok(SocketAddr::V4(here))) =
            (stream.peer_addr(), stream.local_addr())
        else {
            return None;
        };
        Some((peer, here))
    }

    /// Waits until the peer has closed its sending side or broken the connection. Unread data
    /// delays this; reading it wakes this up.
    async fn ended(&self) {
        let mut byte = [0; 1];
        poll_fn(
            |cx| match self.stream().poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
                _ => Poll::Pending,
            },
        )
        .await;
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_read(cx, into)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        all: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write_vectored(cx, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_shutdown(cx)
    }
}

/// The connections that were open at a time.
type Look = (Instant, HashSet<Ends>);

/// Checks callers; clones share the results.
#[derive(Clone, Debug, Default)]
pub struct Callers(Arc<tokio::sync::Mutex<Option<Look>>>);

impl Callers {
    /// Waits until the caller on a connection has gone.
    pub async fn gone(&self, line: &Watched) {
        line.ended().await;
        let Some(ends) = line.ends() else { return };
        while self.is_there(&ends).await {
            sleep(EACH).await;
        }
    }

    /// Uses a scan that began after the question.
    async fn is_there(&self, ends: &Ends) -> bool {
        let asked = Instant::now();
        let mut seen = self.0.lock().await;
        if let Some((at, ends_then)) = &*seen {
            if *at >= asked {
                return ends_then.contains(ends);
            }
            sleep_until(*at + GAP).await;
        }
        let now = Instant::now();
        let held = tokio::task::spawn_blocking(sockets::held)
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

    async fn connected() -> (TcpStream, Watched) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let client = TcpStream::connect(here).await.unwrap();
        (client, Watched::new(listener.accept().await.unwrap().0))
    }

    #[tokio::test]
    async fn who_sends_no_more_is_there_until_it_closes() {
        let callers = Callers::default();
        let (mut client, line) = connected().await;
        client.shutdown().await.unwrap();
        line.ended().await;
        assert!(callers.is_there(&line.ends().unwrap()).await);
        let gone = tokio::spawn(async move { callers.gone(&line).await });
        drop(client);
        timeout(Duration::from_secs(60), gone)
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
            timeout(Duration::from_secs(60), callers.gone(&line))
                .await
                .expect("it is gone");
        }
    }
}
