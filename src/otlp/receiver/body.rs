//! Reads request bodies, bounded individually and in total.

use std::{sync::Arc, time::Duration};

use ::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, body::Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::{MOST_BYTES, Refusal};

/// Bytes of all requests that are being read or decoded. Requests over it are refused, and senders
/// retry.
const TOTAL_BUDGET_BYTES: usize = 32 << 20;
/// Timeout for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// The bytes that all current requests may hold together.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TOTAL_BUDGET_BYTES)))
    }
}

impl Budget {
    /// Reserves bytes until the result is dropped.
    ///
    /// # Errors
    ///
    /// When other requests hold too many.
    pub(super) fn reserve_bytes(&self, bytes: usize) -> Result<HeldBytes, Refusal> {
        let bytes = u32::try_from(bytes).map_err(|_| Refusal::TooLarge)?;
        self.0
            .clone()
            .try_acquire_many_owned(bytes)
            .map(HeldBytes)
            .map_err(|_| Refusal::Busy)
    }

    /// Bytes that are not reserved.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.0.available_permits()
    }
}

/// Reserved bytes of the budget.
#[derive(Debug)]
pub(super) struct HeldBytes(OwnedSemaphorePermit);

impl HeldBytes {
    /// Adds another reservation to this one.
    pub(super) fn merge_held(&mut self, more: HeldBytes) {
        self.0.merge(more.0);
    }
}

/// Limits for reading what is only discarded: bytes, and time.
const MOST_DRAINED: usize = 64 << 20;
const DRAINED_WITHIN: Duration = Duration::from_secs(2);

/// Reads on after a refusal: a sender in the middle of its body does not look for an answer, and
/// closing the connection would lose the answer.
pub(super) async fn drain_body(body: &mut Incoming) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MOST_DRAINED {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAINED_WITHIN, reading).await;
}

/// Reads a whole body.
///
/// # Errors
///
/// When it is too long, incomplete or too slow.
pub(super) async fn collect_body(
    headers: &HeaderMap,
    mut body: Incoming,
    budget: &Budget,
) -> Result<(Bytes, HeldBytes), Refusal> {
    let told = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|length| length > MOST_BYTES) {
        drain_body(&mut body).await;
        return Err(Refusal::TooLarge);
    }
    let read = tokio::time::timeout(BODY_TIMEOUT, read_body(&mut body, budget))
        .await
        .map_err(|_| Refusal::Slow)?;
    if matches!(read, Err(Refusal::TooLarge | Refusal::Busy)) {
        drain_body(&mut body).await;
    }
    read
}

async fn read_body(body: &mut Incoming, budget: &Budget) -> Result<(Bytes, HeldBytes), Refusal> {
    let (mut bytes, mut held) = (Vec::new(), budget.reserve_bytes(0)?);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::Cut)?.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > MOST_BYTES {
            return Err(Refusal::TooLarge);
        }
        held.merge_held(budget.reserve_bytes(data.len())?);
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.into(), held))
}
