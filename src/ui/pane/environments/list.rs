//! The list of environments, with details of the selected one.

use jiff::Timestamp;
use ratatui::layout::Rect;

use crate::{
    api::Environment,
    domain::{
        text::{Clean, display_width, format_age, format_coarse_age},
        world::LinkTrouble,
    },
    ui::{
        model::Model,
        pane::Pane,
        theme::Role,
        view::{
            columns::{self, ListRoom, WideColumns},
            first_steps,
            gap::draw_gap,
            labels,
            title::{add_sort_order, pane_title},
        },
        widget::{Canvas, RichText, wrap_to_lines},
    },
};

/// Resources that this pane depends on.
const RESOURCES: &[&str] = &["pods", "deployments.apps", "statefulsets.apps"];

pub(super) fn draw_pane(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let app = model.app.as_deref().unwrap_or_default();
    let environments = model.visible_environments();
    let (rows, selected) = model.row_position(Pane::Environments);
    let facts = RichText::styled(Role::Muted, labels::short_app_name(model, app));
    let title = pane_title(model, Pane::Environments);
    let title = add_sort_order(model, Pane::Environments, title, &facts, area.width);
    let inner = canvas.draw_pane(area, &title, &facts, focused);
    let inner = draw_gap(canvas, model, inner, RESOURCES);
    if rows == 0 {
        if model.pane_filter(Pane::Environments).is_empty() {
            let steps = first_steps::without_environments(model);
            first_steps::draw_steps(canvas, inner, &steps);
        } else {
            let words = " nothing passes the filter";
            canvas.draw_line(inner, 0, &RichText::styled(Role::Muted, words));
        }
        return;
    }
    let width = usize::from(inner.width).saturating_sub(2);
    let room = ListRoom::of_list(model, Pane::Environments, width, |most| {
        full_width(model, most)
    });
    let table = EnvironmentColumns::fit_width(model, &environments, room.width, room.most_pinned);
    let pinned = table.widths.pinned();
    let head = room.show_row(pinned, table.head_line());
    let body = columns::draw_head(canvas, model, Pane::Environments, inner, rows, &head);
    // Details of the selected environment, when there is room below the list.
    let detail = selected
        .and_then(|i| environments.get(i))
        .and_then(|e| environment_detail(model, app, e));
    let spare = usize::from(body.height).saturating_sub(rows);
    if let (Some(detail), true) = (detail, spare > 0) {
        let lines = wrap_to_lines(&detail.plain_text(), width, spare);
        let role = detail.runs.first().map_or(Role::Muted, |(role, _)| *role);
        for (i, line) in lines.iter().enumerate() {
            let row = u16::try_from(rows + i).unwrap_or(u16::MAX);
            canvas.draw_line(
                Rect {
                    x: body.x + 2,
                    width: body.width.saturating_sub(2),
                    ..body
                },
                row,
                &RichText::styled(role, line),
            );
        }
    }
    canvas.draw_list(body, rows, selected, focused, 1, |i, _| {
        let (Some(environment), Some(told)) = (environments.get(i), table.cells.get(i)) else {
            return vec![];
        };
        let row = environment_row(model, environment, told, table.widths);
        vec![room.show_row(pinned, table.wide.join_row(i, row))]
    });
}

/// Columns of the list.
struct EnvironmentColumns<'a> {
    cells: Vec<EnvironmentCells>,
    widths: ColumnWidths,
    wide: WideColumns<'a>,
}

