//! An object at one version, kept as text, because a parsed `serde_json` value takes about ten
//! times as much memory. Concurrent readers share one parsed value.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use serde_json::Value;

#[derive(Debug)]
pub struct Version {
    text: Bytes,
    value: Mutex<Weak<Value>>,
}

impl Version {
    pub(super) fn of(value: &Arc<Value>) -> Arc<Version> {
        let version = Version::read(value.to_string().into_bytes());
        *version.lock() = Arc::downgrade(value);
        Arc::new(version)
    }

    /// `text` must be valid JSON.
    pub(super) fn read(text: Vec<u8>) -> Version {
        // Without the spare capacity that is left from writing it.
        Version {
            text: text.into_boxed_slice().into(),
            value: Mutex::default(),
        }
    }

    /// The JSON text as [`Value`] writes it, on one line.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    pub fn value(&self) -> Arc<Value> {
        let mut value = self.lock();
        value.upgrade().unwrap_or_else(|| {
            let read = Arc::new(serde_json::from_slice(&self.text).unwrap_or_default());
            *value = Arc::downgrade(&read);
            read
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Weak<Value>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the parsed value is in use.
    #[cfg(test)]
    pub(super) fn is_held(&self) -> bool {
        self.lock().strong_count() > 0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_at_hand_is_shared_and_one_that_is_gone_is_read_again() {
        let value = Arc::new(json!({"a": [1, "ü", 1.5, 31.245_270_191_439_438, null]}));
        let version = Version::of(&value);
        assert!(Arc::ptr_eq(&value, &version.value()));
        let copy = (*value).clone();
        drop(value);
        let read = version.value();
        assert_eq!(*read, copy);
        assert!(
            Arc::ptr_eq(&read, &version.value()),
            "two readers at once read it once"
        );
    }

    #[test]
    fn a_text_takes_no_more_than_its_length() {
        let mut text = Vec::with_capacity(1000);
        text.extend_from_slice(b"{}");
        assert_eq!(Vec::from(Version::read(text).text).capacity(), 2);
    }
}
