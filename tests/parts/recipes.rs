//! What CONTRIBUTING says of adding something, compared with the source: the files that its recipe names are those that
//! name a neighbour of the new thing.

use std::{collections::BTreeSet, fs, path::Path};

use super::layers;

/// Row of a recipe in CONTRIBUTING: the words between backticks.
fn recipe(what: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let start = format!("| {what} |");
    let row = text.lines().find(|line| line.starts_with(&start));
    let row = row.unwrap_or_else(|| panic!("CONTRIBUTING has no recipe {what:?}"));
    row.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn is_source(word: &String) -> bool {
    Path::new(word).extension().is_some_and(|end| end == "rs")
}

/// Sources that name one of these, apart from tests and made-up data.
fn files_that_name(words: &[&str]) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![];
    layers::sources(&root.join("src"), &mut found);
    let named = found.iter().filter(|file| {
        let code = layers::code(&fs::read_to_string(file).unwrap());
        words.iter().any(|word| code.contains(word))
    });
    named
        .map(|file| {
            file.strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|file| !file.contains("/tests") && !file.ends_with("fixture.rs"))
        .collect()
}

#[test]
fn a_new_kind_of_task_touches_the_files_that_its_recipe_names() {
    let words = recipe("a kind of task");
    let named: BTreeSet<String> = words.into_iter().filter(is_source).collect();
    // A probe has no special place in any rule: whoever names it asks what each kind is.
    let mut touched = files_that_name(&["TaskKind::Verify", "TaskSpec::Verify"]);
    touched.insert("src/engine/act.rs".into());
    touched.insert("tests/parts/recipes.rs".into());
    assert_eq!(named, touched);
    let own = files_that_name(&["&VerifyTask)"]);
    let own: Vec<_> = own
        .iter()
        .filter(|f| f.starts_with("src/domain/"))
        .collect();
    assert_eq!(
        own,
        ["src/domain/workflow/verify.rs"],
        "its function is in one file"
    );
}

/// What has no place of its own in a picture is named by its row alone.
#[test]
fn an_action_is_one_row() {
    let words = recipe("a key");
    let row = words.first().map(String::as_str);
    assert_eq!(row, Some("src/ui/action.rs"));
    for action in ["OnlyWrong", "EveryRequest", "MarkAll", "Themes"] {
        let named: Vec<String> = files_that_name(&[action]).into_iter().collect();
        assert_eq!(named, ["src/ui/action.rs"], "{action}");
    }
}

#[test]
fn a_pane_is_one_file_and_the_lines_that_its_recipe_names() {
    let words = recipe("a pane");
    let named: BTreeSet<String> = words.into_iter().filter(is_source).collect();
    for pane in ["Apps", "Environments", "Rollout", "Lanes", "Trace"] {
        let module = pane.to_lowercase();
        let (file, folder) = (
            format!("src/ui/pane/{module}.rs"),
            format!("src/ui/pane/{module}/"),
        );
        let kind = format!("{pane}Pane");
        // As a value, as its type, as the context of its keys.
        let words = [
            &format!("Pane::{pane}"),
            &kind,
            &format!("{pane} \"{module}\" "),
        ];
        let (own, mut others): (BTreeSet<String>, BTreeSet<String>) =
            files_that_name(&words.map(String::as_str))
                .into_iter()
                .partition(|found| *found == file || found.starts_with(&folder));
        assert!(own.contains(&file), "{pane} has its own file");
        // It has no keys that are its alone: those of releases are shared.
        if pane == "Rollout" {
            others.insert("src/ui/keymap.rs".into());
        }
        others.insert("tests/parts/recipes.rs".into());
        assert_eq!(others, named, "{pane}");
        let types = files_that_name(&[&format!("PaneBehaviour for {kind}")]);
        assert_eq!(types, BTreeSet::from([file]), "{pane}");
    }
}
