//! A user's keys as a patch over the table: `[context]` and `action = ["key", …]`; an empty list unbinds.
//! Every fault is reported, all at once; with any fault the built-in table stays.

use std::{collections::BTreeMap, fmt};

use super::{Action, Binding, Context, parse, show};

/// One thing wrong with a user's keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not TOML, or not of this form.
    #[error("keys: {0}")]
    Form(String),
    /// No such context.
    #[error("[{0}]: no such context; there are {known}", known = Context::ALL.map(Context::word).join(", "))]
    Context(String),
    /// No such action there.
    #[error("[{context}] {action}: no such action here; there are {known}")]
    Action {
        /// Where.
        context: String,
        /// As written.
        action: String,
        /// What there is.
        known: String,
    },
    /// Not a key.
    #[error(
        "[{context}] {action}: {key:?} is no key; write q, R, ctrl-l, f5, space, tab, enter, …"
    )]
    Key {
        /// Where.
        context: String,
        /// Of what.
        action: String,
        /// As written.
        key: String,
    },
    /// Two meanings.
    #[error("[{context}] {key} means both {first} and {second}")]
    Duplicate {
        /// Where.
        context: String,
        /// Which.
        key: String,
        /// One meaning.
        first: String,
        /// The other.
        second: String,
    },
    /// No way out.
    #[error("[{context}] {action} needs a key: there would be no way out")]
    Stuck {
        /// Where.
        context: String,
        /// What.
        action: String,
    },
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFaults(pub Vec<KeyFault>);

impl fmt::Display for KeyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for KeyFaults {}

pub(super) fn apply(mut bindings: Vec<Binding>, text: &str) -> Result<Vec<Binding>, KeyFaults> {
    let file: BTreeMap<String, BTreeMap<String, Vec<String>>> =
        toml::from_str(text).map_err(|e| {
            KeyFaults(vec![KeyFault::Form(
                e.to_string().trim().replace('\n', " "),
            )])
        })?;
    let mut faults = vec![];
    for (context_word, actions) in &file {
        let Some(context) = Context::ALL.into_iter().find(|c| c.word() == context_word) else {
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
                match parse(key) {
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
    faults.extend(duplicates(&bindings));
    faults.extend(stuck(&bindings));
    if faults.is_empty() {
        Ok(bindings)
    } else {
        Err(KeyFaults(faults))
    }
}

/// Keys with two meanings in one context.
fn duplicates(bindings: &[Binding]) -> Vec<KeyFault> {
    let mut seen = BTreeMap::new();
    let mut faults = vec![];
    for binding in bindings {
        for key in &binding.keys {
            if let Some(first) = seen.insert((binding.context, show(*key)), binding.action) {
                faults.push(KeyFault::Duplicate {
                    context: binding.context.word().into(),
                    key: show(*key),
                    first: first.word().into(),
                    second: binding.action.word().into(),
                });
            }
        }
    }
    faults
}

/// Contexts that could not be left any more.
fn stuck(bindings: &[Binding]) -> Vec<KeyFault> {
    let ways = [
        (Context::Global, Action::Quit),
        (Context::Text, Action::Back),
        (Context::Form, Action::Back),
        (Context::Confirm, Action::Back),
        (Context::Line, Action::Back),
    ];
    ways.into_iter()
        .filter(|(context, action)| {
            !bindings
                .iter()
                .any(|b| b.context == *context && b.action == *action && !b.keys.is_empty())
        })
        .map(|(context, action)| KeyFault::Stuck {
            context: context.word().into(),
            action: action.word().into(),
        })
        .collect()
}
