//! Integer functions.

use super::super::function_error::FunctionError;
use super::super::value::Value;
use super::Function;
use super::Type::Any;
use super::to_text;
use kube_yaml::numbers::parse_signed;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("int X", &[Any], |args| {
        truncate_to_whole(&args[0]).map(Value::Int)
    }),
    Function::new("int64 X", &[Any], |args| {
        truncate_to_whole(&args[0]).map(Value::Int64)
    }),
    Function::new("add N …", &[], |args| {
        fold_whole(0, args, i64::checked_add)
    })
    .with_rest(Any),
    Function::new("mul N …", &[Any], |args| {
        fold_whole(1, args, i64::checked_mul)
    })
    .with_rest(Any),
    Function::new("max N …", &[Any], |args| {
        fold_whole(i64::MIN, args, |a, b| Some(a.max(b)))
    })
    .with_rest(Any),
    Function::new("min N …", &[Any], |args| {
        fold_whole(i64::MAX, args, |a, b| Some(a.min(b)))
    })
    .with_rest(Any),
    Function::new("sub N M", &[Any, Any], |args| {
        apply_to_pair(args, i64::checked_sub)
    }),
    Function::new("div N M", &[Any, Any], |args| {
        apply_to_pair(args, i64::checked_div)
    }),
    Function::new("mod N M", &[Any, Any], |args| {
        apply_to_pair(args, i64::checked_rem)
    }),
];

/// Reads an integer, also from text in Go's notation: `0x` for hex, a leading 0 for octal.
fn parse_whole(value: &Value) -> Result<i64, FunctionError> {
    let number = match value {
        Value::Text(text) => parse_signed(without_zeros(text.trim())),
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => Some(*f as i64),
        other => other.as_int(),
    };
    number.ok_or_else(|| {
        FunctionError::NoWholeNumber(match value {
            Value::Text(text) => format!("{text:?}"),
            other => to_text(other),
        })
    })
}

/// Like [`parse_whole`], but drops the fraction of a float.
fn truncate_to_whole(value: &Value) -> Result<i64, FunctionError> {
    match value {
        Value::Float(f) if f.is_finite() && f.abs() < 9e18 => Ok(f.trunc() as i64),
        other => parse_whole(other),
    }
}

/// Strips a fraction of zeros: `3.00` is an integer too.
fn without_zeros(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        _ => text,
    }
}

fn fold_whole(
    start: i64,
    args: &[Value],
    f: fn(i64, i64) -> Option<i64>,
) -> Result<Value, FunctionError> {
    args.iter()
        .try_fold(start, |a, b| {
            f(a, parse_whole(b)?).ok_or(FunctionError::Overflow)
        })
        .map(Value::Int64)
}

fn apply_to_pair(args: &[Value], f: fn(i64, i64) -> Option<i64>) -> Result<Value, FunctionError> {
    f(parse_whole(&args[0])?, parse_whole(&args[1])?)
        .map(Value::Int64)
        .ok_or(FunctionError::Overflow)
}
