//! Between JSON and the engine's values.

use gotmpl::Value as Go;
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn to_go(value: &Value) -> Go {
    match value {
        Value::Null => Go::Nil,
        Value::Bool(b) => Go::Bool(*b),
        // Whole numbers compare with literals (`eq .Values.replicas 2`) only as signed ones.
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Go::Int(i),
            (_, Some(u)) => Go::Uint(u),
            _ => Go::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(s) => Go::String(s.as_str().into()),
        Value::Array(items) => Go::List(items.iter().map(to_go).collect()),
        Value::Object(map) => {
            let map: BTreeMap<Arc<str>, Go> = map.iter().map(|(k, v)| (k.as_str().into(), to_go(v))).collect();
            Go::Map(Arc::new(map))
        }
    }
}

pub(super) fn to_json(value: &Go) -> Value {
    match value {
        Go::Nil | Go::Function(_) => Value::Null,
        Go::Bool(b) => Value::Bool(*b),
        Go::Int(i) => Value::from(*i),
        Go::Uint(u) => Value::from(*u),
        Go::Float(f) => Number::from_f64(*f).map_or(Value::Null, Value::Number),
        Go::String(s) => Value::from(&**s),
        Go::List(items) => items.iter().map(to_json).collect(),
        Go::Map(map) => Value::Object(map.iter().map(|(k, v)| (k.to_string(), to_json(v))).collect::<Map<_, _>>()),
    }
}
