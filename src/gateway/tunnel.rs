//! Connections that only carry bytes after switching protocols (WebSockets). Idle ones are closed;
//! TCP keepalive finds peers that have vanished.

use std::{
    collections::BTreeMap,
    io,
    os::fd::AsFd,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep},
};

use super::limits::parse_duration;
use crate::api::label;

/// Idle time before the first TCP keepalive probe.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
/// Time between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Probes without an answer before the connection is closed.
const KEEPALIVE_PROBES: u32 = 4;

/// Enables TCP keepalive. Sockets accepted by a listener inherit it.
pub(super) fn keep_alive(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd();
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    Ok(sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?)
}

/// The idle timeout in the annotation of a Gateway or Service: `None` if it is absent, no limit for
/// `0s`. The error says why it is invalid.
pub(super) fn parse_idle_timeout(
    annotations: &BTreeMap<String, String>,
) -> Result<Option<Option<Duration>>, String> {
    let Some(text) = annotations.get(label::TUNNEL_IDLE) else {
        return Ok(None);
    };
    let wrong = || {
        format!(
            "annotation {}: {text:?} is no duration such as 1h or 30m",
            label::TUNNEL_IDLE
        )
    };
    parse_duration(text).map(Some).ok_or_else(wrong)
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TunnelEnd {
    /// One of the peers ended it.
    ByPeer,
    /// No data for too long.
    IdleTimeout,
}

/// Copies bytes in both directions until both sides have ended, one breaks off, or neither sends
/// anything for `idle`.
pub(super) async fn join<A, B>(caller: A, mut backend: B, idle: Option<Duration>) -> TunnelEnd
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let last = Arc::new(Mutex::new(Instant::now()));
    // All data is read from the caller or written to it.
    let mut caller = ActivityStream {
        stream: caller,
        last: last.clone(),
    };
    let silence = async {
        let Some(idle) = idle else {
            return std::future::pending().await;
        };
        loop {
            let silent = last
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .elapsed();
            match idle.checked_sub(silent).filter(|left| !left.is_zero()) {
                Some(left) => sleep(left).await,
                None => return,
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut caller, &mut backend) => TunnelEnd::ByPeer,
        () = silence => TunnelEnd::IdleTimeout,
    }
}

/// A stream that knows when data was last read or written.
struct ActivityStream<S> {
    stream: S,
    last: Arc<Mutex<Instant>>,
}

impl<S> ActivityStream<S> {
    fn note_activity(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ActivityStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if read.is_ready() {
            self.note_activity();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ActivityStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            self.note_activity();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const IDLE: Duration = Duration::from_hours(1);

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_tunnel_and_a_word_from_either_side_keeps_it() {
        let ((mut client, caller), (mut pod, backend)) = (duplex(16), duplex(16));
        let begun = Instant::now();
        let tunnel =
            tokio::spawn(async move { (join(caller, backend, Some(IDLE)).await, begun.elapsed()) });
        for from_client in [true, false, true] {
            sleep(IDLE.saturating_sub(Duration::from_secs(1))).await;
            let (from, to) = if from_client {
                (&mut client, &mut pod)
            } else {
                (&mut pod, &mut client)
            };
            from.write_all(b"x").await.unwrap();
            assert_eq!(to.read_u8().await.unwrap(), b'x');
        }
        let (ended, after) = tunnel.await.unwrap();
        assert_eq!(ended, TunnelEnd::IdleTimeout);
        assert!(
            ((4 * IDLE).saturating_sub(Duration::from_secs(4))..4 * IDLE).contains(&after),
            "{after:?}"
        );
        assert!(
            client.read_u8().await.is_err() && pod.read_u8().await.is_err(),
            "both ends are closed"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_only_they_end_it() {
        let ((client, caller), (pod, backend)) = (duplex(16), duplex(16));
        let tunnel = tokio::spawn(join(caller, backend, None));
        sleep(100 * IDLE).await;
        assert!(!tunnel.is_finished());
        drop((client, pod));
        assert_eq!(tunnel.await.unwrap(), TunnelEnd::ByPeer);
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_a_tunnel_is_no_tunnel_for_ever() {
        let ((mut client, caller), (mut pod, backend)) = (duplex(16), duplex(16));
        let tunnel = tokio::spawn(join(caller, backend, Some(IDLE)));
        client.shutdown().await.unwrap();
        assert!(pod.read_u8().await.is_err(), "the end goes through");
        assert_eq!(tunnel.await.unwrap(), TunnelEnd::IdleTimeout);
    }

    #[test]
    fn an_annotation_says_how_long() {
        let of = |text: &str| {
            parse_idle_timeout(&BTreeMap::from([(
                label::TUNNEL_IDLE.to_owned(),
                text.to_owned(),
            )]))
        };
        assert_eq!(parse_idle_timeout(&BTreeMap::new()), Ok(None));
        assert_eq!(of("30m"), Ok(Some(Some(Duration::from_mins(30)))));
        assert_eq!(of("0s"), Ok(Some(None)));
        assert!(of("soon").unwrap_err().contains("\"soon\" is no duration"));
    }
}
