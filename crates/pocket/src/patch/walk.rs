//! Walks over values with a schema: which fields are set, what differs, merge, remove
//! (structured-merge-diff's `typed`).

use super::fieldset::{FieldPath, FieldSet, PathElement, format_path};
use super::schema::{KeyField, ListKeys, Shape};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What a value is, given its shape.
enum Node<'a> {
    Leaf,
    Map(&'a Map<String, Value>),
    /// An associative list: keyed or a set.
    List(&'a [Value]),
}

fn classify_node<'a>(shape: &Shape, value: &'a Value) -> Node<'a> {
    match (shape, value) {
        (Shape::Any | Shape::Map(_) | Shape::Struct(_), Value::Object(map)) => Node::Map(map),
        (Shape::Set | Shape::List(..), Value::Array(items)) => Node::List(items),
        _ => Node::Leaf,
    }
}

fn item_shape(shape: &Shape) -> &Shape {
    match shape {
        Shape::List(_, item) => item,
        _ => &Shape::Any,
    }
}

/// Why an item of an associative list has no place in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ItemError {
    #[error("associative list without keys has an element that's a map type")]
    SetOfMaps,
    #[error("not supported: associative list with lists as elements")]
    SetOfLists,
    #[error("associative list without keys has an element that's an explicit null")]
    SetOfNull,
    #[error("associative list with keys may not have a null element")]
    KeyedNull,
    #[error("associative list with keys may not have non-map elements")]
    KeyedScalar,
    #[error("associative list with keys has an element that omits all key fields [{0}]")]
    NoKeys(String),
}

/// Why the items of a list cannot be told apart.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error("{list}: element {at}: {why}")]
    Item {
        list: String,
        at: usize,
        why: ItemError,
    },
    #[error("{list}: duplicate entries for key {element}")]
    Duplicate { list: String, element: PathElement },
}

fn to_path_element(shape: &Shape, item: &Value) -> Result<PathElement, ItemError> {
    match shape {
        Shape::List(keys, _) => to_key_element(keys, item),
        _ => match item {
            Value::Object(_) => Err(ItemError::SetOfMaps),
            Value::Array(_) => Err(ItemError::SetOfLists),
            Value::Null => Err(ItemError::SetOfNull),
            scalar => Ok(PathElement::from_set_item(scalar)),
        },
    }
}

fn to_key_element(keys: &[KeyField], item: &Value) -> Result<PathElement, ItemError> {
    let Some(map) = item.as_object() else {
        return Err(match item {
            Value::Null => ItemError::KeyedNull,
            _ => ItemError::KeyedScalar,
        });
    };
    let given = |k: &KeyField| map.contains_key(&k.name);
    if !keys.iter().any(given) {
        let names: Vec<String> = keys.iter().map(|k| format!("{:?}", k.name)).collect();
        return Err(ItemError::NoKeys(names.join(" ")));
    }
    let fields = keys
        .iter()
        .filter_map(|k| Some((k.name.as_str(), map.get(&k.name).or(k.default.as_ref())?)))
        .collect();
    Ok(PathElement::from_key_fields(fields))
}

/// The items of a list by path element; an element that occurs twice has two values.
fn index_items<'a>(shape: &Shape, items: &'a [Value]) -> BTreeMap<PathElement, Vec<&'a Value>> {
    let mut out: BTreeMap<PathElement, Vec<&Value>> = BTreeMap::new();
    for item in items {
        // `check` refuses items without a key in requests; a stored one belongs to nobody.
        if let Ok(element) = to_path_element(shape, item) {
            out.entry(element).or_default().push(item);
        }
    }
    out
}

/// Refuses list items that cannot be told apart: items without a key, and duplicates.
pub(super) fn check_list_items(lists: &ListKeys, value: &Value) -> Result<(), ListError> {
    fn check_value(
        lists: &ListKeys,
        shape: &Shape,
        value: &Value,
        path: &mut FieldPath,
    ) -> Result<(), ListError> {
        match classify_node(shape, value) {
            Node::Leaf => Ok(()),
            Node::Map(map) => map.iter().try_for_each(|(name, value)| {
                path.push(PathElement::Field(name.clone()));
                check_value(lists, lists.child_shape(shape, name), value, path)?;
                path.pop();
                Ok(())
            }),
            Node::List(items) => {
                let mut seen = BTreeSet::new();
                items.iter().enumerate().try_for_each(|(i, item)| {
                    let element = to_path_element(shape, item).map_err(|why| ListError::Item {
                        list: format_path(path),
                        at: i,
                        why,
                    })?;
                    if !seen.insert(element.clone()) {
                        return Err(ListError::Duplicate {
                            list: format_path(path),
                            element,
                        });
                    }
                    path.push(element);
                    check_value(lists, item_shape(shape), item, path)?;
                    path.pop();
                    Ok(())
                })
            }
        }
    }
    check_value(lists, &lists.root, value, &mut Vec::new())
}

