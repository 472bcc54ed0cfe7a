//! Server-side apply and field ownership of updates: the rules of structured-merge-diff's
//! `merge.Updater` and of the API server's field manager around it. Each kind has one API version
//! here; owners recorded for other versions are read as they are.

use super::fieldset::{FieldSet, PathElement, format_path};
use super::managed_fields::{self, ApplyError, Conflict, Operation, Owner};
use super::schema::{ListKeys, Shape};
use super::walk::{self, Comparison};
use serde_json::{Map, Value, json};

/// Owner of the fields that an object had before field ownership was tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Metadata that the server sets; no field manager owns it.
const SERVER_METADATA_FIELDS: &[&str] = &[
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Server-side apply to the main resource. `live` is `None` when the object is to be created; `now`
/// is in RFC 3339 form.
pub fn apply_server_side(
    live: Option<&Value>,
    applied: &Value,
    manager: &str,
    force: bool,
    now: &str,
    lists: &ListKeys,
) -> Result<Value, ApplyError> {
    apply_subresource(live, applied, manager, None, force, now, lists)
}

/// [`apply_server_side`] to a subresource such as `Some("status")`, which has its own entries in managedFields.
pub fn apply_subresource(
    live: Option<&Value>,
    applied: &Value,
    manager: &str,
    subresource: Option<&str>,
    force: bool,
    now: &str,
    lists: &ListKeys,
) -> Result<Value, ApplyError> {
    let configuration = prepare_configuration(live, applied, subresource, lists)?;
    let one = ApplyRequest {
        live,
        configuration: &configuration,
        manager,
        subresource,
        now,
        lists,
    };
    let mut out = match one.apply_configuration(force) {
        // When kubectl moves from client-side to server-side apply, it already owns what its
        // last-applied annotation set.
        Err(ApplyError::Conflicts(conflicts)) if manager == "kubectl" => {
            let own = live
                .map(|live| last_applied(live, lists))
                .unwrap_or_default();
            let left: Vec<Conflict> = conflicts
                .into_iter()
                .filter(|c| !own.contains(&c.field))
                .collect();
            if left.is_empty() {
                one.apply_configuration(true)?
            } else {
                return Err(ApplyError::Conflicts(left));
            }
        }
        other => other?,
    };
    if manager == "kubectl" {
        sync_last_applied(&mut out, &configuration);
    }
    Ok(out)
}

/// Returns `after` with the `metadata.managedFields` that result when `manager` creates the object
/// (`before` is `None`), updates or patches it. `after` already contains everything else (uid,
/// defaults, ...).
pub fn track_update(
    before: Option<&Value>,
    after: &Value,
    manager: &str,
    subresource: Option<&str>,
    now: &str,
    lists: &ListKeys,
) -> Value {
    let mut owners = match before {
        _ if subresource.is_none() && managed_fields::is_reset(after) => Vec::new(),
        Some(before) => {
            let sent = if subresource.is_none() {
                managed_fields::decode_owners(after)
            } else {
                Vec::new()
            };
            // A client that does not send managedFields must not clear them.
            if sent.is_empty() {
                managed_fields::decode_owners(before)
            } else {
                sent
            }
        }
        None => managed_fields::decode_owners(after),
    };
    let old = before.map_or_else(|| empty_object(lists), managed_fields::strip_entries);
    let mut out = managed_fields::strip_entries(after);
    let api_version = out["apiVersion"].as_str().unwrap_or_default().to_owned();
    let me = Owner::new(manager, Operation::Update, &api_version, subresource);
    record_update(&mut owners, me, &old, &out, now, subresource, lists);
    managed_fields::encode_owners(&mut out, owners);
    out
}

/// What a new object is compared with: the top-level structs of Go's zero value for a built-in
/// kind, nothing for a custom resource.
fn empty_object(lists: &ListKeys) -> Value {
    let mut out = Map::new();
    if let (Shape::Struct(root), true) = (&lists.root, lists.has_status_subresource) {
        for (name, field) in &lists.types[*root].fields {
            if matches!(field.shape, Shape::Struct(_)) {
                out.insert(name.clone(), json!({}));
            }
        }
    }
    Value::Object(out)
}

fn record_update(
    owners: &mut Vec<Owner>,
    mut me: Owner,
    old: &Value,
    new: &Value,
    now: &str,
    subresource: Option<&str>,
    lists: &ListKeys,
) {
    let changes =
        walk::compare_objects(lists, old, new).without_fields(&ignored_fields(subresource, lists));
    let written = changes.written_fields();
    for owner in owners.iter_mut() {
        release_fields(owner, &changes, &written);
    }
    let written = strip_parents(written);
    if !written.is_empty() {
        me.time = Some(now.to_owned());
        me.set = written;
        match owners.iter_mut().find(|o| o.is_same_owner(&me)) {
            Some(same) => {
                same.set.extend(&me.set);
                same.time = me.time;
            }
            None => owners.push(me),
        }
    }
    owners.retain(|o| !o.set.is_empty());
}

fn release_fields(owner: &mut Owner, changes: &Comparison, written: &FieldSet) {
    owner.set = owner
        .set
        .difference(&owner.set.intersection(written))
        .difference(&changes.removed);
}

/// Paths that nobody can own through this resource.
fn ignored_fields(subresource: Option<&str>, lists: &ListKeys) -> FieldSet {
    let mut set = server_fields();
    if lists.has_status_subresource && subresource.is_none() {
        set.insert(&[PathElement::Field("status".into())]);
    }
    set
}

/// `metadata` itself is ignored too, but not everything below it, so it is not a member here; see
/// [`strip_parents`].
fn server_fields() -> FieldSet {
    let field = |name: &str| PathElement::Field(name.to_owned());
    let mut set = FieldSet::default();
    for name in ["apiVersion", "kind"] {
        set.insert(&[field(name)]);
    }
    for name in SERVER_METADATA_FIELDS.iter().chain(&["name", "namespace"]) {
        set.insert(&[field("metadata"), field(name)]);
    }
    set
}

/// The configuration that is really applied: without what the server or another resource owns.
fn prepare_configuration(
    live: Option<&Value>,
    applied: &Value,
    subresource: Option<&str>,
    lists: &ListKeys,
) -> Result<Value, ApplyError> {
    let invalid = |why: &str| Err(ApplyError::Invalid(why.to_owned()));
    let Some(applied) = applied.as_object() else {
        return invalid("an applied configuration must be an object");
    };
    if applied
        .get("metadata")
        .is_some_and(|m| !m["managedFields"].is_null())
    {
        return invalid("metadata.managedFields must be nil");
    }
    let mut out = applied.clone();
    match subresource {
        None if lists.has_status_subresource => {
            out.shift_remove("status");
        }
        Some("status") if lists.has_status_subresource => {
            out.retain(|name, _| {
                matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status")
            });
        }
        _ => {}
    }
    if let Some(meta) = out.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.retain(|name, _| {
            !SERVER_METADATA_FIELDS.contains(&name.as_str())
                || (live.is_none() && name != "managedFields")
        });
    }
    let out = Value::Object(out);
    walk::check_list_items(lists, &out)
        .map_err(|e| ApplyError::Invalid(format!("failed to create typed patch object: {e}")))?;
    Ok(out)
}

