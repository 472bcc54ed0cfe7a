//! The two header lines: what is being released, how far, who must act, whether tagged traffic is
//! correct, failures, and whether the data is current.

use ratatui::layout::Rect;

use super::{labels, title::pane_key};
use crate::{
    api::{ClusterName, Release},
    domain::{
        text::{format_age, format_count, truncate},
        world::{Link, World},
    },
    ui::{
        facts::{ReleaseState, count_versions, find_stall_cause, release_state},
        keymap::{Action, KeyContext},
        model::{Model, NamespaceScope},
        pane::Pane,
        rights::missing_right,
        theme::Role,
        widget::{Canvas, PointerTarget, RichText, columns_of_line},
    },
};

/// Maximum width of a cause; the Rollout pane shows all of it.
const CAUSE_WIDTH: usize = 60;
/// Requests in a minute from which on they are told; a cockpit at rest sends about ten.
const NOTABLE_REQUESTS: u32 = 200;

pub(super) fn draw_header(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    let width = usize::from(area.width);
    let mut left = RichText::styled(Role::Alarm, "").add(Role::Title, " graylane ");
    left.push(Role::Muted, &model.options.place);
    let right = status_line(model, width.saturating_sub(12));
    let right_width = u16::try_from(right.width())
        .unwrap_or(u16::MAX)
        .min(area.width);
    let left_area = Rect {
        width: (area.width - right_width).saturating_sub(2),
        ..area
    };
    canvas.draw_line(left_area, 0, &left);
    canvas.draw_line_right(area, 0, &right);

    // Who must act has priority over request counts.
    let room = |traffic: &RichText| width.saturating_sub(traffic.width() + 2);
    let spare = width.saturating_sub(release_headline(model, width).width() + 3);
    let mut traffic_words = traffic_summary(model, spare.max(width / 2), false);
    let mut head = release_headline(model, room(&traffic_words).saturating_sub(1));
    if head.width() >= room(&traffic_words) {
        traffic_words = traffic_summary(model, width / 2, true);
        head = release_headline(model, room(&traffic_words).saturating_sub(1));
    }
    let left_area = Rect {
        width: u16::try_from(room(&traffic_words)).unwrap_or(area.width),
        ..area
    };
    canvas.draw_line(left_area, 1, &RichText::styled(Role::Text, " ").join(head));
    canvas.draw_line_right(area, 1, &traffic_words);
}

/// Connection, engine, entry and badges; the least important are dropped first when room is short.
fn status_line(model: &Model, room: usize) -> RichText {
    let glyphs = &model.options.glyphs;
    let world = &model.world;
    let mut parts: Vec<RichText> = vec![];
    if model.read_only {
        parts.push(RichText::styled(Role::Badge, " read-only "));
    }
    parts.push(link_part(model, room));
    if let (Link::Live, Some(until)) = (&world.link, world.asked.until) {
        let left = until.duration_since(model.now).as_secs().max(1);
        parts.push(RichText::styled(
            Role::Warn,
            format!("{} throttled, again in {left} s", glyphs.warn),
        ));
    }
    let mut remote: Vec<(&ClusterName, &Link)> = world.clusters.iter().collect();
    remote.sort_by_key(|(name, link)| (link.stale_since().is_none(), *name));
    for (name, link) in remote {
        parts.push(remote_part(model, name, link));
    }
    if let Some(entry) = world
        .groups
        .values()
        .find_map(|g| g.status.as_ref()?.addresses.first())
    {
        parts.push(RichText::styled(Role::Muted, "entry ").add(Role::Text, entry));
    }
    parts.extend(engine_part(model));
    parts.extend(request_part(model));
    join_parts(parts, room)
}

