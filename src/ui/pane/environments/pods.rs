//! The list of an environment's pods.

use ratatui::layout::Rect;

use crate::{
    api::NamespaceRef,
    domain::{
        text::{display_width, format_coarse_age, truncate_middle},
        world::Pod,
    },
    ui::{
        model::Model,
        pane::Pane,
        theme::Role,
        view::{
            columns::{self, ListRoom, WideColumns},
            gap::draw_gap,
            labels,
            title::{add_sort_order, pane_key},
        },
        widget::{Canvas, RichText},
    },
};

pub(super) fn draw_pane(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let pods = model.visible_pods();
    let (rows, selected) = model.row_position(Pane::Environments);
    let app = labels::short_app_name(model, model.app.as_deref().unwrap_or_default());
    let environment = model.selected_environment().map_or("", |e| e.name.as_str());
    let line = RichText::styled(Role::Key, pane_key(model, Pane::Environments))
        .add(Role::Title, " Pods")
        .add(Role::Accent, format!(" {app} {environment}"));
    let line = match model.pane_filter(Pane::Environments) {
        "" => line,
        filter => line.add(Role::Warn, format!(" /{filter}")),
    };
    let facts = RichText::styled(Role::Muted, rows.to_string());
    let line = add_sort_order(model, Pane::Environments, line, &facts, area.width);
    let inner = canvas.draw_pane(area, &line, &facts, focused);
    let inner = draw_gap(canvas, model, inner, &["pods"]);
    if rows == 0 {
        let unseen = model.world.find_gap(&["pods"]).is_some();
        let words = if unseen { "" } else { " no pods here" };
        canvas.draw_line(inner, 0, &RichText::styled(Role::Muted, words));
        return;
    }
    let width = usize::from(inner.width).saturating_sub(2);
    let room = ListRoom::of_list(model, Pane::Environments, width, |most| {
        full_width(model, most)
    });
    let table = PodColumns::fit_width(model, &pods, room.width, room.most_pinned);
    let pinned = table.pinned();
    let head = room.show_row(pinned, table.head_line());
    let body = columns::draw_head(canvas, model, Pane::Environments, inner, rows, &head);
    canvas.draw_list(body, rows, selected, focused, 1, |i, _| {
        let Some(pod) = pods.get(i) else {
            return vec![];
        };
        let row = pod_row(model, pod, &table);
        let row = if table.wide.is_empty() {
            row
        } else {
            row.cut_to_width(table.list_width())
                .pad_to(table.list_width())
        };
        vec![room.show_row(pinned, table.wide.join_row(i, row))]
    });
}

/// Columns of the list of pods.
struct PodColumns<'a> {
    name: usize,
    /// Whether there is room for tag, restarts and state.
    roomy: bool,
    /// Width of the state, if columns follow.
    state: usize,
    wide: WideColumns<'a>,
}

/// Width of what follows a pod's name where there is little room: age and address.
const POD_TAIL: usize = 3 + 6 + 14;
/// Width of the frame around a list and of the blanks beside it.
const POD_FRAME: usize = 4;

