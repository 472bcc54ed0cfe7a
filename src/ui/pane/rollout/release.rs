//! Draws one release by task and batch, old and new version, and history. Who must act, and how, is
//! in `call`.

use ratatui::layout::Rect;

use super::{call::call_to_action, pair};
use crate::{
    api::{EnvironmentStatus, Release, ReleaseStatus, TaskKind, TaskPhase, TaskStatus},
    ui::{
        facts::release_state,
        glyph::Glyphs,
        keymap::Action,
        model::Model,
        pane::Pane,
        theme::Role,
        view::{columns::ListRoom, first_steps, gap::draw_gap, labels, task, title::pane_title},
        widget::{Canvas, PointerTarget, RichText, join_by_rank},
    },
};

/// Resources that this pane depends on.
const RESOURCES: &[&str] = &["releases.graylane.dev", "approvals.graylane.dev"];

/// History lines included in the needed height.
const HISTORY_LINES: usize = 3;

pub(super) fn draw_pane(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let Some((name, release)) = model.selected_release() else {
        draw_no_release(canvas, model, area, focused);
        return;
    };
    let now = release_state(release);
    let (role, sign) = labels::release_sign(&model.options.glyphs, model.beat, now);
    let facts = RichText::styled(role, format!("{sign} {}", now.state_label()));
    let head = release_title(model, name, release, &facts, area.width);
    let inner = canvas.draw_pane(area, &head, &facts, focused);
    let inner = draw_gap(canvas, model, inner, RESOURCES);
    if inner.height == 0 {
        return;
    }
    let status = release.status.clone().unwrap_or_default();
    let width = usize::from(inner.width).saturating_sub(2);
    let mut top = describe_release(
        model,
        release,
        &status,
        usize::from(inner.height) > 14,
        width,
    );
    let mut call = call_to_action(model, release, now, width);
    let pair = pair::pair_lines(model, release, width);
    let room = ListRoom::of_list(model, Pane::Rollout, width, |_| full_width(model));
    let roomy = usize::from(inner.height) > 14;
    let (list, chosen) = task_lines(model, release, &status, room, roomy);

    let body = Rect {
        x: inner.x,
        width: inner.width,
        ..inner
    };
    let text = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(1),
        ..inner
    };
    let height = usize::from(inner.height);
    // The version comparison comes above who must act; with little room only its verdict stays.
    let few = usize::from(inner.height) < call.len() + pair.len() + 6;
    let told = pair.len().min(2);
    call.splice(0..0, pair.into_iter().skip(if few { told } else { 0 }));
    // Who must act is never cut; the description of the release is dropped first.
    let fixed = call.len() + list.len().min(height);
    if top.len() + fixed > height {
        top.truncate(height.saturating_sub(fixed).max(usize::from(height > 8)));
    }
    let mut row = 0u16;
    for line in &top {
        canvas.draw_line(text, row, line);
        row += 1;
    }
    let room = height.saturating_sub(usize::from(row) + call.len());
    let first = crate::ui::widget::first_row(chosen, list.len(), room);
    for (i, (line, task)) in list.iter().enumerate().skip(first).take(room) {
        canvas.draw_line(text, row, line);
        if let Some(task) = task {
            canvas.add_target(row_of(body, row), PointerTarget::Row(*task));
        }
        if Some(i) == chosen && focused {
            mark_row(canvas, model, body, row);
        }
        row += 1;
    }
    for line in &call {
        canvas.draw_line(text, row, line);
        row += 1;
    }
    let left = height.saturating_sub(usize::from(row));
    if left > 1 {
        draw_history(
            canvas,
            model,
            &status,
            Rect {
                y: text.y + row,
                height: text.height - row,
                ..text
            },
        );
    }
}

fn draw_no_release(canvas: &mut Canvas<'_>, model: &Model, area: Rect, focused: bool) {
    let inner = canvas.draw_pane(
        area,
        &pane_title(model, Pane::Rollout),
        &RichText::new(),
        focused,
    );
    let inner = draw_gap(canvas, model, inner, RESOURCES);
    first_steps::draw_steps(canvas, inner, &first_steps::without_releases(model));
}

/// The head of the pane. A long release name must not push out its state.
fn release_title(
    model: &Model,
    name: &str,
    release: &Release,
    facts: &RichText,
    width: u16,
) -> RichText {
    let newest = model.options.keymap.key_anywhere(Action::Back);
    let head = |name: &str| {
        let head = pane_title(model, Pane::Rollout).add(Role::Accent, format!(" {name}"));
        if model.is_release_pinned() {
            head.add(Role::Warn, format!(" older, {newest} leaves it"))
        } else {
            head
        }
    };
    let whole = head(name);
    if crate::ui::widget::fits_frame(&whole, facts, width) {
        whole
    } else {
        head(&short_release_name(model, name, &release.spec.app))
    }
}

