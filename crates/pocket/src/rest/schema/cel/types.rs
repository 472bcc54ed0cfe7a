//! CEL types: derived from a schema as in Kubernetes (`SchemaDeclType` of
//! k8s.io/apiserver/pkg/cel), or parsed from the table of functions.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value;

use super::super::is_set;

/// Type of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CelType {
    /// Known only at evaluation; fits everything.
    Dyn,
    Null,
    /// `int`, `string`, `timestamp`, `quantity`, …
    Simple(String),
    List(Box<CelType>),
    Map(Box<CelType>, Box<CelType>),
    Optional(Box<CelType>),
    /// An object with known fields, by their names in expressions.
    Object(Arc<BTreeMap<String, CelType>>),
    /// A type parameter of a signature: `A` or `B`.
    Parameter(u8),
}

/// Words of the language: a field with such a name is escaped (`__true__`).
const RESERVED_WORDS: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
const SIMPLE_TYPES: [&str; 16] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "timestamp",
    "duration",
    "type",
    "url",
    "ip",
    "cidr",
    "quantity",
    "semver",
    "format",
    "null_type",
];

impl CelType {
    pub(super) fn simple(name: &str) -> Self {
        Self::Simple(name.to_owned())
    }

    pub(super) fn is_simple(&self, name: &str) -> bool {
        matches!(self, Self::Simple(own) if own == name)
    }

    /// The type of a schema's values; `None` if it is unknown, in which case no expression may use
    /// them.
    pub(super) fn from_schema(schema: &Value, resource_root: bool) -> Option<Self> {
        if is_set(schema, "x-kubernetes-int-or-string") {
            return Some(Self::Dyn);
        }
        let embedded = |inner: &Value| {
            Self::from_schema(inner, is_set(inner, "x-kubernetes-embedded-resource"))
        };
        let kind = if resource_root {
            "object"
        } else {
            schema["type"].as_str()?
        };
        match kind {
            "array" => Some(Self::List(Box::new(embedded(schema.get("items")?)?))),
            "object" if schema["additionalProperties"].is_object() => {
                let values = embedded(&schema["additionalProperties"])?;
                Some(Self::Map(
                    Box::new(Self::simple("string")),
                    Box::new(values),
                ))
            }
            "object" => {
                let mut fields = BTreeMap::new();
                for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                    if let (Some(name), Some(of)) = (escape_field(name), embedded(inner)) {
                        fields.insert(name, of);
                    }
                }
                if resource_root {
                    fields.extend(root_fields());
                }
                Some(Self::Object(Arc::new(fields)))
            }
            "string" => Some(Self::simple(match schema["format"].as_str() {
                Some("byte") => "bytes",
                Some("duration") => "duration",
                Some("date" | "date-time") => "timestamp",
                _ => "string",
            })),
            "boolean" => Some(Self::simple("bool")),
            "number" => Some(Self::simple("double")),
            "integer" => Some(Self::simple("int")),
            _ => None,
        }
    }

    /// Parses a type such as `list<A>` at the start of a text; also returns the rest of the text.
    pub(super) fn parse_prefix(text: &str) -> Option<(Self, &str)> {
        let text = text.trim_start();
        let end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        Some(match name {
            "A" => (Self::Parameter(0), rest),
            "B" => (Self::Parameter(1), rest),
            "dyn" => (Self::Dyn, rest),
            "list" | "optional" => {
                let (of, rest) = Self::parse_prefix(rest.strip_prefix('<')?)?;
                let of = Box::new(of);
                (
                    if name == "list" {
                        Self::List(of)
                    } else {
                        Self::Optional(of)
                    },
                    rest.strip_prefix('>')?,
                )
            }
            "map" => {
                let (keys, rest) = Self::parse_prefix(rest.strip_prefix('<')?)?;
                let (values, rest) = Self::parse_prefix(rest.strip_prefix(',')?)?;
                (
                    Self::Map(Box::new(keys), Box::new(values)),
                    rest.strip_prefix('>')?,
                )
            }
            name if SIMPLE_TYPES.contains(&name) => (Self::simple(name), rest),
            _ => return None,
        })
    }

    /// Whether a value of this type fits where a signature has `wanted`. A parameter of the
    /// signature is bound to the first known type given for it.
    pub(super) fn is_assignable_to(&self, wanted: &Self, bound: &mut [Option<Self>; 2]) -> bool {
        match (self, wanted) {
            (of, Self::Parameter(n)) => {
                let slot = usize::from(*n);
                match bound[slot].clone() {
                    Some(known) if known.is_known() => of.is_assignable_to(&known, bound),
                    _ => {
                        bound[slot] = Some(of.clone());
                        true
                    }
                }
            }
            (Self::Dyn | Self::Null, _) | (_, Self::Dyn | Self::Null) => true,
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => {
                a.is_assignable_to(b, bound)
            }
            (Self::Map(a, b), Self::Map(c, d)) => {
                a.is_assignable_to(c, bound) && b.is_assignable_to(d, bound)
            }
            (a, b) => a == b,
        }
    }

    /// The type with the parameters of a signature filled in.
    pub(super) fn bind_parameters(&self, bound: &[Option<Self>; 2]) -> Self {
        match self {
            Self::Parameter(n) => bound[usize::from(*n)].clone().unwrap_or(Self::Dyn),
            Self::List(of) => Self::List(Box::new(of.bind_parameters(bound))),
            Self::Optional(of) => Self::Optional(Box::new(of.bind_parameters(bound))),
            Self::Map(keys, values) => Self::Map(
                Box::new(keys.bind_parameters(bound)),
                Box::new(values.bind_parameters(bound)),
            ),
            other => other.clone(),
        }
    }

    /// Whether no part of the type is left to evaluation.
    pub(super) fn is_known(&self) -> bool {
        match self {
            Self::Dyn | Self::Null | Self::Parameter(_) => false,
            Self::List(of) | Self::Optional(of) => of.is_known(),
            Self::Map(keys, values) => keys.is_known() && values.is_known(),
            Self::Simple(_) | Self::Object(_) => true,
        }
    }
}

