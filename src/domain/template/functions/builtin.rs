//! Go's own functions, except comparisons and escapes.

use super::super::format;
use super::super::function_error::FunctionError;
use super::super::value::Value;
use super::Type::{Any, Text};
use super::{Call, Function, bounded_text, text_argument};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        usage: "and X …",
        params: &[Any],
        rest: Some(Any),
        call: Call::And,
    },
    Function {
        usage: "or X …",
        params: &[Any],
        rest: Some(Any),
        call: Call::Or,
    },
    Function::new("not X", &[Any], |args| Ok(Value::Bool(!args[0].is_true()))),
    Function::new("len X", &[Any], |args| {
        let length = match &args[0] {
            Value::Text(text) => text.len(),
            Value::List(list) => list.items.len(),
            Value::Map(map) => map.entries.len(),
            other => return Err(FunctionError::NoLength(other.describe_type())),
        };
        Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
    }),
    Function::new("index X KEY …", &[Any], |args| {
        if matches!(args[0], Value::Nil) {
            return Err(FunctionError::NilHasNoKeys);
        }
        args[1..]
            .iter()
            .try_fold(args[0].clone(), |value, key| index_value(&value, key))
    })
    .with_rest(Any),
    Function::new("slice X [FROM [TO]]", &[Any], slice_value).with_rest(Any),
    Function::new("print X …", &[], |args| bounded_text(format::print(args))).with_rest(Any),
    Function::new("println X …", &[], |args| {
        bounded_text(format::println(args))
    })
    .with_rest(Any),
    Function::new("printf FORMAT X …", &[Text], |args| {
        format::printf(text_argument(args, 0), args.get(1..).unwrap_or_default())
            .map(Value::from_text)
    })
    .with_rest(Any),
];

fn index_value(value: &Value, key: &Value) -> Result<Value, FunctionError> {
    match (value, key) {
        (Value::Map(map), Value::Text(key)) => {
            Ok(map.entries.get(key).cloned().unwrap_or(Value::Nil))
        }
        (Value::Map(_), key) => Err(FunctionError::KeyType(key.describe_type())),
        (Value::List(list), key) => {
            let found = parse_position(key, list.items.len())?;
            list.items
                .get(found)
                .cloned()
                .ok_or_else(|| out_of_range(key))
        }
        (Value::Text(text), key) => {
            let found = parse_position(key, text.len())?;
            text.as_bytes()
                .get(found)
                .map(|b| Value::Byte(*b))
                .ok_or_else(|| out_of_range(key))
        }
        (other, _) => Err(FunctionError::NoItems(other.describe_type())),
    }
}

/// Reads an index from `0` to `length`, both included.
fn parse_position(key: &Value, length: usize) -> Result<usize, FunctionError> {
    let number = key
        .as_int()
        .ok_or_else(|| FunctionError::PositionType(key.describe_type()))?;
    usize::try_from(number)
        .ok()
        .filter(|n| *n <= length)
        .ok_or_else(|| out_of_range(key))
}

fn out_of_range(key: &Value) -> FunctionError {
    FunctionError::OutOfRange(super::to_text(key))
}

fn slice_value(args: &[Value]) -> Result<Value, FunctionError> {
    let length = match &args[0] {
        Value::Text(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Nil => return Err(FunctionError::NilHasNoItems),
        other => return Err(FunctionError::NoItems(other.describe_type())),
    };
    let mut places = [0, length, length];
    let most = if matches!(args[0], Value::Text(_)) {
        2
    } else {
        3
    };
    if args.len() - 1 > most {
        return Err(FunctionError::TooManyPositions);
    }
    for (place, key) in places.iter_mut().zip(&args[1..]) {
        *place = parse_position(key, length)?;
    }
    let [from, to, capacity] = places;
    if from > to || to > capacity {
        return Err(FunctionError::PositionOrder { from, to });
    }
    match &args[0] {
        Value::Text(text) => text
            .get(from..to)
            .map(Value::from_text)
            .ok_or(FunctionError::SplitCharacter),
        Value::List(list) => Ok(Value::from_typed_list(
            list.kind,
            list.items[from..to].to_vec(),
        )?),
        _ => Ok(Value::Nil),
    }
}
