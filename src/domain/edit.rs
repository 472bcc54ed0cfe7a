//! Edits of graylane's own objects as text: which kinds can be edited, and what of a text is wrong
//! before a server sees it.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{apps, lanes::Rules, rights::Right, text::join_lines, variables};
use crate::api::{App, AppTemplate, GROUP, Lane, LaneGroup, VariableGroup};
use kube_yaml::{read_objects, to_yaml};

/// A kind whose objects people edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditableKind {
    /// An application.
    App,
    /// What Apps are made of.
    AppTemplate,
    /// Values for manifests.
    VariableGroup,
    /// Applications of one call chain.
    LaneGroup,
    /// The requests of one kind among theirs.
    Lane,
}

impl EditableKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::App,
        Self::AppTemplate,
        Self::VariableGroup,
        Self::LaneGroup,
        Self::Lane,
    ];

    /// Plural, as kubectl takes it.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::App => "apps",
            Self::AppTemplate => "apptemplates",
            Self::VariableGroup => "variablegroups",
            Self::LaneGroup => "lanegroups",
            Self::Lane => "lanes",
        }
    }

    /// `kind` of its objects.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::App => "App",
            Self::AppTemplate => "AppTemplate",
            Self::VariableGroup => "VariableGroup",
            Self::LaneGroup => "LaneGroup",
            Self::Lane => "Lane",
        }
    }

    /// As people call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::AppTemplate => "template",
            Self::VariableGroup => "variable group",
            Self::LaneGroup => "lane group",
            Self::Lane => "lane",
        }
    }

    /// The right that writing it needs.
    pub const fn right(self) -> Right {
        match self {
            Self::App => Right::EditApp,
            Self::AppTemplate => Right::EditTemplate,
            Self::VariableGroup => Right::EditVariables,
            Self::LaneGroup => Right::EditGroup,
            Self::Lane => Right::EditLane,
        }
    }

    /// When a change takes effect.
    pub const fn effect(self) -> &'static str {
        match self {
            Self::App => "releases that have begun keep what they froze; the next one takes this",
            Self::AppTemplate => "apps that were made from it stay as they are",
            Self::VariableGroup => "releases that begin from now on read these values",
            Self::LaneGroup | Self::Lane => "the routes follow at once",
        }
    }

    /// The kind of `apps.graylane.dev` and the like.
    pub fn from_resource(resource: &str) -> Option<Self> {
        let plural = resource.strip_suffix(GROUP)?.strip_suffix('.')?;
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }
}

/// An edited text that a server is asked about.
#[derive(Clone, Debug, PartialEq)]
pub struct EditDraft {
    /// Kind of the object.
    pub kind: EditableKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The object that the person started from.
    pub before: Arc<Value>,
    /// The text as it is now.
    pub text: String,
    /// File that holds it.
    pub path: String,
}

/// An edit that the server would take.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedEdit {
    /// The object that the person started from.
    pub before: Arc<Value>,
    /// The object as it would be.
    pub after: Arc<Value>,
    /// Reasons not to write it.
    pub alarms: Vec<String>,
    /// File that holds the text.
    pub path: String,
}

/// The object without what the server keeps itself.
pub fn strip_server_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.shift_remove("status");
    }
    if let Some(meta) = object["metadata"].as_object_mut() {
        for field in [
            "managedFields",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "uid",
        ] {
            meta.shift_remove(field);
        }
        for field in ["labels", "annotations"] {
            if meta
                .get(field)
                .is_some_and(|v| v.as_object().is_none_or(|m| m.is_empty()))
            {
                meta.shift_remove(field);
            }
        }
    }
    object
}

/// The text that an editor gets.
pub fn editable_text(object: &Value) -> String {
    format!(
        "# Change it, save and leave: the server checks it, and you are asked before it is written.\n\
         # Left as it is, nothing happens.\n{}",
        to_yaml(&strip_server_fields(object))
    )
}

/// Why an edited text cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It is no YAML, or no object.
    #[error("{0}")]
    Unreadable(String),
    /// Nothing is left of it.
    #[error("the text is empty")]
    Empty,
    /// It holds more than the object that was edited.
    #[error("the text holds several objects; one is edited at a time")]
    SeveralObjects,
    /// It is another object now.
    #[error("kind and name cannot be changed: this is {kind} {name}")]
    OtherObject {
        /// Kind that was edited, as people write it.
        kind: &'static str,
        /// Name of the object that was edited.
        name: String,
    },
    /// What is wrong with the object, one line each.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
}

