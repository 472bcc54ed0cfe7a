//! The Apps pane: each App with the states of its environments, its release in progress, and who
//! must act.
//!
//! ```text
//!   APP             tes pre gra pro  RELEASE
//! ▌ spring-cloud-a   ●   ●   ●   ◐   ◆ batch 2/3?
//! ```

use std::collections::BTreeSet;

use ratatui::layout::Rect;

use super::AppRow;
use crate::{
    api::Release,
    domain::text::{format_coarse_age, truncate_middle},
    ui::{
        facts::release_state,
        keymap::{Action, KeyContext},
        model::{Model, NamespaceScope},
        pane::Pane,
        theme::Role,
        view::{
            columns::{self, ListRoom, WideColumns},
            first_steps::{self, Step},
            gap::draw_gap,
            labels,
            title::{add_sort_order, pane_title},
        },
        widget::{Canvas, RichText, shorten_distinct},
    },
};

pub(super) fn draw_pane(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let apps = model.visible_apps();
    let (rows, selected) = model.row_position(Pane::Apps);
    let facts = pane_facts(model, rows);
    let title = pane_title(model, Pane::Apps);
    let title = add_sort_order(model, Pane::Apps, title, &facts, area.width);
    let inner = canvas.draw_pane(area, &title, &facts, focused);
    let inner = draw_gap(canvas, model, inner, &["apps.graylane.dev"]);
    if rows == 0 {
        draw_empty(canvas, model, inner);
        return;
    }
    let width = usize::from(inner.width).saturating_sub(1);
    let room = ListRoom::of_list(model, Pane::Apps, width, |most| full_width(model, most));
    let table = AppColumns::fit_width(model, &apps, room.width, room.most_pinned);
    let head = room.show_row(table.pinned(), table.head_line());
    let body = columns::draw_head(canvas, model, Pane::Apps, inner, rows, &head);
    canvas.draw_list(body, rows, selected, focused, 1, |i, _| {
        let Some(app) = apps.get(i) else {
            return vec![];
        };
        let row = app_row(model, *app, &table);
        vec![room.show_row(table.pinned(), table.wide.join_row(i, row))]
    });
}

/// Columns of the list.
struct AppColumns<'a> {
    /// Width of the namespaces, where they have a column.
    namespace: usize,
    /// Width of the names.
    name: usize,
    /// Names that are told with their namespace, because it has no column.
    qualified: BTreeSet<&'a str>,
    environments: Vec<&'a str>,
    /// Width of each environment.
    cells: Vec<usize>,
    /// Width of the release's state, if columns follow.
    state: usize,
    wide: WideColumns<'a>,
}

impl<'a> AppColumns<'a> {
    /// Fits the columns into a width, with names of at most so many columns.
    fn fit_width(
        model: &'a Model,
        apps: &'a [AppRow<'a>],
        width: usize,
        most_pinned: usize,
    ) -> Self {
        let environments = environment_columns(model);
        let namespace = namespace_width(model, &environments, width);
        let qualified = match (model.shows_all, namespace) {
            (true, 0) => model.ambiguous_apps(),
            _ => BTreeSet::new(),
        };
        let most_name = most_pinned.saturating_sub(namespace);
        let (full, short) = name_widths(model, &qualified);
        let widths = if full < most_name {
            (full, short)
        } else {
            let short = short.min(most_name.saturating_sub(1)).max(3);
            (short, short)
        };
        let (name, cells) = column_widths(widths, &environments, width.saturating_sub(namespace));
        let used = namespace + name + 1 + cells.iter().sum::<usize>();
        let state = columns::measure_rows(apps.len(), RELEASE_WIDTH - 2, |i| {
            apps.get(i)
                .map_or(0, |app| release_cell(model, *app).width())
        });
        let whole = name == widths.0;
        let room = width.saturating_sub(used + state);
        let wide = wide_columns(model, apps, if whole { room } else { 0 });
        Self {
            namespace,
            name,
            qualified,
            environments,
            cells,
            state: if wide.is_empty() { 0 } else { state },
            wide,
        }
    }

    /// Width of the names and their marks, and of the namespaces before them.
    const fn pinned(&self) -> usize {
        self.namespace + self.name + 1
    }

    fn width(&self) -> usize {
        self.pinned() + self.cells.iter().sum::<usize>() + self.state + self.wide.width()
    }

    fn head_line(&self) -> RichText {
        let mut head = RichText::new();
        if self.namespace > 0 {
            let title = if self.namespace > "NAMESPACE".len() {
                "NAMESPACE"
            } else {
                "NS"
            };
            head = head.add_column(Role::Muted, title, self.namespace);
        }
        head = head.add_column(Role::Muted, "APP", self.name + 1);
        let most = self.cells.iter().max().map_or(0, |cell| cell - 1);
        for (column, cell) in shorten_distinct(&self.environments, most)
            .iter()
            .zip(&self.cells)
        {
            head = head.add_column(Role::Muted, column, *cell);
        }
        let at = head.width() + self.state;
        self.wide
            .join_head(head.add(Role::Muted, "RELEASE").pad_to(at))
    }
}

