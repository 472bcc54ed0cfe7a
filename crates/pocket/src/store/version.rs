//! An object at one version, kept as text, because a parsed `serde_json` value takes about ten
//! times as much memory. Concurrent readers share one parsed value.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use serde_json::Value;

#[derive(Debug)]
pub struct ObjectVersion {
    text: Bytes,
    value: Mutex<Weak<Value>>,
}

impl ObjectVersion {
    pub(super) fn from_value(value: &Arc<Value>) -> Arc<ObjectVersion> {
        let version = ObjectVersion::from_text(value.to_string().into_bytes());
        *version.lock_value() = Arc::downgrade(value);
        Arc::new(version)
    }

    /// `text` must be valid JSON.
    pub(super) fn from_text(text: Vec<u8>) -> ObjectVersion {
        // Without the spare capacity that is left from writing it.
        ObjectVersion {
            text: text.into_boxed_slice().into(),
            value: Mutex::default(),
        }
    }

    /// The JSON text as [`Value`] writes it, on one line.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    pub fn value(&self) -> Arc<Value> {
        let mut value = self.lock_value();
        value.upgrade().unwrap_or_else(|| {
            let read = Arc::new(serde_json::from_slice(&self.text).unwrap_or_default());
            *value = Arc::downgrade(&read);
            read
        })
    }

    fn lock_value(&self) -> std::sync::MutexGuard<'_, Weak<Value>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the parsed value is in use.
    #[cfg(test)]
    pub(super) fn is_held(&self) -> bool {
        self.lock_value().strong_count() > 0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_at_hand_is_shared_and_one_that_is_gone_is_read_again() {
        let value = Arc::new(json!({"a": [1, "ü", 1.5, 31.245_270_191_439_438, null]}));
        let version = ObjectVersion::from_value(&value);
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
        assert_eq!(Vec::from(ObjectVersion::from_text(text).text).capacity(), 2);
    }
}
