//! Looks up keys and explains why a lookup failed.

use super::super::value::Value;
use super::super::{Problem, functions};
use super::Run;

impl Run<'_, '_> {
    /// Follows keys from a value; `base` is how the value is written in the source. With
    /// `forgiving`, a missing key yields nil instead of a problem.
    pub(super) fn follow_keys(
        &mut self,
        at: usize,
        value: Value,
        base: &str,
        keys: &[&str],
        forgiving: bool,
    ) -> Value {
        let mut value = value;
        for (i, key) in keys.iter().enumerate() {
            let next = match &value {
                Value::Unknown => return Value::Unknown,
                Value::Map(map) => map.entries.get(*key).cloned(),
                Value::Nil => None,
                other => {
                    let what = format!(
                        "`{}`: there is no `{key}` in {}",
                        format_key_path(base, keys),
                        other.describe_type()
                    );
                    return self.note_problem(Problem::new(at, what));
                }
            };
            match next {
                Some(next) => value = next,
                None if forgiving => return Value::Nil,
                None => {
                    let problem = explain_missing_key(
                        at,
                        &format_key_path(base, keys),
                        keys,
                        i,
                        &value,
                        self.environment,
                    );
                    return self.note_problem(problem);
                }
            }
        }
        value
    }
}

fn format_key_path(base: &str, keys: &[&str]) -> String {
    format!("{base}.{}", keys.join("."))
}

fn explain_missing_key(
    at: usize,
    written: &str,
    keys: &[&str],
    i: usize,
    parent: &Value,
    environment: &str,
) -> Problem {
    let key = keys[i];
    let problem = Problem::new(
        at,
        format!("nothing is known as `{written}`: `{key}` is missing"),
    );
    let known: Vec<&str> = match parent {
        Value::Map(map) => map.entries.keys().map(|k| &**k).collect(),
        _ if i == 0 && !written.starts_with(['$', '(']) => {
            return problem.with_help(
                "this template was called without data: write `{{ template \"…\" . }}`",
            );
        }
        _ => {
            return problem.with_help(format!(
                "`{}` has no value",
                keys[..i].last().copied().unwrap_or(".")
            ));
        }
    };
    let near = functions::find_nearest(key, known.iter().copied());
    let there = match known.len() {
        0 => "there are none".to_owned(),
        1..=8 => format!("there are {}", known.join(", ")),
        n => format!("there are {}, … ({n} in all)", known[..8].join(", ")),
    };
    problem.with_help(match (&keys[..i], near) {
        (_, Some(near)) => format!("did you mean `{near}`?"),
        (["Values", ..], None) => {
            format!("give environment {environment:?} the value, or write `{{{{ {written} | default … }}}}` ({there})")
        }
        (["AppStack", "image"], None) => format!("choose an image named `{key}` for this release ({there})"),
        (["AppStack"], None) => "AppStack has appName, envName, namespace and image.<name>".into(),
        ([], None) if known.contains(&"AppStack") && known.contains(&"Values") => {
            "a template knows .AppStack and .Values".into()
        }
        _ => there,
    })
}
