//! What Apps say they will write, before anything is there: two that name one object are told of each other.

use std::collections::BTreeMap;

use super::{Owner, named};
use crate::{
    api::{App, InventoryItem},
    domain::{variables::GroupOf, workflow::named_by, world},
};

/// Group, kind, namespace (with its context, where that is not home), name.
type Name = (String, String, String, String);

/// Objects by name, and whose they are or will be.
pub struct Taken<'a> {
    is_home: &'a dyn Fn(&str) -> bool,
    group_of: GroupOf<'a>,
    all: BTreeMap<Name, Vec<Owner>>,
}

impl<'a> Taken<'a> {
    /// Nothing; `is_home` says of a context whether it is the cluster of the Apps, `group_of` which variable group has a
    /// name: names may hang on what groups say.
    pub fn new(is_home: &'a dyn Fn(&str) -> bool, group_of: GroupOf<'a>) -> Self {
        Self {
            is_home,
            group_of,
            all: BTreeMap::new(),
        }
    }

    /// What an App has applied in the environments that it has: what one that it has no longer left says itself whose it
    /// was.
    pub fn add_applied(&mut self, app: &App) {
        let all = app.status.iter().flat_map(|s| &s.environments);
        for (environment, status) in all.filter(|(name, _)| app.spec.environment(name).is_some()) {
            for item in &status.inventory {
                self.add(item, Owner::of(app, environment));
            }
        }
    }

    /// What an App will apply, as far as its manifests can be rendered.
    pub fn add_rendered(&mut self, app: &App) {
        for environment in &app.spec.environments {
            for item in named_by(app, environment, self.group_of) {
                self.add(&item, Owner::of(app, &environment.name));
            }
        }
    }

    /// Objects that these environments of an App would write and another environment has or will have, in words.
    pub fn clashes(&self, app: &App, environments: impl Fn(&str) -> bool) -> Vec<String> {
        let mut problems = vec![];
        for environment in app
            .spec
            .environments
            .iter()
            .filter(|e| environments(&e.name))
        {
            let me = Owner::of(app, &environment.name);
            for item in named_by(app, environment, self.group_of) {
                let owners = self
                    .all
                    .get(&self.name(&item))
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                let Some(other) = owners.iter().find(|o| **o != me) else {
                    continue;
                };
                problems.push(format!(
                    "{} of {} belongs to {} too, and an object has one owner: name one of them otherwise{}",
                    named(&item),
                    me.environment,
                    other.words(me.home.as_deref()),
                    if other.app == me.app { ", for example by {{ .AppStack.envName }}" } else { "" },
                ));
            }
        }
        problems
    }

    fn add(&mut self, item: &InventoryItem, owner: Owner) {
        let owners = self.all.entry(self.name(item)).or_default();
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }

    fn name(&self, item: &InventoryItem) -> Name {
        let (context, namespace) = world::place(&item.namespace);
        let far = context.filter(|c| !(self.is_home)(c));
        let place = world::Key::of(far, namespace, "").namespace;
        (
            super::group(&item.api_version).to_owned(),
            item.kind.clone(),
            place,
            item.name.clone(),
        )
    }
}
