//! Draws text overlays: logs, YAML, events, a chain, probe results, help, notices.

use ratatui::layout::Rect;

use super::{TextRows, chain, comparison, footer, labels, request, task, values};
use crate::{
    api::Served,
    domain::{
        chain::ChainStep,
        text::{format_coarse_age, format_count},
        world::{Event, ObjectKey},
    },
    ui::{
        effect::{Fault, ProbeOutcome},
        keymap::{Danger, KeyContext, format_key},
        model::{Model, ProbeSlot, Source, Text},
        own_commands::OwnCommand,
        rights::missing_right,
        theme::Role,
        update::explain_unavailable,
        widget::{Canvas, PointerTarget, RichText, fits_frame, longest_fitting, wrap_words},
    },
};

pub(super) fn draw_overlay(canvas: &mut Canvas<'_>, model: &Model, area: Rect, text: &Text) {
    let rows = TextRows::new(model, text);
    let height = usize::from(area.height).saturating_sub(2);
    let first = text.first_row(rows.len(), height);
    let last = (first + height).min(rows.len());
    let title = overlay_title(model, text);
    let position = RichText::styled(
        Role::Muted,
        format!("{}-{last} of {}", (first + 1).min(rows.len()), rows.len()),
    );
    // What does not fit beside the title is left out, from the least important on.
    let mut facts = text_facts(text);
    let joined = |facts: &[RichText]| {
        let rest = facts.iter().cloned().fold(RichText::new(), RichText::join);
        rest.join(position.clone())
    };
    while !facts.is_empty() && !fits_frame(&title, &joined(&facts), area.width) {
        facts.pop();
    }
    let role = if footer::shows_text(model) {
        Role::Focus
    } else {
        Role::Border
    };
    canvas.clear_area(area);
    canvas.add_target(area, PointerTarget::Text);
    let inner = canvas.draw_modal(area, &title, &joined(&facts), &RichText::new(), role);
    let body = Rect {
        x: inner.x + 1,
        width: inner.width.saturating_sub(2),
        ..inner
    };
    let found = text.found.and_then(|line| line.checked_sub(text.dropped));
    let visible = rows.visible_rows(first, height, &text.search, text.left);
    for (i, (line, row)) in visible.iter().enumerate() {
        let y = u16::try_from(i).unwrap_or(u16::MAX);
        canvas.draw_line(body, y, row);
        if found == Some(*line) {
            let sign = RichText::styled(Role::Accent, model.options.glyphs.cursor);
            canvas.draw_line(
                Rect {
                    x: inner.x,
                    width: 1,
                    ..inner
                },
                y,
                &sign,
            );
        }
    }
    if rows.len() == 0 {
        let words = match (text.loading, text.filter.is_empty()) {
            (true, _) => "waiting for the first line",
            (_, false) => "no line passes the filter",
            _ => "there is nothing here",
        };
        canvas.draw_line(body, 0, &RichText::styled(Role::Muted, words));
    }
}

fn overlay_title(model: &Model, text: &Text) -> RichText {
    let mut title = RichText::new();
    if text.loading {
        title = title.add(
            Role::Busy,
            format!("{} ", model.options.glyphs.spinner_frame(model.beat)),
        );
    }
    title = title.add(Role::Title, &text.title);
    if !text.filter.is_empty() {
        title = title.add(Role::Warn, format!(" &{}", text.filter));
    }
    if !text.search.is_empty() {
        title = title.add(Role::Accent, format!(" /{}", text.search));
    }
    title
}

/// What else is to be known of a text, the most important first.
fn text_facts(text: &Text) -> Vec<RichText> {
    let mut facts = vec![];
    let mut add = |role, words: String| facts.push(RichText::styled(role, format!("{words}  ")));
    if text.follow {
        add(Role::Ok, "following".into());
    }
    if text.log.left_out > 0 {
        let words = format!("{} more pods not read", text.log.left_out);
        add(Role::Warn, words);
    }
    if text.log.without_run_before > 0 {
        let pods = format_count(text.log.without_run_before, "pod");
        add(Role::Muted, format!("{pods} never restarted"));
    }
    if text.dropped > 0 {
        add(Role::Warn, format!("{} older lines dropped", text.dropped));
    }
    if !text.wrap {
        add(Role::Muted, "cut".into());
    }
    if let Source::Logs(target) = &text.source {
        add(Role::Muted, target.range.to_string());
        if !target.selection.is_one_pod() {
            add(Role::Muted, format_count(text.log.pod_count(), "pod"));
        }
    }
    facts
}

