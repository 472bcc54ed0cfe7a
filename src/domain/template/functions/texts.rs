//! Texts.

use super::{Function, one, string, takes, text, two, whole};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gotmpl::Value as Go;
use sha2::{Digest, Sha256};

/// A manifest has no use for a longer text; `repeat` and `indent` must not eat the memory.
const MAX: usize = 1 << 20;

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("quote", |args| Ok(string(args.iter().map(quote).collect::<Vec<_>>().join(" ")))),
    ("squote", |args| {
        Ok(string(args.iter().map(|v| format!("'{}'", text(v).replace('\'', "''"))).collect::<Vec<_>>().join(" ")))
    }),
    ("upper", |args| one(args, "upper TEXT").map(|v| string(text(v).to_uppercase()))),
    ("lower", |args| one(args, "lower TEXT").map(|v| string(text(v).to_lowercase()))),
    ("title", |args| one(args, "title TEXT").map(|v| string(title(&text(v))))),
    ("trim", |args| one(args, "trim TEXT").map(|v| string(text(v).trim()))),
    ("nospace", |args| one(args, "nospace TEXT").map(|v| string(text(v).split_whitespace().collect::<String>()))),
    ("trimAll", |args| {
        let (set, of) = two(args, "trimAll CHARACTERS TEXT")?;
        let set = text(set);
        Ok(string(text(of).trim_matches(|c| set.contains(c))))
    }),
    ("trimPrefix", |args| {
        let (prefix, of) = two(args, "trimPrefix PREFIX TEXT")?;
        let of = text(of);
        Ok(string(of.strip_prefix(&text(prefix)).unwrap_or(&of)))
    }),
    ("trimSuffix", |args| {
        let (suffix, of) = two(args, "trimSuffix SUFFIX TEXT")?;
        let of = text(of);
        Ok(string(of.strip_suffix(&text(suffix)).unwrap_or(&of)))
    }),
    ("hasPrefix", |args| {
        two(args, "hasPrefix PREFIX TEXT").map(|(prefix, of)| Go::Bool(text(of).starts_with(&text(prefix))))
    }),
    ("hasSuffix", |args| {
        two(args, "hasSuffix SUFFIX TEXT").map(|(suffix, of)| Go::Bool(text(of).ends_with(&text(suffix))))
    }),
    ("contains", |args| two(args, "contains PART TEXT").map(|(part, of)| Go::Bool(text(of).contains(&text(part))))),
    ("replace", |args| match args {
        [old, new, of] => bounded(text(of).replace(&text(old), &text(new))),
        _ => Err(takes("replace OLD NEW TEXT")),
    }),
    ("repeat", |args| {
        let (times, of) = two(args, "repeat TIMES TEXT")?;
        let (times, of) = (usize::try_from(whole(times)?.max(0)).unwrap_or(MAX), text(of));
        if of.len().saturating_mul(times) > MAX {
            Err("that text would be too long".into())
        } else {
            Ok(string(of.repeat(times)))
        }
    }),
    ("trunc", |args| {
        let (length, of) = two(args, "trunc LENGTH TEXT")?;
        let (length, of) = (whole(length)?, text(of));
        let keep = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX);
        let all = of.chars().count();
        Ok(string(match length {
            0.. => of.chars().take(keep).collect::<String>(),
            _ => of.chars().skip(all.saturating_sub(keep)).collect(),
        }))
    }),
    ("indent", |args| two(args, "indent COLUMNS TEXT").and_then(|(n, of)| indent(n, &text(of)))),
    ("nindent", |args| two(args, "nindent COLUMNS TEXT").and_then(|(n, of)| indent(n, &format!("\n{}", text(of))))),
    ("b64enc", |args| one(args, "b64enc TEXT").map(|v| string(BASE64_STANDARD.encode(text(v))))),
    ("b64dec", |args| {
        let bytes = BASE64_STANDARD.decode(text(one(args, "b64dec TEXT")?).trim()).map_err(|e| e.to_string())?;
        String::from_utf8(bytes).map(string).map_err(|_| "what is inside is no text".into())
    }),
    ("sha256sum", |args| {
        let digest = Sha256::digest(text(one(args, "sha256sum TEXT")?));
        Ok(string(digest.iter().map(|b| format!("{b:02x}")).collect::<String>()))
    }),
    ("splitList", |args| {
        let (separator, of) = two(args, "splitList SEPARATOR TEXT")?;
        Ok(Go::List(text(of).split(&text(separator)).map(string).collect()))
    }),
    ("cat", |args| Ok(string(args.iter().map(text).collect::<Vec<_>>().join(" ")))),
];

/// In double quotes, as JSON and YAML read them; nothing stays nothing.
fn quote(value: &Go) -> String {
    match value {
        Go::Nil => String::new(),
        value => serde_json::Value::from(text(value)).to_string(),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .flat_map(|c| {
            let capital = start && c.is_alphabetic();
            start = !c.is_alphanumeric();
            if capital { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect()
}

/// Every line but an added first one.
fn indent(columns: &Go, text: &str) -> Result<Go, String> {
    let columns = usize::try_from(whole(columns)?).map_err(|_| "columns cannot be negative")?;
    let lines = text.matches('\n').count() + 1;
    if columns.saturating_mul(lines) > MAX {
        return Err("that text would be too long".into());
    }
    let fill = " ".repeat(columns);
    let (first, text) = match text.strip_prefix('\n') {
        Some(rest) => ("\n", rest),
        None => ("", text),
    };
    Ok(string(format!("{first}{fill}{}", text.replace('\n', &format!("\n{fill}")))))
}

fn bounded(text: String) -> Result<Go, String> {
    if text.len() > MAX { Err("that text would be too long".into()) } else { Ok(string(text)) }
}