struct ApplyRequest<'a> {
    live: Option<&'a Value>,
    configuration: &'a Value,
    manager: &'a str,
    subresource: Option<&'a str>,
    now: &'a str,
    lists: &'a ListKeys,
}

impl ApplyRequest<'_> {
    fn apply_configuration(&self, force: bool) -> Result<Value, ApplyError> {
        let lists = self.lists;
        let live = self
            .live
            .map_or_else(|| json!({}), managed_fields::strip_entries);
        let mut owners = self.list_owners(&live);
        let api_version = self.configuration["apiVersion"]
            .as_str()
            .unwrap_or_default();
        let mut me = Owner::new(
            self.manager,
            Operation::Apply,
            api_version,
            self.subresource,
        );
        let ignored = ignored_fields(self.subresource, lists);
        me.set = strip_parents(
            walk::collect_fields(lists, self.configuration).recursive_difference(&ignored),
        );
        let mut last = FieldSet::default();
        if let Some(at) = owners.iter().position(|o| o.is_same_owner(&me)) {
            let previous = owners.remove(at);
            (last, me.time) = (previous.set, previous.time);
        }

        let merged = walk::merge_objects(lists, &live, self.configuration);
        // The name and the server's fields keep `metadata` from being removed with its last owned
        // label.
        let owned = owners
            .iter()
            .fold(me.set.union(&server_fields()), |all, o| all.union(&o.set));
        let mut out = prune_unowned_fields(merged, &last, &owned, lists);
        match out.get_mut("metadata").filter(|_| lists.custom) {
            Some(metadata) => drop_new_nulls(metadata, live.get("metadata")),
            None => drop_new_nulls(&mut out, Some(&live)),
        }

        let changes = walk::compare_objects(lists, &live, &out).without_fields(&ignored);
        let written = changes.written_fields();
        if !force {
            refuse_conflicts(&owners, &written)?;
        }
        for owner in &mut owners {
            release_fields(owner, &changes, &written);
        }
        if out != live || me.time.is_none() {
            me.time = Some(self.now.to_owned());
        }
        owners.push(me);
        managed_fields::encode_owners(&mut out, owners);
        Ok(out)
    }

    /// The owners of the live object; what has none belongs to whoever wrote it before.
    fn list_owners(&self, live: &Value) -> Vec<Owner> {
        let lists = self.lists;
        let mut owners = self
            .live
            .map(managed_fields::decode_owners)
            .unwrap_or_default();
        if owners.is_empty() && self.live.is_some() {
            let api_version = live["apiVersion"].as_str().unwrap_or_default();
            let before = Owner::new(BEFORE_FIRST_APPLY, Operation::Update, api_version, None);
            record_update(
                &mut owners,
                before,
                &empty_object(lists),
                live,
                self.now,
                None,
                lists,
            );
        }
        owners
    }
}

