//! The rows of each pane after filtering, and the selection among them.

use std::sync::Arc;

use super::{Model, NamespaceScope, Pane, SortableList};
use crate::{
    api::{Environment, Lane, TaskStatus},
    domain::{
        chain::{Chain, ChainFault, ChainGroup},
        world::Pod,
    },
    ui::{facts, rule},
};

/// Whether a text passes a filter: case-insensitive containment; a leading `!` inverts the filter.
pub fn matches_filter(filter: &str, text: &str) -> bool {
    let (wanted, part) = match filter.strip_prefix('!') {
        Some(part) => (false, part),
        None => (true, filter),
    };
    part.is_empty() || text.to_lowercase().contains(&part.to_lowercase()) == wanted
}

/// A row of the Apps pane.
#[derive(Clone, Copy, Debug)]
pub struct AppRow<'a> {
    /// Namespace of the App.
    pub scope: NamespaceScope<'a>,
    /// Name of the App.
    pub name: &'a String,
}

/// A row of the Lanes pane.
#[derive(Clone, Copy, Debug)]
pub struct LaneRow<'a> {
    /// Namespace of the lane.
    pub scope: NamespaceScope<'a>,
    /// Name of the lane.
    pub name: &'a String,
    /// The lane.
    pub lane: &'a Lane,
}

impl Model {
    /// Filter of a pane; empty when there is none.
    pub fn pane_filter(&self, pane: Pane) -> &str {
        self.filters.get(&pane).map_or("", String::as_str)
    }

