//! The functions beside Go's own: those of Sprig that manifests use. All pure: no time, no randomness, no environment.

mod lists;
mod numbers;
mod texts;

use super::value::to_json;
use gotmpl::Value as Go;

/// A function's arguments in, its value or its complaint out.
pub(super) type Function = fn(&[Go]) -> Result<Go, String>;

/// Go's own, by the engine.
const BUILTIN: [&str; 18] = [
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print", "printf", "println",
    "html", "js", "urlquery",
];

/// For these a key that is missing is no error: that is what they are for.
const FORGIVING: [&str; 4] = ["default", "coalesce", "empty", "required"];

pub(super) fn is_builtin(name: &str) -> bool {
    BUILTIN.contains(&name)
}

pub(super) fn is_known(name: &str) -> bool {
    is_builtin(name) || find(name).is_some()
}

pub(super) fn forgives(name: &str) -> bool {
    FORGIVING.contains(&name)
}

pub(super) fn find(name: &str) -> Option<Function> {
    all().find(|(n, _)| *n == name).map(|(_, f)| f)
}

pub(super) fn all() -> impl Iterator<Item = (&'static str, Function)> {
    GENERAL.iter().chain(texts::FUNCTIONS).chain(lists::FUNCTIONS).chain(numbers::FUNCTIONS).copied()
}

/// What to do instead of calling a function that is not there.
pub(super) fn instead(name: &str) -> String {
    match name {
        "include" => "`include` is Helm's: write `{{ template \"name\" . }}`".into(),
        "tpl" | "lookup" => format!("`{name}` is Helm's and not known here: put the result into a value"),
        "now" | "date" | "env" | "expandenv" | "uuidv4" => {
            format!("a manifest must render the same each time, so there is no `{name}`: put the result into a value")
        }
        name if name.starts_with("rand") || name.starts_with("gen") => {
            format!("a manifest must render the same each time, so there is no `{name}`: put the result into a value")
        }
        name => match nearest(name, BUILTIN.into_iter().chain(all().map(|(n, _)| n))) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "known are Go's own functions and the common ones of Sprig".into(),
        },
    }
}

/// The candidate that a slip of the finger would explain.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: a letter more, less or other, or two neighbours swapped.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut least = (rows[i][j] + usize::from(a[i] != b[j])).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

const GENERAL: &[(&str, Function)] = &[
    ("default", |args| match args {
        [or] => Ok(or.clone()),
        [or, value] => Ok(if value.is_truthy() { value.clone() } else { or.clone() }),
        _ => Err(takes("default VALUE X")),
    }),
    ("coalesce", |args| Ok(args.iter().find(|v| v.is_truthy()).cloned().unwrap_or(Go::Nil))),
    ("empty", |args| one(args, "empty X").map(|v| Go::Bool(!v.is_truthy()))),
    ("required", |args| match args {
        [why, Go::Nil] => Err(text(why)),
        [why, Go::String(s)] if s.is_empty() => Err(text(why)),
        [_, value] => Ok(value.clone()),
        _ => Err(takes("required MESSAGE X")),
    }),
    ("fail", |args| Err(one(args, "fail MESSAGE").map_or_else(|e| e, text))),
    ("ternary", |args| match args {
        [yes, no, test] => Ok(if test.is_truthy() { yes.clone() } else { no.clone() }),
        _ => Err(takes("ternary YES NO TEST")),
    }),
    ("toJson", |args| one(args, "toJson X").map(|v| string(to_json(v).to_string()))),
    ("toPrettyJson", |args| {
        let value = to_json(one(args, "toPrettyJson X")?);
        serde_json::to_string_pretty(&value).map(string).map_err(|e| e.to_string())
    }),
    ("toYaml", |args| {
        let value = to_json(one(args, "toYaml X")?);
        let yaml = serde_saphyr::to_string(&value).map_err(|e| e.to_string())?;
        Ok(string(yaml.trim_end()))
    }),
    ("toString", |args| one(args, "toString X").map(|v| string(text(v)))),
];

fn takes(usage: &str) -> String {
    format!("it is used as `{usage}`")
}

fn one<'a>(args: &'a [Go], usage: &str) -> Result<&'a Go, String> {
    match args {
        [one] => Ok(one),
        _ => Err(takes(usage)),
    }
}

fn two<'a>(args: &'a [Go], usage: &str) -> Result<(&'a Go, &'a Go), String> {
    match args {
        [a, b] => Ok((a, b)),
        _ => Err(takes(usage)),
    }
}

/// A value as text; nothing is an empty one.
fn text(value: &Go) -> String {
    match value {
        Go::Nil => String::new(),
        other => other.to_string(),
    }
}

fn string(text: impl AsRef<str>) -> Go {
    Go::String(text.as_ref().into())
}

/// A whole number, also written as text.
fn whole(value: &Go) -> Result<i64, String> {
    let number = match value {
        Go::String(s) => s.trim().parse().ok(),
        Go::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => Some(*f as i64),
        other => other.as_int(),
    };
    number.ok_or_else(|| format!("{:?} is no whole number", text(value)))
}
