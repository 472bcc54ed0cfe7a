//! Errors of the state folder, one variant for each cause.

use std::path::PathBuf;

use super::StoredObject;

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process uses the store; the caller can attach to that pocket instead.
    #[error("{}: in use by another process", path.display())]
    Locked { path: PathBuf },
    #[error("{}: no right to write there", path.display())]
    ReadOnly { path: PathBuf },
    #[error("{}: no space left", path.display())]
    Full { path: PathBuf },
    #[error("{}: damaged ({detail})", path.display())]
    Damaged { path: PathBuf, detail: String },
    #[error("{}: written by another version ({detail})", path.display())]
    Version { path: PathBuf, detail: String },
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl StoreError {
    pub fn is_locked(&self) -> bool {
        matches!(self, StoreError::Locked { .. })
    }
}

/// A write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The precondition did not hold; contains the current object.
    #[error("the object is not as expected")]
    Conflict(Option<StoredObject>),
    #[error("the state could not be written: {0}")]
    Disk(String),
    #[error("the store is closed")]
    Closed,
}
