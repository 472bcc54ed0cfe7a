//! The rows of each pane after filtering, and the selection among them.

use std::sync::Arc;

use super::{Model, Pane};
use crate::{
    api::{Environment, TaskStatus},
    domain::{
        chain::{Chain, Group, Wrong},
        world::Pod,
    },
    ui::{facts, rule},
};

/// Whether a text passes a filter: case-insensitive containment; a leading `!` inverts the filter.
pub fn matches(filter: &str, text: &str) -> bool {
    let (wanted, part) = match filter.strip_prefix('!') {
        Some(part) => (false, part),
        None => (true, filter),
    };
    part.is_empty() || text.to_lowercase().contains(&part.to_lowercase()) == wanted
}

impl Model {
    /// Filter of a pane; empty when there is none.
    pub fn filter(&self, pane: Pane) -> &str {
        self.filters.get(&pane).map_or("", String::as_str)
    }

    /// Names of the Apps that pass the filter.
    pub fn apps(&self) -> Vec<&String> {
        let filter = self.filter(Pane::Apps);
        if filter.is_empty() {
            return self.world.apps.keys().collect();
        }
        let passes = |name: &&String| {
            let turn = self
                .facts
                .active_of(name)
                .and_then(|r| self.world.releases.get(r));
            let word = turn.map(|r| facts::turn(r).word()).unwrap_or_default();
            matches(filter, &format!("{name} {word}"))
        };
        self.world.apps.keys().filter(passes).collect()
    }

    /// Environments of the selected App that pass the filter, in promotion order.
    pub fn environments(&self) -> Vec<&Environment> {
        let filter = self.filter(Pane::Environments);
        let all = self
            .selected_app()
            .map(|a| a.spec.environments.as_slice())
            .unwrap_or_default();
        all.iter()
            .filter(|e| self.drilled || matches(filter, &e.name))
            .collect()
    }

    /// Pods of the selected environment that pass the filter.
    pub fn pods(&self) -> Vec<&Pod> {
        let (Some(app), Some(environment)) = (&self.app, self.selected_environment()) else {
            return vec![];
        };
        let filter = self.filter(Pane::Environments);
        facts::pods(&self.facts, &self.world, app, &environment.name)
            .filter(|p| {
                matches(
                    filter,
                    &format!(
                        "{} {} {}",
                        p.key.name,
                        p.state,
                        p.address.as_deref().unwrap_or("")
                    ),
                )
            })
            .collect()
    }

    /// Tasks of the shown release.
    pub fn tasks(&self) -> &[TaskStatus] {
        let status = self.selected_release().and_then(|(_, r)| r.status.as_ref());
        status.map(|s| s.tasks.as_slice()).unwrap_or_default()
    }

    /// The selected task; without a choice the current task of the release.
    pub fn selected_task(&self) -> Option<&TaskStatus> {
        let chosen = self
            .task
            .as_ref()
            .and_then(|name| self.tasks().iter().find(|t| t.name == *name));
        let at = || {
            let name = self
                .selected_release()
                .and_then(|(_, r)| r.status.as_ref())
                .and_then(|s| s.task.clone());
            self.tasks().iter().find(|t| Some(&t.name) == name.as_ref())
        };
        chosen.or_else(at).or_else(|| self.tasks().first())
    }

    /// Names of the lanes that pass the filter, in the order of evaluation: group, priority, name.
    pub fn lanes(&self) -> Vec<&String> {
        let filter = self.filter(Pane::Lanes);
        let passes = |(name, lane): &(&String, &Arc<crate::api::Lane>)| {
            filter.is_empty()
                || matches(
                    filter,
                    &format!("{name} {} {}", lane.spec.tag, rule::words(&lane.spec)),
                )
        };
        let mut all: Vec<_> = self.world.lanes.iter().filter(passes).collect();
        all.sort_by(|(a, x), (b, y)| {
            (&x.spec.group, x.spec.priority, a).cmp(&(&y.spec.group, y.spec.priority, b))
        });
        all.into_iter().map(|(name, _)| name).collect()
    }

    /// Chains that pass the filter, newest first.
    pub fn chains(&self) -> Vec<&Arc<Chain>> {
        let filter = self.filter(Pane::Trace);
        let all = self
            .frozen
            .as_ref()
            .map_or(&self.facts.chains, |frozen| &frozen.chains);
        all.iter()
            .filter(|c| self.inside.as_ref().is_none_or(|key| key.is_of(c)))
            .filter(|c| !self.only_wrong || c.is_wrong())
            .filter(|c| filter.is_empty() || matches(filter, &chain_words(c)))
            .collect()
    }