/// The lines of a text other than a log, before filtering.
pub(super) fn compose_lines(model: &Model, text: &Text) -> Vec<RichText> {
    match &text.source {
        Source::Help => help_lines(model),
        Source::Notices => notice_lines(model),
        Source::Probe(run) => probe_lines(model, &run.slots),
        Source::ProbeTraces(traces) => request::trace_lines(model, traces),
        Source::Task(release, task) => task_lines(model, release, task),
        Source::Template(app, template) => values::template_lines(model, app, template),
        Source::Variables(app, environment) => values::variable_lines(model, app, environment),
        Source::Chain(chain) => {
            // More hops of the chain may have arrived since.
            let now = model.facts.chains.iter().find(|c| c.id == chain.id);
            request::request_lines(model, now.unwrap_or(chain))
        }
        Source::Events(own) => event_lines(model, own),
        Source::Comparison(shown) => comparison::comparison_lines(model, shown, text),
        Source::Logs(_) => vec![],
        Source::Yaml(_) | Source::Described(_) | Source::Changes | Source::Output => {
            text.lines.iter().cloned().collect()
        }
    }
}

/// The lines that pass the filter, as they are shown but not wrapped.
pub(crate) fn plain_text(model: &Model, text: &Text) -> String {
    let lines = TextRows::new(model, text).all_lines();
    lines
        .iter()
        .map(|line| line.plain_text().trim_end().to_owned() + "\n")
        .collect()
}

fn task_lines(model: &Model, release: &str, name: &str) -> Vec<RichText> {
    let found = model.world.releases.get(release);
    let status = found.and_then(|r| r.status.as_ref());
    match found.zip(status.and_then(|s| s.tasks.iter().find(|t| t.name == name))) {
        Some((release, found)) => task::task_detail(model, release, found),
        None => vec![RichText::styled(
            Role::Warn,
            format!("release {release} has no task {name} any more"),
        )],
    }
}

fn event_lines(model: &Model, own: &[ObjectKey]) -> Vec<RichText> {
    let about = |e: &Event| {
        own.iter()
            .any(|k| k.namespace == e.object.namespace && e.object.name.starts_with(&k.name))
    };
    let line = |event: &Event| {
        let role = if event.warning {
            Role::Warn
        } else {
            Role::Muted
        };
        let time = event
            .time
            .map(|t| format_coarse_age(model.now, t))
            .unwrap_or_default();
        let count = if event.count > 1 {
            format!(" (×{})", event.count)
        } else {
            String::new()
        };
        RichText::new()
            .add_right_column(Role::Muted, time, 6)
            .add(Role::Text, "  ")
            .add_column(role, &*event.reason, 20)
            .add(Role::Accent, format!(" {} ", event.object.name))
            .add(Role::Text, format!("{}{count}", event.message))
    };
    let lines: Vec<RichText> = model
        .world
        .events
        .iter()
        .rev()
        .filter(|e| about(e))
        .map(line)
        .collect();
    if lines.is_empty() {
        vec![RichText::styled(Role::Muted, "no events are known")]
    } else {
        lines
    }
}

