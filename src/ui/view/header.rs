//! The two header lines: what is being released, how far, who must act, whether tagged traffic is
//! correct, failures, and whether the data is current.

use ratatui::layout::Rect;

use super::words;
use crate::{
    domain::{
        text::{age, truncate},
        world::Link,
    },
    ui::{
        facts::{Turn, cause, split, turn},
        keymap::{Action, Context},
        model::{Model, Pane},
        rights::forbidden,
        theme::Role,
        widget::{Canvas, Rich},
    },
};

/// Maximum width of a cause; the Rollout pane shows all of it.
const CAUSE: usize = 60;

pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    let width = usize::from(area.width);
    let mut left = Rich::of(Role::Alarm, "").add(Role::Title, " graylane ");
    left.push(Role::Muted, &model.options.place);
    let right = state(model, width.saturating_sub(12));
    let right_width = u16::try_from(right.width())
        .unwrap_or(u16::MAX)
        .min(area.width);
    let left_area = Rect {
        width: (area.width - right_width).saturating_sub(2),
        ..area
    };
    canvas.line(left_area, 0, &left);
    canvas.line_right(area, 0, &right);

    // Who must act has priority over request counts.
    let room = |traffic: &Rich| width.saturating_sub(traffic.width() + 2);
    let spare = width.saturating_sub(headline(model, width).width() + 3);
    let mut traffic_words = traffic(model, spare.max(width / 2), false);
    let mut head = headline(model, room(&traffic_words).saturating_sub(1));
    if head.width() >= room(&traffic_words) {
        traffic_words = traffic(model, width / 2, true);
        head = headline(model, room(&traffic_words).saturating_sub(1));
    }
    let left_area = Rect {
        width: u16::try_from(room(&traffic_words)).unwrap_or(area.width),
        ..area
    };
    canvas.line(left_area, 1, &Rich::of(Role::Text, " ").join(head));
    canvas.line_right(area, 1, &traffic_words);
}

