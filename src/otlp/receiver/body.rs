//! Bodies as they come in: each bounded, and all together.

use std::{sync::Arc, time::Duration};

use ::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, body::Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::{MOST_BYTES, Refusal};

/// Bytes of all requests that are being read or decoded: what is over it is refused, and sent again.
const MOST_OF_ALL: usize = 32 << 20;
/// A body comes within this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that requests under way may hold, all together.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_OF_ALL)))
    }
}

impl Budget {
    /// So many bytes, until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// When others hold too much.
    pub(super) fn hold(&self, bytes: usize) -> Result<Held, Refusal> {
        let bytes = u32::try_from(bytes).map_err(|_| Refusal::TooLarge)?;
        self.0.clone().try_acquire_many_owned(bytes).map(Held).map_err(|_| Refusal::Busy)
    }

    /// Bytes that nobody holds.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.0.available_permits()
    }
}

/// Bytes of the budget.
#[derive(Debug)]
pub(super) struct Held(OwnedSemaphorePermit);

impl Held {
    /// Also those.
    pub(super) fn and(&mut self, more: Held) {
        self.0.merge(more.0);
    }
}

/// A whole body.
///
/// # Errors
///
/// When it is too long, is not sent to its end, or comes too slowly.
pub(super) async fn collect(headers: &HeaderMap, body: Incoming, budget: &Budget) -> Result<(Bytes, Held), Refusal> {
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|length| length > MOST_BYTES) {
        return Err(Refusal::TooLarge);
    }
    tokio::time::timeout(PATIENCE, read(body, budget)).await.map_err(|_| Refusal::Slow)?
}

async fn read(mut body: Incoming, budget: &Budget) -> Result<(Bytes, Held), Refusal> {
    let (mut bytes, mut held) = (Vec::new(), budget.hold(0)?);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::Cut)?.into_data() else { continue };
        if bytes.len() + data.len() > MOST_BYTES {
            return Err(Refusal::TooLarge);
        }
        held.and(budget.hold(data.len())?);
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.into(), held))
}
