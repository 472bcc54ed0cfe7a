//! A set of field paths, stored as a tree, with the set operations of structured-merge-diff's
//! `fieldpath.Set`.

use super::schema::{ListKeys, Shape};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathElement {
    Field(String),
    /// An item of a keyed list: its key fields as a JSON object with sorted names.
    Key(String),
    /// An item of a set, as JSON.
    Item(String),
    /// A position in a list; occurs only in managedFields that somebody else wrote.
    Index(i64),
}

impl PathElement {
    pub(super) fn from_key_fields(mut fields: Vec<(&str, &Value)>) -> PathElement {
        fields.sort_by_key(|(name, _)| *name);
        let map: Map<String, Value> = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect();
        PathElement::Key(Value::Object(map).to_string())
    }

    pub(super) fn from_set_item(value: &Value) -> PathElement {
        PathElement::Item(value.to_string())
    }
}

/// As Kubernetes formats it in conflicts: `.spec`, `[name="a"]`, `[="x"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathElement::Field(name) => write!(f, ".{name}"),
            PathElement::Item(json) => write!(f, "[={json}]"),
            PathElement::Index(i) => write!(f, "[{i}]"),
            PathElement::Key(json) => {
                let fields: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
                let parts: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "[{}]", parts.join(","))
            }
        }
    }
}

pub(super) type FieldPath = Vec<PathElement>;

pub(super) fn format_path(path: &[PathElement]) -> String {
    path.iter().map(PathElement::to_string).collect()
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    pub members: BTreeSet<PathElement>,
    /// Never contains an empty set.
    pub children: BTreeMap<PathElement, FieldSet>,
}

impl FieldSet {
    pub fn insert(&mut self, path: &[PathElement]) {
        match path {
            // Nobody owns the object as a whole.
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    #[cfg(test)]
    pub fn contains(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.members.contains(last),
            [first, rest @ ..] => self.children.get(first).is_some_and(|c| c.contains(rest)),
        }
    }

    pub fn union(&self, other: &FieldSet) -> FieldSet {
        let mut out = self.clone();
        out.extend(other);
        out
    }

    pub fn extend(&mut self, other: &FieldSet) {
        self.members.extend(other.members.iter().cloned());
        for (element, child) in &other.children {
            self.children
                .entry(element.clone())
                .or_default()
                .extend(child);
        }
    }

    pub fn intersection(&self, other: &FieldSet) -> FieldSet {
        FieldSet {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: self.map_children(|element, child| match other.children.get(element) {
                Some(theirs) => child.intersection(theirs),
                None => FieldSet::default(),
            }),
        }
    }

    /// What is in `self` and not in `other`, path by path: removing a parent keeps its children.
    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        FieldSet {
            members: self.members.difference(&other.members).cloned().collect(),
            children: self.map_children(|element, child| match other.children.get(element) {
                Some(theirs) => child.difference(theirs),
                None => child.clone(),
            }),
        }
    }

    /// Like [`FieldSet::difference`], but a path in `other` also removes everything below it.
    pub fn recursive_difference(&self, other: &FieldSet) -> FieldSet {
        FieldSet {
            members: self.members.difference(&other.members).cloned().collect(),
            children: self.map_children(|element, child| match other.children.get(element) {
                _ if other.members.contains(element) => FieldSet::default(),
                Some(theirs) => child.recursive_difference(theirs),
                None => child.clone(),
            }),
        }
    }

    fn map_children(
        &self,
        f: impl Fn(&PathElement, &FieldSet) -> FieldSet,
    ) -> BTreeMap<PathElement, FieldSet> {
        self.children
            .iter()
            .map(|(element, child)| (element.clone(), f(element, child)))
            .filter(|(_, child)| !child.is_empty())
            .collect()
    }

    /// Every path, parents before children.
    pub fn list_paths(&self) -> Vec<FieldPath> {
        fn collect_paths(set: &FieldSet, prefix: &mut FieldPath, out: &mut Vec<FieldPath>) {
            for member in &set.members {
                out.push(prefix.iter().chain([member]).cloned().collect());
            }
            for (element, child) in &set.children {
                prefix.push(element.clone());
                collect_paths(child, prefix, out);
                prefix.pop();
            }
        }
        let mut out = Vec::new();
        collect_paths(self, &mut Vec::new(), &mut out);
        out
    }

    /// Adds the schema fields on the way to each member: owning `.a.b` of a struct `a` implies
    /// owning `.a`; owning a key of a map with free keys does not.
    pub fn with_named_parents(&self, lists: &ListKeys, shape: &Shape) -> FieldSet {
        let mut members = self.members.clone();
        let mut children = BTreeMap::new();
        for (element, child) in &self.children {
            let below = match (element, shape) {
                (PathElement::Field(name), _) => {
                    if lists.is_named(shape, name) {
                        members.insert(element.clone());
                    }
                    lists.child_shape(shape, name)
                }
                (PathElement::Key(_), Shape::List(_, item)) => item,
                _ => &Shape::Any,
            };
            children.insert(element.clone(), child.with_named_parents(lists, below));
        }
        FieldSet { members, children }
    }
}