/// Connection, engine, entry and badges; the least important are dropped first when room is short.
fn state(model: &Model, room: usize) -> Rich {
    let glyphs = &model.options.glyphs;
    let world = &model.world;
    let mut parts: Vec<Rich> = vec![];
    if model.read_only {
        parts.push(Rich::of(Role::Badge, " read-only "));
    }
    parts.push(match &world.link {
        Link::Live => Rich::of(Role::Ok, glyphs.full).add(Role::Muted, " live"),
        Link::Connecting => {
            Rich::of(Role::Busy, glyphs.spinner(model.beat)).add(Role::Muted, " connecting")
        }
        Link::Stale {
            since,
            trouble,
            why,
        } => {
            let words = format!(
                " {} {}, STALE for {} ",
                glyphs.warn,
                trouble.word(),
                age(model.now, *since)
            );
            let mut line = Rich::of(Role::Alarm, words).add(Role::Warn, format!(" {why}"));
            if let Some(advice) = trouble.advice() {
                line.push(Role::Muted, format!("; {advice}"));
            }
            let key = model.options.keymap.anywhere(Action::Reconnect);
            // The key to press must not be cut off by a long server message.
            let tail = Rich::of(Role::Key, format!(" {key}")).add(Role::Muted, " tries now");
            let left = room.saturating_sub(tail.width() + 2).min(84);
            line.cut(left).join(tail)
        }
    });
    if let (Link::Live, Some(until)) = (&world.link, world.asked.until) {
        let left = until.duration_since(model.now).as_secs().max(1);
        parts.push(Rich::of(
            Role::Warn,
            format!("{} throttled, again in {left} s", glyphs.warn),
        ));
    }
    let mut contexts: Vec<(&String, &Link)> = world.contexts.iter().collect();
    contexts.sort_by_key(|(name, link)| (link.stale().is_none(), *name));
    for (name, link) in contexts {
        parts.push(match link {
            Link::Live => Rich::of(Role::Ok, glyphs.full).add(Role::Muted, format!(" {name}")),
            Link::Connecting => Rich::of(Role::Busy, glyphs.spinner(model.beat))
                .add(Role::Muted, format!(" {name}")),
            Link::Stale { since, trouble, .. } => {
                let words = format!(
                    "{} {name} {} {}",
                    glyphs.warn,
                    trouble.word(),
                    age(model.now, *since)
                );
                Rich::of(Role::Bad, words)
            }
        });
    }
    if let Some(entry) = world
        .groups
        .values()
        .find_map(|g| g.status.as_ref()?.addresses.first())
    {
        parts.push(Rich::of(Role::Muted, "entry ").add(Role::Text, entry));
    }
    match &world.engine {
        Some(engine) => {
            // Age since we saw the renewal; the engine's clock may differ from ours.
            let late =
                engine.renewed.is_some() && model.now.duration_since(model.heard.1).as_secs() > 30;
            let (role, word) = if late {
                (Role::Warn, "engine late ")
            } else {
                (Role::Muted, "engine ")
            };
            // Format is `POD/PROCESS/RUN`; the pod is enough here.
            let place = engine.holder.split('/').next().unwrap_or_default();
            parts.push(Rich::of(role, word).add(Role::Text, place));
        }
        None if world.link == Link::Live => {
            parts.push(Rich::of(Role::Warn, format!("{} no engine", glyphs.warn)))
        }
        None => {}
    }
    if world.asked.total > 0 {
        let asked = &world.asked;
        let mut part = Rich::of(
            Role::Muted,
            format!("api {} {}/min", asked.total, asked.minute),
        );
        if asked.throttled > 0 {
            part.push(Role::Warn, format!(" 429 {}", asked.throttled));
        }
        parts.push(part);
    }
    let mut line = Rich::new();
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
pub(super) fn headline(model: &Model, room: usize) -> Rich {
    let glyphs = &model.options.glyphs;
    let mut line = Rich::new();
    // One release per App: the one that all panes show, or the active one when that has ended.
    let meant = |app: &str| {
        model
            .release_of(app)
            .filter(|name| model.facts.active.contains(name))
    };
    let active: Vec<_> = model
        .facts
        .active
        .iter()
        .filter_map(|name| model.world.releases.get(name).map(|r| (name, r)))
        .filter(|(name, release)| meant(&release.spec.app).is_none_or(|meant| meant == *name))
        .collect();
    if active.is_empty() {
        let words = if model.world.apps.is_empty() {
            "no apps yet"
        } else {
            "nothing is being released"
        };
        let start = model.options.keymap.anywhere(Action::Start);
        let rest = if model.read_only
            || forbidden(model, Action::Start).is_some()
            || model.world.apps.is_empty()
        {
            String::new()
        } else {
            format!("   {start} starts a release")
        };
        return line.add(Role::Muted, words).add(Role::Muted, rest);
    }
    let more = |left: usize, brief: bool| {
        if brief {
            format!("  +{left}")
        } else {
            format!("   +{left} more")
        }
    };
    for (i, (_, release)) in active.iter().enumerate() {
        let left = active.len() - i;
        let tail = if left > 1 {
            more(left - 1, false).len()
        } else {
            0
        };
        let whole = part(model, release, false);
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
            part(model, release, true)
        });
    }
    line
}

/// One release in a few words; `brief` omits its stage.
fn part(model: &Model, release: &crate::api::Release, brief: bool) -> Rich {
    let glyphs = &model.options.glyphs;
    let now = turn(release);
    let (role, sign) = words::turn(glyphs, model.beat, now);
    let mut part = Rich::of(role, format!("{sign} "));
    let stage = if release.spec.stage.is_empty() {
        "teardown"
    } else {
        &release.spec.stage
    };
    let app = words::short(model, &release.spec.app);
    part.push(Role::Title, app);
    part.push(
        Role::Muted,
        if brief {
            " ".to_owned()
        } else {
            format!(" {stage} ")
        },
    );
    if let Turn::Batch(task, _) | Turn::Busy(Some(task)) = now
        && task.kind == "deploy"
        && let Some(environment) = &task.environment
    {
        let workloads: Vec<_> = model
            .world
            .workloads_of(&release.spec.app, environment)
            .collect();
        let pods =
            crate::ui::facts::pods(&model.facts, &model.world, &release.spec.app, environment);
        let split = split(Some(task), &workloads, pods);
        part = part
            .join(words::bar(
                glyphs,
                split.new_ready,
                split.new_coming,
                split.old,
                10,
            ))
            .add(Role::Text, " ");
    }
    part.push(role, now.word());
    if let Turn::Busy(Some(task)) = now
        && let Some(environment) = task
            .environment
            .as_deref()
            .filter(|_| task.kind == "deploy" && !brief)
        && let Some(why) = cause(&model.facts, &model.world, &release.spec.app, environment)
    {
        part.push(
            Role::Warn,
            format!(" {} {}", glyphs.warn, truncate(why, CAUSE)),
        );
    }
    part.join(who(model, release, now))
}