/// What else is told of the release that each App shows.
fn wide_columns<'a>(model: &'a Model, apps: &'a [AppRow<'a>], room: usize) -> WideColumns<'a> {
    let release = move |i: usize| {
        let row = apps.get(i)?;
        let name = model.release_in(row.scope, row.name)?;
        row.scope.world.releases.get_key_value(name)
    };
    let cell = move |role, text: &'a dyn Fn(&'a String, &'a Release) -> String| {
        move |i| {
            let text = release(i).map(|(name, found)| text(name, found));
            (role, text.unwrap_or_default())
        }
    };
    WideColumns::with_room(room, apps.len())
        .add_column("STAGE", cell(Role::Text, &|_, r| r.spec.stage.clone()))
        .add_column("AGE", move |i| {
            let created = release(i).and_then(|(_, r)| r.metadata.creation_timestamp.as_ref());
            let age = created.map(|at| format_coarse_age(model.now, at.0));
            (Role::Muted, age.unwrap_or_default())
        })
        .add_column("BY", cell(Role::Text, &|_, r| r.spec.requester.clone()))
        .add_column("IMAGE", cell(Role::Lane, &|_, r| release_images(r)))
        .add_column("NAME", cell(Role::Muted, &|name, _| name.clone()))
        .add_column(
            "COMMENT",
            cell(Role::Muted, &|_, r| {
                r.spec.comment.clone().unwrap_or_default()
            }),
        )
}

/// Tags of the images that a release brings.
fn release_images(release: &Release) -> String {
    let images = release.status.iter().flat_map(|s| s.images.values());
    let tags: Vec<&str> = images.map(|i| labels::image_tag(i)).collect();
    tags.join(",")
}

/// Width in which nothing is cut, with all columns.
pub(super) fn full_width(model: &Model, most_pinned: usize) -> usize {
    let apps = model.visible_apps();
    let table = AppColumns::fit_width(model, &apps, columns::FULL_WIDTH, most_pinned);
    let state = columns::measure_rows(apps.len(), 0, |i| {
        apps.get(i)
            .map_or(0, |app| release_cell(model, *app).width())
    });
    table.width() + if table.wide.is_empty() { state } else { 0 }
}

/// Width reserved for the release column, the one that matters most.
const RELEASE_WIDTH: usize = 12;

/// Widths of the longest full name and of the longest short name.
fn name_widths(model: &Model, qualified: &BTreeSet<&str>) -> (usize, usize) {
    let all = || {
        let of = |scope: NamespaceScope<'_>| {
            let before = scope.name().chars().count() + 1;
            let names = scope.world.apps.keys();
            let of_name = names.map(move |name| {
                let before = if qualified.contains(name.as_str()) {
                    before
                } else {
                    0
                };
                let short = scope.facts.short_name(name).chars().count();
                (before + name.chars().count(), before + short)
            });
            of_name.collect::<Vec<_>>()
        };
        model.scopes().flat_map(of).take(200)
    };
    let longest = |widths: Option<usize>| widths.unwrap_or(8).max(3);
    (
        longest(all().map(|(full, _)| full).max()),
        longest(all().map(|(_, short)| short).max()),
    )
}

