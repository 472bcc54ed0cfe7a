//! Kubernetes' strategic merge patch: RFC 7386 for maps, lists merged by key where the kind says
//! so, and the directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/x`,
//! `$setElementOrder/x` that kubectl sends.

use super::PatchError;
use super::schema::{ListKeys, PatchStrategy, Shape};
use serde_json::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

/// Strategic merge patch. An API server supports it for built-in kinds only (415 for custom
/// resources).
pub fn apply_strategic_patch(
    target: &Value,
    patch: &Value,
    lists: &ListKeys,
) -> Result<Value, PatchError> {
    let (Some(target), Some(patch)) = (target.as_object(), patch.as_object()) else {
        return Err(malformed_patch(
            "a strategic merge patch is an object, applied to an object",
        ));
    };
    StrategicMerge { lists }
        .merge_maps(&lists.root, target.clone(), patch)
        .map(Value::Object)
}

fn malformed_patch(why: impl Into<String>) -> PatchError {
    PatchError::Malformed(why.into())
}

struct StrategicMerge<'a> {
    lists: &'a ListKeys,
}

impl StrategicMerge<'_> {
    fn merge_maps(
        &self,
        shape: &Shape,
        mut target: Object,
        patch: &Object,
    ) -> Result<Object, PatchError> {
        match patch.get(PATCH).map(|d| d.as_str().unwrap_or_default()) {
            None | Some("merge") => {}
            Some("replace") => return Ok(without_directives(patch)),
            Some("delete") => return Ok(Object::new()),
            Some(other) => {
                return Err(malformed_patch(format!(
                    "unknown {PATCH} type {other:?}: replace, merge or delete"
                )));
            }
        }
        apply_retain_keys(&mut target, patch)?;
        for (name, value) in patch {
            if name == PATCH || name == RETAIN || name.starts_with(ORDER) {
                continue;
            }
            if let Some(list) = name.strip_prefix(DELETE_FROM) {
                delete_from_list(&mut target, list, value)?;
                continue;
            }
            if value.is_null() {
                target.shift_remove(name);
                continue;
            }
            let below = self.lists.child_shape(shape, name);
            let strategy = self.lists.patch_strategy(shape, name);
            let merged = match (target.get_mut(name).map(Value::take), value) {
                (Some(Value::Object(old)), Value::Object(new))
                    if *strategy != PatchStrategy::Replace =>
                {
                    Value::Object(self.merge_maps(below, old, new)?)
                }
                (Some(Value::Array(old)), Value::Array(new)) => {
                    Value::Array(self.merge_lists(name, below, strategy, old, new)?)
                }
                (_, new) => strip_directives(new),
            };
            target.insert(name.clone(), merged);
        }
        self.apply_element_orders(shape, &mut target, patch)?;
        Ok(target)
    }

    fn merge_lists(
        &self,
        name: &str,
        shape: &Shape,
        strategy: &PatchStrategy,
        old: Vec<Value>,
        new: &[Value],
    ) -> Result<Vec<Value>, PatchError> {
        match strategy {
            PatchStrategy::Default | PatchStrategy::Replace => {
                Ok(new.iter().filter_map(strip_item_directives).collect())
            }
            PatchStrategy::MergeSet => {
                let mut out = old;
                for item in new {
                    if !out.contains(item) {
                        out.push(item.clone());
                    }
                }
                Ok(out)
            }
            PatchStrategy::MergeBy(key) => {
                let item = match shape {
                    Shape::List(_, item) => item,
                    _ => &Shape::Any,
                };
                self.merge_keyed_list(name, item, key, old, new)
            }
        }
    }

    fn merge_keyed_list(
        &self,
        name: &str,
        shape: &Shape,
        key: &str,
        old: Vec<Value>,
        new: &[Value],
    ) -> Result<Vec<Value>, PatchError> {
        let mut out = old.clone();
        let mut replace = false;
        let mut rest = Vec::new();
        for item in new {
            let map = item
                .as_object()
                .ok_or_else(|| malformed_patch(format!("{name}: every item must be a map")))?;
            match map.get(PATCH).map(|d| d.as_str().unwrap_or_default()) {
                None => rest.push(map),
                Some("delete") => {
                    let id = find_merge_key(name, map, key)?;
                    out.retain(|o| o.get(key) != Some(id));
                }
                Some("replace") => replace = true,
                Some(other) => {
                    return Err(malformed_patch(format!(
                        "{name}: {PATCH} {other:?} is not known for an item: replace or delete"
                    )));
                }
            }
        }
        if replace {
            return Ok(rest
                .into_iter()
                .map(|m| Value::Object(without_directives(m)))
                .collect());
        }
        for map in &rest {
            let id = find_merge_key(name, map, key)?;
            match out.iter_mut().find(|o| o.get(key) == Some(id)) {
                Some(slot) => {
                    if let Value::Object(old) = slot.take() {
                        *slot = Value::Object(self.merge_maps(shape, old, map)?);
                    }
                }
                None => out.push(Value::Object(without_directives(map))),
            }
        }
        // The patch's items take its order; the others keep their place between them.
        let ids: Vec<Value> = rest.iter().filter_map(|m| m.get(key)).cloned().collect();
        Ok(order_items(out, &ids, &old, Some(key)))
    }

    /// Applies `$setElementOrder/x`: the order of a merged list, as the author of the patch sees
    /// it.
    fn apply_element_orders(
        &self,
        shape: &Shape,
        target: &mut Object,
        patch: &Object,
    ) -> Result<(), PatchError> {
        for (name, order) in patch {
            let Some(list) = name.strip_prefix(ORDER) else {
                continue;
            };
            let order = order
                .as_array()
                .ok_or_else(|| malformed_patch(format!("{name} must be a list")))?;
            let Some(Value::Array(items)) = target.get_mut(list) else {
                continue;
            };
            let before = items.clone();
            let key = match self.lists.patch_strategy(shape, list) {
                PatchStrategy::MergeBy(key) => Some(key.as_str()),
                _ => None,
            };
            let ids: Vec<Value> = order.iter().map(|o| identify_item(key, o)).collect();
            if let Some(Value::Array(sent)) = patch.get(list)
                && let Some(stray) = sent
                    .iter()
                    .find(|s| s.get(PATCH).is_none() && !ids.contains(&identify_item(key, s)))
            {
                return Err(malformed_patch(format!(
                    "{list}: {} is in the patch but not in {name}",
                    identify_item(key, stray)
                )));
            }
            *items = order_items(std::mem::take(items), &ids, &before, key);
        }
        Ok(())
    }
}

