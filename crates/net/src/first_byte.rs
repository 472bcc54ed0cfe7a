//! A connection whose first byte must arrive in time; otherwise reading fails.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::admission::ConnectionSlot;

/// A stream with its connection slot and a deadline for its first byte.
pub struct FirstByteDeadline<S> {
    stream: S,
    /// `None` once something has arrived.
    deadline: Option<Pin<Box<Sleep>>>,
    _place: Option<ConnectionSlot>,
}

impl<S> FirstByteDeadline<S> {
    pub fn new(stream: S, limit: Duration, place: Option<ConnectionSlot>) -> Self {
        Self {
            stream,
            deadline: Some(Box::pin(sleep(limit))),
            _place: place,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstByteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.deadline = None;
        } else if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nothing was sent in time",
            )));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstByteDeadline<S> {
    crate::pass_writes!();

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn silence_at_the_beginning_ends_it_and_silence_later_does_not() {
        let (_silent, stream) = duplex(16);
        let mut stream = FirstByteDeadline::new(stream, Duration::from_secs(10), None);
        assert_eq!(
            stream.read_u8().await.unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );

        let (mut other, stream) = duplex(16);
        let mut stream = FirstByteDeadline::new(stream, Duration::from_secs(10), None);
        other.write_all(b"ab").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'a');
        assert_eq!(stream.read_u8().await.unwrap(), b'b');
        let later = async {
            tokio::time::sleep(Duration::from_hours(1)).await;
            other.write_all(b"c").await.unwrap();
        };
        let (read, ()) = tokio::join!(stream.read_u8(), later);
        assert_eq!(read.unwrap(), b'c');
    }
}