/// The connection to the cluster, with what to do when it is lost.
fn link_part(model: &Model, room: usize) -> RichText {
    let glyphs = &model.options.glyphs;
    match &model.world.link {
        Link::Live => RichText::styled(Role::Ok, glyphs.full).add(Role::Muted, " live"),
        Link::Connecting => RichText::styled(Role::Busy, glyphs.spinner_frame(model.beat))
            .add(Role::Muted, " connecting"),
        Link::Stale {
            since,
            trouble,
            why,
        } => {
            let words = format!(
                " {} {}, STALE for {} ",
                glyphs.warn,
                trouble.badge_text(),
                format_age(model.now, *since)
            );
            let mut line = RichText::styled(Role::Alarm, words).add(Role::Warn, format!(" {why}"));
            if let Some(advice) = trouble.advice() {
                line.push(Role::Muted, format!("; {advice}"));
            }
            let key = model.options.keymap.key_anywhere(Action::Reconnect);
            // The key to press must not be cut off by a long server message.
            let tail =
                RichText::styled(Role::Key, format!(" {key}")).add(Role::Muted, " tries now");
            let left = room.saturating_sub(tail.width() + 2).min(84);
            line.cut_to_width(left).join(tail)
        }
    }
}

/// The connection to a remote cluster.
fn remote_part(model: &Model, cluster: &ClusterName, link: &Link) -> RichText {
    let name = cluster.context().unwrap_or_default();
    let glyphs = &model.options.glyphs;
    match link {
        Link::Live => RichText::styled(Role::Ok, glyphs.full).add(Role::Muted, format!(" {name}")),
        Link::Connecting => RichText::styled(Role::Busy, glyphs.spinner_frame(model.beat))
            .add(Role::Muted, format!(" {name}")),
        Link::Stale { since, trouble, .. } => {
            let words = format!(
                "{} {name} {} {}",
                glyphs.warn,
                trouble.badge_text(),
                format_age(model.now, *since)
            );
            RichText::styled(Role::Bad, words)
        }
    }
}

fn engine_part(model: &Model) -> Option<RichText> {
    match &model.world.engine {
        Some(engine) => {
            let (role, word) = if model.current_scope().is_engine_late(model.now) {
                (Role::Warn, "engine late ")
            } else {
                (Role::Muted, "engine ")
            };
            // Format is `POD/PROCESS/RUN`; the pod is enough here.
            let place = engine.holder.split('/').next().unwrap_or_default();
            Some(RichText::styled(role, word).add(Role::Text, place))
        }
        None if model.world.link == Link::Live => {
            let words = format!("{} no engine", model.options.glyphs.warn);
            Some(RichText::styled(Role::Warn, words))
        }
        None => None,
    }
}

/// How much is asked of the API server, where that is worth a look: a count that moves with each
/// request would be all that a quiet cockpit writes.
fn request_part(model: &Model) -> Option<RichText> {
    let asked = &model.world.asked;
    let is_much = asked.minute >= NOTABLE_REQUESTS;
    if !is_much && asked.throttled == 0 {
        return None;
    }
    let mut part = RichText::styled(Role::Muted, "api");
    if is_much {
        part.push(Role::Muted, format!(" {}/min", asked.minute / 10 * 10));
    }
    if asked.throttled > 0 {
        let times = format_count(asked.throttled, "time");
        part.push(Role::Warn, format!(" throttled {times}"));
    }
    Some(part)
}

/// Joins as many parts as have room.
fn join_parts(parts: Vec<RichText>, room: usize) -> RichText {
    let mut line = RichText::new();
    for part in parts {
        let gap = if line.is_empty() { 0 } else { 3 };
        if line.width() + gap + part.width() + 1 > room && !line.is_empty() {
            break;
        }
        if gap > 0 {
            line.push(Role::Text, "   ");
        }
        line = line.join(part);
    }
    line.add(Role::Text, " ")
}

