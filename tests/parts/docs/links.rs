//! Links lead somewhere.

use std::path::Path;

use super::pages::{anchors, links, pages};

/// A path from the repository's root, without `..`.
fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn links_and_anchors_lead_somewhere() {
    let (all, root) = (pages(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let (mut broken, mut seen) = (vec![], 0);
    for (page, text) in &all {
        for link in links(text) {
            if link.contains("://") {
                continue;
            }
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let file = if file.is_empty() {
                page.clone()
            } else {
                resolve(page, file)
            };
            let there = match all.get(&file) {
                Some(text) => anchor.is_empty() || anchors(text).iter().any(|a| a == anchor),
                None => anchor.is_empty() && root.join(&file).exists(),
            };
            if !there {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "these lead nowhere: {broken:#?}");
    assert!(seen > 40, "{seen}");
}

/// A page that no other one leads to is not found by anybody.
#[test]
fn the_readme_leads_to_every_page() {
    let all = pages();
    let linked: Vec<String> = links(&all["README.md"])
        .iter()
        .map(|link| link.split('#').next().unwrap_or_default().to_owned())
        .collect();
    let missing: Vec<&String> = all
        .keys()
        .filter(|page| *page != "README.md" && !linked.contains(page))
        .collect();
    assert!(missing.is_empty(), "the README does not link {missing:?}");
    // One page: who wants more follows a link.
    let lines = all["README.md"].lines().count();
    assert!(lines <= 100, "the README has {lines} lines");
}
