//! Go's comparisons: numbers of the same kind, texts with texts, and nil with anything.

use super::super::function_error::FunctionError;
use super::super::value::Value;
use super::Function;
use super::Type::Any;
use std::cmp::Ordering;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("eq X Y …", &[Any], |args| {
        if args.len() < 2 {
            return Err(FunctionError::NothingToCompare);
        }
        for other in &args[1..] {
            if is_equal(&args[0], other)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    })
    .with_rest(Any),
    Function::new("ne X Y", &[Any, Any], |args| {
        Ok(Value::Bool(!is_equal(&args[0], &args[1])?))
    }),
    Function::new("lt X Y", &[Any, Any], |args| {
        is_less(&args[0], &args[1]).map(Value::Bool)
    }),
    Function::new("le X Y", &[Any, Any], |args| {
        is_less_or_equal(&args[0], &args[1]).map(Value::Bool)
    }),
    Function::new("gt X Y", &[Any, Any], |args| {
        Ok(Value::Bool(!is_less_or_equal(&args[0], &args[1])?))
    }),
    Function::new("ge X Y", &[Any, Any], |args| {
        Ok(Value::Bool(!is_less(&args[0], &args[1])?))
    }),
];

fn is_equal(a: &Value, b: &Value) -> Result<bool, FunctionError> {
    match (a, b) {
        (Value::Nil, b) | (b, Value::Nil) => Ok(matches!(b, Value::Nil)),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        (Value::List(_) | Value::Map(_), Value::List(_) | Value::Map(_)) => {
            Err(FunctionError::NotComparable(a.describe_type()))
        }
        (a, b) => compare_integers(a, b)
            .map(Ordering::is_eq)
            .ok_or_else(|| incompatible(a, b)),
    }
}

fn is_less(a: &Value, b: &Value) -> Result<bool, FunctionError> {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::Text(a), Value::Text(b)) => Ok(a < b),
        (a, b) => compare_integers(a, b)
            .map(Ordering::is_lt)
            .ok_or_else(|| incompatible(a, b)),
    }
}

fn is_less_or_equal(a: &Value, b: &Value) -> Result<bool, FunctionError> {
    Ok(is_less(a, b)? || is_equal(a, b)?)
}

fn compare_integers(a: &Value, b: &Value) -> Option<Ordering> {
    let wide = |v: &Value| match v {
        Value::Uint(u) => Some(i128::from(*u)),
        other => other.as_int().map(i128::from),
    };
    Some(wide(a)?.cmp(&wide(b)?))
}

fn incompatible(a: &Value, b: &Value) -> FunctionError {
    let number = |v: &Value| matches!(v, Value::Float(_)) || v.as_int().is_some();
    FunctionError::Incompatible {
        left: a.type_name(),
        right: b.type_name(),
        numbers: number(a) && number(b),
    }
}