    /// The Apps that pass the filter, sorted; of all namespaces that are shown.
    pub fn visible_apps(&self) -> Vec<AppRow<'_>> {
        let filter = self.pane_filter(Pane::Apps);
        let passes = |row: &AppRow<'_>| {
            let AppRow { scope, name } = row;
            let turn = scope.facts.active_of(name);
            let turn = turn.and_then(|r| scope.world.releases.get(r));
            let word = turn
                .map(|r| facts::release_state(r).state_label())
                .unwrap_or_default();
            let name = self.qualified_name(scope.name(), name);
            matches_filter(filter, &format!("{name} {word}"))
        };
        let all = self.scopes().flat_map(|scope| {
            let names = scope.world.apps.keys();
            names.map(move |name| AppRow { scope, name })
        });
        self.sort_apps(all.filter(|row| filter.is_empty() || passes(row)))
    }

    /// Environments of the selected App that pass the filter, sorted; by promotion order without a choice.
    pub fn visible_environments(&self) -> Vec<&Environment> {
        let filter = self.pane_filter(Pane::Environments);
        let all = self
            .selected_app()
            .map(|a| a.spec.environments.as_slice())
            .unwrap_or_default();
        let mut rows: Vec<_> = all
            .iter()
            .filter(|e| self.drilled || matches_filter(filter, &e.name))
            .collect();
        self.sort_environments(&mut rows);
        rows
    }

    /// Pods of the selected environment that pass the filter, sorted.
    pub fn visible_pods(&self) -> Vec<&Pod> {
        let (Some(app), Some(environment)) = (&self.app, self.selected_environment()) else {
            return vec![];
        };
        let filter = self.pane_filter(Pane::Environments);
        let mut rows: Vec<_> =
            facts::environment_pods(&self.facts, &self.world, app, &environment.name)
                .filter(|p| {
                    matches_filter(
                        filter,
                        &format!(
                            "{} {} {}",
                            p.key.name,
                            p.state,
                            p.address.as_deref().unwrap_or("")
                        ),
                    )
                })
                .collect();
        self.sort_pods(&mut rows);
        rows
    }

    /// Tasks of the shown release.
    pub fn release_tasks(&self) -> &[TaskStatus] {
        let status = self.selected_release().and_then(|(_, r)| r.status.as_ref());
        status.map(|s| s.tasks.as_slice()).unwrap_or_default()
    }

    /// The selected task; without a choice the current task of the release.
    pub fn selected_task(&self) -> Option<&TaskStatus> {
        let chosen = self
            .task
            .as_ref()
            .and_then(|name| self.release_tasks().iter().find(|t| t.name == *name));
        let at = || {
            let name = self
                .selected_release()
                .and_then(|(_, r)| r.status.as_ref())
                .and_then(|s| s.task.clone());
            self.release_tasks()
                .iter()
                .find(|t| Some(&t.name) == name.as_ref())
        };
        chosen.or_else(at).or_else(|| self.release_tasks().first())
    }

    /// The lanes that pass the filter, sorted; without a choice by namespace and there in the order
    /// of evaluation: group, priority, name.
    pub fn visible_lanes(&self) -> Vec<LaneRow<'_>> {
        let filter = self.pane_filter(Pane::Lanes);
        let passes = |row: &LaneRow<'_>| {
            let (name, spec) = (
                self.qualified_name(row.scope.name(), row.name),
                &row.lane.spec,
            );
            let words = format!("{name} {} {}", spec.tag, rule::describe_rule(spec));
            matches_filter(filter, &words)
        };
        let all = self.scopes().flat_map(|scope| {
            let lanes = scope.world.lanes.iter();
            lanes.map(move |(name, lane)| LaneRow { scope, name, lane })
        });
        let all = all.filter(|row| filter.is_empty() || passes(row));
        let mut all: Vec<LaneRow<'_>> = all.collect();
        all.sort_by(|a, b| {
            let order = |row: &LaneRow<'_>| (row.lane.spec.priority, row.name.clone());
            let place =
                |row: &LaneRow<'_>| (row.scope.name().to_owned(), row.lane.spec.group.clone());
            place(a)
                .cmp(&place(b))
                .then_with(|| order(a).cmp(&order(b)))
        });
        self.sort_lanes(&mut all);
        all
    }

    /// Chains that pass the filter, sorted; the newest first without a choice.
    pub fn visible_chains(&self) -> Vec<&Arc<Chain>> {
        let filter = self.pane_filter(Pane::Trace);
        let all = self
            .frozen
            .as_ref()
            .map_or(&self.facts.chains, |frozen| &frozen.chains);
        let mut rows: Vec<_> = all
            .iter()
            .filter(|c| self.inside.as_ref().is_none_or(|key| key.matches_chain(c)))
            .filter(|c| !self.only_wrong || c.is_wrong())
            .filter(|c| filter.is_empty() || matches_filter(filter, &chain_filter_text(c)))
            .collect();
        self.sort_chains(&mut rows);
        rows
    }

    /// Groups of chains that pass the filter, sorted; the most urgent first without a choice.
    pub fn visible_groups(&self) -> Vec<&ChainGroup> {
        let filter = self.pane_filter(Pane::Trace);
        let all = self
            .frozen
            .as_ref()
            .map_or(&self.facts.figures.groups, |frozen| &frozen.groups);
        let words = |g: &ChainGroup| {
            chain_filter_text(g.worst.as_ref().map_or(&g.newest, |(_, chain)| chain))
        };
        let mut rows: Vec<_> = all
            .iter()
            .filter(|g| !self.only_wrong || g.urgency() != ChainFault::Nothing)
            .filter(|g| filter.is_empty() || matches_filter(filter, &words(g)))
            .collect();
        self.sort_groups(&mut rows);
        rows
    }

    /// Number of rows of a pane, and the index of the selected one.
    pub fn row_position(&self, pane: Pane) -> (usize, Option<usize>) {
        fn position_in<T>(rows: &[T], is: impl Fn(&T) -> bool) -> (usize, Option<usize>) {
            (rows.len(), rows.iter().position(is))
        }
        match pane {
            Pane::Apps => position_in(&self.visible_apps(), |row| {
                Some(row.name) == self.app.as_ref() && row.scope.name() == self.world.namespace
            }),
            Pane::Environments if self.drilled => {
                let pods = self.visible_pods();
                let (n, place) = position_in(&pods, |p| Some(&p.key) == self.pod.as_ref());
                (n, place.or((n > 0).then_some(0)))
            }
            Pane::Environments => {
                let own = self.selected_environment().map(|e| e.name.clone());
                position_in(&self.visible_environments(), |e| {
                    Some(&e.name) == own.as_ref()
                })
            }
            Pane::Rollout => {
                let own = self.selected_task().map(|t| t.name.clone());
                position_in(self.release_tasks(), |t| Some(&t.name) == own.as_ref())
            }
            Pane::Lanes => {
                let own = self.selected_lane().map(|(name, _)| name.clone());
                position_in(&self.visible_lanes(), |row| {
                    Some(row.name) == own.as_ref() && row.scope.name() == self.world.namespace
                })
            }
            Pane::Trace if self.is_grouped() => {
                let groups = self.visible_groups();
                let (n, place) = position_in(&groups, |g| Some(&g.key) == self.group.as_ref());
                (n, place.or((n > 0).then_some(0)))
            }
            Pane::Trace => {
                let chains = self.visible_chains();
                let (n, place) = position_in(&chains, |c| Some(&c.id) == self.chain.as_ref());
                (n, place.or((n > 0).then_some(0)))
            }
        }
    }

    /// Selects a row of the focused pane.
    pub fn select_row(&mut self, row: usize) {
        match self.pane {
            Pane::Apps => {
                let rows = self.visible_apps();
                let key = rows.get(row).map(|row| row.scope.key_of(row.name));
                if let Some(key) = key {
                    self.enter_namespace(&key.namespace);
                    self.select_app(Some(key.name));
                }
            }
            Pane::Environments if self.drilled => {
                self.pod = self.visible_pods().get(row).map(|p| p.key.clone())
            }
            Pane::Environments => {
                self.environment = self.visible_environments().get(row).map(|e| e.name.clone());
                self.pod = None;
            }
            Pane::Rollout => self.task = self.release_tasks().get(row).map(|t| t.name.clone()),
            Pane::Lanes => {
                let rows = self.visible_lanes();
                let key = rows.get(row).map(|row| row.scope.key_of(row.name));
                if let Some(key) = key {
                    self.visit_namespace(&key.namespace);
                    self.lane = Some(key.name);
                }
            }
            Pane::Trace if self.is_grouped() => {
                self.group = self.visible_groups().get(row).map(|g| Arc::clone(&g.key))
            }
            Pane::Trace => {
                // Without another order the top row means "always the newest".
                let order = self.sort_order(SortableList::Chains);
                self.chain = if row == 0 && order == SortableList::Chains.default_order() {
                    None
                } else {
                    self.visible_chains().get(row).map(|c| c.id.clone())
                };
            }
        }
    }

    /// Selects an App and forgets the selections within the previous one.
    pub fn select_app(&mut self, name: Option<String>) {
        if name != self.app {
            (self.release, self.task, self.pod) = (None, None, None);
            self.drilled = false;
        }
        self.app = name;
    }

    /// The selected pod; without a choice the first one.
    pub fn selected_pod(&self) -> Option<&Pod> {
        let chosen = self.pod.as_ref().and_then(|key| self.world.pods.get(key));
        let chosen = chosen.map(|pod| &**pod);
        chosen.or_else(|| self.visible_pods().first().copied())
    }

    /// Replaces selections that the new world no longer contains by a neighbour; `row` is where the
    /// selected App was.
    pub fn repair_selection(&mut self, row: Option<usize>) {
        let gone = self
            .app
            .as_ref()
            .is_none_or(|name| !self.world.apps.contains_key(name));
        if gone {
            let (here, mut rows) = (self.world.namespace.clone(), self.visible_apps());
            // What is open is about this namespace: nothing may lead it to another one.
            if !self.overlays.is_empty() {
                rows.retain(|row| row.scope.name() == here);
            }
            let row = row.unwrap_or(0).min(rows.len().saturating_sub(1));
            let next = rows.get(row).map(|row| row.scope.key_of(row.name));
            // A filter may hide every App that is left.
            let hidden = || self.world.apps.keys().next();
            let next = next.or_else(|| hidden().map(|name| self.current_scope().key_of(name)));
            if let Some(key) = &next {
                self.enter_namespace(&key.namespace);
            }
            self.select_app(next.map(|key| key.name));
        }
        let mut marked = std::mem::take(&mut self.marked);
        marked.retain(|key| {
            let scope = self.scope_of(&key.namespace);
            scope.is_some_and(|s| s.world.apps.contains_key(&key.name))
        });
        self.marked = marked;
        if self.drilled
            && self
                .pod
                .as_ref()
                .is_some_and(|key| !self.world.pods.contains_key(key))
        {
            self.pod = None;
        }
    }
}

/// The text of a chain that filters search.
fn chain_filter_text(chain: &Chain) -> String {
    let apps: Vec<&str> = chain.steps.iter().map(|s| s.app.as_str()).collect();
    let tag = chain.tag.as_deref().unwrap_or("-");
    format!(
        "{tag} {} {} {} {}",
        apps.join(" "),
        facts::verdict_word(chain),
        chain.status,
        chain.path
    )
}

#[cfg(test)]
mod tests {
    use super::matches_filter;

    #[test]
    fn a_filter_finds_in_any_case_and_turns_round() {
        assert!(matches_filter("", "anything") && matches_filter("!", "anything"));
        assert!(
            matches_filter("CLOUD-a", "spring-cloud-A") && !matches_filter("b", "spring-cloud-a")
        );
        assert!(
            !matches_filter("!cloud", "spring-cloud-a") && matches_filter("!x", "spring-cloud-a")
        );
    }
}
