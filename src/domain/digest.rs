//! Digests of JSON values, independent of the order of keys.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// SHA-256 of the canonical JSON (keys sorted, no spaces) as 64 hex digits.
pub fn hash_json(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    Sha256::digest(sorted.to_string().as_bytes())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}