impl<'a> PodColumns<'a> {
    /// Fits the columns into a width, with names of at most so many columns.
    fn fit_width(model: &'a Model, pods: &'a [&'a Pod], width: usize, most_pinned: usize) -> Self {
        let roomy = width > 70;
        let tail = POD_TAIL + if roomy { 10 + 16 } else { 0 };
        let longest = pods.iter().map(|p| p.key.name.len()).max().unwrap_or(10);
        let whole = longest.min(most_pinned.saturating_sub(3));
        let name = whole.min(width.saturating_sub(tail)).max(10);
        let state = columns::measure_rows(pods.len(), 5, |i| {
            pods.get(i).map_or(0, |pod| columns_of_state(pod, roomy))
        });
        let mut table = Self {
            name,
            roomy,
            state,
            wide: WideColumns::with_room(0, 0),
        };
        let room = width.saturating_sub(table.list_width());
        let room = if roomy && name >= whole { room } else { 0 };
        table.wide = wide_pod_columns(model, pods, room);
        table
    }

    /// Width of sign and name.
    const fn pinned(&self) -> usize {
        2 + self.name + 1
    }

    /// Width of what is always shown.
    const fn list_width(&self) -> usize {
        self.pinned() + 5 + 1 + 14 + if self.roomy { 8 + 9 + 1 } else { 0 } + self.state
    }

    fn full_width(&self, model: &Model, pods: &[&Pod]) -> usize {
        let rows = columns::measure_rows(pods.len(), 0, |i| {
            pods.get(i)
                .map_or(0, |pod| pod_row(model, pod, self).width())
        });
        rows.max(self.list_width() + self.wide.width())
    }

    fn head_line(&self) -> RichText {
        let head = RichText::styled(Role::Muted, "  ")
            .add_column(Role::Muted, "POD", self.name + 1)
            .add_right_column(Role::Muted, "AGE", 5)
            .add(Role::Muted, " ")
            .add_column(Role::Muted, "IP", 14);
        if !self.roomy {
            return head;
        }
        let head = head
            .add_column(Role::Muted, "TAG", 8)
            .add_right_column(Role::Muted, "RESTARTS", 9)
            .add(Role::Muted, " STATE");
        if self.wide.is_empty() {
            return head;
        }
        self.wide.join_head(head.pad_to(self.list_width()))
    }
}

/// What else is told of each pod.
fn wide_pod_columns<'a>(model: &'a Model, pods: &'a [&'a Pod], room: usize) -> WideColumns<'a> {
    let named = NamespaceRef::at_home(model.world.namespace.as_str());
    WideColumns::with_room(room, pods.len())
        .add_column("IMAGE", move |i| {
            let images = pods.get(i).into_iter().flat_map(|p| &p.images);
            let tags: Vec<&str> = images.map(|i| labels::image_tag(i)).collect();
            (Role::Text, tags.join(","))
        })
        .add_column("VERSION", move |i| {
            let hash = pods.get(i).and_then(|p| p.hash.clone());
            (Role::Muted, hash.unwrap_or_default())
        })
        .add_column("NAMESPACE", move |i| {
            let own = pods.get(i).map(|p| &p.key.namespace);
            let own = own.filter(|own| **own != named).map(ToString::to_string);
            (Role::Muted, own.unwrap_or_default())
        })
}

/// State of a pod, and why it is not ready.
fn pod_state(pod: &Pod, roomy: bool) -> String {
    let why = pod
        .message
        .as_ref()
        .map(|m| format!(" {m}"))
        .unwrap_or_default();
    let again = if pod.restarts > 0 && !roomy {
        format!(" ↻{}", pod.restarts)
    } else {
        String::new()
    };
    format!("{}{again}{why}", pod.state)
}

/// Longest state that gets a column of its own width.
const LONGEST_STATE: usize = 40;

fn columns_of_state(pod: &Pod, roomy: bool) -> usize {
    display_width(&pod_state(pod, roomy)).min(LONGEST_STATE)
}

fn pod_row(model: &Model, pod: &Pod, table: &PodColumns<'_>) -> RichText {
    let (name, roomy) = (table.name, table.roomy);
    let glyphs = &model.options.glyphs;
    let (role, sign) = match (pod.terminating, pod.ready) {
        (true, _) => (Role::Muted, glyphs.gone),
        (_, true) if pod.tag.is_some() => (Role::Lane, glyphs.full),
        (_, true) => (Role::Ok, glyphs.full),
        _ if pod.restarts > 0 => (Role::Bad, glyphs.bad),
        _ => (Role::Busy, glyphs.half),
    };
    // Pod names differ at the end.
    let shown = truncate_middle(&pod.key.name, name);
    let mut line = RichText::styled(role, sign)
        .add(Role::Text, " ")
        .add_column(Role::Text, shown.as_ref(), name)
        .add(Role::Text, " ");
    let born = pod
        .born
        .map(|at| format_coarse_age(model.now, at))
        .unwrap_or_default();
    line = line
        .add_right_column(Role::Muted, born, 5)
        .add(Role::Text, " ");
    line = line.add_column(Role::Text, pod.address.as_deref().unwrap_or("-"), 14);
    if roomy {
        line = line.add_column(Role::Lane, pod.tag.as_deref().unwrap_or("-"), 8);
        let role = if pod.restarts > 0 {
            Role::Warn
        } else {
            Role::Muted
        };
        line = line
            .add_right_column(role, pod.restarts.to_string(), 9)
            .add(Role::Text, " ");
    }
    if !pod.ready || roomy {
        let role = if pod.ready { Role::Text } else { Role::Warn };
        line = line.add(role, pod_state(pod, roomy));
    }
    line
}

/// Width at which no name of a pod is cut.
pub(super) fn needed_width(model: &Model) -> usize {
    let pods = model.visible_pods();
    let name = pods.iter().map(|p| p.key.name.len()).max().unwrap_or(10);
    POD_FRAME + name + POD_TAIL
}

/// Width in which nothing is cut, with all columns.
pub(super) fn full_width(model: &Model, most_pinned: usize) -> usize {
    let pods = model.visible_pods();
    PodColumns::fit_width(model, &pods, columns::FULL_WIDTH, most_pinned).full_width(model, &pods)
}