/// Key bindings of the contexts below first, then all others.
fn help_lines(model: &Model) -> Vec<RichText> {
    let mut beneath = model.contexts_below_help();
    beneath.dedup();
    let others = KeyContext::ALL.into_iter().filter(|c| !beneath.contains(c));
    let mut lines = vec![];
    for context in beneath.iter().copied().chain(others) {
        let here = beneath.contains(&context);
        lines.push(RichText::styled(
            if here { Role::Accent } else { Role::Muted },
            context.title(),
        ));
        for binding in model
            .options
            .keymap
            .bindings()
            .iter()
            .filter(|b| b.context == context)
        {
            let keys: Vec<String> = binding.keys.iter().map(|k| format_key(*k)).collect();
            let off = model.read_only && binding.action.danger() != Danger::Safe;
            let missing = missing_right(model, binding.action);
            let role = if off || missing.is_some() {
                Role::Muted
            } else {
                Role::Text
            };
            let mut line = RichText::styled(Role::Text, "  ")
                .add_column(Role::Key, keys.join(" "), 18)
                .hang_here()
                .add(role, binding.action.sentence());
            if binding.action.danger() == Danger::Dangerous {
                line = line.add(Role::Warn, "  asks first");
            }
            lines.push(match missing {
                _ if off => line.add(Role::Muted, "  (read-only)"),
                Some(why) => line.add(Role::Muted, format!("  ({why})")),
                None => line,
            });
        }
        lines.extend(own_command_lines(model, context, here));
        lines.push(RichText::new());
    }
    let glyphs = &model.options.glyphs;
    lines.push(RichText::styled(Role::Muted, "Signs"));
    for (role, sign, words) in [
        (
            Role::Lane,
            glyphs.full,
            "served by a gray version; an enabled lane",
        ),
        (
            Role::Text,
            glyphs.empty,
            "served by the baseline; a disabled lane",
        ),
        (Role::Ok, glyphs.full, "running"),
        (Role::Busy, glyphs.half, "under way"),
        (Role::Warn, glyphs.wait, "a person must act"),
        (Role::Warn, glyphs.held, "paused"),
        (Role::Ok, glyphs.ok, "done, right"),
        (Role::Bad, glyphs.bad, "failed, leaking"),
        (Role::Muted, glyphs.gone, "cleaned, skipped"),
        (Role::Warn, glyphs.lock, "locked"),
        (Role::Lane, glyphs.new, "a pod of the new version"),
        (
            Role::Busy,
            glyphs.coming,
            "a pod of the new version, coming up",
        ),
        (Role::Muted, glyphs.old, "a pod of the old version"),
    ] {
        lines.push(
            RichText::styled(Role::Text, "  ")
                .add_column(role, sign, 18)
                .hang_here()
                .add(Role::Text, words),
        );
    }
    lines
}

/// The user's own commands of a context; where it is active, with why one cannot be run.
fn own_command_lines(model: &Model, context: KeyContext, here: bool) -> Vec<RichText> {
    let all = model.options.own_commands.list().iter();
    let line = |own: &OwnCommand| {
        let why = explain_unavailable(model, own).filter(|_| here || !own.safe && model.read_only);
        let role = if why.is_some() {
            Role::Muted
        } else {
            Role::Text
        };
        let mut line = RichText::styled(Role::Text, "  ")
            .add_column(Role::Key, format_key(own.key), 18)
            .hang_here()
            .add(role, &*own.title);
        if own.asks {
            line = line.add(Role::Warn, "  asks first");
        }
        match why {
            Some(why) => line.add(Role::Muted, format!("  ({why})")),
            None => line,
        }
    };
    all.filter(|own| own.places.contains(&context))
        .map(line)
        .collect()
}

impl Model {
    /// The key contexts below the help text.
    fn contexts_below_help(&self) -> Vec<KeyContext> {
        use crate::ui::model::Overlay;
        match self.overlays.first() {
            Some(Overlay::Text(_)) if self.overlays.len() > 1 => {
                return vec![KeyContext::Text, KeyContext::Move];
            }
            Some(_) if self.overlays.len() > 1 => {
                return vec![KeyContext::Form, KeyContext::Confirm];
            }
            _ => {}
        }
        let own = self.pane.behaviour().contexts();
        [own, &[KeyContext::Global, KeyContext::Move]].concat()
    }
}

fn notice_lines(model: &Model) -> Vec<RichText> {
    let width = usize::from(model.size.0).saturating_sub(16).max(20);
    let mut lines = vec![];
    for notice in &model.notices {
        let role = footer::level_role(notice.level);
        for (i, part) in wrap_words(&notice.text, width).into_iter().enumerate() {
            let time = if i == 0 {
                labels::format_time(notice.time)
            } else {
                String::new()
            };
            lines.push(
                RichText::new()
                    .add_column(Role::Muted, time, 10)
                    .add(role, part),
            );
        }
        for detail in &notice.detail {
            lines.extend(
                wrap_words(detail, width)
                    .into_iter()
                    .map(|d| RichText::styled(Role::Muted, format!("          {d}"))),
            );
        }
    }
    if lines.is_empty() {
        lines.push(RichText::styled(Role::Muted, "nothing was reported"));
    }
    lines
}