/// No manager owns `metadata` as a whole.
fn strip_parents(mut set: FieldSet) -> FieldSet {
    set.members.remove(&PathElement::Field("metadata".into()));
    set
}

/// Refuses to write the fields that others own.
fn refuse_conflicts(owners: &[Owner], written: &FieldSet) -> Result<(), ApplyError> {
    let conflicts: Vec<Conflict> = owners
        .iter()
        .flat_map(|owner| {
            let taken = owner.set.intersection(written).list_paths();
            taken
                .into_iter()
                .map(move |path| Conflict::new(owner, format_path(&path)))
        })
        .collect();
    if conflicts.is_empty() {
        Ok(())
    } else {
        Err(ApplyError::Conflicts(conflicts))
    }
}

/// Removes what this manager applied last time and no manager, including itself, owns now. Fields
/// that nobody ever owned stay.
fn prune_unowned_fields(
    merged: Value,
    last: &FieldSet,
    owned: &FieldSet,
    lists: &ListKeys,
) -> Value {
    if last.is_empty() {
        return merged;
    }
    let named = |set: &FieldSet| set.with_named_parents(lists, &lists.root);
    let all = named(&walk::collect_fields(lists, &merged));
    let last = named(last);
    let pruned = walk::remove_fields(lists, &merged, &last);
    // Restore what other managers own ...
    let kept = named(&walk::collect_fields(lists, &pruned)).union(&named(owned));
    let pruned = walk::remove_fields(lists, &merged, &all.difference(&kept));
    // ... and what this manager never owned.
    let kept = named(&walk::collect_fields(lists, &pruned));
    walk::remove_fields(lists, &merged, &all.difference(&kept).intersection(&last))
}

/// An applied null removes the field. Nulls that the object already had stay. In a custom resource,
/// the defaults of its schema decide about nulls.
fn drop_new_nulls(value: &mut Value, live: Option<&Value>) {
    match value {
        Value::Object(map) => {
            map.retain(|name, value| {
                !value.is_null() || live.is_some_and(|l| l.get(name).is_some_and(Value::is_null))
            });
            for (name, value) in map.iter_mut() {
                drop_new_nulls(value, live.and_then(|l| l.get(name.as_str())));
            }
        }
        Value::Array(items) => {
            for item in items {
                drop_new_nulls(item, None);
            }
        }
        _ => {}
    }
}

/// Fields that client-side apply set and that still have that value, written as in conflicts.
fn last_applied(live: &Value, lists: &ListKeys) -> Vec<String> {
    let Some(text) = live["metadata"]["annotations"][LAST_APPLIED].as_str() else {
        return Vec::new();
    };
    let Ok(applied) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    if applied["apiVersion"] != live["apiVersion"] {
        return Vec::new();
    }
    let changes = walk::compare_objects(lists, &applied, live);
    let same = walk::collect_fields(lists, &applied)
        .difference(&changes.modified)
        .difference(&changes.added)
        .difference(&changes.removed);
    same.list_paths().iter().map(|p| format_path(p)).collect()
}

fn sync_last_applied(object: &mut Value, configuration: &Value) {
    let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    if annotations
        .get(LAST_APPLIED)
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        return;
    }
    let mut plain = configuration.clone();
    if let Some(annotations) = plain
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.shift_remove(LAST_APPLIED);
    }
    annotations.insert(LAST_APPLIED.into(), format!("{plain}\n").into());
}