impl fmt::Display for CelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn | Self::Parameter(_) => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Simple(name) => f.write_str(name),
            Self::List(of) => write!(f, "list({of})"),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Map(keys, values) => write!(f, "map({keys}, {values})"),
            Self::Object(_) => f.write_str("object"),
        }
    }
}

/// Fields that every custom resource has, whatever its schema says.
fn root_fields() -> [(String, CelType); 3] {
    let text = || CelType::simple("string");
    let metadata = BTreeMap::from([
        ("name".to_owned(), text()),
        ("generateName".to_owned(), text()),
    ]);
    [
        ("apiVersion".to_owned(), text()),
        ("kind".to_owned(), text()),
        ("metadata".to_owned(), CelType::Object(Arc::new(metadata))),
    ]
}

/// Name of a field in expressions; `None` if it has none.
fn escape_field(name: &str) -> Option<String> {
    if RESERVED_WORDS.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let escaped = name
        .replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__");
    let escaped = escaped.replace('/', "__slash__");
    let starts = escaped.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (starts
        && escaped
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_'))
    .then_some(escaped)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_read_and_shown() {
        for (text, shown) in [
            ("int", "int"),
            ("list<A>", "list(dyn)"),
            ("map<string, list<string>>", "map(string, list(string))"),
            ("optional<list<string>>", "optional_type(list(string))"),
        ] {
            let (of, rest) = CelType::parse_prefix(text).unwrap();
            assert_eq!((of.to_string().as_str(), rest), (shown, ""), "{text}");
        }
        for bad in ["", "nothing", "list", "list<int", "map<int>"] {
            assert_eq!(CelType::parse_prefix(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_are_named_as_expressions_write_them() {
        let schema = json!({"type": "object", "properties": {
            "a-b": {"type": "string"}, "c.d/e": {"type": "integer"}, "f__g": {"type": "boolean"},
            "namespace": {"type": "string"}, "ü": {"type": "string"},
            "free": {"type": "object", "additionalProperties": {"type": "number"}},
            "port": {"x-kubernetes-int-or-string": true},
            "unknown": {"x-kubernetes-preserve-unknown-fields": true},
        }});
        let Some(CelType::Object(fields)) = CelType::from_schema(&schema, false) else {
            panic!("an object")
        };
        let shown: Vec<String> = fields
            .iter()
            .map(|(name, of)| format!("{name}: {of}"))
            .collect();
        assert_eq!(
            shown,
            [
                "__namespace__: string",
                "a__dash__b: string",
                "c__dot__d__slash__e: int",
                "f__underscores__g: bool",
                "free: map(string, double)",
                "port: dyn",
            ]
        );
        let Some(CelType::Object(root)) = CelType::from_schema(&schema, true) else {
            panic!("an object")
        };
        assert!(root.contains_key("metadata") && root.contains_key("kind"));
    }
}
