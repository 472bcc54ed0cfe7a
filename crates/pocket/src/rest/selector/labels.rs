//! Label selectors, by the grammar of k8s.io/apimachinery: `app=a,tier in
//! (web,api),!canary,weight>5`.

use std::iter::Peekable;
use std::str::CharIndices;

use super::super::error::FieldError;
use super::super::validate::{label_value_errors, qualified_name_errors};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    NotExists(String),
    Above(String, i64),
    Below(String, i64),
}

impl Requirement {
    pub(super) fn is_satisfied_by<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let number = |key: &str| label(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Requirement::In(key, values) => {
                label(key).is_some_and(|v| values.iter().any(|x| x == v))
            }
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|v| !values.iter().any(|x| x == v))
            }
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::NotExists(key) => label(key).is_none(),
            Requirement::Above(key, than) => number(key).is_some_and(|n| n > *than),
            Requirement::Below(key, than) => number(key).is_some_and(|n| n < *than),
        }
    }
}

/// Why a text is no label selector, in the words of k8s.io/apimachinery.
#[derive(Debug, thiserror::Error)]
pub(super) enum SelectorError {
    #[error("error expected: keyword found '{0}'")]
    NoSign(char),
    #[error("found '{found}', expected: {expected}")]
    Unexpected {
        found: String,
        expected: &'static str,
    },
    #[error("found '{0}' expected: '('")]
    NoList(String),
    #[error("unable to parse requirement: {0}")]
    Requirement(Box<SelectorError>),
    #[error("{0}")]
    Field(Box<FieldError>),
}

impl SelectorError {
    fn unexpected(found: &str, expected: &'static str) -> Self {
        Self::Unexpected {
            found: found.to_owned(),
            expected,
        }
    }
}

impl From<FieldError> for SelectorError {
    fn from(why: FieldError) -> Self {
        Self::Field(Box::new(why))
    }
}

