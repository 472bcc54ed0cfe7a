//! What tells one JSON value from another, whatever the order of its keys.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The digest of JSON in one spelling: keys sorted, no spaces; 64 hex digits of SHA-256.
pub fn sha256(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    Sha256::digest(sorted.to_string().as_bytes())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}