/// The most urgent release with who must act, then the others in short.
pub(super) fn release_headline(model: &Model, room: usize) -> RichText {
    let glyphs = &model.options.glyphs;
    let mut line = RichText::new();
    let active = active_releases(model);
    if active.is_empty() {
        let no_apps = model.scopes().all(|scope| scope.world.apps.is_empty());
        let words = match model.world.link {
            _ if !no_apps => "nothing is being released",
            Link::Live => "no apps yet",
            // Before the first answer nobody knows.
            Link::Connecting => "waiting for the cluster",
            Link::Stale { .. } => "no apps known",
        };
        let start = model.options.keymap.key_anywhere(Action::Start);
        let rest = if model.read_only || missing_right(model, Action::Start).is_some() || no_apps {
            String::new()
        } else {
            format!("   {start} starts a release")
        };
        let whole = line.add(Role::Muted, words);
        // A hint that does not fit whole says nothing.
        let fits = whole.width() + rest.chars().count() <= room;
        return whole.add(Role::Muted, if fits { rest } else { String::new() });
    }
    let more = |left: usize, brief: bool| {
        if brief {
            format!("  +{left}")
        } else {
            format!("   +{left} more")
        }
    };
    for (i, (scope, release)) in active.iter().enumerate() {
        let left = active.len() - i;
        let tail = if left > 1 {
            more(left - 1, false).len()
        } else {
            0
        };
        let whole = release_summary(model, *scope, release, false);
        let gap = if i == 0 { 0 } else { 3 };
        let fits = line.width() + gap + whole.width() + tail <= room;
        if i > 0 && !fits {
            let words = more(left, false);
            let brief = line.width() + words.len() > room;
            return line.add(Role::Muted, more(left, brief));
        }
        if gap > 0 {
            line.push(Role::Border, format!(" {} ", glyphs.dot));
        }
        line = line.join(if fits {
            whole
        } else {
            release_summary(model, *scope, release, true)
        });
    }
    line
}

/// The releases in progress of all namespaces that are shown, those that need a person first. One of
/// each App: the one that all panes show, or the active one when that has ended.
fn active_releases(model: &Model) -> Vec<(NamespaceScope<'_>, &Release)> {
    let mut all = vec![];
    for scope in model.scopes() {
        let facts = scope.facts;
        let meant = |app: &str| {
            let shown = model.release_in(scope, app);
            shown.filter(|name| facts.active.contains(name))
        };
        let found = facts.active.iter().filter_map(|name| {
            let release = &**scope.world.releases.get(name)?;
            let is_meant = meant(&release.spec.app).is_none_or(|meant| meant == name);
            is_meant.then_some((scope, release))
        });
        all.extend(found);
    }
    // Each namespace has its own in that order.
    if model.shows_all {
        all.sort_by_key(|(_, release)| release_state(release).urgency());
    }
    all
}

/// One release in a few words; `brief` omits its stage.
fn release_summary(
    model: &Model,
    scope: NamespaceScope<'_>,
    release: &Release,
    brief: bool,
) -> RichText {
    let glyphs = &model.options.glyphs;
    let now = release_state(release);
    let (role, sign) = labels::release_sign(glyphs, model.beat, now);
    let mut part = RichText::styled(role, format!("{sign} "));
    let stage = if release.spec.stage.is_empty() {
        "teardown"
    } else {
        &release.spec.stage
    };
    if model.shows_all {
        part.push(Role::Muted, format!("{}/", scope.name()));
    }
    part.push(Role::Title, scope.facts.short_name(&release.spec.app));
    part.push(
        Role::Muted,
        if brief {
            " ".to_owned()
        } else {
            format!(" {stage} ")
        },
    );
    if let ReleaseState::Batch(task, _) | ReleaseState::Busy(Some(task)) = now
        && task.kind == crate::api::TaskKind::Deploy
        && let Some(environment) = &task.environment
    {
        let workloads: Vec<_> = scope
            .world
            .workloads_of(&release.spec.app, environment)
            .collect();
        let pods = crate::ui::facts::environment_pods(
            scope.facts,
            scope.world,
            &release.spec.app,
            environment,
        );
        let split = count_versions(Some(task), &workloads, pods);
        part = part
            .join(labels::pod_bar(
                glyphs,
                split.new_ready,
                split.new_coming,
                split.old,
                10,
            ))
            .add(Role::Text, " ");
    }
    part.push(role, now.state_label());
    if let ReleaseState::Busy(Some(task)) = now
        && let Some(environment) = task
            .environment
            .as_deref()
            .filter(|_| task.kind == crate::api::TaskKind::Deploy && !brief)
        && let Some(why) =
            find_stall_cause(scope.facts, scope.world, &release.spec.app, environment)
    {
        part.push(
            Role::Warn,
            format!(" {} {}", glyphs.warn, truncate(why, CAUSE_WIDTH)),
        );
    }
    part.join(who_must_act(model, scope.world, release, now))
}