impl<'a> EnvironmentColumns<'a> {
    /// Fits the columns into a width, with names of at most so many columns.
    fn fit_width(
        model: &'a Model,
        environments: &'a [&'a Environment],
        width: usize,
        most_pinned: usize,
    ) -> Self {
        let app = model.app.as_deref().unwrap_or_default();
        let cells: Vec<EnvironmentCells> = environments
            .iter()
            .map(|e| environment_cells(model, app, e))
            .collect();
        let widths = ColumnWidths::fit_width(&cells, width, most_pinned);
        // What belongs to the list itself comes before more columns.
        let whole = widths.version > 0 || cells.iter().all(|c| c.version.is_empty());
        let room = width.saturating_sub(widths.width());
        let wide = wide_columns(model, environments, if whole { room } else { 0 });
        Self {
            cells,
            widths,
            wide,
        }
    }

    fn head_line(&self) -> RichText {
        let widths = self.widths;
        let head = RichText::styled(Role::Muted, "  ")
            .add_column(Role::Muted, "ENV", widths.name + 1)
            .add_right_column(Role::Muted, "READY", 7)
            .add(Role::Muted, " ")
            .add_column(Role::Muted, "LANE", widths.lane)
            .add_column(Role::Muted, "IMAGE", widths.image)
            .add_column(Role::Muted, "VERSION", widths.version);
        self.wide.join_head(head)
    }
}

/// What else is told of each environment.
fn wide_columns<'a>(
    model: &'a Model,
    environments: &'a [&'a Environment],
    room: usize,
) -> WideColumns<'a> {
    let status = move |i: usize| {
        let app = model.selected_app()?.status.as_ref()?;
        app.environments.get(&environments.get(i)?.name)
    };
    WideColumns::with_room(room, environments.len())
        .add_column("CHANGED", move |i| {
            let changed = status(i).and_then(|s| s.changed_at.as_ref()?.timestamp());
            let age = changed.map(|at| format_coarse_age(model.now, at));
            (Role::Muted, age.unwrap_or_default())
        })
        .add_column("NAMESPACE", move |i| {
            let place = environments.get(i).map(|e| environment_place(e));
            (Role::Text, place.unwrap_or_default())
        })
        .add_column("RELEASE", move |i| {
            let release = status(i).and_then(|s| s.release.clone());
            (Role::Muted, release.unwrap_or_default())
        })
        .add_column("IMAGES", move |i| {
            let images = status(i).into_iter().flat_map(|s| s.images.values());
            let images: Vec<&str> = images.map(String::as_str).collect();
            (Role::Muted, images.join(", "))
        })
}

/// The namespace of an environment, with its context.
fn environment_place(environment: &Environment) -> String {
    match environment.context.context() {
        Some(context) => format!("{} of {context}", environment.namespace),
        None => environment.namespace.clone(),
    }
}

/// Width in which nothing is cut, with all columns.
pub(super) fn full_width(model: &Model, most_pinned: usize) -> usize {
    let environments = model.visible_environments();
    let table =
        EnvironmentColumns::fit_width(model, &environments, columns::FULL_WIDTH, most_pinned);
    table.widths.width() + table.wide.width()
}

/// Number of lines needed, with the frame.
pub(super) fn needed_height(model: &Model, width: u16) -> usize {
    let environments = model
        .selected_app()
        .map_or(0, |a| a.spec.environments.len());
    let app = model.app.as_deref().unwrap_or_default();
    let detail = model
        .selected_environment()
        .and_then(|e| environment_detail(model, app, e))
        .unwrap_or_default();
    let detail = wrap_to_lines(
        &detail.plain_text(),
        usize::from(width).saturating_sub(4),
        4,
    )
    .len();
    let rows = if model.drilled {
        environments.max(model.row_position(Pane::Environments).0)
    } else {
        environments
    };
    rows + detail + 3
}

/// Width at which no image is cut.
pub(super) fn needed_width(model: &Model) -> usize {
    let app = model.app.as_deref().unwrap_or_default();
    let told: Vec<EnvironmentCells> = model
        .visible_environments()
        .iter()
        .map(|e| environment_cells(model, app, e))
        .collect();
    let (name, image, lane) = ColumnWidths::needed_widths(&told);
    2 + name + 9 + lane + image + 4
}

/// Cell contents of an environment's row.
struct EnvironmentCells {
    name: String,
    lane: Option<String>,
    images: String,
    version: String,
}