/// Shows that the task in a row is selected.
fn mark_row(canvas: &mut Canvas<'_>, model: &Model, body: Rect, row: u16) {
    canvas.paint_area(row_of(body, row), Role::Selected);
    canvas.draw_line(
        Rect { width: 1, ..body },
        row,
        &RichText::styled(Role::Focus, model.options.glyphs.cursor),
    );
}

fn row_of(body: Rect, row: u16) -> Rect {
    Rect {
        y: body.y + row,
        height: 1,
        ..body
    }
}

/// Release name with the App's short name: `A production-7`.
fn short_release_name(model: &Model, name: &str, app: &str) -> String {
    let rest = name
        .strip_prefix(app)
        .and_then(|rest| rest.strip_prefix('-'));
    rest.map_or_else(
        || name.to_owned(),
        |rest| format!("{} {rest}", labels::short_app_name(model, app)),
    )
}

/// Number of lines needed, with the frame.
pub(super) fn needed_height(model: &Model, width: u16) -> usize {
    let Some((_, release)) = model.selected_release() else {
        return 4;
    };
    let status = release.status.clone().unwrap_or_default();
    let width = usize::from(width).saturating_sub(4);
    let room = ListRoom::of_list(model, Pane::Rollout, width, |_| full_width(model));
    let lines = describe_release(model, release, &status, true, width).len()
        + task_lines(model, release, &status, room, true).0.len();
    let history = if status.history.is_empty() {
        0
    } else {
        status.history.len().min(HISTORY_LINES) + 1
    };
    let call = call_to_action(model, release, release_state(release), width).len()
        + pair::pair_lines(model, release, width).len();
    lines + call + history + 2
}

/// Describes the release: requester, reason, images and versions.
fn describe_release(
    model: &Model,
    release: &Release,
    status: &ReleaseStatus,
    roomy: bool,
    width: usize,
) -> Vec<RichText> {
    let glyphs = &model.options.glyphs;
    let spec = &release.spec;
    let stage = if spec.stage.is_empty() {
        "teardown"
    } else {
        &spec.stage
    };
    let mut who = RichText::styled(Role::Title, stage)
        .add(Role::Muted, " by ")
        .add(Role::Text, &spec.requester);
    let spent = labels::format_elapsed(
        model,
        status.started_at.as_ref(),
        status.finished_at.as_ref(),
        release_state(release).is_busy(),
    );
    if !spent.is_empty() {
        who = who.add(Role::Muted, format!(" {} {spent}", glyphs.dot));
    }
    if let Some(window) = &spec.window {
        let part = RichText::styled(Role::Muted, format!(" {} window ", glyphs.dot))
            .add(Role::Text, labels::window_name(window));
        if who.width() + part.width() <= width {
            who = who.join(part);
        }
    }
    if let Some(comment) = spec.comment.as_ref().filter(|_| who.width() + 15 <= width) {
        who = who
            .add(Role::Muted, format!(" {} ", glyphs.dot))
            .add(Role::Text, comment);
    }
    let mut lines = vec![who];
    let deploy = status
        .tasks
        .iter()
        .rfind(|t| t.kind == TaskKind::Deploy)
        .filter(|t| !t.new_images.is_empty());
    if let Some(task) = deploy {
        lines.extend(changed_images(model, task, width));
    } else {
        lines.extend(built_images(model, release, status, width));
    }
    if roomy {
        lines.push(RichText::new());
    }
    lines
}

/// What a task replaces by what.
fn changed_images(model: &Model, task: &TaskStatus, width: usize) -> Vec<RichText> {
    let (glyphs, mut lines) = (&model.options.glyphs, vec![]);
    for (image, new) in &task.new_images {
        let old = task.old_images.get(image).map(String::as_str);
        let line = image_change(glyphs, image, old.unwrap_or("nothing"), new, width);
        let line = match (&task.old_version, &task.new_version) {
            (Some(old), Some(new)) => {
                let versions =
                    RichText::styled(Role::Muted, format!("   {old} {} {new}", glyphs.arrow));
                // Versions are shown whole or not at all.
                join_by_rank(vec![(0, line), (1, versions)], width)
            }
            _ => line,
        };
        lines.push(line);
    }
    lines
}

/// The images of a release that deploys nothing yet.
fn built_images(
    model: &Model,
    release: &Release,
    status: &ReleaseStatus,
    width: usize,
) -> Vec<RichText> {
    let (glyphs, mut lines) = (&model.options.glyphs, vec![]);
    let goal = target_environment(model, release);
    for (image, reference) in &status.images {
        let old = goal.and_then(|e| e.images.get(image));
        lines.push(
            match old.filter(|old| labels::image_name(old) != labels::image_name(reference)) {
                Some(old) => image_change(glyphs, image, old, reference, width),
                None => RichText::styled(Role::Muted, format!("{image} "))
                    .add(Role::Lane, labels::image_name(reference)),
            },
        );
    }
    lines
}