/// Who must act, and the key for it.
fn who(model: &Model, release: &crate::api::Release, now: Turn<'_>) -> Rich {
    let key = |action: Action| {
        let key = model
            .options
            .keymap
            .key(&[Context::Release], action)
            .unwrap_or_default();
        Rich::of(Role::Muted, " press").add(Role::Key, format!(" {key}"))
    };
    match now {
        Turn::Approve(task) => {
            let app = model.world.apps.get(&release.spec.app);
            let stage = app.and_then(|a| a.spec.stage(&release.spec.stage));
            let found = stage
                .and_then(|s| s.tasks.iter().find(|t| t.name == task.name))
                .and_then(|t| t.approval.as_ref());
            let me = model.world.acting();
            let named =
                found.is_none_or(|a| a.approvers.is_empty() || a.approvers.iter().any(|a| a == me));
            let own =
                found.is_some_and(|a| !a.requester_may_approve) && release.spec.requester == me;
            match found {
                _ if named && !own => key(Action::Approve),
                Some(a) if !a.approvers.is_empty() => {
                    Rich::of(Role::Muted, format!(" by {}", a.approvers.join(", ")))
                }
                _ => Rich::of(Role::Muted, " by somebody else"),
            }
        }
        Turn::Batch(..) | Turn::Proceed(_) => key(Action::Continue),
        Turn::Held => key(Action::Resume),
        Turn::Failed(_) => key(Action::Retry),
        Turn::Pending | Turn::Busy(_) | Turn::Aborting | Turn::Succeeded | Turn::Aborted => {
            Rich::new()
        }
    }
}

/// Whether tagged requests go where they should. Leaks are shown most prominently.
fn traffic(model: &Model, room: usize, brief: bool) -> Rich {
    let glyphs = &model.options.glyphs;
    let traffic = &model.facts.shown.traffic;
    if traffic.leaks > 0 || traffic.failed > 0 {
        let words = match (traffic.leaks, traffic.failed) {
            (0, n) => format!(" {} {n} FAILED ", glyphs.bad),
            (1, _) => format!(" {} 1 LEAK ", glyphs.bad),
            (n, _) => format!(" {} {n} LEAKS ", glyphs.bad),
        };
        let mut line = Rich::of(Role::Alarm, words);
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
        (0, _) => Rich::of(Role::Muted, format!("{} no traffic seen ", glyphs.idle)),
        (_, 0) if brief => Rich::of(Role::Ok, glyphs.ok).add(Role::Muted, " none tagged "),
        (_, _) if brief => Rich::of(Role::Ok, glyphs.ok).add(Role::Text, " traffic right "),
        (n, 0) => {
            Rich::of(Role::Ok, glyphs.ok).add(Role::Muted, format!(" {n} requests, none tagged "))
        }
        (n, t) if room < 45 => {
            Rich::of(Role::Ok, glyphs.ok).add(Role::Muted, format!(" {t}/{n} tagged "))
        }
        (n, t) => Rich::of(Role::Ok, glyphs.ok)
            .add(Role::Text, " traffic right")
            .add(Role::Muted, format!(" {t} of {n} tagged, 1 min ")),
    }
}

/// Names of the panes, when not all are visible.
pub(super) fn tabs(canvas: &mut Canvas<'_>, model: &Model, area: Rect) {
    let mut line = Rich::of(Role::Text, " ");
    for pane in Pane::ALL {
        let (number, title) = (super::apps::number(model, pane), pane.title());
        if pane == model.pane {
            line.push(Role::Badge, format!(" {number} {title} "));
        } else {
            line.push(Role::Key, format!(" {number}"));
            line.push(Role::Muted, format!(" {title} "));
        }
    }
    canvas.line(area, 0, &line);
}
