//! The comparison as lines for people, and as a unified diff.

use super::{EnvironmentDiff, ObjectChange, ObjectFate, ReleaseDiff};
use crate::domain::text::Clean;

/// What a line of the report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseDiffLineKind {
    /// Begins an environment.
    Environment,
    /// What it is compared with, or that nothing changes.
    Note,
    /// An image or a value.
    Change,
    /// Begins an object.
    Object,
    /// Begins a part of an object: `@@ -1,7 +1,7 @@`.
    Hunk,
    /// A line that both sides have.
    Context,
    /// A line of the old side.
    Minus,
    /// A line of the new side.
    Plus,
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseDiffLine {
    /// What it is.
    pub kind: ReleaseDiffLineKind,
    /// Its text.
    pub text: Clean,
}

impl ReleaseDiff {
    /// The comparison as lines for people.
    pub fn report_lines(&self) -> Vec<ReleaseDiffLine> {
        let mut lines = vec![];
        let mut add = |kind, text: &str| {
            let text = Clean::from_untrusted(text);
            lines.push(ReleaseDiffLine { kind, text });
        };
        if self.environments.is_empty() {
            add(ReleaseDiffLineKind::Note, "it deploys nothing");
        }
        for environment in &self.environments {
            let head = format!("environment {}", environment.environment);
            add(ReleaseDiffLineKind::Environment, &head);
            for note in environment.notes() {
                add(ReleaseDiffLineKind::Note, &note);
            }
            for change in environment.changes() {
                add(ReleaseDiffLineKind::Change, &change);
            }
            for object in &environment.objects {
                let head = format!("{} {}", object.object, object.fate);
                add(ReleaseDiffLineKind::Object, &head);
                for line in object.diff.lines() {
                    add(line_kind(line), line);
                }
            }
        }
        lines
    }

    /// The comparison as a unified diff: what is not of objects is in lines that begin with `#`.
    pub fn to_unified_text(&self) -> String {
        let mut text = String::new();
        let mut add = |line: &str| {
            text.push_str(&Clean::from_untrusted(line));
            text.push('\n');
        };
        if self.environments.is_empty() {
            add("# it deploys nothing");
        }
        for environment in &self.environments {
            let name = &environment.environment;
            for note in environment.notes() {
                add(&format!("# environment {name}: {note}"));
            }
            for change in environment.changes() {
                add(&format!("# {change}"));
            }
            for object in &environment.objects {
                let [old, new] = side_names(object, name);
                add(&format!("--- {old}"));
                add(&format!("+++ {new}"));
                object.diff.lines().for_each(&mut add);
            }
        }
        text
    }
}

impl EnvironmentDiff {
    fn notes(&self) -> Vec<String> {
        let mut notes = vec![self.against.to_string()];
        if self.is_empty() {
            notes.push(self.summary());
        }
        notes
    }

    /// Images and values, one a line.
    fn changes(&self) -> Vec<String> {
        let images = self.images.iter().map(|change| format!("image {change}"));
        let values = self.values.iter().map(|change| format!("value {change}"));
        images.chain(values).collect()
    }
}

fn side_names(object: &ObjectChange, environment: &str) -> [String; 2] {
    let name = format!("{} in {environment}", object.object);
    let none = || "/dev/null".to_owned();
    match object.fate {
        ObjectFate::Added => [none(), name],
        ObjectFate::Changed => [name.clone(), name],
        ObjectFate::Removed => [name, none()],
    }
}

fn line_kind(line: &str) -> ReleaseDiffLineKind {
    match line.chars().next() {
        Some('+') => ReleaseDiffLineKind::Plus,
        Some('-') => ReleaseDiffLineKind::Minus,
        Some('@') => ReleaseDiffLineKind::Hunk,
        _ => ReleaseDiffLineKind::Context,
    }
}