type ProbeSlots = [(String, ProbeSlot)];

/// Probe results side by side: request, hops, verdict.
fn probe_lines(model: &Model, results: &ProbeSlots) -> Vec<RichText> {
    let glyphs = &model.options.glyphs;
    let width = usize::from(model.size.0).saturating_sub(5);
    let most = results
        .iter()
        .map(|(_, r)| r.as_ref().and_then(|r| r.as_ref().ok()).map_or(1, Vec::len))
        .max();
    if results.len() == 1 && most.unwrap_or(1) > 1 {
        return probe_list(model, results);
    }
    let label = 10;
    let column = width.saturating_sub(label) / results.len().max(1);
    let cell = column.saturating_sub(2);
    let each: Vec<Option<&Result<Vec<ProbeOutcome>, Fault>>> =
        results.iter().map(|(_, r)| r.as_ref()).collect();
    let probes: Vec<Option<&ProbeOutcome>> = each
        .iter()
        .map(|r| r.and_then(|r| r.as_ref().ok()).and_then(|p| p.first()))
        .collect();
    let mut lines = vec![];
    let mut head = RichText::new().add_column(Role::Muted, "", label);
    for (name, _) in results {
        head = head.add_column(Role::Accent, name, column);
    }
    lines.push(head);
    let row = |name: &str, of: &dyn Fn(&ProbeOutcome) -> (Role, String)| {
        let mut line = RichText::new().add_column(Role::Muted, name, label);
        for (i, probe) in probes.iter().enumerate() {
            let (role, text) = match (probe, each.get(i).copied().flatten()) {
                (Some(probe), _) => of(probe),
                (None, None) if name == "request" => (
                    Role::Busy,
                    format!("{} on its way", glyphs.spinner_frame(model.beat)),
                ),
                (None, Some(Err(_))) if name == "verdict" => {
                    (Role::Bad, format!("{} no answer", glyphs.bad))
                }
                _ => (Role::Muted, String::new()),
            };
            line = line.add_column(role, text, cell).add(Role::Text, "  ");
        }
        line
    };
    lines.push(row("request", &|p| (Role::Text, p.path.clone())));
    lines.push(row("status", &|p| match p.status {
        Some(s) => (
            if s < 400 { Role::Ok } else { Role::Bad },
            format!("{s} in {:.1} ms", p.latency_ms),
        ),
        None => (Role::Bad, "no answer".into()),
    }));
    lines.push(row("lane", &|p| match &p.lane {
        Some(lane) => (Role::Lane, lane.clone()),
        None => (Role::Muted, "none".into()),
    }));
    let mut line = RichText::new().add_column(Role::Muted, "chain", label);
    for (i, probe) in probes.iter().enumerate() {
        let chain = chain::chain_line(
            model,
            probe.iter().flat_map(|p| &p.chains).flat_map(|c| &c.steps),
        );
        line = line
            .join(chain.cut_to_width(cell))
            .pad_to(label + (i + 1) * (cell + 2));
    }
    lines.extend([line, RichText::new()]);
    let hops = probes
        .iter()
        .flatten()
        .map(|p| p.chains.iter().map(|c| c.steps.len()).sum::<usize>())
        .max()
        .unwrap_or(0);
    for i in 0..hops {
        let mut line =
            RichText::new().add_column(Role::Muted, if i == 0 { "hops" } else { "" }, label);
        let mut under: Vec<Vec<String>> = vec![];
        for probe in &probes {
            let step = probe.and_then(|p| p.chains.iter().flat_map(|c| &c.steps).nth(i));
            let (role, text) = step.map_or((Role::Muted, String::new()), |step| {
                probe_hop(model, step, i == 0, cell)
            });
            line = line.add_column(role, text, cell).add(Role::Text, "  ");
            let more = step
                .and_then(|s| s.cause.as_deref().or(s.pod.as_deref()))
                .unwrap_or_default();
            under.push(wrap_words(more, cell.saturating_sub(3)));
        }
        lines.push(line);
        for n in 0..under.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = RichText::new().pad_to(label);
            for each in &under {
                let part = each.get(n).map(String::as_str).unwrap_or_default();
                line = line
                    .add_column(Role::Muted, format!("   {part}"), cell)
                    .add(Role::Text, "  ");
            }
            lines.push(line);
        }
    }
    lines.push(RichText::new());
    lines.push(row("verdict", &|p| probe_verdict(model, p)));
    for (i, (name, _)) in results.iter().enumerate() {
        let problems = probes
            .get(i)
            .copied()
            .flatten()
            .map(|p| p.problems.as_slice())
            .unwrap_or_default();
        lines.extend(problems.iter().map(|p| {
            RichText::new()
                .add_column(Role::Muted, name, label)
                .add(Role::Bad, p)
        }));
        if let Some(Err(fault)) = each.get(i).copied().flatten() {
            lines.push(
                RichText::new()
                    .add_column(Role::Muted, name, label)
                    .add(Role::Bad, &*fault.text),
            );
            lines.extend(
                fault
                    .detail
                    .iter()
                    .map(|d| RichText::new().pad_to(label).add(Role::Muted, &**d)),
            );
        }
    }
    for (i, (name, _)) in results.iter().enumerate() {
        if let Some(probe) = probes.get(i).copied().flatten() {
            lines.push(RichText::new());
            lines.push(RichText::styled(Role::Muted, format!("body, {name}")));
            lines.extend(
                probe
                    .body
                    .lines()
                    .take(20)
                    .flat_map(|l| wrap_words(l, width))
                    .map(|l| RichText::styled(Role::Text, l)),
            );
        }
    }
    lines
}

