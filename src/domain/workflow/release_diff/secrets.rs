//! Keeps the content of Secrets out of what is shown.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{api::ObjectRef, domain::owner::is_same};

/// In place of a secret value that is new or the same.
const HIDDEN: &str = "(secret)";
/// In place of one that is another than before.
const CHANGED: &str = "(secret, changed)";
/// Shorter values are only taken for secret when they are the whole of one.
const MIN_PART: usize = 4;
/// Shorter secret values are not looked for in other texts: `web` or `demo` would be found in many.
const MIN_SECRET: usize = 6;

/// Replaces the values of Secrets on both sides, also where a template writes them into another
/// object; what differs still does. Keys stay.
pub(in crate::domain::workflow) fn mask_secrets(old: &mut [Value], new: &mut [Value]) {
    let secrets = SecretTexts::from_objects(old.iter().chain(new.iter()));
    for object in new.iter_mut().filter(|object| !is_secret(object)) {
        let object_ref = ObjectRef::from_object(object);
        let before = old
            .iter()
            .find(|o| is_same(&ObjectRef::from_object(o), &object_ref));
        secrets.hide_in(object, before);
    }
    for object in old.iter_mut().filter(|object| !is_secret(object)) {
        secrets.hide_in(object, None);
    }
    for object in new.iter_mut().filter(|object| is_secret(object)) {
        let object_ref = ObjectRef::from_object(object);
        let before = old
            .iter()
            .find(|o| is_same(&ObjectRef::from_object(o), &object_ref));
        for field in ["data", "stringData"] {
            let before = before.and_then(|b| b.get(field));
            if let Some(values) = object.get_mut(field) {
                mask_field(values, before);
            }
        }
    }
    for object in old.iter_mut().filter(|object| is_secret(object)) {
        for field in ["data", "stringData"] {
            if let Some(values) = object.get_mut(field) {
                mask_field(values, None);
            }
        }
    }
}

fn is_secret(object: &Value) -> bool {
    object["kind"] == "Secret"
}

fn mask_field(field: &mut Value, before: Option<&Value>) {
    let mask = |value: &mut Value, before: Option<&Value>| {
        let is_changed = before.is_some_and(|before| before != value);
        *value = hidden_text(is_changed).into();
    };
    match field {
        Value::Object(values) => {
            for (key, value) in values {
                mask(value, before.and_then(|b| b.get(key)));
            }
        }
        other => mask(other, before),
    }
}

/// The texts that Secrets hold, decoded.
#[derive(Default)]
pub(super) struct SecretTexts(BTreeSet<String>);

impl SecretTexts {
    pub(super) fn from_objects<'o>(objects: impl Iterator<Item = &'o Value>) -> Self {
        let mut texts = BTreeSet::new();
        for object in objects.filter(|object| is_secret(object)) {
            for field in ["data", "stringData"] {
                for value in object[field].as_object().into_iter().flatten() {
                    let text = text_of(value.1);
                    let decoded = STANDARD.decode(text.trim()).unwrap_or_default();
                    if let Ok(decoded) = String::from_utf8(decoded) {
                        texts.insert(decoded);
                    }
                    texts.insert(STANDARD.encode(&text));
                    texts.insert(text);
                }
            }
        }
        texts.remove("");
        Self(texts)
    }

    /// Replaces what Secrets hold in the texts of an object. A text that differed from that of
    /// `before` for its secrets alone still does.
    fn hide_in(&self, value: &mut Value, before: Option<&Value>) {
        match value {
            Value::Object(fields) => {
                for (key, field) in fields {
                    self.hide_in(field, before.and_then(|b| b.get(key)));
                }
            }
            Value::Array(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.hide_in(item, before.and_then(|b| b.get(i)));
                }
            }
            Value::String(text) => {
                let before = before.and_then(Value::as_str);
                if let Some(hidden) = self.hide_in_text(text, before) {
                    *text = hidden;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The text without secrets; `None` when it has none.
    fn hide_in_text(&self, text: &str, before: Option<&str>) -> Option<String> {
        let replace = |text: &str, hidden: &str| {
            let mut shown = text.to_owned();
            for secret in self.longest_first() {
                shown = shown.replace(secret, hidden);
            }
            shown
        };
        let shown = replace(text, HIDDEN);
        if shown == text {
            return None;
        }
        let is_hidden_change =
            before.is_some_and(|before| before != text && replace(before, HIDDEN) == shown);
        Some(if is_hidden_change {
            replace(text, CHANGED)
        } else {
            shown
        })
    }

    /// Texts that are looked for in others. One may be a part of another.
    fn longest_first(&self) -> Vec<&str> {
        let long = self.0.iter().map(String::as_str);
        let mut long: Vec<&str> = long.filter(|text| text.len() >= MIN_SECRET).collect();
        long.sort_by_key(|text| std::cmp::Reverse(text.len()));
        long
    }

    /// Whether a value of a template went into a Secret.
    pub(super) fn has_value(&self, value: &Value) -> bool {
        match value {
            Value::Object(inner) => inner.values().any(|v| self.has_value(v)),
            Value::Array(inner) => inner.iter().any(|v| self.has_value(v)),
            Value::Bool(_) | Value::Null => false,
            leaf => {
                let text = text_of(leaf);
                let is_part = |secret: &String| {
                    *secret == text
                        || text.len() >= MIN_PART && secret.contains(&text)
                        || secret.len() >= MIN_SECRET && text.contains(secret.as_str())
                };
                !text.is_empty() && self.0.iter().any(is_part)
            }
        }
    }
}

fn text_of(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// What stands in place of a secret value.
pub(super) fn hidden_text(is_other: bool) -> String {
    if is_other { CHANGED } else { HIDDEN }.to_owned()
}
