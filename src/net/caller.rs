//! Whether a caller that sends no more still waits for its answer.
//!
//! A caller may shut its sending side down behind its last request and go on reading. On the wire that is the same as
//! if it had closed altogether, until something is sent to it. On this machine the table of sockets tells the two apart:
//! a closed socket is nobody's any more. Of a caller elsewhere nothing is known; it counts as gone, as with nginx.

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

/// A caller that waits is looked for again after this.
const EACH: Duration = Duration::from_secs(1);

/// The table is read no more often than this, however many callers are looked for.
const GAP: Duration = Duration::from_millis(100);

type Ends = (SocketAddrV4, SocketAddrV4);

/// A connection that can be watched while somebody else reads and writes it, in one and the same task.
#[derive(Clone, Debug)]
pub struct Watched(Arc<Mutex<TcpStream>>);

impl Watched {
    pub fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    fn stream(&self) -> MutexGuard<'_, TcpStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its end is a reset.
    pub fn set_zero_linger(&self) {
        let _ = self.stream().set_zero_linger();
    }

    /// The peer and this side; none once it is broken off.
    fn ends(&self) -> Option<Ends> {
        let stream = self.stream();
        let (Ok(SocketAddr::V4(peer)), Ok(SocketAddr::V4(here))) =
            (stream.peer_addr(), stream.local_addr())
        else {
            return None;
        };
        Some((peer, here))
    }

    /// Waits until the other side has sent its end, or has broken off. Not while something that came before is unread:
    /// whoever reads it wakes this up.
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

/// The connections that somebody held at a time.
type Look = (Instant, HashSet<Ends>);

/// Looks for callers; clones share the looks.
#[derive(Clone, Debug, Default)]
pub struct Callers(Arc<tokio::sync::Mutex<Option<Look>>>);

impl Callers {
    /// Waits until the caller on a connection has gone away.
    pub async fn gone(&self, line: &Watched) {
        line.ended().await;
        let Some(ends) = line.ends() else { return };
        while self.is_there(&ends).await {
            sleep(EACH).await;
        }
    }

    /// By a look that began after the question.
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
