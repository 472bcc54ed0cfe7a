//! Conditions as people write them: `parameter group == gray`, `header x-user in a,b`,
//! `cookie uid percent 10`, `method == POST`, `header x exists`. A value with a comma, a quote, or
//! blanks at its ends is written in quotes.

pub use super::condition_error::{ConditionError, ConditionProblem};
use crate::api::{Condition, ConditionOn, Operator};

const OPERATORS: [Operator; 8] = [
    Operator::Equal,
    Operator::NotEqual,
    Operator::In,
    Operator::NotIn,
    Operator::Prefix,
    Operator::Regex,
    Operator::Exists,
    Operator::Percent,
];

/// Parses a condition.
pub fn parse_condition(text: &str) -> Result<Condition, ConditionError> {
    let wrong = |problem| ConditionError {
        text: text.to_owned(),
        problem,
    };
    let (on, rest) = split_word(text);
    let on = match on {
        "parameter" | "param" => ConditionOn::Parameter,
        "header" => ConditionOn::Header,
        "cookie" => ConditionOn::Cookie,
        "method" => ConditionOn::Method,
        other => return Err(wrong(ConditionProblem::On(other.to_owned()))),
    };
    let (key, rest) = if on == ConditionOn::Method {
        (None, rest)
    } else {
        split_optional_word(rest)
    };
    if on != ConditionOn::Method && key.is_none() {
        return Err(wrong(ConditionProblem::NoName(on)));
    }
    let (op, rest) = split_word(rest);
    let op = OPERATORS
        .into_iter()
        .find(|o| o.as_str().eq_ignore_ascii_case(op) || (op == "=" && *o == Operator::Equal))
        .ok_or_else(|| {
            wrong(ConditionProblem::Operator {
                word: op.to_owned(),
                known: OPERATORS.map(Operator::as_str).join(" "),
            })
        })?;
    let values = match op {
        Operator::Exists if rest.is_empty() => vec![],
        Operator::Exists => return Err(wrong(ConditionProblem::ExistsWithValue)),
        Operator::In | Operator::NotIn => parse_list(rest).map_err(wrong)?,
        _ => vec![parse_value(rest).map_err(wrong)?],
    };
    Ok(Condition {
        on,
        key: key.map(str::to_owned),
        op,
        values,
    })
}

/// Formats a condition so that it can be parsed again.
pub fn format_condition(condition: &Condition) -> String {
    let mut out = condition.on.as_str().to_owned();
    if let Some(key) = &condition.key {
        out.push(' ');
        out.push_str(key);
    }
    out.push(' ');
    out.push_str(condition.op.as_str());
    let is_list = matches!(condition.op, Operator::In | Operator::NotIn);
    let values: Vec<String> = condition
        .values
        .iter()
        .map(|v| quote_value(v, is_list))
        .collect();
    if !values.is_empty() {
        out.push(' ');
        out.push_str(&values.join(","));
    }
    out
}

fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once(char::is_whitespace)
        .map_or((text, ""), |(w, rest)| (w, rest.trim()))
}

fn split_optional_word(text: &str) -> (Option<&str>, &str) {
    let (w, rest) = split_word(text);
    (Some(w).filter(|w| !w.is_empty()), rest)
}

fn quote_value(value: &str, in_list: bool) -> String {
    let plain = !value.is_empty() && value.trim() == value && !value.starts_with('"');
    if plain && !(in_list && value.contains([',', '"'])) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Parses one value, plain or in quotes.
fn parse_value(text: &str) -> Result<String, ConditionProblem> {
    if !text.starts_with('"') {
        return if text.is_empty() {
            Err(ConditionProblem::NoValue)
        } else {
            Ok(text.to_owned())
        };
    }
    let (value, rest) = parse_quoted(text)?;
    if rest.trim().is_empty() {
        Ok(value)
    } else {
        Err(ConditionProblem::AfterQuotes(rest.to_owned()))
    }
}

fn parse_list(text: &str) -> Result<Vec<String>, ConditionProblem> {
    let mut values = vec![];
    let mut rest = text.trim();
    loop {
        let (value, after) = if rest.starts_with('"') {
            let (value, after) = parse_quoted(rest)?;
            (value, after.trim_start())
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (rest[..end].trim().to_owned(), &rest[end..])
        };
        if value.is_empty() && !rest.starts_with('"') {
            return Err(ConditionProblem::EmptyItem);
        }
        values.push(value);
        match after.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => return Ok(values),
            None => return Err(ConditionProblem::AfterQuotes(after.to_owned())),
        }
    }
}

/// Parses a quoted text and returns it with what follows.
fn parse_quoted(text: &str) -> Result<(String, &str), ConditionProblem> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[i + 1..])),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    Err(ConditionProblem::OpenQuote)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, on, key, op, values) in [
            (
                "parameter group == gray",
                ConditionOn::Parameter,
                Some("group"),
                Operator::Equal,
                &["gray"][..],
            ),
            (
                "param group = gray ",
                ConditionOn::Parameter,
                Some("group"),
                Operator::Equal,
                &["gray"],
            ),
            (
                "header x-user in a, b",
                ConditionOn::Header,
                Some("x-user"),
                Operator::In,
                &["a", "b"],
            ),
            (
                "header x-user notin a,\"b,c\"",
                ConditionOn::Header,
                Some("x-user"),
                Operator::NotIn,
                &["a", "b,c"],
            ),
            (
                "cookie uid percent 10",
                ConditionOn::Cookie,
                Some("uid"),
                Operator::Percent,
                &["10"],
            ),
            (
                "method == POST",
                ConditionOn::Method,
                None,
                Operator::Equal,
                &["POST"],
            ),
            (
                "header x exists",
                ConditionOn::Header,
                Some("x"),
                Operator::Exists,
                &[],
            ),
            (
                "header ua regex .* (x|y) z",
                ConditionOn::Header,
                Some("ua"),
                Operator::Regex,
                &[".* (x|y) z"],
            ),
        ] {
            let values = values.iter().map(|v| (*v).to_owned()).collect();
            assert_eq!(
                parse_condition(text),
                Ok(Condition {
                    on,
                    key: key.map(Into::into),
                    op,
                    values
                }),
                "{text}"
            );
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            (
                "",
                "starts with parameter, header, cookie or method, not \"\"",
            ),
            (
                "body x == 1",
                "starts with parameter, header, cookie or method, not \"body\"",
            ),
            ("header", "after header comes its name"),
            (
                "header x ~ 1",
                "\"~\" is not an operator; there are: == != in notIn prefix regex exists percent",
            ),
            ("header x ==", "the value is missing"),
            ("header x in a,,b", "a value is missing"),
            ("header x exists y", "exists takes no value"),
            ("header x == \"a", "the closing quote is missing"),
        ] {
            assert_eq!(parse_condition(text).unwrap_err().problem.to_string(), why);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            on in 0..4_usize, op in 0..8_usize, key in "[a-z][a-z0-9-]{0,8}", values in prop::collection::vec("[ -~é,\"\\\\]{0,8}", 1..4),
        ) {
            let on = [ConditionOn::Parameter, ConditionOn::Header, ConditionOn::Cookie, ConditionOn::Method][on];
            let op = OPERATORS[op];
            let count = match op { Operator::Exists => 0, Operator::In | Operator::NotIn => values.len(), _ => 1 };
            let key = (on != ConditionOn::Method).then_some(key);
            let condition = Condition { on, key, op, values: values[..count].to_vec() };
            prop_assert_eq!(parse_condition(&format_condition(&condition)), Ok(condition.clone()), "{}", format_condition(&condition));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = parse_condition(&text);
        }
    }
}