/// Reads an edited text. It must be the same object, and nothing of it may be wrong that can be told
/// without a server.
pub fn read_edited_text(kind: EditableKind, name: &str, text: &str) -> Result<Value, EditError> {
    let read = read_objects("the text", text);
    let mut documents = read.map_err(|errors| EditError::Unreadable(join_lines(&errors)))?;
    let object = match documents.len() {
        1 => documents.remove(0).value,
        0 => return Err(EditError::Empty),
        _ => return Err(EditError::SeveralObjects),
    };
    if object["kind"] != kind.kind() || object["metadata"]["name"] != name {
        return Err(EditError::OtherObject {
            kind: kind.word(),
            name: name.to_owned(),
        });
    }
    let problems = find_problems(kind, &object);
    if problems.is_empty() {
        Ok(object)
    } else {
        Err(EditError::Invalid(problems))
    }
}

fn find_problems(kind: EditableKind, object: &Value) -> Vec<String> {
    fn parse<T: DeserializeOwned>(object: &Value) -> Result<T, Vec<String>> {
        T::deserialize(object).map_err(|e| vec![e.to_string()])
    }
    let app_problems = |spec: &crate::api::AppSpec, at: &str| -> Vec<String> {
        let told = |(path, why): (String, String)| format!("{at}.{path}: {why}");
        apps::find_problems(spec).into_iter().map(told).collect()
    };
    let found = match kind {
        EditableKind::App => parse::<App>(object).map(|app| app_problems(&app.spec, "spec")),
        EditableKind::AppTemplate => {
            parse::<AppTemplate>(object).map(|t| app_problems(&t.spec.app, "spec.app"))
        }
        EditableKind::VariableGroup => parse::<VariableGroup>(object).map(|group| {
            variables::explain_unusable(&group.spec)
                .into_iter()
                .collect()
        }),
        EditableKind::LaneGroup => parse::<LaneGroup>(object).map(|_| vec![]),
        EditableKind::Lane => parse::<Lane>(object).map(|mut lane| {
            // A lane that is off is checked, too: it may be put on.
            lane.spec.enabled = true;
            let (_, problems) = Rules::compile(&lane.spec.group.clone(), &[lane]);
            problems
                .iter()
                .map(|p| format!("spec.{}: {}", p.place, p.text))
                .collect()
        }),
    };
    found.unwrap_or_else(|problems| problems)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lane() -> Value {
        json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Lane",
            "metadata": {"name": "gray", "namespace": "demo", "uid": "u", "resourceVersion": "7", "labels": {},
                "managedFields": [{"manager": "me"}]},
            "spec": {"group": "g", "tag": "gray", "match": {"all": [
                {"type": "header", "key": "k", "op": "==", "values": ["a"]}]}},
            "status": {"apps": []}})
    }

    #[test]
    fn the_text_holds_what_a_person_writes_and_reads_back() {
        let text = editable_text(&lane());
        assert!(
            !text.contains("managedFields") && !text.contains("status"),
            "{text}"
        );
        let read = read_edited_text(EditableKind::Lane, "gray", &text).unwrap();
        assert_eq!(read, strip_server_fields(&lane()));
        assert_eq!(
            read["metadata"],
            json!({"name": "gray", "namespace": "demo"})
        );
    }

    #[test]
    fn what_is_wrong_is_told_before_a_server_sees_it() {
        let text = editable_text(&lane());
        let told = |text: &str| {
            read_edited_text(EditableKind::Lane, "gray", text)
                .unwrap_err()
                .to_string()
        };
        assert!(told(&text.replace("name: gray", "name: grey")).contains("cannot be changed"));
        assert!(told(&text.replace("kind: Lane", "kind: App")).contains("cannot be changed"));
        assert!(told(&format!("{text}---\n{text}")).contains("several objects"));
        assert!(told("# nothing\n").contains("empty"));
        assert!(told("a: [\n").contains("the text"));
        let regex = text.replace("op: ==", "op: regex").replace("- a", "- '('");
        assert!(
            regex != text && told(&regex).starts_with("spec."),
            "{}",
            told(&regex)
        );
        let typo = text.replace("tag: gray", "tga: gray");
        assert!(told(&typo).contains("tag"), "{}", told(&typo));
    }

    #[test]
    fn only_own_kinds_are_edited() {
        for kind in EditableKind::ALL {
            let resource = format!("{}.{GROUP}", kind.plural());
            assert_eq!(EditableKind::from_resource(&resource), Some(kind));
        }
        for other in ["pods", "deployments.apps", "releases.graylane.dev", "apps"] {
            assert_eq!(EditableKind::from_resource(other), None, "{other}");
        }
    }
}
