//! The arrows between the layers (see the architecture page in `src/lib.rs`), kept by reading what each
//! module names of the others. Those of the crates in `crates/` are kept by their manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Who may use whom. A layer that stands nowhere here is an error: say where it belongs.
const ARROWS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("domain", &["api"]),
    // Stores of traces answer in the forms that are also sent.
    ("cluster", &["api", "domain", "otlp"]),
    ("engine", &["api", "domain", "cluster", "probe"]),
    ("gateway", &["api", "domain"]),
    ("otlp", &["api", "domain"]),
    ("otlp_export", &[]),
    ("probe", &["api", "domain", "cluster"]),
    ("sample", &["domain"]),
    ("embedded", &["api", "domain", "cluster", "gateway"]),
    ("ui", &["api", "domain"]),
    ("config", &["domain"]),
    (
        "demo",
        &[
            "api", "domain", "cluster", "config", "embedded", "engine", "gateway", "probe",
        ],
    ),
    // The edges see all.
    ("cli", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
];

/// Crates of this repository that only some layers use.
const CRATES: &[(&str, &[&str])] = &[
    ("net", &["engine", "gateway", "otlp"]),
    ("pocket", &["cli", "demo", "embedded"]),
];

/// All sources: those of graylane itself and of the crates beside it.
pub fn all_sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![];
    sources(&root.join("src"), &mut found);
    sources(&root.join("crates"), &mut found);
    found
}

pub fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The layer of a file: the first part of its path under src.
fn layer(src: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(src).expect("under src");
    inside
        .iter()
        .next()
        .expect("a name")
        .to_string_lossy()
        .trim_end_matches(".rs")
        .to_owned()
}

/// A source without its unit tests.
pub fn without_tests(text: &str) -> &str {
    let marks = [
        "#[cfg(test)]\nmod tests {",
        "#[cfg(all(test, feature = \"cockpit\"))]\nmod tests {",
        "#[cfg(all(test, feature = \"pocket\"))]\nmod tests {",
    ];
    let begin = marks.iter().filter_map(|mark| text.find(mark)).min();
    &text[..begin.unwrap_or(text.len())]
}

/// Code without comments and without what only tests see.
pub fn code(text: &str) -> String {
    without_tests(text)
        .lines()
        .map(|l| l.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The top-level modules that a text names by `crate::x` or `use crate::{x, y}`.
fn named(code: &str) -> BTreeSet<String> {
    let word = |t: &str| {
        t.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.insert(word(rest));
            continue;
        };
        let (mut depth, mut fresh) = (0, true);
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                c if depth == 0 && fresh && !c.is_whitespace() => {
                    names.insert(word(&list[i..]));
                    fresh = false;
                }
                _ => {}
            }
        }
    }
    names
}

#[test]
fn layers_use_only_what_the_arrows_allow() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    sources(&src, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut broken = vec![];
    for file in files {
        let from = layer(&src, &file);
        let shown = file
            .strip_prefix(&src)
            .expect("under src")
            .display()
            .to_string();
        let Some(may) = allowed.get(from.as_str()) else {
            broken.push(format!(
                "{shown}: no layer {from}; say in tests/parts/layers.rs where it belongs"
            ));
            continue;
        };
        // Only tests see these files.
        if file.ends_with("tests.rs") || shown.contains("/tests/") {
            continue;
        }
        let code = code(&fs::read_to_string(&file).expect("a source"));
        for to in named(&code)
            .iter()
            .filter(|to| allowed.contains_key(to.as_str()))
        {
            if **to != from && !may.contains(&"*") && !may.contains(&to.as_str()) {
                broken.push(format!("{shown}: {from} must not use {to}"));
            }
        }
        for (name, users) in CRATES {
            let is_used = [format!("use {name}::"), format!("use ::{name}::")];
            if is_used.iter().any(|import| code.contains(import)) && !users.contains(&from.as_str())
            {
                broken.push(format!("{shown}: {from} must not use the crate {name}"));
            }
        }
        if code.contains("ratatui::") && !matches!(from.as_str(), "ui" | "cli" | "main") {
            broken.push(format!("{shown}: terminal types stay in ui"));
        }
        // Pure: no clients, no clock, no chance, no files.
        let impure = [
            "kube::Client",
            "Timestamp::now",
            "SystemTime",
            "Instant::now",
            "tokio::",
            "std::fs",
            "std::env",
        ];
        for word in impure
            .iter()
            .filter(|w| from == "domain" && code.contains(**w))
        {
            broken.push(format!("{shown}: domain is pure, it must not name {word}"));
        }
        if from == "ui" && code.contains("kube::Client") {
            broken.push(format!(
                "{shown}: the cockpit sends intents, it never holds a client"
            ));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn names_are_found_in_every_way_of_writing_them() {
    let text = "use crate::{\n    api::{self, App},\n    domain::text::Clean,\n    ui,\n};\nfn f() { crate::engine::run() }";
    let found: Vec<String> = named(text).into_iter().collect();
    assert_eq!(found, ["api", "domain", "engine", "ui"]);
    assert_eq!(
        code("a // crate::ui\n#[cfg(test)]\nmod tests { crate::ui }"),
        "a "
    );
}
