//! The Trace pane: groups of chains, or single chains, newest first.

use std::sync::Arc;

use ratatui::layout::Rect;

use super::{Pane, PaneBehaviour, Place, RowPosition};
use crate::{
    api::ObjectRef,
    domain::{
        chain::{Chain, ChainFault, ChainGroup, GroupKey},
        facts,
        pod_selection::PodSelection,
        world::ObjectKey,
    },
    ui::{
        effect::Effect,
        keymap::{Action, KeyContext},
        model::{Model, SortColumn, SortableList, Source, Text, matches_filter},
        update::{
            open::{push_text, report_nothing},
            traces::fetch_chain,
        },
        widget::Canvas,
    },
};

mod groups;
mod requests;

/// The list of groups.
static GROUPS: SortableList = SortableList {
    name: "groups",
    columns: &[
        SortColumn::Wrong,
        SortColumn::Lane,
        SortColumn::Requests,
        SortColumn::Rate,
        SortColumn::Latency,
    ],
    titles: &[
        ("LANE", SortColumn::Lane),
        ("5 MIN", SortColumn::Requests),
        ("RATE", SortColumn::Rate),
        ("P95", SortColumn::Latency),
        ("WORST", SortColumn::Wrong),
    ],
    tells_default: false,
    keep_selection: |model| {
        model.trace.group = model.selected_group().map(|g| Arc::clone(&g.key));
    },
};

/// The list of single requests, which has no titles.
static CHAINS: SortableList = SortableList {
    name: "chains",
    columns: &[
        SortColumn::Time,
        SortColumn::Lane,
        SortColumn::Wrong,
        SortColumn::Status,
        SortColumn::Latency,
    ],
    titles: &[],
    tells_default: false,
    keep_selection: |model| model.trace.chain = model.selected_chain().map(|c| c.id.clone()),
};

/// Pane 5.
pub(in crate::ui) struct TracePane;

impl PaneBehaviour for TracePane {
    fn title(&self) -> &'static str {
        "Trace"
    }

    fn contexts(&self) -> &'static [KeyContext] {
        &[KeyContext::Trace]
    }

    fn focus_action(&self) -> Action {
        Action::PaneTrace
    }

    fn row_position(&self, model: &Model) -> RowPosition {
        if model.is_grouped() {
            super::position_or_first(&model.visible_groups(), |g| {
                Some(&g.key) == model.trace.group.as_ref()
            })
        } else {
            super::position_or_first(&model.visible_chains(), |c| {
                Some(&c.id) == model.trace.chain.as_ref()
            })
        }
    }

    fn select_row(&self, model: &mut Model, row: usize) {
        if model.is_grouped() {
            model.trace.group = model.visible_groups().get(row).map(|g| Arc::clone(&g.key));
            return;
        }
        // Without another order the top row means "always the newest".
        model.trace.chain = if row == 0 && model.sort_order(&CHAINS) == CHAINS.default_order() {
            None
        } else {
            model.visible_chains().get(row).map(|c| c.id.clone())
        };
    }

    fn sortable_list(&self, model: &Model) -> Option<&'static SortableList> {
        Some(if model.is_grouped() { &GROUPS } else { &CHAINS })
    }

    /// The last pod of the chain that is known.
    fn selected_object(&self, model: &Model) -> Option<ObjectRef> {
        selected_chain_pod(model).cloned().map(ObjectRef::pod)
    }

    fn copied_name(&self, model: &Model) -> Option<String> {
        model.selected_chain().map(|c| c.trace.clone())
    }

    fn selected_pods(&self, model: &Model) -> Option<PodSelection> {
        selected_chain_pod(model).cloned().map(PodSelection::of_pod)
    }

    fn explain_missing_pods(&self, _: &Model) -> String {
        "no pod of the chain is known".to_owned()
    }

    fn selected_lane_group(&self, model: &Model) -> Option<String> {
        model.selected_chain().and_then(|chain| chain.group.clone())
    }

    fn is_about_home(&self) -> bool {
        true
    }

    /// Leads to the requests of the group, and from a request to its hops.
    fn open_selected(&self, model: &mut Model) -> Vec<Effect> {
        if model.is_grouped() {
            return match model.selected_group().map(|g| Arc::clone(&g.key)) {
                Some(key) => {
                    model.trace.group = Some(Arc::clone(&key));
                    (model.trace.inside, model.trace.chain) = (Some(key), None);
                    vec![]
                }
                None => report_nothing(model, "there are no requests to open"),
            };
        }
        match model.selected_chain().cloned() {
            Some(chain) => {
                let fetch = fetch_chain(model, &chain);
                let mut effects = push_text(
                    model,
                    Text::new(format!("Trace {}", chain.trace), Source::Chain(chain)),
                );
                effects.extend(fetch);
                effects
            }
            None => report_nothing(model, "there is no chain to open"),
        }
    }

    fn go_back(&self, model: &mut Model) -> bool {
        if model.trace.inside.is_some() {
            (model.trace.inside, model.trace.chain) = (None, None);
            return true;
        }
        let trace = &mut model.trace;
        let is_arranged = trace.only_wrong
            || trace.frozen.is_some()
            || trace.chain.is_some()
            || trace.group.is_some();
        (trace.only_wrong, trace.frozen, trace.chain, trace.group) = (false, None, None, None);
        is_arranged
    }

    fn place(&self) -> Place {
        Place::Foot
    }

    fn needed_height(&self, model: &Model, _: u16) -> usize {
        self.row_position(model).0 + 2
    }

    fn full_width(&self, model: &Model, _: usize) -> usize {
        if model.is_grouped() {
            groups::full_width(model)
        } else {
            requests::full_width(model)
        }
    }

    fn draw(&self, canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
        requests::draw_pane(canvas, model, area, focused);
    }
}

