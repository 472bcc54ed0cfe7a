//! The Environments pane: environments of the selected App, or the pods of one of them.

use ratatui::layout::Rect;

use super::{Pane, PaneBehaviour, Place, RowPosition};
use crate::{
    api::{Environment, ObjectRef},
    domain::{
        facts,
        pod_selection::PodSelection,
        world::{ObjectKey, Pod},
    },
    ui::{
        effect::{DescribeTarget, Effect},
        keymap::{Action, KeyContext},
        model::{Model, SortColumn, SortableList, matches_filter},
        update::logs::open_logs,
        widget::Canvas,
    },
};

mod list;
mod pods;

/// The list of environments.
static ENVIRONMENTS: SortableList = SortableList {
    name: "environments",
    columns: &[SortColumn::Order, SortColumn::Name, SortColumn::Ready],
    titles: &[("ENV", SortColumn::Name), ("READY", SortColumn::Ready)],
    tells_default: false,
    keep_selection: |model| {
        model.environment = model.selected_environment().map(|e| e.name.clone());
    },
};

/// The list of an environment's pods.
static PODS: SortableList = SortableList {
    name: "pods",
    columns: &[
        SortColumn::Name,
        SortColumn::Ready,
        SortColumn::Age,
        SortColumn::Restarts,
        SortColumn::Lane,
    ],
    titles: &[
        ("POD", SortColumn::Name),
        ("AGE", SortColumn::Age),
        ("TAG", SortColumn::Lane),
        ("RESTARTS", SortColumn::Restarts),
        ("STATE", SortColumn::Ready),
    ],
    tells_default: false,
    keep_selection: |model| model.pod = model.selected_pod().map(|p| p.key.clone()),
};

/// Pane 2.
pub(in crate::ui) struct EnvironmentsPane;

impl PaneBehaviour for EnvironmentsPane {
    fn title(&self) -> &'static str {
        "Environments"
    }

    fn contexts(&self) -> &'static [KeyContext] {
        &[KeyContext::Environments, KeyContext::Release]
    }

    fn focus_action(&self) -> Action {
        Action::PaneEnvironments
    }

    fn row_position(&self, model: &Model) -> RowPosition {
        if model.drilled {
            return super::position_or_first(&model.visible_pods(), |p| {
                Some(&p.key) == model.pod.as_ref()
            });
        }
        let own = model.selected_environment().map(|e| &e.name);
        super::position_in(&model.visible_environments(), |e| Some(&e.name) == own)
    }

    fn select_row(&self, model: &mut Model, row: usize) {
        if model.drilled {
            model.pod = model.visible_pods().get(row).map(|p| p.key.clone());
        } else {
            let rows = model.visible_environments();
            model.environment = rows.get(row).map(|e| e.name.clone());
            model.pod = None;
        }
    }

    fn sortable_list(&self, model: &Model) -> Option<&'static SortableList> {
        Some(if model.drilled { &PODS } else { &ENVIRONMENTS })
    }

    /// The pod; of an environment its first workload.
    fn selected_object(&self, model: &Model) -> Option<ObjectRef> {
        if model.drilled {
            let pod = model.selected_pod()?;
            return Some(ObjectRef::pod(pod.key.clone()));
        }
        let app = model.app.as_ref()?;
        let workload = shown_workloads(model)?.next();
        Some(workload.unwrap_or_else(|| model.own_object("App", app)))
    }

    /// The pane is about an App's environment, also where a workload is there to show.
    fn edited_object(&self, model: &Model) -> Option<ObjectRef> {
        self.selected_object(model)?;
        Some(model.own_object("App", model.app.as_ref()?))
    }

    /// Of an environment its workloads and Services.
    fn described_objects(&self, model: &Model) -> Option<DescribeTarget> {
        let mut target = DescribeTarget::of_object(self.selected_object(model)?);
        if let (false, Some(app), Some(environment)) =
            (model.drilled, &model.app, model.selected_environment())
        {
            let workloads: Vec<ObjectRef> = shown_workloads(model)?.collect();
            if !workloads.is_empty() {
                target.objects = workloads;
                target.services_of = Some((app.clone(), environment.name.clone()));
            }
        }
        Some(target)
    }

    fn selected_pods(&self, model: &Model) -> Option<PodSelection> {
        if model.drilled {
            let pod = model.selected_pod()?;
            return Some(PodSelection::of_pod(pod.key.clone()));
        }
        let (app, environment) = (model.app.as_deref()?, model.selected_environment()?);
        Some(PodSelection::of_environment(app, &environment.name))
    }

    fn explain_missing_pods(&self, model: &Model) -> String {
        let key = model.key_for(KeyContext::Global, Action::Open);
        format!("there are no pods here; {key} shows an environment's pods")
    }

    /// Leads to the pods of the environment, and from a pod to its log.
    fn open_selected(&self, model: &mut Model) -> Vec<Effect> {
        if model.drilled {
            return open_logs(model);
        }
        model.drilled = true;
        model.filters.remove(&Pane::Environments);
        vec![]
    }

    fn go_back(&self, model: &mut Model) -> bool {
        std::mem::take(&mut model.drilled)
    }

    fn place(&self) -> Place {
        Place::Left
    }

    fn needed_width(&self, model: &Model) -> usize {
        if model.drilled {
            pods::needed_width(model)
        } else {
            list::needed_width(model)
        }
    }

    fn needed_height(&self, model: &Model, width: u16) -> usize {
        list::needed_height(model, width)
    }

    fn full_width(&self, model: &Model, most_pinned: usize) -> usize {
        if model.drilled {
            pods::full_width(model, most_pinned)
        } else {
            list::full_width(model, most_pinned)
        }
    }

    fn draw(&self, canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
        if model.drilled {
            pods::draw_pane(canvas, model, area, focused);
        } else {
            list::draw_pane(canvas, model, area, focused);
        }
    }
}