/// Longest namespace that the column shows whole.
const NAMESPACE_WIDTH: usize = 20;

/// Width of the column of namespaces, which has room before the names are cut; 0 where it has none.
fn namespace_width(model: &Model, environments: &[&str], width: usize) -> usize {
    if !model.shows_all {
        return 0;
    }
    let names = model.scopes().filter(|scope| !scope.world.apps.is_empty());
    let longest = names.map(|scope| scope.name().chars().count()).max();
    let column = longest.unwrap_or(0).clamp(2, NAMESPACE_WIDTH) + 1;
    let (_, short) = name_widths(model, &BTreeSet::new());
    let cells: usize = environments
        .iter()
        .map(|e| e.chars().count().clamp(3, 4) + 1)
        .sum();
    let fits = column + short.max(8) + 1 + cells + RELEASE_WIDTH <= width;
    if fits { column } else { 0 }
}

/// Widths of the name column and of each environment column. App names are shortened before
/// environment names, because their ends tell them apart.
fn column_widths(
    (full, short): (usize, usize),
    environments: &[&str],
    width: usize,
) -> (usize, Vec<usize>) {
    let cells = |most: usize| {
        environments
            .iter()
            .map(|e| e.chars().count().clamp(3, most) + 1)
            .collect::<Vec<_>>()
    };
    let left =
        |cells: &[usize]| width.saturating_sub(cells.iter().sum::<usize>() + 1 + RELEASE_WIDTH);
    let (whole, tight) = (cells(9), cells(4));
    if full <= left(&whole) {
        (full, whole)
    } else if short <= left(&whole) {
        (short, whole)
    } else {
        let name = short.min(left(&tight).max(8));
        (
            name,
            if short <= left(&tight) {
                tight
            } else {
                cells(3)
            },
        )
    }
}

/// Width at which nothing is cut.
pub(super) fn needed_width(model: &Model) -> usize {
    let (full, _) = name_widths(model, &BTreeSet::new());
    let namespace = namespace_width(model, &[], usize::MAX);
    let cells: usize = environment_columns(model)
        .iter()
        .map(|e| e.chars().count().clamp(3, 9) + 1)
        .sum();
    namespace + full + cells + 1 + RELEASE_WIDTH + 3
}

/// Environments of the selected App; most Apps of a workspace have the same ones.
fn environment_columns(model: &Model) -> Vec<&str> {
    let app = model
        .selected_app()
        .or_else(|| model.world.apps.values().next());
    app.map(|a| {
        a.spec
            .environments
            .iter()
            .map(|e| e.name.as_str())
            .take(6)
            .collect()
    })
    .unwrap_or_default()
}