fn environment_cells(model: &Model, app: &str, environment: &Environment) -> EnvironmentCells {
    let status = model
        .selected_app()
        .and_then(|a| a.status.as_ref())
        .and_then(|s| s.environments.get(&environment.name));
    let images: Vec<&str> = match status.filter(|s| !s.images.is_empty()) {
        Some(status) => status
            .images
            .values()
            .map(|i| labels::image_tag(i))
            .collect(),
        None => model
            .world
            .workloads_of(app, &environment.name)
            .flat_map(|w| &w.images)
            .map(|i| labels::image_tag(i))
            .collect(),
    };
    let gone = model
        .world
        .workloads_of(app, &environment.name)
        .next()
        .is_none();
    let state = status.map(|s| s.state).unwrap_or_default();
    EnvironmentCells {
        name: environment.name.clone(),
        lane: environment.lane.clone(),
        images: if gone && images.is_empty() {
            labels::environment_state_label(state).into()
        } else {
            images.join(",")
        },
        version: status.and_then(|s| s.version.clone()).unwrap_or_default(),
    }
}

/// Column widths; a column of width 0 is not drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ColumnWidths {
    name: usize,
    lane: usize,
    image: usize,
    version: usize,
}

impl ColumnWidths {
    /// Widths that name, image and lane need.
    fn needed_widths(told: &[EnvironmentCells]) -> (usize, usize, usize) {
        let longest = |of: &dyn Fn(&EnvironmentCells) -> usize, least: usize| {
            told.iter().map(of).max().unwrap_or(0).max(least)
        };
        let name = longest(&|t| display_width(&t.name), 4).min(20);
        let lane = longest(&|t| t.lane.as_deref().map_or(4, display_width), 5).min(15);
        (
            name,
            longest(&|t| display_width(&t.images), 5) + 1,
            lane + 1,
        )
    }

    /// Fits the columns into a width. The image has priority, then the lane, then the version; a
    /// column that does not fit whole is left out.
    fn fit_width(told: &[EnvironmentCells], width: usize, most_pinned: usize) -> Self {
        let (name, image, lane) = Self::needed_widths(told);
        let name = name.min(most_pinned.saturating_sub(3)).max(4);
        let version = told
            .iter()
            .map(|t| display_width(&t.version))
            .max()
            .unwrap_or(0);
        let rest = width.saturating_sub(2 + name + 9);
        let lane = if image + lane <= rest { lane } else { 0 };
        let rest = rest - lane;
        if version > 0 && image + 1 + version <= rest {
            return Self {
                name,
                lane,
                image: image + 1,
                version,
            };
        }
        Self {
            name,
            lane,
            image: rest.min(image),
            version: 0,
        }
    }

    /// Width of sign, name and lock.
    const fn pinned(self) -> usize {
        2 + self.name + 1
    }

    /// Width of a row.
    const fn width(self) -> usize {
        self.pinned() + 7 + 1 + self.lane + self.image + self.version
    }
}

