//! Finds objects that several Apps would write, before they are applied.

use std::collections::BTreeMap;

use super::{Owner, describe_object};
use crate::{
    api::{App, ClusterName, ObjectKey, ObjectRef},
    domain::{variables::GroupLookup, workflow::object_names},
};

/// Group, kind, namespace and name.
type ClaimedName = (String, String, ObjectKey);

/// Objects by name, with their present and future owners.
pub struct ClaimedNames<'a> {
    is_home: &'a dyn Fn(&ClusterName) -> bool,
    group_of: GroupLookup<'a>,
    all: BTreeMap<ClaimedName, Vec<Owner>>,
}

impl<'a> ClaimedNames<'a> {
    /// Creates an empty set. `is_home` tells whether it is the Apps' own cluster; `group_of`
    /// finds a variable group by name, as names of objects may depend on its values.
    pub fn new(is_home: &'a dyn Fn(&ClusterName) -> bool, group_of: GroupLookup<'a>) -> Self {
        Self {
            is_home,
            group_of,
            all: BTreeMap::new(),
        }
    }

    /// Adds what an App has applied in its current environments. Objects of removed environments
    /// carry their owner in their labels.
    pub fn add_applied(&mut self, app: &App) {
        let all = app.status.iter().flat_map(|s| &s.environments);
        for (environment, status) in all.filter(|(name, _)| app.spec.environment(name).is_some()) {
            for item in &status.inventory {
                self.add_claim(&item.object, Owner::for_environment(app, environment));
            }
        }
    }

    /// Adds what an App will apply, as far as its manifests can be rendered.
    pub fn add_rendered(&mut self, app: &App) {
        for environment in &app.spec.environments {
            for object in object_names(app, environment, self.group_of) {
                self.add_claim(&object, Owner::for_environment(app, &environment.name));
            }
        }
    }

    /// Describes objects that these environments of an App would write although they belong, or
    /// will belong, to another environment.
    pub fn find_clashes(&self, app: &App, environments: impl Fn(&str) -> bool) -> Vec<String> {
        let mut problems = vec![];
        for environment in app
            .spec
            .environments
            .iter()
            .filter(|e| environments(&e.name))
        {
            let me = Owner::for_environment(app, &environment.name);
            for object in object_names(app, environment, self.group_of) {
                let owners = self
                    .all
                    .get(&self.normalized_name(&object))
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                let Some(other) = owners.iter().find(|o| **o != me) else {
                    continue;
                };
                problems.push(format!(
                    "{} of {} belongs to {} too, and an object has one owner: give one of them another name{}",
                    describe_object(&object),
                    me.environment,
                    other.describe_owner(me.home.as_deref()),
                    if other.app == me.app { ", for example by {{ .AppStack.envName }}" } else { "" },
                ));
            }
        }
        problems
    }

    fn add_claim(&mut self, object: &ObjectRef, owner: Owner) {
        let owners = self.all.entry(self.normalized_name(object)).or_default();
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }

    fn normalized_name(&self, object: &ObjectRef) -> ClaimedName {
        let mut key = object.key.clone();
        if (self.is_home)(&key.namespace.cluster) {
            key.namespace.cluster = ClusterName::Home;
        }
        let group = super::api_group(&object.api_version).to_owned();
        (group, object.kind.clone(), key)
    }
}