fn find_merge_key<'a>(name: &str, map: &'a Object, key: &str) -> Result<&'a Value, PatchError> {
    map.get(key).ok_or_else(|| {
        malformed_patch(format!(
            "{name}: an item does not contain the merge key {key}: {}",
            Value::Object(map.clone())
        ))
    })
}

/// What identifies an item: its merge key, or the item itself.
fn identify_item(key: Option<&str>, item: &Value) -> Value {
    key.map_or_else(
        || item.clone(),
        |key| item.get(key).cloned().unwrap_or_default(),
    )
}

/// Applies `$retainKeys`: only these keys may stay (in a union: one volume source, one strategy).
fn apply_retain_keys(target: &mut Object, patch: &Object) -> Result<(), PatchError> {
    let Some(keys) = patch.get(RETAIN) else {
        return Ok(());
    };
    let keys = keys
        .as_array()
        .ok_or_else(|| malformed_patch(format!("{RETAIN} must be a list")))?;
    let kept = |name: &str| keys.iter().any(|k| k == name);
    if let Some((stray, _)) = patch
        .iter()
        .find(|(n, v)| !n.starts_with('$') && !v.is_null() && !kept(n))
    {
        return Err(malformed_patch(format!(
            "{stray} is in the patch but not in its {RETAIN}"
        )));
    }
    target.retain(|name, _| kept(name));
    Ok(())
}

fn delete_from_list(target: &mut Object, list: &str, gone: &Value) -> Result<(), PatchError> {
    let gone = gone
        .as_array()
        .ok_or_else(|| malformed_patch(format!("{DELETE_FROM}{list} must be a list")))?;
    if let Some(Value::Array(items)) = target.get_mut(list) {
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// Puts the items named in `order` into that order; the others stay before, between or after them,
/// by their position in `before`.
fn order_items(
    items: Vec<Value>,
    order: &[Value],
    before: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let id = |v: &Value| identify_item(key, v);
    let position = |v: &Value| order.iter().position(|o| *o == id(v));
    let stood = |v: &Value| before.iter().position(|b| id(b) == id(v));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|v| position(v).is_some());
    named.sort_by_key(|v| position(v));
    others.sort_by_key(|v| stood(v).unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        if let Some(here) = stood(&item) {
            while let Some(other) = others.next_if(|o| stood(o).is_some_and(|there| there < here)) {
                out.push(other);
            }
        }
        out.push(item);
    }
    out.extend(others);
    out
}

/// Cleans a value that is new to the object: its directives and nulls have nothing to act on.
fn strip_directives(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(without_directives(map)),
        Value::Array(items) => {
            Value::Array(items.iter().filter_map(strip_item_directives).collect())
        }
        other => other.clone(),
    }
}

fn strip_item_directives(item: &Value) -> Option<Value> {
    let directive = item.get(PATCH).and_then(Value::as_str);
    let only_directive = item.as_object().is_some_and(|m| m.len() == 1);
    match directive {
        Some("delete") => None,
        Some(_) if only_directive => None,
        _ => Some(strip_directives(item)),
    }
}

fn without_directives(map: &Object) -> Object {
    map.iter()
        .filter(|(name, value)| {
            let directive = [PATCH, RETAIN].contains(&name.as_str())
                || name.starts_with(DELETE_FROM)
                || name.starts_with(ORDER);
            !directive && !value.is_null()
        })
        .map(|(name, value)| (name.clone(), strip_directives(value)))
        .collect()
}
