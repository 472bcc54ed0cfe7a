//! The Environments pane: environments of the selected App, or the pods of one of them.

use jiff::Timestamp;
use ratatui::layout::Rect;

use super::{apps::title, words};
use crate::{
    api::Environment,
    domain::{
        text::{Clean, age, width as columns},
        world::{Pod, Trouble},
    },
    ui::{
        model::{Model, Pane},
        theme::Role,
        widget::{Canvas, Rich, wrap_in},
    },
};

/// Resources that this pane depends on.
const SEEN: &[&str] = &["pods", "deployments.apps", "statefulsets.apps"];

pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    if model.drilled {
        pods(canvas, model, area, focused);
        return;
    }
    let app = model.app.as_deref().unwrap_or_default();
    let environments = model.environments();
    let (rows, selected) = model.place(Pane::Environments);
    let facts = Rich::of(Role::Muted, words::short(model, app));
    let inner = canvas.pane(area, &title(model, Pane::Environments), &facts, focused);
    let inner = super::gap::draw(canvas, model, inner, SEEN);
    if rows == 0 {
        canvas.line(inner, 0, &Rich::of(Role::Muted, " no environments"));
        return;
    }
    let width = usize::from(inner.width).saturating_sub(2);
    let told: Vec<Told> = environments.iter().map(|e| tell(model, app, e)).collect();
    let table = Table::of(&told, width);
    let mut body = inner;
    if super::has_head(inner, rows) {
        let head = Rich::of(Role::Muted, "   ")
            .col(Role::Muted, "ENV", table.name + 1)
            .right(Role::Muted, "READY", 7);
        let head = head
            .add(Role::Muted, " ")
            .col(Role::Muted, "LANE", table.lane);
        let head =
            head.col(Role::Muted, "IMAGE", table.image)
                .col(Role::Muted, "VERSION", table.version);
        canvas.line(inner, 0, &head);
        body = Rect {
            y: inner.y + 1,
            height: inner.height - 1,
            ..inner
        };
    }
    // Details of the selected environment, when there is room below the list.
    let detail = selected
        .and_then(|i| environments.get(i))
        .and_then(|e| detail(model, app, e));
    let spare = usize::from(body.height).saturating_sub(rows);
    if let (Some(detail), true) = (detail, spare > 0) {
        let lines = wrap_in(&detail.text(), width, spare);
        let role = detail.runs.first().map_or(Role::Muted, |(role, _)| *role);
        for (i, line) in lines.iter().enumerate() {
            let row = u16::try_from(rows + i).unwrap_or(u16::MAX);
            canvas.line(
                Rect {
                    x: body.x + 2,
                    width: body.width.saturating_sub(2),
                    ..body
                },
                row,
                &Rich::of(role, line),
            );
        }
    }
    canvas.list(body, rows, selected, focused, 1, |i, _| {
        let (Some(environment), Some(told)) = (environments.get(i), told.get(i)) else {
            return vec![];
        };
        vec![row(model, environment, told, table)]
    });
}

/// Number of lines needed, with the frame.
pub(super) fn height(model: &Model, width: u16) -> usize {
    let environments = model
        .selected_app()
        .map_or(0, |a| a.spec.environments.len());
    let app = model.app.as_deref().unwrap_or_default();
    let detail = model
        .selected_environment()
        .and_then(|e| detail(model, app, e))
        .unwrap_or_default();
    let detail = wrap_in(&detail.text(), usize::from(width).saturating_sub(4), 4).len();
    let rows = if model.drilled {
        environments.max(model.place(Pane::Environments).0)
    } else {
        environments
    };
    rows + detail + 3
}

/// Width at which no image is cut.
pub(super) fn need(model: &Model) -> usize {
    let app = model.app.as_deref().unwrap_or_default();
    let told: Vec<Told> = model
        .environments()
        .iter()
        .map(|e| tell(model, app, e))
        .collect();
    let (name, image, lane) = Table::needs(&told);
    2 + name + 9 + lane + image + 4
}

/// Cell contents of an environment's row.
struct Told {
    name: String,
    lane: Option<String>,
    images: String,
    version: String,
}

fn tell(model: &Model, app: &str, environment: &Environment) -> Told {
    let status = model
        .selected_app()
        .and_then(|a| a.status.as_ref())
        .and_then(|s| s.environments.get(&environment.name));
    let images: Vec<&str> = match status.filter(|s| !s.images.is_empty()) {
        Some(status) => status.images.values().map(|i| words::tag(i)).collect(),
        None => model
            .world
            .workloads_of(app, &environment.name)
            .flat_map(|w| &w.images)
            .map(|i| words::tag(i))
            .collect(),
    };
    let gone = model
        .world
        .workloads_of(app, &environment.name)
        .next()
        .is_none();
    let state = status.map(|s| s.state).unwrap_or_default();
    Told {
        name: environment.name.clone(),
        lane: environment.lane.clone(),
        images: if gone && images.is_empty() {
            words::state(state).into()
        } else {
            images.join(",")
        },
        version: status.and_then(|s| s.version.clone()).unwrap_or_default(),
    }
}

