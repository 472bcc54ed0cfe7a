//! OpenAPI v2 in gnostic's protobuf encoding, the only form in which kubectl requests it. Field
//! numbers are those of `OpenAPIv2.proto`.

use serde_json::Value;

/// Encodes a whole document.
pub(super) fn document(document: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    out.text(1, &document["swagger"]);
    out.message(2, |info| {
        info.text(1, &document["info"]["title"]);
        info.text(2, &document["info"]["version"]);
    });
    // No paths are listed.
    out.message(8, |_| {});
    out.message(9, |definitions| {
        named(definitions, &document["definitions"])
    });
    out.0
}

/// Encodes schemas with their names.
fn named(out: &mut Writer, schemas: &Value) {
    for (name, value) in schemas.as_object().into_iter().flatten() {
        out.message(1, |entry| {
            entry.bytes(1, name.as_bytes());
            entry.message(2, |out| schema(out, value));
        });
    }
}

fn schema(out: &mut Writer, schema: &Value) {
    for (number, field) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description")] {
        out.text(number, &schema[field]);
    }
    any(out, 5, &schema["default"]);
    for (number, field) in [(6, "multipleOf"), (7, "maximum"), (9, "minimum")] {
        if let Some(value) = schema[field].as_f64() {
            out.double(number, value);
        }
    }
    for (number, field) in [
        (8, "exclusiveMaximum"),
        (10, "exclusiveMinimum"),
        (16, "uniqueItems"),
    ] {
        if schema[field] == true {
            out.number(number, 1);
        }
    }
    out.text(13, &schema["pattern"]);
    for (number, field) in [
        (11, "maxLength"),
        (12, "minLength"),
        (14, "maxItems"),
        (15, "minItems"),
        (17, "maxProperties"),
        (18, "minProperties"),
    ] {
        if let Some(value) = schema[field].as_u64() {
            out.number(number, value);
        }
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        out.text(19, name);
    }
    for value in schema["enum"].as_array().into_iter().flatten() {
        any(out, 20, value);
    }
    match &schema["additionalProperties"] {
        Value::Bool(may) => out.message(21, |out| out.number(2, u64::from(*may))),
        Value::Object(_) => out.message(21, |out| {
            out.message(1, |out| self::schema(out, &schema["additionalProperties"]))
        }),
        _ => {}
    }
    if schema["type"].is_string() {
        out.message(22, |kind| kind.text(1, &schema["type"]));
    }
    if schema["items"].is_object() {
        out.message(23, |items| {
            items.message(1, |out| self::schema(out, &schema["items"]))
        });
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        out.message(24, |out| self::schema(out, part));
    }
    if schema["properties"].is_object() {
        out.message(25, |out| named(out, &schema["properties"]));
    }
    for (name, value) in schema
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with("x-"))
    {
        out.message(31, |extension| {
            extension.bytes(1, name.as_bytes());
            any(extension, 2, value);
        });
    }
}

/// Encodes any value as YAML; JSON is a subset of it.
fn any(out: &mut Writer, number: u64, value: &Value) {
    if !value.is_null() {
        out.message(number, |any| any.bytes(2, value.to_string().as_bytes()));
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, number: u64, value: u64) {
        self.varint(number << 3);
        self.varint(value);
    }

    fn double(&mut self, number: u64, value: f64) {
        self.varint(number << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, number: u64, bytes: &[u8]) {
        self.varint(number << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, number: u64, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(number, text.as_bytes());
        }
    }

    fn message(&mut self, number: u64, write: impl FnOnce(&mut Writer)) {
        let mut inside = Writer::default();
        write(&mut inside);
        self.bytes(number, &inside.0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_written_as_gnostic_reads_it() {
        let written = document(&json!({
            "swagger": "2.0",
            "info": {"title": "t", "version": "v"},
            "paths": {},
            "definitions": {"A": {"type": "object", "properties": {"b": {"$ref": "#/definitions/B"}}, "x-k": [1]}},
        }));
        let wanted = b"\x0a\x032.0\x12\x06\x0a\x01t\x12\x01vB\x00J<\x0a:\x0a\x01A\x125\
            \xb2\x01\x08\x0a\x06object\xca\x01\x18\x0a\x16\x0a\x01b\x12\x11\x0a\x0f#/definitions/B\
            \xfa\x01\x0c\x0a\x03x-k\x12\x05\x12\x03[1]";
        assert_eq!(
            written.escape_ascii().to_string(),
            wanted.escape_ascii().to_string()
        );
    }
}