/// One hop of a probe; when it does not fit, the address is dropped before the verdict.
fn probe_hop(model: &Model, step: &ChainStep, first: bool, width: usize) -> (Role, String) {
    let (role, sign) = labels::served_sign(&model.options.glyphs, step.served);
    let name = labels::short_app_name(model, &step.app);
    let branch = if first {
        String::new()
    } else {
        format!("{} ", model.options.glyphs.branch)
    };
    let side = step.served.map_or("nobody", Served::as_str);
    let bad = step.verdict.is_bad();
    let word = if bad {
        format!("  {}", step.verdict.as_str().to_uppercase())
    } else {
        String::new()
    };
    let role = if bad { Role::Bad } else { role };
    let head = format!("{branch}{sign} {name} {side}");
    let at = step
        .address
        .as_deref()
        .map(|at| format!(" {at}"))
        .unwrap_or_default();
    (
        role,
        longest_fitting(
            &[format!("{head}{at}{word}"), format!("{head}{word}")],
            width,
        )
        .into_owned(),
    )
}

fn probe_verdict(model: &Model, probe: &ProbeOutcome) -> (Role, String) {
    let glyphs = &model.options.glyphs;
    if probe.passed {
        (Role::Ok, format!("{} {}", glyphs.ok, probe.verdict))
    } else {
        (
            Role::Bad,
            format!("{} {}", glyphs.bad, probe.verdict.to_uppercase()),
        )
    }
}

/// Results of a repeated request, one line each.
fn probe_list(model: &Model, results: &ProbeSlots) -> Vec<RichText> {
    let mut lines = vec![];
    for probe in results
        .iter()
        .filter_map(|(_, r)| r.as_ref()?.as_ref().ok())
        .flatten()
    {
        let (role, word) = probe_verdict(model, probe);
        let mut line = RichText::new().add_column(role, word, 14);
        let status = probe.status.map_or_else(|| "-".into(), |s| s.to_string());
        line = line
            .add_right_column(Role::Text, status, 4)
            .add_right_column(Role::Muted, format!("{:.1} ms", probe.latency_ms), 11);
        line = line.add(Role::Text, "  ");
        line = line.join(chain::chain_line(
            model,
            probe.chains.iter().flat_map(|c| &c.steps),
        ));
        if let Some(problem) = probe.problems.first() {
            line = line.add(Role::Bad, format!("  {problem}"));
        }
        lines.push(line);
    }
    lines
}
