//! What can go wrong with the state folder, each told apart.

use std::path::PathBuf;

use super::Stored;

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The caller attaches to the running pocket instead.
    #[error("{}: in use by another graylane", path.display())]
    Locked { path: PathBuf },
    #[error("{}: no right to write there; choose another folder with --state", path.display())]
    ReadOnly { path: PathBuf },
    #[error("{}: no space left; free some, or choose another folder with --state", path.display())]
    Full { path: PathBuf },
    #[error("{}: damaged ({detail}); move it away, or start over with --reset", path.display())]
    Damaged { path: PathBuf, detail: String },
    #[error("{}: written by another version of graylane ({detail}); start over with --reset", path.display())]
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
    /// The expectation did not hold; what is there instead.
    #[error("the object is not as expected")]
    Conflict(Option<Stored>),
    #[error("the state could not be written: {0}")]
    Disk(String),
    #[error("the store is closed")]
    Closed,
}