/// Moves the focus to the pane.
pub(super) fn focus_pane(model: &mut Model) {
    model.pane = Pane::Environments;
}

/// Workloads of the selected environment; `None` without one.
fn shown_workloads(model: &Model) -> Option<impl Iterator<Item = ObjectRef>> {
    let (app, environment) = (model.app.as_ref()?, model.selected_environment()?);
    let workloads = model.world.workloads_of(app, &environment.name);
    Some(workloads.map(|w| ObjectRef::new("apps/v1", w.kind.kind(), w.key.clone())))
}

impl Model {
    /// The selected environment; without a choice the App's first one.
    pub fn selected_environment(&self) -> Option<&Environment> {
        let app = self.selected_app()?;
        let named = self
            .environment
            .as_ref()
            .and_then(|name| app.spec.environment(name));
        named.or_else(|| app.spec.environments.first())
    }

    /// The selected pod; without a choice the first one.
    pub fn selected_pod(&self) -> Option<&Pod> {
        let chosen = self.pod.as_ref().and_then(|key| self.world.pods.get(key));
        let chosen = chosen.map(|pod| &**pod);
        chosen.or_else(|| self.visible_pods().first().copied())
    }

    /// Environments of the selected App that pass the filter, sorted; by promotion order without a
    /// choice.
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
        let passes = |p: &&Pod| {
            let address = p.address.as_deref().unwrap_or("");
            matches_filter(filter, &format!("{} {} {address}", p.key.name, p.state))
        };
        let all = facts::environment_pods(&self.facts, &self.world, app, &environment.name);
        let mut rows: Vec<_> = all.filter(passes).collect();
        self.sort_pods(&mut rows);
        rows
    }

    /// Sorts environments, which come in by promotion order.
    fn sort_environments(&self, rows: &mut [&Environment]) {
        let order = self.sort_order(&ENVIRONMENTS);
        let app = self.app.as_deref().unwrap_or_default();
        let missing = |e: &Environment| {
            let workloads = self.world.workloads_of(app, &e.name);
            let (ready, wanted) = workloads.fold((0, 0), |(ready, wanted), w| {
                (ready + u64::from(w.ready), wanted + u64::from(w.replicas))
            });
            std::cmp::Reverse(u64::saturating_sub(wanted, ready))
        };
        match order.column {
            SortColumn::Name => order.sort_rows(rows, |a, b| a.name.cmp(&b.name)),
            SortColumn::Ready => order.sort_rows(rows, |a, b| missing(a).cmp(&missing(b))),
            _ => order.keep_rows(rows),
        }
    }

    /// Sorts pods, which come in by name.
    fn sort_pods(&self, rows: &mut [&Pod]) {
        let order = self.sort_order(&PODS);
        match order.column {
            SortColumn::Ready => order.sort_rows(rows, |a, b| a.ready.cmp(&b.ready)),
            SortColumn::Age => order.sort_rows(rows, |a, b| b.born.cmp(&a.born)),
            SortColumn::Restarts => order.sort_rows(rows, |a, b| b.restarts.cmp(&a.restarts)),
            SortColumn::Lane => order.sort_rows(rows, |a, b| a.tag.cmp(&b.tag)),
            _ => order.sort_rows(rows, |a, b| a.key.cmp(&b.key)),
        }
    }

    /// Shows an environment of an App in the pane.
    pub(in crate::ui) fn show_environment(&mut self, app: String, environment: String) {
        self.pane = Pane::Environments;
        self.select_app(Some(app));
        self.environment = Some(environment);
        self.drilled = false;
    }

    /// Shows a pod of an App's environment in the pane.
    pub(in crate::ui) fn show_pod(&mut self, app: String, environment: String, pod: ObjectKey) {
        self.show_environment(app, environment);
        self.pod = Some(pod);
        self.drilled = true;
    }
}