/// Every field that `value` sets.
pub(super) fn collect_fields(lists: &ListKeys, value: &Value) -> FieldSet {
    fn collect_value_fields(
        lists: &ListKeys,
        shape: &Shape,
        value: &Value,
        path: &mut FieldPath,
        set: &mut FieldSet,
    ) {
        match classify_node(shape, value) {
            Node::Leaf => set.insert(path),
            Node::Map(map) => {
                for (name, value) in map {
                    path.push(PathElement::Field(name.clone()));
                    collect_value_fields(lists, lists.child_shape(shape, name), value, path, set);
                    let empty = value.as_object().is_some_and(Map::is_empty);
                    if value.is_null() || empty || !lists.is_named(shape, name) {
                        set.insert(path);
                    }
                    path.pop();
                }
            }
            Node::List(items) => {
                for (element, values) in index_items(shape, items) {
                    path.push(element);
                    if let [only] = values[..] {
                        collect_value_fields(lists, item_shape(shape), only, path, set);
                    }
                    set.insert(path);
                    path.pop();
                }
            }
        }
    }
    let mut set = FieldSet::default();
    collect_value_fields(lists, &lists.root, value, &mut Vec::new(), &mut set);
    set
}

/// What changed between two objects. No path is in more than one of the sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    pub removed: FieldSet,
    pub modified: FieldSet,
    pub added: FieldSet,
}

impl Comparison {
    pub fn without_fields(self, ignored: &FieldSet) -> Comparison {
        Comparison {
            removed: self.removed.recursive_difference(ignored),
            modified: self.modified.recursive_difference(ignored),
            added: self.added.recursive_difference(ignored),
        }
    }

    pub fn written_fields(&self) -> FieldSet {
        self.modified.union(&self.added)
    }
}

pub(super) fn compare_objects(lists: &ListKeys, before: &Value, after: &Value) -> Comparison {
    let mut walker = Comparer {
        lists,
        path: Vec::new(),
        out: Comparison::default(),
    };
    walker.compare_values(&lists.root, Some(before), Some(after));
    walker.out
}

struct Comparer<'a> {
    lists: &'a ListKeys,
    path: FieldPath,
    out: Comparison,
}

impl Comparer<'_> {
    fn compare_values(&mut self, shape: &Shape, before: Option<&Value>, after: Option<&Value>) {
        match (before, after) {
            (None, None) => {}
            (Some(old), Some(new)) => {
                match (classify_node(shape, old), classify_node(shape, new)) {
                    (Node::Map(old), Node::Map(new)) if !(old.is_empty() && new.is_empty()) => {
                        self.compare_maps(shape, Some(old), Some(new));
                    }
                    (Node::List(old), Node::List(new)) => self.compare_lists(shape, old, new),
                    (Node::Leaf, Node::Leaf) if old == new => {}
                    (Node::Map(_), Node::Map(_)) => {}
                    // The type of the value differs: the field changed, and so did everything below it.
                    (a, b) => {
                        self.out.modified.insert(&self.path);
                        self.record_subtree(shape, a, false);
                        self.record_subtree(shape, b, true);
                    }
                }
            }
            (None, Some(new)) => {
                self.record_subtree(shape, classify_node(shape, new), true);
                self.out.added.insert(&self.path);
            }
            (Some(old), None) => {
                self.record_subtree(shape, classify_node(shape, old), false);
                self.out.removed.insert(&self.path);
            }
        }
    }

    fn record_subtree(&mut self, shape: &Shape, node: Node<'_>, added: bool) {
        match node {
            Node::Leaf => {}
            Node::Map(map) if added => self.compare_maps(shape, None, Some(map)),
            Node::Map(map) => self.compare_maps(shape, Some(map), None),
            Node::List(items) if added => self.compare_lists(shape, &[], items),
            Node::List(items) => self.compare_lists(shape, items, &[]),
        }
    }

    fn compare_maps(
        &mut self,
        shape: &Shape,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
    ) {
        let names = old.into_iter().flat_map(Map::keys);
        let more = new
            .into_iter()
            .flat_map(Map::keys)
            .filter(|k| !old.is_some_and(|o| o.contains_key(*k)));
        for name in names.chain(more) {
            self.path.push(PathElement::Field(name.clone()));
            self.compare_values(
                self.lists.child_shape(shape, name),
                old.and_then(|m| m.get(name)),
                new.and_then(|m| m.get(name)),
            );
            self.path.pop();
        }
    }

    fn compare_lists(&mut self, shape: &Shape, old: &[Value], new: &[Value]) {
        let (old, new) = (index_items(shape, old), index_items(shape, new));
        let all: BTreeSet<&PathElement> = old.keys().chain(new.keys()).collect();
        let none = Vec::new();
        for element in all {
            let (a, b) = (
                old.get(element).unwrap_or(&none),
                new.get(element).unwrap_or(&none),
            );
            self.path.push(element.clone());
            match (a.len(), b.len()) {
                (0 | 1, 0 | 1) => {
                    self.compare_values(item_shape(shape), a.first().copied(), b.first().copied());
                }
                // Duplicates are atomic together.
                (2.., 2..) if a == b => {}
                (2.., 2..) => self.out.modified.insert(&self.path),
                (2.., _) => {
                    self.compare_values(item_shape(shape), None, b.first().copied());
                    self.out.removed.insert(&self.path);
                }
                (_, _) => {
                    self.compare_values(item_shape(shape), a.first().copied(), None);
                    self.out.added.insert(&self.path);
                }
            }
            self.path.pop();
        }
    }
}

