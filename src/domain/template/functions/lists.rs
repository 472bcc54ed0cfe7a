//! Lists and maps.

use super::super::format::MAX_TEXT;
use super::super::function_error::FunctionError;
use super::super::value::{Dict, List, ListType, Value};
use super::Function;
use super::Type::{Any, Int, Map, Text};
use super::{bounded_text, int_argument, text_argument, to_text};
use std::collections::BTreeMap;
use std::rc::Rc;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("list X …", &[], |args| {
        Ok(Value::from_list(args.to_vec())?)
    })
    .with_rest(Any),
    Function::new("first LIST", &[Any], |args| {
        Ok(as_list(&args[0])?
            .items
            .first()
            .cloned()
            .unwrap_or(Value::Nil))
    }),
    Function::new("last LIST", &[Any], |args| {
        Ok(as_list(&args[0])?
            .items
            .last()
            .cloned()
            .unwrap_or(Value::Nil))
    }),
    Function::new("has ITEM LIST", &[Any, Any], |args| {
        Ok(Value::Bool(
            !matches!(args[1], Value::Nil) && as_list(&args[1])?.items.contains(&args[0]),
        ))
    }),
    Function::new("until COUNT", &[Int], |args| {
        let count = int_argument(args, 0);
        let numbers: Box<dyn Iterator<Item = i64>> = if count < 0 {
            Box::new((count + 1..=0).rev())
        } else {
            Box::new(0..count)
        };
        // One more than a list may hold is enough to get an error.
        Ok(Value::from_typed_list(
            ListType::Ints,
            numbers.take(1_000_001).map(Value::Int).collect(),
        )?)
    }),
    Function::new("join SEPARATOR LIST", &[Text, Any], |args| {
        let parts: Vec<String> = match &args[1] {
            Value::Nil => Vec::new(),
            Value::List(list) => list
                .items
                .iter()
                .filter(|v| !matches!(v, Value::Nil))
                .map(to_text)
                .collect(),
            other => vec![to_text(other)],
        };
        let (separator, shown) = (
            text_argument(args, 0),
            parts.iter().map(String::len).sum::<usize>(),
        );
        // The step budget counts each argument alone, not the size of the joined text.
        if separator.len().saturating_mul(parts.len()) > 16 * MAX_TEXT || shown > 16 * MAX_TEXT {
            return Err(FunctionError::TooLong);
        }
        bounded_text(parts.join(separator))
    }),
    Function::new("dict KEY VALUE …", &[], |args| {
        if args.len() % 2 == 1 {
            return Err(FunctionError::KeyWithoutValue);
        }
        Ok(Value::from_map(
            args.chunks(2)
                .map(|pair| (to_text(&pair[0]).into(), pair[1].clone()))
                .collect(),
        )?)
    })
    .with_rest(Any),
    Function::new("get MAP KEY", &[Map, Text], |args| {
        Ok(map_entries(args, 0)
            .and_then(|m| m.get(text_argument(args, 1)))
            .cloned()
            .unwrap_or_else(|| Value::from_text("")))
    }),
    Function::new("hasKey MAP KEY", &[Map, Text], |args| {
        Ok(Value::Bool(
            map_entries(args, 0).is_some_and(|m| m.contains_key(text_argument(args, 1))),
        ))
    }),
    Function::new("keys MAP …", &[], |args| {
        let all = (0..args.len()).filter_map(|i| map_entries(args, i));
        Ok(Value::from_typed_list(
            ListType::Texts,
            all.flat_map(BTreeMap::keys)
                .map(|k| Value::Text(k.clone()))
                .collect(),
        )?)
    })
    .with_rest(Map),
];

fn as_list(value: &Value) -> Result<&List, FunctionError> {
    match value {
        Value::List(list) => Ok(list),
        other => Err(FunctionError::NoList(other.describe_type())),
    }
}

fn map_entries(args: &[Value], i: usize) -> Option<&BTreeMap<Rc<str>, Value>> {
    match args.get(i) {
        Some(Value::Map(map)) => {
            let Dict { entries, .. } = &**map;
            Some(entries)
        }
        _ => None,
    }
}
