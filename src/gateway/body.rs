//! Bodies are forwarded frame by frame, never buffered as a whole.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;

use super::{
    backend_connection::BackendConnection, endpoint::InFlightGuard, hop_record::HopRecord,
};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response from the gateway.
pub(super) type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// A request body on its way to a backend.
#[derive(Debug)]
pub struct Upload {
    inner: Option<Incoming>,
    left: u64,
}

impl Upload {
    /// At most `most` bytes of a body.
    pub(super) fn new(inner: Incoming, most: u64) -> Self {
        let inner = if inner.is_end_stream() {
            None
        } else {
            Some(inner)
        };
        Self { inner, left: most }
    }

    pub(super) fn empty() -> Self {
        Self {
            inner: None,
            left: 0,
        }
    }
}

/// The body was longer than allowed.
#[derive(Debug, thiserror::Error)]
#[error("the request's body is longer than the gateway allows")]
pub(super) struct BodyTooLong;

/// The caller did not send its body completely, or sent an invalid one: the backend is not to
/// blame.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct CallerError(hyper::Error);

impl CallerError {
    /// Whether the body was invalid; otherwise the caller went away.
    pub(super) fn is_malformed(&self) -> bool {
        let io = std::iter::successors(self.0.source(), |e| (**e).source())
            .find_map(|e| e.downcast_ref::<io::Error>());
        io.is_some_and(|e| {
            matches!(
                e.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
            )
        })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(inner)
            .poll_frame(cx)
            .map_err(|e| BoxError::from(CallerError(e)));
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let size = frame.data_ref().map_or(0, |d| d.remaining() as u64);
            match self.left.checked_sub(size) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(BodyTooLong.into()))),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A response body on its way to the caller. At its end, the connection is kept for the next
/// request and the hop is reported.
pub(super) struct Download {
    inner: Incoming,
    record: Option<HopRecord>,
    connection: Option<(BackendConnection, usize)>,
    pending: InFlightGuard,
    /// Why it broke off, until the caller's connection is told.
    broken: Option<BoxError>,
    /// Set when the response breaks off and the caller could take its part for the whole.
    cut: Option<Arc<AtomicBool>>,
}

impl Download {
    pub(super) fn new(
        inner: Incoming,
        record: HopRecord,
        connection: BackendConnection,
        pooled: usize,
        pending: InFlightGuard,
        cut: Option<Arc<AtomicBool>>,
    ) -> Self {
        let mut body = Self {
            inner,
            record: Some(record),
            connection: Some((connection, pooled)),
            pending,
            broken: None,
            cut,
        };
        if body.inner.is_end_stream() {
            body.finish(None);
        }
        body
    }

    fn finish(&mut self, error: Option<String>) {
        let whole = error.is_none();
        // A body that has reached its end once is complete, whatever it reports when dropped.
        if let Some(cut) = self.cut.take().filter(|_| !whole) {
            cut.store(true, Relaxed);
        }
        if let Some(mut record) = self.record.take() {
            let hop = record.hop();
            hop.error = error.or(hop.error.take());
        }
        if let Some((connection, pooled)) = self.connection.take()
            && whole
        {
            self.pending.0.keep_connection(connection, pooled);
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let mut polled = Pin::new(&mut self.inner).poll_frame(cx);
        // Only now does the connection know that more is wanted.
        if let (Poll::Pending, Some((connection, _))) = (&polled, &mut self.connection) {
            connection.poll_drive(cx);
            polled = Pin::new(&mut self.inner).poll_frame(cx);
        }
        let polled = polled.map_err(BoxError::from);
        match &polled {
            Poll::Ready(None) => self.finish(None),
            // Before the caller can have all of it, so that the hop of a callee precedes that of
            // its caller.
            Poll::Ready(Some(Ok(f))) if self.inner.is_end_stream() || f.is_trailers() => {
                self.finish(None);
            }
            Poll::Ready(Some(Err(e))) => self.finish(Some(format!("the response broke off: {e}"))),
            _ => {}
        }
        if let Poll::Ready(Some(Err(error))) = polled {
            // At the next poll: what came before is written to the caller first.
            self.broken = Some(error);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let gone = !self.inner.is_end_stream();
        self.finish(gone.then(|| "the caller went away before the response's end".to_owned()));
    }
}

/// The body of a 304, whose head has the length that a 200 would have (RFC 9110 §8.6). It is empty
/// but does not report a length of 0, for which hyper would remove the header.
struct NotModifiedBody;

impl Body for NotModifiedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(None)
    }
}

pub(super) fn not_modified_body() -> ResponseBody {
    NotModifiedBody.boxed_unsync()
}

/// A short text as a body.
pub(super) fn text_body(text: String) -> ResponseBody {
    Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed_unsync()
}