/// Old and new image; on narrow screens only the tags, which are what differs.
fn image_change(glyphs: &Glyphs, image: &str, old: &str, new: &str, width: usize) -> RichText {
    let line = |name: &dyn Fn(&str) -> String| {
        let line = RichText::styled(Role::Muted, format!("{image} ")).add(Role::Text, name(old));
        line.add(Role::Muted, format!(" {} ", glyphs.arrow))
            .add(Role::Lane, name(new))
    };
    let whole = line(&|image| labels::image_name(image).to_owned());
    if whole.width() <= width {
        whole
    } else {
        line(&|image| labels::image_tag(image).to_owned())
    }
}

/// What the environment of the last deploy task runs now.
fn target_environment<'a>(model: &'a Model, release: &Release) -> Option<&'a EnvironmentStatus> {
    let app = model.world.apps.get(&release.spec.app)?;
    let tasks = &app.spec.stage(&release.spec.stage)?.tasks;
    let last = tasks.iter().rev().find_map(|t| t.deploy.as_ref())?;
    app.status.as_ref()?.environments.get(&last.environment)
}

/// Task lines, with batches below a running or selected deploy task; also the index of the selected
/// line.
/// The tasks and their batches, each line with the index of the task that it belongs to, and the
/// line of the selected one.
fn task_lines(
    model: &Model,
    release: &Release,
    status: &ReleaseStatus,
    room: ListRoom,
    roomy: bool,
) -> (Vec<(RichText, Option<usize>)>, Option<usize>) {
    let mut lines = vec![];
    let mut chosen = None;
    let selected = model.selected_task().map(|t| t.name.clone());
    let columns = task::column_widths(model, &status.tasks);
    for (i, found) in status.tasks.iter().enumerate() {
        let is_selected = Some(&found.name) == selected.as_ref();
        if is_selected {
            chosen = Some(lines.len());
        }
        let row = task::task_row(model, release, found, columns, room.width);
        lines.push((room.show_row(task::pinned_width(columns), row), Some(i)));
        let moving = !matches!(
            found.phase,
            TaskPhase::Pending | TaskPhase::Succeeded | TaskPhase::Skipped
        );
        let wanted = found.kind == TaskKind::Deploy && !found.batches.is_empty();
        if wanted
            && (moving && (found.batches.len() > 1 || roomy) || is_selected && model.task.is_some())
        {
            lines.extend(
                task::batch_lines(model, release, found, room.width)
                    .into_iter()
                    .map(|line| (room.show_row(task::BATCH_WIDTH, line), Some(i))),
            );
        }
    }
    if status.tasks.is_empty() {
        lines.push((
            RichText::styled(Role::Muted, "the engine has not seen it yet"),
            None,
        ));
    }
    (lines, chosen)
}

/// Width in which no task is cut.
pub(super) fn full_width(model: &Model) -> usize {
    let Some((_, release)) = model.selected_release() else {
        return 0;
    };
    let tasks = release.status.as_ref().map(|s| s.tasks.as_slice());
    let tasks = tasks.unwrap_or_default();
    task::full_width(model, release, tasks, task::column_widths(model, tasks))
}

fn draw_history(canvas: &mut Canvas<'_>, model: &Model, status: &ReleaseStatus, area: Rect) {
    let glyphs = &model.options.glyphs;
    let width = usize::from(area.width).saturating_sub(1);
    canvas.draw_line(
        area,
        0,
        &RichText::styled(Role::Border, glyphs.rule.repeat(width)),
    );
    let room = usize::from(area.height) - 1;
    for (i, entry) in status.history.iter().rev().take(room).enumerate() {
        let time = entry
            .at
            .timestamp()
            .map(labels::format_time)
            .unwrap_or_default();
        let mut line =
            RichText::styled(Role::Muted, format!("{time} ")).add(Role::Accent, &entry.by);
        line = line.add(Role::Text, format!(" {}", entry.action));
        if let Some(task) = entry
            .task
            .as_ref()
            .filter(|t| !entry.action.contains(t.as_str()))
        {
            line = line.add(Role::Muted, format!(" {} {task}", glyphs.dot));
        }
        if let Some(message) = &entry.message {
            line = line.add(Role::Muted, format!(" {message}"));
        }
        canvas.draw_line(area, u16::try_from(i + 1).unwrap_or(u16::MAX), &line);
    }
}