/// Who must act, and the key for it.
fn who_must_act(
    model: &Model,
    world: &World,
    release: &Release,
    now: ReleaseState<'_>,
) -> RichText {
    let key = |action: Action| {
        let key = model
            .options
            .keymap
            .first_key(&[KeyContext::Release], action)
            .unwrap_or_default();
        RichText::styled(Role::Muted, " press").add(Role::Key, format!(" {key}"))
    };
    match now {
        ReleaseState::Approve(task) => {
            let app = world.apps.get(&release.spec.app);
            let stage = app.and_then(|a| a.spec.stage(&release.spec.stage));
            let found = stage
                .and_then(|s| s.tasks.iter().find(|t| t.name == task.name))
                .and_then(|t| t.approval.as_ref());
            let me = world.acting_user();
            let named =
                found.is_none_or(|a| a.approvers.is_empty() || a.approvers.iter().any(|a| a == me));
            let own =
                found.is_some_and(|a| !a.requester_may_approve) && release.spec.requester == me;
            match found {
                _ if named && !own => key(Action::Approve),
                Some(a) if !a.approvers.is_empty() => {
                    RichText::styled(Role::Muted, format!(" by {}", a.approvers.join(", ")))
                }
                _ => RichText::styled(Role::Muted, " by somebody else"),
            }
        }
        ReleaseState::Batch(..) | ReleaseState::Proceed(_) => key(Action::Continue),
        ReleaseState::Held => key(Action::Resume),
        ReleaseState::Failed(_) => key(Action::Retry),
        ReleaseState::Pending
        | ReleaseState::Busy(_)
        | ReleaseState::Aborting
        | ReleaseState::Succeeded
        | ReleaseState::Aborted => RichText::new(),
    }
}

/// Whether tagged requests go where they should. Leaks are shown most prominently.
fn traffic_summary(model: &Model, room: usize, brief: bool) -> RichText {
    let glyphs = &model.options.glyphs;
    let traffic = model.shown_traffic();
    if traffic.leaks > 0 || traffic.failed > 0 {
        let words = match (traffic.leaks, traffic.failed) {
            (0, n) => format!(" {} {n} FAILED ", glyphs.bad),
            (1, _) => format!(" {} 1 LEAK ", glyphs.bad),
            (n, _) => format!(" {} {n} LEAKS ", glyphs.bad),
        };
        let mut line = RichText::styled(Role::Alarm, words);
        if let Some(worst) = traffic.worst.as_ref().filter(|_| !brief) {
            let left = room.saturating_sub(line.width() + 2);
            line = line.add(
                Role::Bad,
                format!(" {}", crate::domain::text::truncate(worst, left)),
            );
        }
        return line.add(Role::Text, " ");
    }
    match (traffic.chains, traffic.tagged) {
        (0, _) => RichText::styled(Role::Muted, format!("{} no traffic seen ", glyphs.idle)),
        (_, 0) if brief => RichText::styled(Role::Ok, glyphs.ok).add(Role::Muted, " none tagged "),
        (_, _) if brief => RichText::styled(Role::Ok, glyphs.ok).add(Role::Text, " traffic right "),
        (n, 0) => {
            let requests = format_count(n, "request");
            RichText::styled(Role::Ok, glyphs.ok)
                .add(Role::Muted, format!(" {requests}, none tagged "))
        }
        (n, t) if room < 45 => {
            RichText::styled(Role::Ok, glyphs.ok).add(Role::Muted, format!(" {t}/{n} tagged "))
        }
        (n, t) => RichText::styled(Role::Ok, glyphs.ok)
            .add(Role::Text, " traffic right")
            .add(Role::Muted, format!(" {t} of {n} tagged, 1 min ")),
    }
}

/// Names of the panes, when not all are visible.
pub(super) fn draw_tabs(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    let mut line = RichText::styled(Role::Text, " ");
    for pane in Pane::ALL {
        let (number, title) = (pane_key(model, pane), pane.title());
        let left = line.width();
        if pane == model.pane {
            line.push(Role::Badge, format!(" {number} {title} "));
        } else {
            line.push(Role::Key, format!(" {number}"));
            line.push(Role::Muted, format!(" {title} "));
        }
        let tab = columns_of_line(area, left, line.width() - left);
        canvas.add_target(tab, PointerTarget::Pane(pane));
    }
    canvas.draw_line(area, 0, &line);
}