/// Column widths; a column of width 0 is not drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Table {
    name: usize,
    lane: usize,
    image: usize,
    version: usize,
}

impl Table {
    /// Widths that name, image and lane need.
    fn needs(told: &[Told]) -> (usize, usize, usize) {
        let longest = |of: &dyn Fn(&Told) -> usize, least: usize| {
            told.iter().map(of).max().unwrap_or(0).max(least)
        };
        let name = longest(&|t| columns(&t.name), 4).min(20);
        let lane = longest(&|t| t.lane.as_deref().map_or(4, columns), 5).min(15);
        (name, longest(&|t| columns(&t.images), 5) + 1, lane + 1)
    }

    /// Fits the columns into a width. The image has priority, then the lane, then the version; a
    /// column that does not fit whole is left out.
    fn of(told: &[Told], width: usize) -> Self {
        let (name, image, lane) = Self::needs(told);
        let version = told.iter().map(|t| columns(&t.version)).max().unwrap_or(0);
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
            image: rest,
            version: 0,
        }
    }
}

fn row(model: &Model, environment: &Environment, told: &Told, table: Table) -> Rich {
    let glyphs = &model.options.glyphs;
    let app = model.app.as_deref().unwrap_or_default();
    let status = model
        .selected_app()
        .and_then(|a| a.status.as_ref())
        .and_then(|s| s.environments.get(&environment.name));
    let state = status.map(|s| s.state).unwrap_or_default();
    let (role, sign) = words::environment(glyphs, state, environment.lane.is_some());
    let old = cut_off(model, environment).is_some();
    let (role, sign) = if old {
        (Role::Warn, glyphs.warn)
    } else {
        (role, sign)
    };
    let mut line =
        Rich::of(role, sign)
            .add(Role::Text, " ")
            .col(Role::Text, &environment.name, table.name);
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
    line = line.right(role, text, 7).add(Role::Text, " ");
    if table.lane > 0 {
        let (role, word) = told
            .lane
            .as_deref()
            .map_or((Role::Muted, "base"), |tag| (Role::Lane, tag));
        line = line.col(role, word, table.lane - 1).add(Role::Text, " ");
    }
    let role = if workloads.is_empty() {
        Role::Muted
    } else {
        Role::Text
    };
    line = line
        .col(role, &told.images, table.image.saturating_sub(1))
        .add(Role::Text, " ");
    if table.version > 0 {
        line.col(Role::Muted, &told.version, table.version)
    } else {
        line
    }
}

/// The connection to the environment's own cluster, when it is lost and the data is stale.
fn cut_off<'a>(
    model: &'a Model,
    environment: &Environment,
) -> Option<(Timestamp, Trouble, &'a Clean)> {
    model
        .world
        .contexts
        .get(environment.context.as_ref()?)?
        .stale()
}