fn app_row(model: &Model, row: AppRow<'_>, table: &AppColumns<'_>) -> RichText {
    let (AppRow { scope, name }, width) = (row, table.name);
    let glyphs = &model.options.glyphs;
    let mark = if model.marked.contains(&scope.key_of(name)) {
        glyphs.mark
    } else {
        " "
    };
    let mut line = RichText::new();
    if table.namespace > 0 {
        let shown = truncate_middle(scope.name(), table.namespace - 1);
        line = line.add_column(Role::Muted, shown, table.namespace);
    }
    let before = if table.qualified.contains(name.as_str()) {
        format!("{}/", scope.name())
    } else {
        String::new()
    };
    let shown = if before.chars().count() + name.chars().count() > width {
        scope.facts.short_name(name)
    } else {
        name
    };
    // App names of one workspace differ at the end.
    let shown = format!("{before}{shown}");
    let shown = truncate_middle(&shown, width);
    line = line
        .add_column(Role::Text, shown, width)
        .add(Role::Key, mark);
    let app = scope.world.apps.get(name);
    for (column, cell) in table.environments.iter().zip(&table.cells) {
        let found = app.and_then(|a| a.spec.environment(column));
        let status = app
            .and_then(|a| a.status.as_ref())
            .and_then(|s| s.environments.get(*column));
        match found {
            Some(environment) => {
                let state = status.map(|s| s.state).unwrap_or_default();
                let (role, sign) =
                    labels::environment_sign(glyphs, state, environment.lane.is_some());
                let lock = if environment.lock.is_some() {
                    glyphs.lock
                } else {
                    " "
                };
                let at = line.width();
                line = line
                    .add(Role::Text, " ")
                    .add(role, sign)
                    .add(Role::Warn, lock)
                    .pad_to(at + cell);
            }
            None => line = line.add(Role::Text, " ".repeat(*cell)),
        }
    }
    let at = line.width() + table.state;
    line.join(release_cell(model, row)).pad_to(at)
}

/// State of the release that an App shows.
fn release_cell(model: &Model, row: AppRow<'_>) -> RichText {
    let AppRow { scope, name } = row;
    let (line, glyphs) = (RichText::new(), &model.options.glyphs);
    if let Some(pending) = model.pending_about(scope.name(), name) {
        return line
            .add(Role::Busy, glyphs.spinner_frame(model.beat))
            .add(Role::Muted, format!(" {}", pending.words));
    }
    match model
        .release_in(scope, name)
        .and_then(|r| scope.world.releases.get(r))
    {
        Some(release) => {
            let now = release_state(release);
            let (role, sign) = labels::release_sign(glyphs, model.beat, now);
            line.add(role, format!("{sign} {}", now.state_label()))
        }
        None => line.add(Role::Muted, glyphs.idle),
    }
}

fn pane_facts(model: &Model, rows: usize) -> RichText {
    let all = model.scopes().map(|s| s.world.apps.len()).sum::<usize>();
    let mut line = RichText::new();
    if !model.marked.is_empty() {
        line.push(Role::Accent, format!("{} marked ", model.marked.len()));
    }
    let gap = if line.is_empty() {
        ""
    } else {
        model.options.glyphs.dot
    };
    let gap = if gap.is_empty() {
        String::new()
    } else {
        format!("{gap} ")
    };
    line.add(
        Role::Muted,
        if rows == all {
            format!("{gap}{all}")
        } else {
            format!("{gap}{rows} of {all}")
        },
    )
}

/// Says why the pane is empty, and what to do.
fn draw_empty(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    let filtered = !model.pane_filter(Pane::Apps).is_empty();
    if model.world.find_gap(&["apps.graylane.dev"]).is_some() {
        if model.shows_all {
            first_steps::draw_steps(canvas, area, &first_steps::one_namespace(model));
        }
        return;
    }
    let no_apps = model.scopes().all(|scope| scope.world.apps.is_empty());
    let steps = if filtered && !no_apps {
        let key = model
            .options
            .keymap
            .key_within(KeyContext::Global, Action::Back);
        vec![
            Step::Reason("nothing passes the filter".into()),
            Step::Hint(format!("{key} clears it")),
        ]
    } else {
        first_steps::without_apps(model)
    };
    first_steps::draw_steps(canvas, area, &steps);
}

#[cfg(test)]
mod tests {
    use super::column_widths;

    #[test]
    fn names_of_environments_give_way_last() {
        let all = ["test", "pre", "gray", "prod"];
        assert_eq!(column_widths((14, 3), &all, 47), (14, vec![5, 4, 5, 5]));
        assert_eq!(column_widths((14, 3), &all, 35), (3, vec![5, 4, 5, 5]));
        assert_eq!(column_widths((14, 14), &all, 35), (8, vec![4, 4, 4, 4]));
        assert_eq!(
            column_widths((3, 3), &["a-very-long-name"], 60),
            (3, vec![10])
        );
    }
}
