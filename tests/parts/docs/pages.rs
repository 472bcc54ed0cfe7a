//! The pages themselves: what is read of their Markdown.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// All pages for readers, by their path in the repository.
pub fn pages() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<PathBuf> = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
    ]
    .map(PathBuf::from)
    .into();
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        found.push(Path::new("docs").join(entry.unwrap().file_name()));
    }
    let read = |page: PathBuf| {
        let text = fs::read_to_string(root.join(&page)).unwrap();
        (page.to_string_lossy().into_owned(), text)
    };
    found.into_iter().map(read).collect()
}

/// The lines of a page, each with whether it is code: in a fence, or indented by four after a blank line.
fn lines(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let (mut fenced, mut indented, mut blank) = (false, false, true);
    text.lines().map(move |line| {
        let fence = line.trim_start().starts_with("```");
        indented = !fenced && line.starts_with("    ") && (blank || indented);
        blank = line.trim().is_empty();
        let code = fenced || fence || indented;
        fenced ^= fence;
        (code, line)
    })
}

/// The page without its code blocks.
pub fn prose(text: &str) -> String {
    lines(text)
        .filter(|(code, _)| !code)
        .map(|(_, line)| format!("{line}\n"))
        .collect()
}

/// The lines of its code blocks.
pub fn code_lines(text: &str) -> Vec<&str> {
    lines(text)
        .filter(|(code, _)| *code)
        .map(|(_, line)| line.trim())
        .collect()
}

/// Words between backticks in its prose.
pub fn inline_code(text: &str) -> Vec<String> {
    prose(text)
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// Where its links and pictures lead to.
pub fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let mut found = vec![];
    for part in prose.split("](").skip(1) {
        found.extend(part.split_once(')').map(|(target, _)| target.to_owned()));
    }
    found
}

/// The anchors of its headings, as GitHub makes them.
pub fn anchors(text: &str) -> Vec<String> {
    let anchor = |heading: &str| {
        heading
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                _ => None,
            })
            .collect()
    };
    prose(text)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}
