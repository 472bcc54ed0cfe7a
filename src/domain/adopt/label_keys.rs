//! Chooses the labels that distinguish gray pods from baseline pods. The baseline's values stay,
//! since selectors are immutable. Gray gets other values, so that no Deployment or Service of one
//! version selects pods of the other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Keys to prefer, in this order.
const PREFERRED_KEYS: [&str; 5] = [
    "app",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/name",
    "k8s-app",
    "name",
];

/// No labels distinguish a gray version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelKeyError {
    /// The Deployment's selector has no labels to match.
    #[error("its selector has no matchLabels: a gray version could not be told from it")]
    NoMatchLabels,
    /// A selector has no keys.
    #[error("{0} selects nothing, or everything: gray could not be kept out of it")]
    EmptySelector(String),
}

/// Label keys whose values must differ between the versions. Each selector of `services`, and the
/// Deployment's own, contains one of them.
pub(super) fn choose_distinguishing_keys(
    deployment: &Value,
    services: &[&Value],
    environment: &str,
) -> Result<BTreeSet<String>, LabelKeyError> {
    let own = string_map(deployment.pointer("/spec/selector/matchLabels"));
    if own.is_empty() {
        return Err(LabelKeyError::NoMatchLabels);
    }
    // A Service may select by labels that the Deployment's selector does not use.
    let labels = string_map(deployment.pointer("/spec/template/metadata/labels"));
    let mut selectors = vec![("its own selector".to_owned(), own)];
    for service in services {
        let name = service
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        selectors.push((
            format!("Service {name}"),
            string_map(service.pointer("/spec/selector")),
        ));
    }
    let marked = |key: &str| {
        labels
            .get(key)
            .is_some_and(|value| strip_environment(value, environment).is_some())
    };
    let used: BTreeSet<&str> = selectors
        .iter()
        .flat_map(|(_, s)| s.keys().copied())
        .collect();
    let mut chosen: BTreeSet<String> = used
        .iter()
        .filter(|k| marked(k))
        .map(ToString::to_string)
        .collect();
    for (who, selector) in &selectors {
        if selector.keys().any(|k| chosen.contains(*k)) {
            continue;
        }
        let preferred = PREFERRED_KEYS
            .iter()
            .find(|k| selector.contains_key(**k))
            .copied();
        let key = preferred.or_else(|| selector.keys().next().copied());
        let key = key.ok_or_else(|| LabelKeyError::EmptySelector(who.clone()))?;
        chosen.insert(key.to_owned());
    }
    Ok(chosen)
}

/// Part before the environment's name, if the value is that name or ends with it.
pub(super) fn strip_environment<'a>(value: &'a str, environment: &str) -> Option<&'a str> {
    let before = value.strip_suffix(environment)?;
    (before.is_empty() || before.ends_with('-')).then_some(before)
}

pub(super) fn string_map(value: Option<&Value>) -> BTreeMap<&str, &str> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect()
}