/// What was chosen in the pane.
#[derive(Clone, Debug, Default)]
pub struct TraceState {
    /// Show single requests instead of groups.
    pub each: bool,
    /// Key of the selected group; `None` is always the most urgent one.
    pub group: Option<Arc<GroupKey>>,
    /// Key of the group whose requests are shown.
    pub inside: Option<Arc<GroupKey>>,
    /// Id of the selected chain; `None` is always the newest.
    pub chain: Option<String>,
    /// Show only chains that leak or fail.
    pub only_wrong: bool,
    /// Frozen contents of the pane, while it is frozen.
    pub frozen: Option<FrozenChains>,
}

impl TraceState {
    /// Forgets what belongs to the namespace that is left.
    pub(in crate::ui) fn leave_namespace(&mut self) {
        (self.chain, self.group, self.inside, self.frozen) = (None, None, None, None);
    }
}

/// Contents of the pane while it is frozen.
#[derive(Clone, Debug)]
pub struct FrozenChains {
    /// All chains.
    pub chains: Arc<Vec<Arc<Chain>>>,
    /// Groups of these chains.
    pub groups: Arc<Vec<ChainGroup>>,
}

impl Model {
    /// Whether the pane shows groups of chains.
    pub const fn is_grouped(&self) -> bool {
        !self.trace.each && self.trace.inside.is_none()
    }

    /// The selected group of chains. Without a choice, or when that group is gone, the most urgent
    /// one.
    pub fn selected_group(&self) -> Option<&ChainGroup> {
        let groups = self.visible_groups();
        let chosen = self
            .trace
            .group
            .as_ref()
            .and_then(|key| groups.iter().find(|g| g.key == *key).copied());
        chosen.or_else(|| groups.first().copied())
    }

    /// The selected chain; without a choice the newest. For a group, its newest chain with the
    /// worst verdict.
    pub fn selected_chain(&self) -> Option<&Arc<Chain>> {
        if self.is_grouped() {
            return self
                .selected_group()
                .map(|g| g.worst.as_ref().map_or(&g.newest, |(_, chain)| chain));
        }
        let chains = self.visible_chains();
        let chosen = self
            .trace
            .chain
            .as_ref()
            .and_then(|id| chains.iter().find(|c| c.id == *id).copied());
        chosen.or_else(|| chains.first().copied())
    }