fn environment_row(
    model: &Model,
    environment: &Environment,
    told: &EnvironmentCells,
    table: ColumnWidths,
) -> RichText {
    let glyphs = &model.options.glyphs;
    let app = model.app.as_deref().unwrap_or_default();
    let status = model
        .selected_app()
        .and_then(|a| a.status.as_ref())
        .and_then(|s| s.environments.get(&environment.name));
    let state = status.map(|s| s.state).unwrap_or_default();
    let (role, sign) = labels::environment_sign(glyphs, state, environment.lane.is_some());
    let old = stale_link(model, environment).is_some();
    let (role, sign) = if old {
        (Role::Warn, glyphs.warn)
    } else {
        (role, sign)
    };
    let mut line = RichText::styled(role, sign)
        .add(Role::Text, " ")
        .add_column(Role::Text, &environment.name, table.name);
    line.push(
        Role::Warn,
        if environment.lock.is_some() {
            glyphs.lock
        } else {
            " "
        },
    );
    let workloads: Vec<_> = model.world.workloads_of(app, &environment.name).collect();
    let ready: u32 = workloads.iter().map(|w| w.ready).sum();
    let wanted: u32 = workloads.iter().map(|w| w.replicas).sum();
    let role = match (workloads.is_empty(), ready >= wanted) {
        (true, _) => Role::Muted,
        // The connection is lost, so the numbers are old.
        _ if old => Role::Muted,
        (_, true) => Role::Ok,
        _ => Role::Warn,
    };
    let text = if workloads.is_empty() {
        "-".to_owned()
    } else {
        format!("{ready}/{wanted}")
    };
    line = line.add_right_column(role, text, 7).add(Role::Text, " ");
    if table.lane > 0 {
        let (role, word) = told
            .lane
            .as_deref()
            .map_or((Role::Muted, "base"), |tag| (Role::Lane, tag));
        line = line
            .add_column(role, word, table.lane - 1)
            .add(Role::Text, " ");
    }
    let role = if workloads.is_empty() {
        Role::Muted
    } else {
        Role::Text
    };
    line = line
        .add_column(role, &told.images, table.image.saturating_sub(1))
        .add(Role::Text, " ");
    if table.version > 0 {
        line.add_column(Role::Muted, &told.version, table.version)
    } else {
        line
    }
}

/// The connection to the environment's own cluster, when it is lost and the data is stale.
fn stale_link<'a>(
    model: &'a Model,
    environment: &Environment,
) -> Option<(Timestamp, LinkTrouble, &'a Clean)> {
    model
        .world
        .clusters
        .get(&environment.context)?
        .stale_since()
}

fn environment_detail(model: &Model, app: &str, environment: &Environment) -> Option<RichText> {
    if let Some((since, trouble, why)) = stale_link(model, environment) {
        let context = environment.context.context().unwrap_or_default();
        let words = format!(
            "{context}: {}; this is as of {} ago: {why}",
            trouble.as_sentence(),
            format_age(model.now, since)
        );
        return Some(RichText::styled(Role::Warn, words));
    }
    if let Some(lock) = &environment.lock {
        return Some(RichText::styled(
            Role::Warn,
            format!("locked by {}: {}", lock.by, lock.reason),
        ));
    }
    let status = model
        .selected_app()?
        .status
        .as_ref()?
        .environments
        .get(&environment.name);
    if let Some(message) = status.and_then(|s| s.message.as_ref()) {
        return Some(RichText::styled(Role::Bad, message));
    }
    let message = model
        .world
        .workloads_of(app, &environment.name)
        .find_map(|w| w.message.as_ref());
    if let Some(message) = message {
        return Some(RichText::styled(Role::Warn, &**message));
    }
    let images = status.map(|s| {
        s.images
            .values()
            .map(|i| labels::image_name(i))
            .collect::<Vec<_>>()
            .join(", ")
    })?;
    let place = environment_place(environment);
    Some(RichText::styled(Role::Muted, format!("{images} in {place}")).filter_empty())
}

impl RichText {
    fn filter_empty(self) -> Self {
        if self.plain_text().starts_with(" in ") {
            Self::new()
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_whole_is_there_at_all() {
        let told = |name: &str, images: &str, version: &str| EnvironmentCells {
            name: name.into(),
            lane: None,
            images: images.into(),
            version: version.into(),
        };
        let all = [
            told("prod", "1.4.2", "v1"),
            told("gray", "not deployed yet", ""),
        ];
        let of = |width| ColumnWidths::fit_width(&all, width, usize::MAX);
        assert_eq!(
            of(30),
            ColumnWidths {
                name: 4,
                lane: 0,
                image: 15,
                version: 0
            }
        );
        assert_eq!(
            of(32),
            ColumnWidths {
                name: 4,
                lane: 0,
                image: 17,
                version: 0
            }
        );
        assert_eq!(
            of(38),
            ColumnWidths {
                name: 4,
                lane: 6,
                image: 17,
                version: 0
            }
        );
        assert_eq!(
            of(50),
            ColumnWidths {
                name: 4,
                lane: 6,
                image: 18,
                version: 2
            }
        );
    }
}
