//! JSON and YAML as they came, including duplicate keys.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// The last value of a duplicate key wins; `twice` is called with the path of each duplicate.
    pub(super) fn into_value(self, path: &mut String, twice: &mut impl FnMut(&str)) -> Value {
        match self {
            Tree::Null => Value::Null,
            Tree::Bool(truth) => Value::Bool(truth),
            Tree::Number(number) => Value::Number(number),
            Tree::Text(text) => Value::String(text),
            Tree::List(list) => {
                let length = path.len();
                let mut out = Vec::with_capacity(list.len());
                for (at, item) in list.into_iter().enumerate() {
                    path.push_str(&format!("[{at}]"));
                    out.push(item.into_value(path, twice));
                    path.truncate(length);
                }
                Value::Array(out)
            }
            Tree::Object(fields) => {
                let length = path.len();
                let mut out = Map::with_capacity(fields.len());
                for (key, item) in fields {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&key);
                    if out.contains_key(&key) {
                        twice(path);
                    }
                    let item = item.into_value(path, twice);
                    path.truncate(length);
                    out.insert(key, item);
                }
                Value::Object(out)
            }
        }
    }

    pub(super) fn into_json(self) -> Value {
        self.into_value(&mut String::new(), &mut |_| {})
    }

    /// A field of an object; the last one of that name.
    pub(super) fn get(&self, field: &str) -> Option<&Tree> {
        let Tree::Object(fields) = self else {
            return None;
        };
        fields
            .iter()
            .rev()
            .find_map(|(key, value)| (key == field).then_some(value))
    }

    pub(super) fn get_text(&self, field: &str) -> Option<&str> {
        match self.get(field) {
            Some(Tree::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Go's name for the JSON type.
    pub(super) fn json_type(&self) -> &'static str {
        match self {
            Tree::Null => "null",
            Tree::Bool(_) => "bool",
            Tree::Number(_) => "number",
            Tree::Text(_) => "string",
            Tree::List(_) => "array",
            Tree::Object(_) => "object",
        }
    }
}

impl From<Value> for Tree {
    fn from(value: Value) -> Tree {
        match value {
            Value::Null => Tree::Null,
            Value::Bool(truth) => Tree::Bool(truth),
            Value::Number(number) => Tree::Number(number),
            Value::String(text) => Tree::Text(text),
            Value::Array(list) => Tree::List(list.into_iter().map(Tree::from).collect()),
            Value::Object(map) => Tree::Object(
                map.into_iter()
                    .map(|(key, value)| (key, value.into()))
                    .collect(),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Number::from_f64(number).map_or(Tree::Null, Tree::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = entries.next_key::<Key>()? {
            fields.push((key.0, entries.next_value()?));
        }
        Ok(Tree::Object(fields))
    }
}

/// In YAML a key may be a number or a boolean, which JSON writes as a string.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        match Tree::deserialize(deserializer)? {
            Tree::Text(text) => Ok(Key(text)),
            Tree::Number(number) => Ok(Key(number.to_string())),
            Tree::Bool(truth) => Ok(Key(truth.to_string())),
            Tree::Null => Ok(Key("null".into())),
            _ => Err(serde::de::Error::custom("a key is a text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_twice_is_told() {
        let tree: Tree =
            serde_json::from_str(r#"{"a": 1, "b": [{"c": 1, "c": 2}], "a": {"x": null, "x": 3}}"#)
                .unwrap();
        let mut twice = Vec::new();
        let value = tree.into_value(&mut String::new(), &mut |path| twice.push(path.to_owned()));
        assert_eq!(value, serde_json::json!({"a": {"x": 3}, "b": [{"c": 2}]}));
        assert_eq!(twice, ["b[0].c", "a", "a.x"]);
    }
}