    /// Groups of chains that pass the filter, the most urgent first.
    pub fn groups(&self) -> Vec<&Group> {
        let filter = self.filter(Pane::Trace);
        let all = self
            .frozen
            .as_ref()
            .map_or(&self.facts.shown.groups, |frozen| &frozen.groups);
        let words = |g: &Group| chain_words(g.worst.as_ref().map_or(&g.newest, |(_, chain)| chain));
        all.iter()
            .filter(|g| !self.only_wrong || g.urgency() != Wrong::Nothing)
            .filter(|g| filter.is_empty() || matches(filter, &words(g)))
            .collect()
    }

    /// Number of rows of a pane, and the index of the selected one.
    pub fn place(&self, pane: Pane) -> (usize, Option<usize>) {
        fn at<T>(rows: &[T], is: impl Fn(&T) -> bool) -> (usize, Option<usize>) {
            (rows.len(), rows.iter().position(is))
        }
        match pane {
            Pane::Apps => at(&self.apps(), |name| Some(*name) == self.app.as_ref()),
            Pane::Environments if self.drilled => {
                let pods = self.pods();
                let (n, place) = at(&pods, |p| Some(&p.key) == self.pod.as_ref());
                (n, place.or((n > 0).then_some(0)))
            }
            Pane::Environments => {
                let own = self.selected_environment().map(|e| e.name.clone());
                at(&self.environments(), |e| Some(&e.name) == own.as_ref())
            }
            Pane::Rollout => {
                let own = self.selected_task().map(|t| t.name.clone());
                at(self.tasks(), |t| Some(&t.name) == own.as_ref())
            }
            Pane::Lanes => {
                let own = self.selected_lane().map(|(name, _)| name.clone());
                at(&self.lanes(), |name| Some(*name) == own.as_ref())
            }
            Pane::Trace if self.is_grouped() => {
                let groups = self.groups();
                let (n, place) = at(&groups, |g| Some(&g.key) == self.group.as_ref());
                (n, place.or((n > 0).then_some(0)))
            }
            Pane::Trace => {
                let chains = self.chains();
                let (n, place) = at(&chains, |c| Some(&c.id) == self.chain.as_ref());
                (n, place.or((n > 0).then_some(0)))
            }
        }
    }

    /// Selects a row of the focused pane.
    pub fn select(&mut self, row: usize) {
        match self.pane {
            Pane::Apps => {
                let name = self.apps().get(row).map(|n| (*n).clone());
                self.select_app(name);
            }
            Pane::Environments if self.drilled => {
                self.pod = self.pods().get(row).map(|p| p.key.clone())
            }
            Pane::Environments => {
                self.environment = self.environments().get(row).map(|e| e.name.clone());
                self.pod = None;
            }
            Pane::Rollout => self.task = self.tasks().get(row).map(|t| t.name.clone()),
            Pane::Lanes => self.lane = self.lanes().get(row).map(|n| (*n).clone()),
            Pane::Trace if self.is_grouped() => {
                self.group = self.groups().get(row).map(|g| Arc::clone(&g.key))
            }
            Pane::Trace => {
                // The top row means "always the newest".
                self.chain = if row == 0 {
                    None
                } else {
                    self.chains().get(row).map(|c| c.id.clone())
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
        chosen.or_else(|| self.pods().first().copied())
    }

    /// Replaces selections that the new world no longer contains by a neighbour.
    pub fn settle(&mut self) {
        let apps = &self.world.apps;
        let next = match &self.app {
            Some(name) if apps.contains_key(name) => None,
            Some(name) => Some(
                apps.range(name.clone()..)
                    .next()
                    .or_else(|| apps.iter().next_back()),
            ),
            None => Some(apps.iter().next()),
        };
        if let Some(next) = next {
            let next = next.map(|(name, _)| name.clone());
            self.select_app(next);
        }
        self.marked
            .retain(|name| self.world.apps.contains_key(name));
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
fn chain_words(chain: &Chain) -> String {
    let apps: Vec<&str> = chain.steps.iter().map(|s| s.app.as_str()).collect();
    let tag = chain.tag.as_deref().unwrap_or("-");
    format!(
        "{tag} {} {} {} {}",
        apps.join(" "),
        facts::word(chain),
        chain.status,
        chain.path
    )
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_filter_finds_in_any_case_and_turns_round() {
        assert!(matches("", "anything") && matches("!", "anything"));
        assert!(matches("CLOUD-a", "spring-cloud-A") && !matches("b", "spring-cloud-a"));
        assert!(!matches("!cloud", "spring-cloud-a") && matches("!x", "spring-cloud-a"));
    }
}