/// Merges `applied` into `live`: maps and associative lists merge, everything else is taken from
/// `applied`.
pub(super) fn merge_objects(lists: &ListKeys, live: &Value, applied: &Value) -> Value {
    merge_at(lists, &lists.root, live, applied)
}

fn merge_at(lists: &ListKeys, shape: &Shape, live: &Value, applied: &Value) -> Value {
    match (classify_node(shape, live), classify_node(shape, applied)) {
        (Node::Map(live), Node::Map(applied)) => {
            let mut out = live.clone();
            for (name, value) in applied {
                let merged = match live.get(name) {
                    Some(old) => merge_at(lists, lists.child_shape(shape, name), old, value),
                    None => value.clone(),
                };
                out.insert(name.clone(), merged);
            }
            Value::Object(out)
        }
        (Node::List(live), Node::List(applied)) => merge_lists(lists, shape, live, applied),
        _ => applied.clone(),
    }
}

/// The applier's items take its order; the others keep their place between them.
fn merge_lists(lists: &ListKeys, shape: &Shape, live: &[Value], applied: &[Value]) -> Value {
    let elements = |items: &[Value]| -> Vec<Option<PathElement>> {
        items
            .iter()
            .map(|i| to_path_element(shape, i).ok())
            .collect()
    };
    let (left, right) = (elements(live), elements(applied));
    let (old, new) = (index_items(shape, live), index_items(shape, applied));
    let mut out: Vec<Value> = Vec::with_capacity(live.len().max(applied.len()));
    let mut done: BTreeSet<&PathElement> = BTreeSet::new();
    let mut shared = right.iter().flatten().filter(|e| old.contains_key(*e));
    let mut next = shared.next();
    let (mut l, mut r) = (0, 0);
    let take = |item: &Value, element: Option<&PathElement>| match element.and_then(|e| old.get(e))
    {
        Some(olds) if olds.len() == 1 => merge_at(lists, item_shape(shape), olds[0], item),
        _ => item.clone(),
    };
    while l < live.len() || r < applied.len() {
        if l < live.len() {
            let ours = left[l].as_ref();
            let in_applied = ours.is_some_and(|e| new.contains_key(e));
            if r < applied.len() && ours.is_some() && ours == right[r].as_ref() {
                done.extend(ours);
                out.push(take(&applied[r], ours));
                (l, r) = (l + 1, r + 1);
                next = shared.next();
                continue;
            }
            if !in_applied {
                out.push(live[l].clone());
                l += 1;
                continue;
            }
            if ours.is_some_and(|e| done.contains(e))
                || (r < applied.len() && next.is_some() && next != ours)
            {
                // Merged already, or comes later in the applier's order.
                l += 1;
                continue;
            }
        }
        if r < applied.len() {
            let theirs = right[r].as_ref();
            done.extend(theirs);
            out.push(take(&applied[r], theirs));
            r += 1;
            if next.is_some() && next == theirs {
                next = shared.next();
            }
        }
    }
    Value::Array(out)
}

/// Returns `value` without the paths in `gone`. Maps and lists that become empty are removed too;
/// if nothing is left, the result is an empty object.
pub(super) fn remove_fields(lists: &ListKeys, value: &Value, gone: &FieldSet) -> Value {
    remove_at(lists, &lists.root, value, gone).unwrap_or_else(|| Value::Object(Map::new()))
}

fn remove_at(lists: &ListKeys, shape: &Shape, value: &Value, gone: &FieldSet) -> Option<Value> {
    match classify_node(shape, value) {
        Node::Leaf => Some(value.clone()),
        Node::Map(map) => {
            let mut out = Map::new();
            for (name, value) in map {
                let element = PathElement::Field(name.clone());
                if gone.members.contains(&element) {
                    continue;
                }
                let kept = match gone.children.get(&element) {
                    Some(below) => remove_at(lists, lists.child_shape(shape, name), value, below),
                    None => Some(value.clone()),
                };
                if let Some(kept) = kept {
                    out.insert(name.clone(), kept);
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        Node::List(items) => {
            let kept: Vec<Value> = items
                .iter()
                .filter_map(|item| match to_path_element(shape, item) {
                    Ok(e) if gone.members.contains(&e) => None,
                    Ok(e) => match gone.children.get(&e) {
                        Some(below) => remove_at(lists, item_shape(shape), item, below),
                        None => Some(item.clone()),
                    },
                    Err(_) => Some(item.clone()),
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
    }
}
