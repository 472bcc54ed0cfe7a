//! How the lists and maps of a kind merge: as one value (atomic), as a set, keyed by fields, or key
//! by key.

use super::{builtin, crd};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The list and map types of one kind, for strategic merge and server-side apply. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ListKeys {
    pub(super) types: Arc<Vec<StructType>>,
    pub(super) root: Shape,
    /// `.status` belongs to the status subresource; the main resource neither sets nor owns it.
    pub(super) has_status_subresource: bool,
    /// A custom resource, whose schema says where a null is allowed. In a built-in kind a null is
    /// no value.
    pub(super) custom: bool,
}

/// A type with known fields; [`Shape::Struct`] refers to it by index.
#[derive(Debug, Clone, Default)]
pub(super) struct StructType {
    pub fields: HashMap<String, SchemaField>,
    /// Other fields may occur too (x-kubernetes-preserve-unknown-fields).
    pub open: bool,
}

#[derive(Debug, Clone)]
pub(super) struct SchemaField {
    pub shape: Shape,
    pub patch: PatchStrategy,
}

/// How strategic merge patch treats a field; differs from server-side apply for some lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum PatchStrategy {
    /// Maps merge, lists are replaced.
    #[default]
    Default,
    /// The whole value is replaced, even a map.
    Replace,
    /// A list of scalars merged as a set.
    MergeSet,
    /// A list of maps merged by this field.
    MergeBy(String),
}

#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// Unknown: maps merge key by key, lists are atomic.
    Any,
    /// Atomic, whatever it contains.
    Atomic,
    /// A list of scalars without order or duplicates.
    Set,
    /// A list of maps, identified by these fields (never empty).
    List(Arc<[KeyField]>, Box<Shape>),
    /// Free keys, merged key by key.
    Map(Box<Shape>),
    Struct(usize),
}

#[derive(Debug, Clone)]
pub(super) struct KeyField {
    pub name: String,
    pub default: Option<Value>,
}

impl ListKeys {
    /// The types of a built-in kind by API group (`""`, `apps`, `rbac.authorization.k8s.io`). A
    /// kind that is not built in gets [`ListKeys::for_unknown_kind`].
    pub fn for_builtin_kind(group: &str, kind: &str) -> ListKeys {
        builtin::find_list_keys(group, kind).unwrap_or_else(ListKeys::for_unknown_kind)
    }

    /// The types of a custom resource, from its `openAPIV3Schema`. Follow with
    /// [`ListKeys::with_status_subresource`].
    pub fn from_schema(schema: &Value) -> ListKeys {
        crd::from_schema(schema)
    }

    /// Types where only `metadata` is known: maps merge key by key, lists are atomic.
    pub fn for_unknown_kind() -> ListKeys {
        crd::from_schema(&Value::Null)
    }

    /// Sets whether the kind has a status subresource. If so, apply and update through the main
    /// resource leave `.status` alone. Built-in kinds have one.
    #[must_use]
    pub fn with_status_subresource(mut self, has: bool) -> ListKeys {
        self.has_status_subresource = has;
        self
    }

    /// A named field of a struct; `None` for free keys and unknown fields.
    pub(super) fn find_field(&self, shape: &Shape, name: &str) -> Option<&SchemaField> {
        match shape {
            Shape::Struct(i) => self.types[*i].fields.get(name),
            _ => None,
        }
    }

    /// The shape of the value at `name`, for any shape that can be a map.
    pub(super) fn child_shape<'a>(&'a self, shape: &'a Shape, name: &str) -> &'a Shape {
        match shape {
            Shape::Map(item) => item,
            _ => self
                .find_field(shape, name)
                .map_or(&Shape::Any, |f| &f.shape),
        }
    }

    /// Whether the schema names this field, as opposed to a free key of a map. A field that a
    /// built-in struct does not list is one of its scalar fields.
    pub(super) fn is_named(&self, shape: &Shape, name: &str) -> bool {
        match shape {
            Shape::Struct(i) => {
                let known = &self.types[*i];
                !known.open || known.fields.contains_key(name)
            }
            _ => false,
        }
    }

    /// How strategic merge treats `name` in a map of this shape.
    pub(super) fn patch_strategy(&self, shape: &Shape, name: &str) -> &PatchStrategy {
        const DEFAULT: &PatchStrategy = &PatchStrategy::Default;
        self.find_field(shape, name).map_or(DEFAULT, |f| &f.patch)
    }
}
