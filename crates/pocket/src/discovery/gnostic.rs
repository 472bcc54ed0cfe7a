//! OpenAPI v2 in gnostic's protobuf encoding, the only form in which kubectl requests it. Field
//! numbers are those of `OpenAPIv2.proto`.

use serde_json::Value;

/// Encodes a whole document.
pub(super) fn encode_document(document: &Value) -> Vec<u8> {
    let mut out = ProtobufWriter::default();
    out.write_text(1, &document["swagger"]);
    out.write_message(2, |info| {
        info.write_text(1, &document["info"]["title"]);
        info.write_text(2, &document["info"]["version"]);
    });
    // No paths are listed.
    out.write_message(8, |_| {});
    out.write_message(9, |definitions| {
        encode_named_schemas(definitions, &document["definitions"]);
    });
    out.0
}

/// Encodes schemas with their names.
fn encode_named_schemas(out: &mut ProtobufWriter, schemas: &Value) {
    for (name, value) in schemas.as_object().into_iter().flatten() {
        out.write_message(1, |entry| {
            entry.write_bytes(1, name.as_bytes());
            entry.write_message(2, |out| encode_schema(out, value));
        });
    }
}

fn encode_schema(out: &mut ProtobufWriter, schema: &Value) {
    for (number, field) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description")] {
        out.write_text(number, &schema[field]);
    }
    encode_any(out, 5, &schema["default"]);
    for (number, field) in [(6, "multipleOf"), (7, "maximum"), (9, "minimum")] {
        if let Some(value) = schema[field].as_f64() {
            out.write_double(number, value);
        }
    }
    for (number, field) in [
        (8, "exclusiveMaximum"),
        (10, "exclusiveMinimum"),
        (16, "uniqueItems"),
    ] {
        if schema[field] == true {
            out.write_uint(number, 1);
        }
    }
    out.write_text(13, &schema["pattern"]);
    for (number, field) in [
        (11, "maxLength"),
        (12, "minLength"),
        (14, "maxItems"),
        (15, "minItems"),
        (17, "maxProperties"),
        (18, "minProperties"),
    ] {
        if let Some(value) = schema[field].as_u64() {
            out.write_uint(number, value);
        }
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        out.write_text(19, name);
    }
    for value in schema["enum"].as_array().into_iter().flatten() {
        encode_any(out, 20, value);
    }
    match &schema["additionalProperties"] {
        Value::Bool(may) => out.write_message(21, |out| out.write_uint(2, u64::from(*may))),
        Value::Object(_) => out.write_message(21, |out| {
            out.write_message(1, |out| {
                self::encode_schema(out, &schema["additionalProperties"]);
            });
        }),
        _ => {}
    }
    if schema["type"].is_string() {
        out.write_message(22, |kind| kind.write_text(1, &schema["type"]));
    }
    if schema["items"].is_object() {
        out.write_message(23, |items| {
            items.write_message(1, |out| self::encode_schema(out, &schema["items"]));
        });
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        out.write_message(24, |out| self::encode_schema(out, part));
    }
    if schema["properties"].is_object() {
        out.write_message(25, |out| encode_named_schemas(out, &schema["properties"]));
    }
    for (name, value) in schema
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with("x-"))
    {
        out.write_message(31, |extension| {
            extension.write_bytes(1, name.as_bytes());
            encode_any(extension, 2, value);
        });
    }
}

/// Encodes any value as YAML; JSON is a subset of it.
fn encode_any(out: &mut ProtobufWriter, number: u64, value: &Value) {
    if !value.is_null() {
        out.write_message(number, |any| {
            any.write_bytes(2, value.to_string().as_bytes());
        });
    }
}

#[derive(Default)]
struct ProtobufWriter(Vec<u8>);

impl ProtobufWriter {
    fn write_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn write_uint(&mut self, number: u64, value: u64) {
        self.write_varint(number << 3);
        self.write_varint(value);
    }

    fn write_double(&mut self, number: u64, value: f64) {
        self.write_varint(number << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn write_bytes(&mut self, number: u64, bytes: &[u8]) {
        self.write_varint(number << 3 | 2);
        self.write_varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn write_text(&mut self, number: u64, value: &Value) {
        if let Some(text) = value.as_str() {
            self.write_bytes(number, text.as_bytes());
        }
    }

    fn write_message(&mut self, number: u64, write: impl FnOnce(&mut ProtobufWriter)) {
        let mut inside = ProtobufWriter::default();
        write(&mut inside);
        self.write_bytes(number, &inside.0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_written_as_gnostic_reads_it() {
        let written = encode_document(&json!({
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
