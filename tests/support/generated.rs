//! Pages of which a part is generated from the program: drift fails, `UPDATE_DOCS=1` writes it anew.

use std::path::Path;

/// What stands at the end of a page is generated from this line on.
const MARKER: &str = "<!-- What follows is generated: ";

/// Compares the generated end of a page with `generated`, or writes it.
pub fn check_generated(page: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{page}: {e}"));
    let at = text
        .find(MARKER)
        .unwrap_or_else(|| panic!("{page} has no line {MARKER:?}"));
    let head_end = at + text[at..].find('\n').expect("the marker is a line");
    let head = &text[..head_end];
    let wanted = format!("{head}\n\n{}\n", generated.trim_end());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "{page} is not what the program says now: {}",
        head[at..]
            .trim_start_matches(MARKER)
            .trim_end_matches(" -->")
    );
}
