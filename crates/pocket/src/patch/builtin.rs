//! The built-in kinds that pocket serves, read once from `builtin.txt`: which lists merge by which
//! key, and which fields are atomic. Neither the types of `k8s-openapi` nor its schemas contain
//! this.

use super::schema::{KeyField, ListKeys, PatchStrategy, SchemaField, Shape, StructType};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

static TABLE: LazyLock<Table> = LazyLock::new(|| parse_table(include_str!("builtin.txt")));

pub(super) struct Table {
    types: Arc<Vec<StructType>>,
    by_name: HashMap<String, usize>,
}

/// The type of `metadata`, which is an ObjectMeta in every kind: the types it needs, and its shape.
pub(super) fn object_meta() -> (Vec<StructType>, Shape) {
    let meta = TABLE.by_name["meta/v1.ObjectMeta"];
    (vec![TABLE.types[meta].clone()], Shape::Struct(0))
}

pub(super) fn find_list_keys(group: &str, kind: &str) -> Option<ListKeys> {
    // Types are named by their Go package: the first label of the group.
    let package = match group {
        "" => "core",
        "gateway.networking.k8s.io" => return None,
        g if g.contains('.') && !g.ends_with(".k8s.io") => return None,
        g => g.split('.').next().unwrap_or(g),
    };
    let root = *TABLE.by_name.get(&format!("{package}/v1.{kind}"))?;
    Some(ListKeys {
        types: TABLE.types.clone(),
        root: Shape::Struct(root),
        has_status_subresource: true,
        custom: false,
    })
}

fn parse_table(text: &str) -> Table {
    let lines = || {
        text.lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
    };
    let by_name: HashMap<String, usize> = lines()
        .filter(|l| !l.starts_with(' '))
        .enumerate()
        .map(|(i, l)| (l.to_owned(), i))
        .collect();
    // `-` is a struct of scalars, the last type in the table.
    let scalars = by_name.len();
    let mut types = vec![StructType::default(); scalars + 1];
    let mut current = scalars;
    for line in lines() {
        match line.strip_prefix(' ') {
            None => current = by_name[line],
            Some(line) => {
                let (name, field) = parse_field(line, &by_name, scalars);
                types[current].fields.insert(name, field);
            }
        }
    }
    Table {
        types: Arc::new(types),
        by_name,
    }
}

fn parse_field(
    line: &str,
    by_name: &HashMap<String, usize>,
    scalars: usize,
) -> (String, SchemaField) {
    let named = |t: &str| match t {
        "-" => Shape::Struct(scalars),
        "atomic" => Shape::Atomic,
        t => Shape::Struct(by_name[t]),
    };
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default().to_owned();
    let mut rest: Vec<&str> = words.collect();
    let patch = match rest.last().copied() {
        Some("replace") => PatchStrategy::Replace,
        Some("merge") => PatchStrategy::MergeSet,
        Some(last) => last
            .strip_prefix("merge=")
            .map_or(PatchStrategy::Default, |key| {
                PatchStrategy::MergeBy(key.to_owned())
            }),
        None => PatchStrategy::Default,
    };
    if patch != PatchStrategy::Default {
        rest.pop();
    }
    let shape = match rest[..] {
        ["any"] => Shape::Any,
        ["atomic"] => Shape::Atomic,
        ["set"] => Shape::Set,
        ["map"] => Shape::Map(Box::new(Shape::Any)),
        ["map", t] => Shape::Map(Box::new(named(t))),
        ["struct", t] => named(t),
        ["list", keys, t] => {
            Shape::List(keys.split(',').map(parse_key).collect(), Box::new(named(t)))
        }
        _ => unreachable!("builtin.txt: {line}"),
    };
    (name, SchemaField { shape, patch })
}

fn parse_key(word: &str) -> KeyField {
    let (name, default) = match word.split_once('=') {
        Some((name, default)) => (name, Some(Value::from(default))),
        None => (word, None),
    };
    KeyField {
        name: name.to_owned(),
        default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::registry::builtin;

    #[test]
    fn the_table_is_whole() {
        // Every line parses, every type it names exists (otherwise this panics), and every kind
        // that pocket serves is a root.
        for row in builtin::ALL
            .iter()
            .filter(|row| row.verbs.contains(&"update"))
        {
            assert!(
                find_list_keys(row.group, row.kind).is_some(),
                "{}/{}",
                row.group,
                row.kind
            );
        }
        assert!(find_list_keys("graylane.dev", "Lane").is_none());
        assert!(find_list_keys("apps", "Nothing").is_none());
    }
}
