//! The types of the built-in kinds, from one table: they decode JSON ([`super::typed`]) and
//! protobuf ([`super::protobuf`]), and OpenAPI is generated from them.

use std::collections::HashMap;
use std::sync::LazyLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cardinality {
    One,
    List,
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// With the name of its Go type, or `string`.
    Text(&'static str),
    Bytes,
    Int32,
    Int64,
    Bool,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    Json,
    List,
    Message(&'static str),
}

/// One field of a message, by its name in JSON.
#[derive(Debug)]
pub(crate) struct MessageField {
    pub(crate) number: u64,
    pub(crate) name: &'static str,
    /// Its own fields are fields of the enclosing object.
    pub(crate) inline: bool,
    /// A pointer in Go: zero is a value, not a missing one.
    pub(crate) set: bool,
    /// Written even when it is zero.
    pub(crate) keep: bool,
    /// A struct that is omitted when it is zero.
    pub(crate) omit: bool,
    pub(crate) many: Cardinality,
    pub(crate) kind: FieldKind,
}

static MESSAGES: LazyLock<HashMap<&'static str, Vec<MessageField>>> =
    LazyLock::new(|| parse_table(include_str!("types.txt")));

fn parse_table(text: &'static str) -> HashMap<&'static str, Vec<MessageField>> {
    let mut messages: HashMap<_, Vec<MessageField>> = HashMap::new();
    let mut message = "";
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let Some(line) = line.strip_prefix(' ') else {
            message = line;
            messages.entry(line).or_default();
            continue;
        };
        let words: Vec<&str> = line.split(' ').collect();
        let [number, name, flags @ .., kind] = words.as_slice() else {
            unreachable!("types.txt: {line}")
        };
        let has = |flag: &str| flags.contains(&flag);
        let field = MessageField {
            number: number
                .parse()
                .unwrap_or_else(|_| unreachable!("types.txt: {line}")),
            name,
            inline: has("inline"),
            set: has("set"),
            keep: has("keep"),
            omit: has("omit"),
            many: match (has("list"), has("map")) {
                (true, _) => Cardinality::List,
                (_, true) => Cardinality::Map,
                _ => Cardinality::One,
            },
            kind: match *kind {
                "text" => FieldKind::Text("string"),
                "bytes" => FieldKind::Bytes,
                "int32" => FieldKind::Int32,
                "int64" => FieldKind::Int64,
                "bool" => FieldKind::Bool,
                "Time" => FieldKind::Time,
                "MicroTime" => FieldKind::MicroTime,
                "Quantity" => FieldKind::Quantity,
                "IntOrString" => FieldKind::IntOrString,
                "Json" => FieldKind::Json,
                "List" => FieldKind::List,
                other => other
                    .strip_prefix("text:")
                    .map_or(FieldKind::Message(other), FieldKind::Text),
            },
        };
        messages.entry(message).or_default().push(field);
    }
    messages
}

/// Name of a kind in the table: `apps/v1.Deployment`, `discovery/v1.EndpointSlice`.
pub(crate) fn message_name(group: &str, version: &str, kind: &str) -> String {
    let package = group
        .split('.')
        .next()
        .filter(|g| !g.is_empty())
        .unwrap_or("core");
    format!("{package}/{version}.{kind}")
}

/// The same name, if it is in the table.
pub(crate) fn find_message(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    MESSAGES
        .get_key_value(message_name(group, version, kind).as_str())
        .map(|(name, _)| *name)
}

/// The fields of a message in Go's order; `None` if it is not in the table.
pub(crate) fn message_fields(message: &str) -> Option<&'static [MessageField]> {
    MESSAGES.get(message).map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_field_refers_to_is_there() {
        for (message, fields) in MESSAGES.iter() {
            for field in fields {
                if let FieldKind::Message(of) = field.kind {
                    assert!(MESSAGES.contains_key(of), "{message} {}: {of}", field.name);
                }
            }
        }
        for row in super::super::registry::builtin::ALL
            .iter()
            .filter(|b| b.kind != "CustomResourceDefinition")
        {
            assert!(
                find_message(row.group, row.version, row.kind).is_some(),
                "{}",
                row.kind
            );
        }
    }
}
