//! Apps: each with the state of its environments, the release under way, and who must act.
//!
//! ```text
//!   APP             tes pre gra pro  RELEASE
//! ▌ spring-cloud-a   ●   ●   ●   ◐   ◆ batch 2/3?
//! ```

use ratatui::layout::Rect;

use super::words;
use crate::domain::text::middle_ellipsis;
use crate::ui::{
    facts::turn,
    keymap::{Action, Context},
    model::{Model, Pane},
    theme::Role,
    widget::{Canvas, Rich},
};

pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let apps = model.apps();
    let (rows, selected) = model.place(Pane::Apps);
    let inner = canvas.pane(area, &title(model, Pane::Apps), &facts(model, rows), focused);
    let inner = super::gap::draw(canvas, model, inner, &["apps.graylane.dev"]);
    if rows == 0 {
        empty(canvas, model, inner);
        return;
    }
    let shown: Vec<&str> = columns(model);
    // Short names leave room for what is going on.
    let width = usize::from(inner.width).saturating_sub(2);
    let full = apps.iter().take(200).map(|a| a.chars().count()).max().unwrap_or(8);
    // Names of environments are cut only where they must be.
    let mut cells: Vec<usize> = shown.iter().map(|c| c.chars().count().clamp(3, 7) + 1).collect();
    if full + cells.iter().sum::<usize>() + 13 > width {
        cells.fill(4);
    }
    // What a release waits for is what one looks for: its column needs twelve, and a name can be short.
    let left = |cells: &[usize]| width.saturating_sub(cells.iter().sum::<usize>() + 13);
    let short = apps.iter().take(200).map(|a| words::short(model, a).chars().count()).max().unwrap_or(8).max(3);
    if full > left(&cells) && short > left(&cells) {
        cells.fill(3);
    }
    let name = if full <= left(&cells) { full } else { short.min(left(&cells).max(8)) };
    let mut body = inner;
    if inner.height > 4 {
        let mut head = Rich::of(Role::Muted, " ").col(Role::Muted, "APP", name + 1);
        for (column, cell) in shown.iter().zip(&cells) {
            head = head.col(Role::Muted, column.chars().take(cell - 1).collect::<String>(), *cell);
        }
        canvas.line(inner, 0, &head.add(Role::Muted, "RELEASE"));
        body = Rect { y: inner.y + 1, height: inner.height - 1, ..inner };
    }
    canvas.list(body, rows, selected, focused, 1, |i, _| {
        let Some(app) = apps.get(i) else { return vec![] };
        vec![row(model, app, &shown, name, &cells)]
    });
}

/// The environments of the selected App (all Apps of a workspace have much the same ones).
fn columns(model: &Model) -> Vec<&str> {
    let app = model.selected_app().or_else(|| model.world.apps.values().next());
    app.map(|a| a.spec.environments.iter().map(|e| e.name.as_str()).take(6).collect()).unwrap_or_default()
}

fn row(model: &Model, name: &str, columns: &[&str], width: usize, cells: &[usize]) -> Rich {
    let glyphs = &model.options.glyphs;
    let mark = if model.marked.contains(name) { glyphs.mark } else { " " };
    let mut line = Rich::new();
    let shown = if name.chars().count() > width { words::short(model, name) } else { name };
    // Names of one workspace are told apart by their ends.
    let shown = middle_ellipsis(shown, width);
    line = line.col(Role::Text, shown, width).add(Role::Key, mark);
    let app = model.world.apps.get(name);
    for (column, cell) in columns.iter().zip(cells) {
        let found = app.and_then(|a| a.spec.environment(column));
        let status = app.and_then(|a| a.status.as_ref()).and_then(|s| s.environments.get(*column));
        match found {
            Some(environment) => {
                let state = status.map(|s| s.state).unwrap_or_default();
                let (role, sign) = words::environment(glyphs, state, environment.lane.is_some());
                let lock = if environment.lock.is_some() { glyphs.lock } else { " " };
                let at = line.width();
                line = line.add(Role::Text, " ").add(role, sign).add(Role::Warn, lock).to(at + cell);
            }
            None => line = line.add(Role::Text, " ".repeat(*cell)),
        }
    }
    if let Some(pending) = model.pending_about(name) {
        return line.add(Role::Busy, glyphs.spinner(model.beat)).add(Role::Muted, format!(" {}", pending.words));
    }
    match model.release_of(name).and_then(|r| model.world.releases.get(r)) {
        Some(release) => {
            let now = turn(release);
            let (role, sign) = words::turn(glyphs, model.beat, now);
            line.add(role, format!("{sign} {}", now.word()))
        }
        None => line.add(Role::Muted, glyphs.idle),
    }
}

fn facts(model: &Model, rows: usize) -> Rich {
    let all = model.world.apps.len();
    let mut line = Rich::new();
    if !model.marked.is_empty() {
        line.push(Role::Accent, format!("{} marked ", model.marked.len()));
    }
    let gap = if line.is_empty() { "" } else { model.options.glyphs.dot };
    let gap = if gap.is_empty() { String::new() } else { format!("{gap} ") };
    line.add(Role::Muted, if rows == all { format!("{gap}{all}") } else { format!("{gap}{rows} of {all}") })
}

/// A pane's key.
pub(super) fn number(model: &Model, pane: Pane) -> String {
    model.options.keymap.key(&[Context::Global], pane.action()).unwrap_or_default()
}

/// A pane's title: its key, its name, its filter.
pub(super) fn title(model: &Model, pane: Pane) -> Rich {
    let line = Rich::of(Role::Key, number(model, pane)).add(Role::Title, format!(" {}", pane.title()));
    match model.filter(pane) {
        "" => line,
        filter => line.add(Role::Warn, format!(" /{filter}")),
    }
}

/// Nothing is there: why, and what to do.
pub(super) fn empty(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    use crate::domain::world::Link;
    if model.world.gap(&["apps.graylane.dev"]).is_some() {
        return;
    }
    let filtered = !model.filter(Pane::Apps).is_empty();
    let clears = format!("{} clears it", model.options.keymap.within(Context::Global, Action::Back));
    let words = match &model.world.link {
        Link::Connecting => vec!["connecting to the cluster"],
        Link::Stale { trouble, .. } if model.world.apps.is_empty() => {
            vec![trouble.told(), trouble.advice().unwrap_or("it is tried again all the time")]
        }
        _ if filtered => vec!["nothing passes the filter", &clears],
        _ => vec!["no apps in this namespace", "graylane apply -f FOLDER", "brings them here"],
    };
    for (i, text) in words.iter().enumerate() {
        let role = if i == 0 { Role::Text } else { Role::Muted };
        canvas.line(
            Rect { x: area.x + 1, width: area.width.saturating_sub(1), ..area },
            i as u16,
            &Rich::of(role, text),
        );
    }
}
