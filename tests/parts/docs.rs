//! What documents name is there.

use std::{fs, path::Path};

/// Words between backticks that are paths of this repository.
fn paths(text: &str) -> Vec<&str> {
    let words = text.split('`').skip(1).step_by(2);
    words.filter(|w| ["src/", "tests/", "docs/", "benches/"].iter().any(|folder| w.starts_with(folder))).collect()
}

#[test]
fn the_threat_model_names_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let named = paths(&text);
    assert!(named.len() > 30, "{named:?}");
    let gone: Vec<&&str> = named.iter().filter(|path| !root.join(path).exists()).collect();
    assert!(gone.is_empty(), "docs/security.md names what is not there: {gone:?}");
}
