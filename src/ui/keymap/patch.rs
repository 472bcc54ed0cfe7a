//! A user's key overrides: `[context]` and `action = ["key", …]`; an empty list removes the
//! binding. All errors are reported at once, and with any error the built-in bindings stay in
//! force.

use std::{collections::BTreeMap, fmt};

use super::{Action, Binding, KeyContext, format_key, parse_key};

/// One error in a user's keys file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The file is not TOML or does not have this structure.
    #[error("keys: {0}")]
    Form(String),
    /// Unknown context.
    #[error("[{0}]: no such context; there are {known}", known = KeyContext::ALL.map(KeyContext::word).join(", "))]
    Context(String),
    /// Unknown action in this context.
    #[error("[{context}] {action}: no such action here; there are {known}")]
    Action {
        /// Name of the context.
        context: String,
        /// Action as written.
        action: String,
        /// Actions of this context.
        known: String,
    },
    /// Unknown key.
    #[error(
        "[{context}] {action}: {key:?} is not a key; write q, R, ctrl-l, f5, space, tab, enter, …"
    )]
    Key {
        /// Name of the context.
        context: String,
        /// Action that the key was given for.
        action: String,
        /// Key as written.
        key: String,
    },
    /// A key is bound twice.
    #[error("[{context}] {key} means both {first} and {second}")]
    Duplicate {
        /// Name of the context.
        context: String,
        /// The key.
        key: String,
        /// First action.
        first: String,
        /// Second action.
        second: String,
    },
    /// A context would have no key to leave it.
    #[error("[{context}] {action} needs a key: there would be no way out")]
    NoExit {
        /// Name of the context.
        context: String,
        /// Action that needs a key.
        action: String,
    },
}

/// All errors in a user's keys file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFaults(pub Vec<KeyFault>);

impl fmt::Display for KeyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for KeyFaults {}

pub(super) fn apply_overrides(
    mut bindings: Vec<Binding>,
    text: &str,
) -> Result<Vec<Binding>, KeyFaults> {
    let file: BTreeMap<String, BTreeMap<String, Vec<String>>> =
        toml::from_str(text).map_err(|e| {
            KeyFaults(vec![KeyFault::Form(
                e.to_string().trim().replace('\n', " "),
            )])
        })?;
    let mut faults = vec![];
    for (context_word, actions) in &file {
        let Some(context) = KeyContext::ALL
            .into_iter()
            .find(|c| c.word() == context_word)
        else {
            faults.push(KeyFault::Context(context_word.clone()));
            continue;
        };
        for (word, keys) in actions {
            let here: Vec<usize> = (0..bindings.len())
                .filter(|i| {
                    bindings
                        .get(*i)
                        .is_some_and(|b| b.context == context && b.action.word() == word)
                })
                .collect();
            let Some(first) = here.first() else {
                let known = bindings
                    .iter()
                    .filter(|b| b.context == context)
                    .map(|b| b.action.word());
                let known = known.collect::<Vec<_>>().join(", ");
                faults.push(KeyFault::Action {
                    context: context_word.clone(),
                    action: word.clone(),
                    known,
                });
                continue;
            };
            let mut parsed = vec![];
            for key in keys {
                match parse_key(key) {
                    Some(key) => parsed.push(key),
                    None => faults.push(KeyFault::Key {
                        context: context_word.clone(),
                        action: word.clone(),
                        key: key.clone(),
                    }),
                }
            }
            for i in &here {
                if let Some(binding) = bindings.get_mut(*i) {
                    binding.keys = if i == first {
                        std::mem::take(&mut parsed)
                    } else {
                        vec![]
                    };
                }
            }
        }
    }
    faults.extend(find_duplicates(&bindings));
    faults.extend(find_missing_exits(&bindings));
    if faults.is_empty() {
        Ok(bindings)
    } else {
        Err(KeyFaults(faults))
    }
}

/// Keys that are bound twice in one context.
fn find_duplicates(bindings: &[Binding]) -> Vec<KeyFault> {
    let mut seen = BTreeMap::new();
    let mut faults = vec![];
    for binding in bindings {
        for key in &binding.keys {
            if let Some(first) = seen.insert((binding.context, format_key(*key)), binding.action) {
                faults.push(KeyFault::Duplicate {
                    context: binding.context.word().into(),
                    key: format_key(*key),
                    first: first.word().into(),
                    second: binding.action.word().into(),
                });
            }
        }
    }
    faults
}

/// Contexts that no key would leave any more.
fn find_missing_exits(bindings: &[Binding]) -> Vec<KeyFault> {
    let ways = [
        (KeyContext::Global, Action::Quit),
        (KeyContext::Text, Action::Back),
        (KeyContext::Form, Action::Back),
        (KeyContext::Confirm, Action::Back),
        (KeyContext::Line, Action::Back),
    ];
    ways.into_iter()
        .filter(|(context, action)| {
            !bindings
                .iter()
                .any(|b| b.context == *context && b.action == *action && !b.keys.is_empty())
        })
        .map(|(context, action)| KeyFault::NoExit {
            context: context.word().into(),
            action: action.word().into(),
        })
        .collect()
}