fn detail(model: &Model, app: &str, environment: &Environment) -> Option<Rich> {
    if let Some((since, trouble, why)) = cut_off(model, environment) {
        let context = environment.context.as_deref().unwrap_or_default();
        let words = format!(
            "{context}: {}; this is as of {} ago: {why}",
            trouble.told(),
            age(model.now, since)
        );
        return Some(Rich::of(Role::Warn, words));
    }
    if let Some(lock) = &environment.lock {
        return Some(Rich::of(
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
        return Some(Rich::of(Role::Bad, message));
    }
    let message = model
        .world
        .workloads_of(app, &environment.name)
        .find_map(|w| w.message.as_ref());
    if let Some(message) = message {
        return Some(Rich::of(Role::Warn, &**message));
    }
    let images = status.map(|s| {
        s.images
            .values()
            .map(|i| words::image(i))
            .collect::<Vec<_>>()
            .join(", ")
    })?;
    let place = match &environment.context {
        Some(context) => format!("{} of {context}", environment.namespace),
        None => environment.namespace.clone(),
    };
    Some(Rich::of(Role::Muted, format!("{images} in {place}")).filter_empty())
}

impl Rich {
    fn filter_empty(self) -> Self {
        if self.text().starts_with(" in ") {
            Self::new()
        } else {
            self
        }
    }
}

fn pods(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let pods = model.pods();
    let (rows, selected) = model.place(Pane::Environments);
    let app = words::short(model, model.app.as_deref().unwrap_or_default());
    let environment = model.selected_environment().map_or("", |e| e.name.as_str());
    let line = Rich::of(Role::Key, super::apps::number(model, Pane::Environments))
        .add(Role::Title, " Pods")
        .add(Role::Accent, format!(" {app} {environment}"));
    let line = match model.filter(Pane::Environments) {
        "" => line,
        filter => line.add(Role::Warn, format!(" /{filter}")),
    };
    let inner = canvas.pane(
        area,
        &line,
        &Rich::of(Role::Muted, rows.to_string()),
        focused,
    );
    let inner = super::gap::draw(canvas, model, inner, &["pods"]);
    if rows == 0 {
        let unseen = model.world.gap(&["pods"]).is_some();
        let words = if unseen { "" } else { " no pods here" };
        canvas.line(inner, 0, &Rich::of(Role::Muted, words));
        return;
    }
    let width = usize::from(inner.width).saturating_sub(2);
    let roomy = width > 70;
    let tail = 3 + 6 + 14 + if roomy { 10 + 16 } else { 0 };
    let name = pods
        .iter()
        .map(|p| p.key.name.len())
        .max()
        .unwrap_or(10)
        .min(width.saturating_sub(tail))
        .max(10);
    let mut body = inner;
    if super::has_head(inner, rows) {
        let head = Rich::of(Role::Muted, "   ")
            .col(Role::Muted, "POD", name + 1)
            .right(Role::Muted, "AGE", 5);
        let head = head.add(Role::Muted, " ").col(Role::Muted, "IP", 14);
        let head = if roomy {
            head.col(Role::Muted, "TAG", 8)
                .right(Role::Muted, "RESTARTS", 9)
                .add(Role::Muted, " STATE")
        } else {
            head
        };
        canvas.line(inner, 0, &head);
        body = Rect {
            y: inner.y + 1,
            height: inner.height - 1,
            ..inner
        };
    }
    canvas.list(body, rows, selected, focused, 1, |i, _| {
        let Some(pod) = pods.get(i) else {
            return vec![];
        };
        vec![pod_row(model, pod, name, roomy)]
    });
}

fn pod_row(model: &Model, pod: &Pod, name: usize, roomy: bool) -> Rich {
    let glyphs = &model.options.glyphs;
    let (role, sign) = match (pod.terminating, pod.ready) {
        (true, _) => (Role::Muted, glyphs.gone),
        (_, true) if pod.tag.is_some() => (Role::Lane, glyphs.full),
        (_, true) => (Role::Ok, glyphs.full),
        _ if pod.restarts > 0 => (Role::Bad, glyphs.bad),
        _ => (Role::Busy, glyphs.half),
    };
    // Pod names differ at the end.
    let shown = crate::domain::text::middle_ellipsis(&pod.key.name, name);
    let mut line = Rich::of(role, sign)
        .add(Role::Text, " ")
        .col(Role::Text, shown.as_ref(), name)
        .add(Role::Text, " ");
    let born = pod.born.map(|at| age(model.now, at)).unwrap_or_default();
    line = line.right(Role::Muted, born, 5).add(Role::Text, " ");
    line = line.col(Role::Text, pod.address.as_deref().unwrap_or("-"), 14);
    if roomy {
        line = line.col(Role::Lane, pod.tag.as_deref().unwrap_or("-"), 8);
        let role = if pod.restarts > 0 {
            Role::Warn
        } else {
            Role::Muted
        };
        line = line
            .right(role, pod.restarts.to_string(), 9)
            .add(Role::Text, " ");
    }
    if !pod.ready || roomy {
        let role = if pod.ready { Role::Text } else { Role::Warn };
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
        line = line.add(role, format!("{}{again}{why}", pod.state));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_whole_is_there_at_all() {
        let told = |name: &str, images: &str, version: &str| Told {
            name: name.into(),
            lane: None,
            images: images.into(),
            version: version.into(),
        };
        let all = [
            told("prod", "1.4.2", "v1"),
            told("gray", "not deployed yet", ""),
        ];
        let of = |width| Table::of(&all, width);
        assert_eq!(
            of(30),
            Table {
                name: 4,
                lane: 0,
                image: 15,
                version: 0
            }
        );
        assert_eq!(
            of(32),
            Table {
                name: 4,
                lane: 0,
                image: 17,
                version: 0
            }
        );
        assert_eq!(
            of(38),
            Table {
                name: 4,
                lane: 6,
                image: 17,
                version: 0
            }
        );
        assert_eq!(
            of(50),
            Table {
                name: 4,
                lane: 6,
                image: 18,
                version: 2
            }
        );
    }
}
