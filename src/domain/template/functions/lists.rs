//! Lists and maps.

use super::{Function, one, string, takes, text, two};
use gotmpl::Value as Go;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("list", |args| Ok(Go::List(args.into()))),
    ("first", |args| items(one(args, "first LIST")?).map(|l| l.first().cloned().unwrap_or(Go::Nil))),
    ("last", |args| items(one(args, "last LIST")?).map(|l| l.last().cloned().unwrap_or(Go::Nil))),
    ("has", |args| {
        let (item, list) = two(args, "has ITEM LIST")?;
        Ok(Go::Bool(items(list)?.iter().any(|i| text(i) == text(item))))
    }),
    ("join", |args| {
        let (separator, list) = two(args, "join SEPARATOR LIST")?;
        Ok(string(items(list)?.iter().map(text).collect::<Vec<_>>().join(&text(separator))))
    }),
    ("dict", |args| {
        if args.len() % 2 == 1 {
            return Err(takes("dict KEY VALUE …"));
        }
        let map: BTreeMap<Arc<str>, Go> =
            args.chunks(2).map(|pair| (text(&pair[0]).as_str().into(), pair[1].clone())).collect();
        Ok(Go::Map(Arc::new(map)))
    }),
    ("get", |args| {
        let (map, key) = two(args, "get MAP KEY")?;
        Ok(fields(map)?.get(text(key).as_str()).cloned().unwrap_or_else(|| string("")))
    }),
    ("hasKey", |args| {
        let (map, key) = two(args, "hasKey MAP KEY")?;
        Ok(Go::Bool(fields(map)?.contains_key(text(key).as_str())))
    }),
    ("keys", |args| {
        let map = fields(one(args, "keys MAP")?)?;
        Ok(Go::List(map.keys().map(string).collect()))
    }),
];

fn items(value: &Go) -> Result<&[Go], String> {
    match value {
        Go::List(items) => Ok(items),
        other => Err(format!("it needs a list, this is {}", other.type_name())),
    }
}

fn fields(value: &Go) -> Result<&BTreeMap<Arc<str>, Go>, String> {
    match value {
        Go::Map(map) => Ok(map),
        other => Err(format!("it needs a map, this is {}", other.type_name())),
    }
}
