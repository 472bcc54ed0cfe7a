//! Template functions: Go's own and the Sprig functions that manifests use. All are pure: no time,
//! no randomness, no environment variables.

mod builtin;
mod compare;
mod defaults;
mod escape;
mod json;
mod lists;
mod numbers;
mod texts;
mod yaml;

use super::function_error::FunctionError;
use super::value::Value;

/// A function with its parameters.
#[derive(Debug)]
pub(super) struct Function {
    /// For example `trunc LENGTH TEXT`; the first word is the name.
    usage: &'static str,
    pub params: &'static [Type],
    /// Type of the arguments that may follow, any number of them.
    pub rest: Option<Type>,
    pub call: Call,
}

/// Type that an argument must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Any,
    Text,
    Int,
    Bool,
    Map,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// `and` and `or` stop at the first argument that decides the result.
    And,
    Or,
    /// Called with arguments whose count and types are already checked.
    Plain(fn(&[Value]) -> Result<Value, FunctionError>),
}

impl Function {
    const fn new(
        usage: &'static str,
        params: &'static [Type],
        call: fn(&[Value]) -> Result<Value, FunctionError>,
    ) -> Self {
        Function {
            usage,
            params,
            rest: None,
            call: Call::Plain(call),
        }
    }

    const fn with_rest(mut self, rest: Type) -> Self {
        self.rest = Some(rest);
        self
    }

    pub fn name(&self) -> &'static str {
        self.usage
            .split_once(' ')
            .map_or(self.usage, |(name, _)| name)
    }

    pub fn usage_hint(&self) -> String {
        format!("it is used as `{}`", self.usage)
    }

    pub fn argument_type(&self, argument: usize) -> Type {
        self.params
            .get(argument)
            .copied()
            .or(self.rest)
            .unwrap_or(Type::Any)
    }
}

/// Functions that handle missing keys, so a missing key in their arguments is no error.
const MISSING_KEY_FUNCTIONS: [&str; 4] = ["default", "coalesce", "empty", "required"];

pub(super) fn allows_missing_key(name: &str) -> bool {
    MISSING_KEY_FUNCTIONS.contains(&name)
}

pub(super) fn find_function(name: &str) -> Option<&'static Function> {
    all_functions().find(|f| f.name() == name)
}

fn all_functions() -> impl Iterator<Item = &'static Function> {
    let families = [
        builtin::FUNCTIONS,
        compare::FUNCTIONS,
        escape::FUNCTIONS,
        defaults::FUNCTIONS,
        json::FUNCTIONS,
        yaml::FUNCTIONS,
        texts::FUNCTIONS,
        lists::FUNCTIONS,
        numbers::FUNCTIONS,
    ];
    families.into_iter().flatten()
}

/// What to use instead of a function that does not exist.
pub(super) fn suggest_instead(name: &str) -> String {
    match name {
        "include" => "`include` is Helm's: write `{{ template \"name\" . }}`".into(),
        "tpl" | "lookup" => {
            format!("`{name}` is Helm's and not known here: put the result into a value")
        }
        "now" | "date" | "env" | "expandenv" | "uuidv4" => {
            format!(
                "a manifest must render the same each time, so there is no `{name}`: put the result into a value"
            )
        }
        name if name.starts_with("rand") || name.starts_with("gen") => {
            format!(
                "a manifest must render the same each time, so there is no `{name}`: put the result into a value"
            )
        }
        name => match find_nearest(name, all_functions().map(Function::name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "known are Go's own functions and the common ones of Sprig".into(),
        },
    }
}

/// The closest candidate, if it is close enough to be meant by a typo.
pub(super) fn find_nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| {
            (
                edit_distance(&name.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edit distance between two words: insertions, deletions, substitutions and swaps of neighbours.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut least = (rows[i][j] + usize::from(a[i] != b[j]))
                .min(rows[i][j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// Argument `i`, which is declared as a text.
fn text_argument(args: &[Value], i: usize) -> &str {
    match args.get(i) {
        Some(Value::Text(text)) => text,
        _ => "",
    }
}

/// Argument `i`, which is declared as an integer.
fn int_argument(args: &[Value], i: usize) -> i64 {
    args.get(i).and_then(Value::as_int).unwrap_or(0)
}

/// Converts a value to text as Sprig does.
fn to_text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        other => super::format::print(std::slice::from_ref(other)),
    }
}

/// Makes a text value; an error when the text is too long.
fn bounded_text(text: String) -> Result<Value, FunctionError> {
    if text.len() > super::format::MAX_TEXT {
        Err(FunctionError::TooLong)
    } else {
        Ok(Value::from_text(text))
    }
}