pub(super) fn parse_label_selector(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    Parser {
        tokens: split_tokens(text)?,
        at: 0,
    }
    .parse_requirements()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Also `in` and `notin`, whose meaning depends on their position.
    Word(String),
    Sign(&'static str),
    End,
}

impl Token {
    fn literal(&self) -> &str {
        match self {
            Token::Word(word) => word,
            Token::Sign(sign) => sign,
            Token::End => "",
        }
    }
}

const SIGNS: [&str; 9] = [")", ",", "!", "==", "=", ">", "<", "!=", "("];

fn split_tokens(text: &str) -> Result<Vec<Token>, SelectorError> {
    let is_sign = |c: char| "=!(),><".contains(c);
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.peek().copied() {
        if is_space(c) {
            chars.next();
        } else if is_sign(c) {
            let longest = SIGNS
                .iter()
                .filter(|sign| text[start..].starts_with(**sign))
                .max_by_key(|s| s.len());
            let sign = longest.ok_or_else(|| SelectorError::NoSign(c))?;
            advance_to(&mut chars, start + sign.len());
            tokens.push(Token::Sign(sign));
        } else {
            let rest = &text[start..];
            let length = rest
                .find(|c| is_sign(c) || is_space(c))
                .unwrap_or(rest.len());
            advance_to(&mut chars, start + length);
            tokens.push(Token::Word(rest[..length].to_owned()));
        }
    }
    tokens.push(Token::End);
    Ok(tokens)
}

fn advance_to(chars: &mut Peekable<CharIndices<'_>>, to: usize) {
    while chars.peek().is_some_and(|(at, _)| *at < to) {
        chars.next();
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn parse_requirements(mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::Word(_) | Token::Sign("!") => {}
                Token::End => return Ok(requirements),
                other @ Token::Sign(_) => {
                    return Err(SelectorError::unexpected(
                        other.literal(),
                        "!, identifier, or 'end of string'",
                    ));
                }
            }
            let requirement = self
                .parse_requirement()
                .map_err(|why| SelectorError::Requirement(Box::new(why)))?;
            requirements.push(requirement);
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Sign(",") => {}
                other => {
                    return Err(SelectorError::unexpected(
                        other.literal(),
                        "',' or 'end of string'",
                    ));
                }
            }
            if !matches!(self.peek(), Token::Word(_) | Token::Sign("!")) {
                return Err(SelectorError::unexpected(
                    self.peek().literal(),
                    "identifier after ','",
                ));
            }
        }
    }

    fn parse_requirement(&mut self) -> Result<Requirement, SelectorError> {
        let absent = *self.peek() == Token::Sign("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(SelectorError::unexpected(other.literal(), "identifier")),
        };
        let wrong = qualified_name_errors(&key);
        if !wrong.is_empty() {
            return Err(FieldError::invalid("<nil>", &key.into(), wrong.join("; ")).into());
        }
        if absent {
            return Ok(Requirement::NotExists(key));
        }
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(Requirement::Exists(key));
        }
        let operator = self.next();
        let values = match operator.literal() {
            "in" | "notin" => self.parse_value_list()?,
            "=" | "==" | "!=" | ">" | "<" => vec![self.parse_value()?],
            other => {
                return Err(SelectorError::unexpected(
                    other,
                    "in, notin, =, ==, !=, gt, lt",
                ));
            }
        };
        let number = |values: &[String]| {
            let value = values.first().map(String::as_str).unwrap_or_default();
            value.parse::<i64>().map_err(|_| {
                let words = "for 'Gt', 'Lt' operators, the value must be an integer";
                SelectorError::from(FieldError::invalid("values[0]", &value.into(), words))
            })
        };
        let made = match operator.literal() {
            "notin" | "!=" => Requirement::NotIn(key.clone(), values.clone()),
            ">" => Requirement::Above(key.clone(), number(&values)?),
            "<" => Requirement::Below(key.clone(), number(&values)?),
            _ => Requirement::In(key.clone(), values.clone()),
        };
        for (at, value) in values.iter().enumerate() {
            let wrong = label_value_errors(value);
            if !wrong.is_empty() {
                let path = format!("values[{at}][{key}]");
                return Err(
                    FieldError::invalid(path, &value.as_str().into(), wrong.join("; ")).into(),
                );
            }
        }
        Ok(made)
    }

    fn parse_value(&mut self) -> Result<String, SelectorError> {
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(value) => Ok(value),
            other => Err(SelectorError::unexpected(other.literal(), "identifier")),
        }
    }

    /// Parses `(a,b)`; `()` and a comma without a value next to it mean the empty value.
    fn parse_value_list(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Token::Sign("(") => {}
            other => return Err(SelectorError::NoList(other.literal().to_owned())),
        }
        let mut values = Vec::new();
        match self.peek() {
            Token::Word(_) | Token::Sign(",") => {}
            Token::Sign(")") => {
                self.next();
                return Ok(vec![String::new()]);
            }
            other => {
                return Err(SelectorError::unexpected(
                    other.literal(),
                    "',', ')' or identifier",
                ));
            }
        }
        loop {
            match self.next() {
                Token::Word(value) => {
                    values.push(value);
                    match self.peek() {
                        Token::Sign(",") => {}
                        Token::Sign(")") => break,
                        other => {
                            return Err(SelectorError::unexpected(other.literal(), "',' or ')'"));
                        }
                    }
                }
                Token::Sign(",") => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.peek() {
                        Token::Sign(")") => {
                            values.push(String::new());
                            break;
                        }
                        Token::Sign(",") => values.push(String::new()),
                        _ => {}
                    }
                }
                other => {
                    return Err(SelectorError::unexpected(
                        other.literal(),
                        "',', or identifier",
                    ));
                }
            }
        }
        self.next();
        values.sort();
        values.dedup();
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_selected() {
        let labels = json!({"app": "a", "tier": "web", "x/y.z": "", "n": "7", "in": "notin"});
        let selects = |text: &str| {
            let all = parse_label_selector(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            all.iter()
                .all(|r| r.is_satisfied_by(|key| labels.get(key).and_then(|v| v.as_str())))
        };
        for yes in [
            "",
            " ",
            "app=a",
            "app==a",
            "app = a , tier=web",
            "app!=b",
            "nope!=b",
            "app in (a,b)",
            "app in (b, a),tier",
            "app notin (b,c)",
            "nope notin (a)",
            "tier",
            "!nope",
            "! nope",
            "x/y.z",
            "x/y.z=",
            "x/y.z in ()",
            "x/y.z in (,a)",
            "x/y.z in (a,,b)",
            "n>5",
            "n > 6",
            "n<8",
            "in=notin",
            "in in (in,notin)",
            "app=a,x/y.z=",
        ] {
            assert!(selects(yes), "{yes}");
        }
        for no in [
            "app=b",
            "app!=a",
            "app in (b)",
            "app notin (a)",
            "nope",
            "!app",
            "app=a,nope",
            "n>7",
            "app>5",
            "q<3",
        ] {
            assert!(!selects(no), "{no}");
        }
    }

    /// The texts are those of k8s.io/apimachinery.
    #[test]
    fn what_is_refused() {
        for (text, words) in [
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            (
                "a===b",
                "unable to parse requirement: found '=', expected: identifier",
            ),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "=a",
                "found '=', expected: !, identifier, or 'end of string'",
            ),
            ("a,", "found '', expected: identifier after ','"),
            (
                ",a",
                "found ',', expected: !, identifier, or 'end of string'",
            ),
            (
                "a in",
                "unable to parse requirement: found '' expected: '('",
            ),
            (
                "a in (",
                "unable to parse requirement: found '', expected: ',', ')' or identifier",
            ),
            (
                "a in (b",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            (
                "!",
                "unable to parse requirement: found '', expected: identifier",
            ),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ] {
            let why = parse_label_selector(text).map_err(|why| why.to_string());
            assert_eq!(why, Err(words.to_owned()), "{text}");
        }
        for text in [
            "-a", "a=-b", "a/b/c", "a in (-)", "!a=b", "a!b", "(a)", "a==b,,c",
        ] {
            assert!(parse_label_selector(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "[a-z=!<>(), \\-/\u{e9}]{0,30}") {
            let _ = parse_label_selector(&text);
        }
    }
}
