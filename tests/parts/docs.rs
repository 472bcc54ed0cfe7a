//! What documents name is there, and what is generated of them is up to date.

#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/messages.rs"]
mod messages;
#[path = "docs/pages.rs"]
mod pages;
#[path = "docs/reference.rs"]
mod reference;

use std::{fs, path::Path};

/// Words between backticks that are paths of this repository.
fn paths(text: &str) -> Vec<String> {
    let words = pages::inline_code(text);
    let paths = words.iter().filter_map(|code| code.split(' ').next());
    paths
        .filter(|w| {
            [
                "src/",
                "crates/",
                "tests/",
                "docs/",
                "benches/",
                "screenshots/",
            ]
            .iter()
            .any(|folder| w.starts_with(folder))
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn pages_name_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let least = [("docs/security.md", 30), ("CONTRIBUTING.md", 60)];
    for (page, text) in pages::pages() {
        let named = paths(&text);
        let some = least.iter().find(|(p, _)| *p == page).map_or(0, |l| l.1);
        assert!(named.len() >= some, "{page}: {named:?}");
        let exists = |path: &str| match path.split_once(['*', '{']) {
            // `screenshots/*.svg`: the folder.
            Some((folder, _)) => root.join(folder).exists(),
            None => root.join(path).exists(),
        };
        let gone: Vec<&String> = named.iter().filter(|path| !exists(path)).collect();
        assert!(gone.is_empty(), "{page} names what is not there: {gone:?}");
    }
}

/// A glossary that names what was renamed since sends its reader astray.
#[test]
fn the_glossary_and_the_recipes_name_what_is_defined() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let glossary = page.split("## Glossary").nth(1).unwrap();
    let glossary = glossary.split("\n## ").next().unwrap();
    let rows: Vec<&str> = glossary.lines().filter(|l| l.starts_with("| ")).collect();
    assert!((20..=40).contains(&rows.len()), "{} rows", rows.len());
    let source: String = super::layers::all_sources()
        .iter()
        .map(|f| fs::read_to_string(f).unwrap())
        .collect();
    let is_defined = |name: &str| {
        let kinds = ["struct", "enum", "trait", "type", "mod", "fn", "const"];
        kinds.iter().any(|kind| {
            source
                .match_indices(&format!("{kind} {name}"))
                .any(|(at, found)| {
                    let next = source[at + found.len()..].chars().next();
                    next.is_some_and(|c| !c.is_alphanumeric() && c != '_')
                })
        })
    };
    let mut names: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.split('|').nth(3))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    // `name` in `src/file.rs`, as the recipes say it.
    names.extend(
        page.split('`')
            .skip(1)
            .step_by(2)
            .zip(page.split('`').skip(2).step_by(2))
            .filter_map(|(name, after)| (after == " in ").then_some(name)),
    );
    assert!(names.len() > 50, "{names:?}");
    let unknown: Vec<&&str> = names
        .iter()
        .filter(|name| {
            // Of a custom resource only the spec is written by hand.
            let first = name.split("::").next().unwrap_or_default();
            !is_defined(first) && !is_defined(&format!("{first}Spec"))
        })
        .collect();
    assert!(
        unknown.is_empty(),
        "nothing of this name is in the sources: {unknown:?}"
    );
}

/// Whoever copies the lines gets what `graylane doctor --trace` prints, and what the stories set the gateways by.
#[test]
fn the_settings_of_gateways_stand_in_the_page_on_hops() {
    use graylane::{api::LogFormat, domain::hop_settings::build_log_settings};

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/hops.md")).unwrap();
    for (controller, format) in [
        (None, LogFormat::Traefik),
        (
            Some("gateway.envoyproxy.io/gatewayclass-controller"),
            LogFormat::Envoy,
        ),
        (Some("istio.io/gateway-controller"), LogFormat::Envoy),
        (None, LogFormat::Nginx),
    ] {
        let lines = build_log_settings(controller, format, "x-mse-tag").lines;
        assert!(page.contains(&lines), "docs/hops.md has not:\n{lines}");
    }
}