    /// Chains that pass the filter, sorted; the newest first without a choice.
    pub fn visible_chains(&self) -> Vec<&Arc<Chain>> {
        let filter = self.pane_filter(Pane::Trace);
        let all = self
            .trace
            .frozen
            .as_ref()
            .map_or(&self.facts.chains, |frozen| &frozen.chains);
        let mut rows: Vec<_> = all
            .iter()
            .filter(|c| {
                self.trace
                    .inside
                    .as_ref()
                    .is_none_or(|key| key.matches_chain(c))
            })
            .filter(|c| !self.trace.only_wrong || c.is_wrong())
            .filter(|c| filter.is_empty() || matches_filter(filter, &chain_filter_text(c)))
            .collect();
        self.sort_chains(&mut rows);
        rows
    }

    /// Groups of chains that pass the filter, sorted; the most urgent first without a choice.
    pub fn visible_groups(&self) -> Vec<&ChainGroup> {
        let filter = self.pane_filter(Pane::Trace);
        let all = self
            .trace
            .frozen
            .as_ref()
            .map_or(&self.facts.figures.groups, |frozen| &frozen.groups);
        let words = |g: &ChainGroup| {
            chain_filter_text(g.worst.as_ref().map_or(&g.newest, |(_, chain)| chain))
        };
        let mut rows: Vec<_> = all
            .iter()
            .filter(|g| !self.trace.only_wrong || g.urgency() != ChainFault::Nothing)
            .filter(|g| filter.is_empty() || matches_filter(filter, &words(g)))
            .collect();
        self.sort_groups(&mut rows);
        rows
    }

    /// Sorts groups of requests, which come in with the most urgent first.
    fn sort_groups(&self, rows: &mut [&ChainGroup]) {
        let order = self.sort_order(&GROUPS);
        let rate = |g: &ChainGroup| g.minute.rate();
        match order.column {
            SortColumn::Lane => order.sort_rows(rows, |a, b| a.key.tag.cmp(&b.key.tag)),
            SortColumn::Requests => order.sort_rows(rows, |a, b| b.requests.cmp(&a.requests)),
            SortColumn::Rate => order.sort_rows(rows, |a, b| rate(b).total_cmp(&rate(a))),
            SortColumn::Latency => {
                order.sort_rows(rows, |a, b| b.minute.p95().cmp(&a.minute.p95()));
            }
            _ => order.keep_rows(rows),
        }
    }

    /// Sorts requests, which come in with the newest first.
    fn sort_chains(&self, rows: &mut [&Arc<Chain>]) {
        let order = self.sort_order(&CHAINS);
        let wrong = |c: &Chain| (c.worst.is_bad(), c.has_failed());
        match order.column {
            SortColumn::Lane => order.sort_rows(rows, |a, b| a.tag.cmp(&b.tag)),
            SortColumn::Wrong => order.sort_rows(rows, |a, b| wrong(b).cmp(&wrong(a))),
            SortColumn::Status => order.sort_rows(rows, |a, b| b.status.cmp(&a.status)),
            SortColumn::Latency => order.sort_rows(rows, |a, b| b.micros.cmp(&a.micros)),
            _ => order.keep_rows(rows),
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

/// The last pod of the selected chain that is known.
fn selected_chain_pod(model: &Model) -> Option<&ObjectKey> {
    let steps = &model.selected_chain()?.steps;
    let name = steps.iter().rev().find_map(|step| step.pod.as_ref())?;
    let mut all = model.world.pods.keys().map(|key| &**key);
    all.find(|key| key.name == *name)
}

/// Shows only chains that leak or fail, or all again.
pub(in crate::ui) fn toggle_only_wrong(model: &mut Model) -> Vec<Effect> {
    model.trace.only_wrong = !model.trace.only_wrong;
    model.trace.chain = None;
    vec![]
}

/// Shows every request by itself, or groups again.
pub(in crate::ui) fn show_every_request(model: &mut Model) -> Vec<Effect> {
    // Inside a group this key leads back to the groups.
    model.trace.each = model.is_grouped();
    (model.trace.inside, model.trace.chain) = (None, None);
    vec![]
}

/// Freezes the list, or lets it run again.
pub(in crate::ui) fn toggle_freeze(model: &mut Model) -> Vec<Effect> {
    model.trace.frozen = if model.trace.frozen.is_some() {
        None
    } else {
        Some(FrozenChains {
            chains: model.facts.chains.clone(),
            groups: model.facts.figures.groups.clone(),
        })
    };
    vec![]
}
