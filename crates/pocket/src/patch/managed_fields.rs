//! `metadata.managedFields`: which manager owns which fields, since when and by which operation;
//! and the conflicts that follow.

use super::fields_v1;
use super::fieldset::FieldSet;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Kubernetes keeps this many updaters apart and combines the oldest of any more.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// One entry of managedFields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub manager: String,
    pub operation: Operation,
    pub api_version: String,
    pub subresource: String,
    pub time: Option<String>,
    pub set: FieldSet,
}

impl Owner {
    pub fn new(
        manager: &str,
        operation: Operation,
        api_version: &str,
        subresource: Option<&str>,
    ) -> Owner {
        Owner {
            manager: manager.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: subresource.unwrap_or_default().to_owned(),
            time: None,
            set: FieldSet::default(),
        }
    }

    /// Whether both entries belong to one owner: an applier is one owner in all API versions, an
    /// updater is one per version.
    pub fn is_same_owner(&self, other: &Owner) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }
}

/// The owners recorded in an object; empty when managedFields cannot be read.
pub(super) fn decode_owners(object: &Value) -> Vec<Owner> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries
        .and_then(|all| all.iter().map(decode_entry).collect())
        .unwrap_or_default()
}

fn decode_entry(entry: &Value) -> Option<Owner> {
    let text = |name: &str| entry[name].as_str().map(str::to_owned);
    Some(Owner {
        manager: text("manager").unwrap_or_default(),
        operation: match entry["operation"].as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        },
        api_version: text("apiVersion").unwrap_or_default(),
        subresource: text("subresource").unwrap_or_default(),
        time: text("time"),
        set: match &entry["fieldsV1"] {
            Value::Null => FieldSet::default(),
            fields => fields_v1::decode_fields(fields)?,
        },
    })
}

/// Whether a client asks to reset managedFields, by sending `managedFields: []` or `[{}]`.
pub(super) fn is_reset(object: &Value) -> bool {
    match object["metadata"]["managedFields"]
        .as_array()
        .map(Vec::as_slice)
    {
        Some([]) => true,
        Some([only]) => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

/// Returns the object without managedFields, so that they are not compared or merged.
pub(super) fn strip_entries(object: &Value) -> Value {
    let mut out = object.clone();
    if let Some(meta) = out.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.shift_remove("managedFields");
    }
    out
}

/// Writes the owners into the object, in Kubernetes' order.
pub(super) fn encode_owners(object: &mut Value, mut owners: Vec<Owner>) {
    owners.retain(|o| !o.set.is_empty());
    cap_updaters(&mut owners);
    owners.sort_by(|a, b| {
        let key = |o: &Owner| {
            (
                o.operation,
                o.time.clone(),
                o.manager.clone(),
                o.api_version.clone(),
                o.subresource.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let meta = object.entry("metadata").or_insert_with(|| json!({}));
    let Some(meta) = meta.as_object_mut() else {
        return;
    };
    meta.shift_remove("managedFields");
    if !owners.is_empty() {
        meta.insert(
            "managedFields".into(),
            owners.iter().map(encode_entry).collect(),
        );
    }
}

fn encode_entry(owner: &Owner) -> Value {
    let mut entry = Map::new();
    entry.insert("manager".into(), owner.manager.as_str().into());
    entry.insert("operation".into(), owner.operation.as_str().into());
    entry.insert("apiVersion".into(), owner.api_version.as_str().into());
    if let Some(time) = &owner.time {
        entry.insert("time".into(), time.as_str().into());
    }
    entry.insert("fieldsType".into(), "FieldsV1".into());
    entry.insert("fieldsV1".into(), fields_v1::encode_fields(&owner.set));
    if !owner.subresource.is_empty() {
        entry.insert("subresource".into(), owner.subresource.as_str().into());
    }
    Value::Object(entry)
}

fn cap_updaters(owners: &mut Vec<Owner>) {
    let updater = |o: &Owner| o.operation == Operation::Update && o.manager != ANCIENT;
    while owners
        .iter()
        .filter(|o| o.operation == Operation::Update)
        .count()
        > MAX_UPDATERS
    {
        let oldest = owners
            .iter()
            .enumerate()
            .filter(|(_, o)| updater(o))
            .min_by(|a, b| a.1.time.cmp(&b.1.time));
        let Some((oldest, _)) = oldest else { return };
        let old = owners.swap_remove(oldest);
        let mut bucket = Owner::new(ANCIENT, Operation::Update, &old.api_version, None);
        if let Some(bucket) = owners.iter_mut().find(|o| o.is_same_owner(&bucket)) {
            bucket.set.extend(&old.set);
            bucket.time = old.time;
        } else {
            (bucket.set, bucket.time) = (old.set, old.time);
            owners.push(bucket);
        }
    }
}

/// A field that an apply would change and another manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Name of the manager that owns the field.
    pub manager: String,
    /// Operation by which it owns the field: `Apply` or `Update`.
    pub operation: String,
    pub api_version: String,
    pub subresource: Option<String>,
    /// Path as Kubernetes writes it: `.spec.template.spec.containers[name="a"].image`.
    pub field: String,
}

impl Conflict {
    pub(super) fn new(owner: &Owner, field: String) -> Conflict {
        Conflict {
            manager: owner.manager.clone(),
            operation: owner.operation.as_str().to_owned(),
            api_version: owner.api_version.clone(),
            subresource: Some(owner.subresource.clone()).filter(|s| !s.is_empty()),
            field,
        }
    }

    fn describe_owner(&self) -> String {
        let mut out = format!("{:?}", self.manager);
        if let Some(subresource) = &self.subresource {
            out += &format!(" with subresource {subresource:?}");
        }
        if self.operation == "Update" {
            out += &format!(" using {}", self.api_version);
        }
        out
    }
}

/// The message of a `FieldManagerConflict` cause; its field is [`Conflict::field`].
impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conflict with {}", self.describe_owner())
    }
}

/// Why an apply was refused. The texts are those of a Kubernetes API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyError {
    /// 409 with reason Conflict, and a cause of type `FieldManagerConflict` for each.
    Conflicts(Vec<Conflict>),
    /// 400: the applied configuration is not valid for this kind.
    Invalid(String),
}

impl std::error::Error for ApplyError {}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::Invalid(why) => f.write_str(why),
            ApplyError::Conflicts(all) => match &all[..] {
                [only] => write!(f, "Apply failed with 1 conflict: {only}: {}", only.field),
                all => {
                    let mut by_owner: BTreeMap<String, Vec<&str>> = BTreeMap::new();
                    for conflict in all {
                        by_owner
                            .entry(conflict.describe_owner())
                            .or_default()
                            .push(&conflict.field);
                    }
                    let lines: Vec<String> = by_owner
                        .iter()
                        .map(|(owner, fields)| {
                            format!("conflicts with {owner}:\n- {}", fields.join("\n- "))
                        })
                        .collect();
                    write!(
                        f,
                        "Apply failed with {} conflicts: {}",
                        all.len(),
                        lines.join("\n")
                    )
                }
            },
        }
    }
}
