//! What each action does.

use tui_input::Input;

use super::{input::set_filter, open, probe};
use crate::domain::apps;
use crate::ui::{
    effect::{Ask, Effect},
    facts,
    form::{self, Submitted},
    keymap::{Action, Danger},
    model::{Frozen, Goal, Level, Model, Overlay, Palette, Pane, Pending},
    question::{self, Focus},
    rights::forbidden,
    view,
};

/// Runs an action. The caller has checked read-only mode and key repeats.
pub(super) fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    if let Some(why) = forbidden(model, action) {
        return refuse(model, format!("{}: {why}", action.word()));
    }
    match action {
        Action::Approve
        | Action::Refuse
        | Action::Continue
        | Action::Pause
        | Action::Resume
        | Action::Retry
        | Action::Skip
        | Action::Abort
        | Action::ToggleLane
        | Action::DeleteLane
        | Action::Teardown
        | Action::StopTheLine => ask(model, action),
        Action::Start => open_form(model, form::build::start),
        Action::NewApps => open_form(model, form::build::apps),
        Action::TemplateDiff => open::template_diff(model),
        Action::Variables => open::variables(model),
        Action::NewLane => open_form(model, |m| form::build::lane(m, false)),
        Action::EditLane => open_form(model, |m| form::build::lane(m, true)),
        Action::ProbeForm => open_form(model, form::build::probe),
        Action::Lock => lock(model),
        Action::Mark => mark(model),
        Action::NextRelease => other_release(model, true),
        Action::PreviousRelease => other_release(model, false),
        Action::Logs => open::logs(model),
        Action::NextContainer => open::other_log(model, |log| {
            log.at = (log.at + 1) % log.containers.len().max(1)
        }),
        Action::PreviousRun => open::other_log(model, |log| log.previous = !log.previous),
        Action::Events => open::events(model),
        Action::Yaml => open::yaml(model),
        Action::Open => open::open(model),
        Action::Probe => probe::both(model),
        Action::Freeze => freeze(model),
        Action::OnlyWrong => {
            model.only_wrong = !model.only_wrong;
            model.chain = None;
            vec![]
        }
        Action::EveryRequest => {
            // Inside a group this key leads back to the groups.
            model.each = model.is_grouped();
            (model.inside, model.chain) = (None, None);
            vec![]
        }
        Action::Filter => filter(model),
        Action::Palette => {
            let palette = Palette::of(model, |a| makes_sense(model, a), |a| forbidden(model, a));
            push(model, Overlay::Palette(Box::new(palette)))
        }
        Action::Contexts => contexts(model),
        Action::Reconnect => {
            model.notice(Level::Info, "trying the connection again", vec![]);
            vec![Effect::Reconnect]
        }
        Action::Help => open::help(model),
        Action::Notices => open::notices(model),
        Action::Copy => open::copy(model),
        Action::NextPane => to_pane(model, 1),
        Action::PreviousPane => to_pane(model, 4),
        Action::PaneApps => pane(model, Pane::Apps),
        Action::PaneEnvironments => pane(model, Pane::Environments),
        Action::PaneRollout => pane(model, Pane::Rollout),
        Action::PaneLanes => pane(model, Pane::Lanes),
        Action::PaneTrace => pane(model, Pane::Trace),
        Action::Zoom => {
            model.zoom = !model.zoom;
            vec![]
        }
        Action::Back => back(model),
        // Read-only mode from the command line cannot be turned off by one key.
        Action::ReadOnly if model.options.read_only && model.read_only => refuse(
            model,
            "started read-only: it stays so until it is started without --read-only",
        ),
        Action::ReadOnly => {
            model.read_only = !model.read_only;
            let words = if model.read_only {
                "read-only: all changing keys are off"
            } else {
                "changing keys are on"
            };
            model.notice(Level::Info, words, vec![]);
            vec![]
        }
        Action::Repaint => vec![Effect::Repaint],
        Action::Suspend => vec![Effect::Suspend],
        Action::Quit => vec![Effect::Quit],
        Action::Down => step(model, 1),
        Action::Up => step(model, -1),
        Action::PageDown => step(model, page(model)),
        Action::PageUp => step(model, -page(model)),
        Action::First => step(model, isize::MIN / 2),
        Action::Last => step(model, isize::MAX / 2),
        Action::Follow => follow(model),
        Action::NextField | Action::PreviousField | Action::NextChoice | Action::PreviousChoice => {
            field(model, action)
        }
        Action::Submit => submit(model),
        Action::Yes => yes(model),
        Action::OtherButton => {
            if let Some(Overlay::Confirm(question)) = model.overlays.last_mut() {
                question.turn();
            }
            vec![]
        }
        Action::Press => press(model),
        Action::LookAgain => look_again(model),
        Action::Accept => accept(model),
        Action::Complete | Action::CompleteBack => {
            if let Some(Overlay::Palette(palette)) = model.overlays.last_mut() {
                palette.step(action == Action::CompleteBack);
            }
            vec![]
        }
    }
}

/// Whether an action is available and permitted; for the footer and the palette.
pub fn can(model: &Model, action: Action) -> bool {
    makes_sense(model, action) && forbidden(model, action).is_none()
}

fn makes_sense(model: &Model, action: Action) -> bool {
    if model.read_only && action.danger() != Danger::Safe {
        return false;
    }
    let turn = || model.selected_release().map(|(_, r)| facts::turn(r));
    let is = |test: fn(facts::Turn<'_>) -> bool| turn().is_some_and(test);
    match action {
        Action::Approve | Action::Refuse => is(|t| matches!(t, facts::Turn::Approve(_))),
        Action::Continue => is(|t| matches!(t, facts::Turn::Batch(..) | facts::Turn::Proceed(_))),
        Action::Pause => {
            is(|t| !t.is_over() && !matches!(t, facts::Turn::Held | facts::Turn::Aborting))
        }
        Action::Resume => is(|t| matches!(t, facts::Turn::Held)),
        Action::Retry => is(|t| matches!(t, facts::Turn::Failed(_))),
        Action::Skip => is(|t| t.is_person() && !matches!(t, facts::Turn::Held)),
        Action::Abort => is(|t| !t.is_over() && !matches!(t, facts::Turn::Aborting)),
        Action::EditLane | Action::ToggleLane | Action::DeleteLane => {
            model.selected_lane().is_some()
        }
        Action::StopTheLine => !model.facts.active.is_empty(),
        Action::Start | Action::Mark => model.app.is_some(),
        Action::NewApps => !model.world.templates.is_empty(),
        Action::TemplateDiff => model
            .selected_app()
            .is_some_and(|app| apps::origin(app).is_some()),
        Action::Logs => model.drilled && model.selected_pod().is_some(),
        Action::Lock | Action::Events | Action::Variables => model.selected_environment().is_some(),
        Action::Teardown => !model.drilled && question::ask(model, action).is_ok(),
        Action::Follow => open::log(model).is_some(),
        Action::NextContainer => open::log(model).is_some_and(|log| log.containers.len() > 1),
        Action::PreviousRun => open::log(model).is_some(),
        Action::Yes => {
            matches!(model.overlays.last(), Some(Overlay::Confirm(q)) if q.may())
        }
        Action::LookAgain => {
            matches!(model.overlays.last(), Some(Overlay::Confirm(q)) if q.stale.is_some())
        }
        Action::Probe | Action::ProbeForm => !model.world.groups.is_empty(),
        Action::Down
        | Action::Up
        | Action::PageDown
        | Action::PageUp
        | Action::First
        | Action::Last
        | Action::NextField
        | Action::PreviousField
        | Action::NextChoice
        | Action::PreviousChoice
        | Action::Submit
        | Action::OtherButton
        | Action::Press
        | Action::Accept
        | Action::Complete
        | Action::CompleteBack => !model.overlays.is_empty(),
        _ => true,
    }
}

fn push(model: &mut Model, overlay: Overlay) -> Vec<Effect> {
    model.overlays.push(overlay);
    vec![]
}

fn refuse(model: &mut Model, why: impl AsRef<str>) -> Vec<Effect> {
    model.notice(Level::Warn, why, vec![]);
    vec![]
}

fn ask(model: &mut Model, action: Action) -> Vec<Effect> {
    match question::ask(model, action) {
        Ok(question) => push(model, Overlay::Confirm(Box::new(question))),
        Err(why) => {
            // A user who types on without looking means the comment field of the dialog.
            model.ignore_letters();
            refuse(model, why)
        }
    }
}

fn open_form(
    model: &mut Model,
    build: impl Fn(&Model) -> Result<form::Form, String>,
) -> Vec<Effect> {
    match build(model) {
        Ok(form) => push(model, Overlay::Form(Box::new(form))),
        Err(why) => refuse(model, why),
    }
}

fn lock(model: &mut Model) -> Vec<Effect> {
    let held = model
        .selected_environment()
        .filter(|e| e.lock.is_some())
        .map(|e| e.name.clone());
    match (held, model.app.clone()) {
        (Some(environment), Some(app)) => match question::lock(model, &app, &environment, None) {
            Ok(question) => push(model, Overlay::Confirm(Box::new(question))),
            Err(why) => refuse(model, why),
        },
        _ => open_form(model, form::build::lock),
    }
}

fn contexts(model: &mut Model) -> Vec<Effect> {
    let ticket = model.ticket();
    model
        .overlays
        .push(Overlay::Palette(Box::new(Palette::of_contexts(ticket))));
    vec![Effect::Ask(ticket, Ask::Contexts)]
}

fn mark(model: &mut Model) -> Vec<Effect> {
    if let Some(app) = model.app.clone()
        && !model.marked.remove(&app)
    {
        model.marked.insert(app);
    }
    step(model, 1)
}

/// Shows the next newer or older release; releases are sorted newest first.
fn other_release(model: &mut Model, newer: bool) -> Vec<Effect> {
    let here = model.selected_release().map(|(name, _)| name.clone());
    let all = model
        .app
        .as_ref()
        .and_then(|app| model.facts.releases.get(app))
        .cloned()
        .unwrap_or_default();
    let at = all
        .iter()
        .position(|name| Some(name) == here.as_ref())
        .unwrap_or(0);
    let next = if newer {
        at.checked_sub(1)
    } else {
        Some(at + 1)
    };
    match next.and_then(|n| all.get(n)) {
        Some(name) => {
            let name = name.clone();
            model.look_at(name);
            vec![]
        }
        None => refuse(
            model,
            if newer {
                "this is the newest release"
            } else {
                "this is the oldest release"
            },
        ),
    }
}

fn freeze(model: &mut Model) -> Vec<Effect> {
    model.frozen = if model.frozen.is_some() {
        None
    } else {
        Some(Frozen {
            chains: model.facts.chains.clone(),
            groups: model.facts.shown.groups.clone(),
        })
    };
    vec![]
}

fn filter(model: &mut Model) -> Vec<Effect> {
    let before = match model.overlays.last() {
        Some(Overlay::Text(text)) => text.filter.clone(),
        _ => model.filter(model.pane).to_owned(),
    };
    push(model, Overlay::Filter(Input::new(before.clone()), before))
}

fn to_pane(model: &mut Model, by: usize) -> Vec<Effect> {
    let at = (model.pane as usize + by) % Pane::ALL.len();
    model.pane = Pane::ALL.get(at).copied().unwrap_or_default();
    vec![]
}

fn pane(model: &mut Model, pane: Pane) -> Vec<Effect> {
    model.pane = pane;
    vec![]
}

/// Closes, clears or goes back, one step at a time.
fn back(model: &mut Model) -> Vec<Effect> {
    match model.overlays.last() {
        Some(Overlay::Filter(_, before)) => {
            let before = before.clone();
            model.overlays.pop();
            set_filter(model, &before);
            return vec![];
        }
        Some(Overlay::Text(text)) if !text.filter.is_empty() => {
            set_filter(model, "");
            return vec![];
        }
        Some(_) => return model.close(),
        None => {}
    }
    if !model.filter(model.pane).is_empty() {
        model.filters.remove(&model.pane);
    } else if model.pane == Pane::Environments && model.drilled {
        model.drilled = false;
    } else if model.pane == Pane::Trace && model.inside.is_some() {
        (model.inside, model.chain) = (None, None);
    } else if model.pane == Pane::Trace && is_arranged(model) {
        (model.only_wrong, model.frozen, model.chain, model.group) = (false, None, None, None);
    } else if model.pane == Pane::Rollout && (model.task.is_some() || model.release.is_some()) {
        (model.task, model.release) = (None, None);
    } else if model.zoom {
        model.zoom = false;
    } else {
        model.marked.clear();
    }
    vec![]
}

/// Whether the user changed what the Trace pane shows.
fn is_arranged(model: &Model) -> bool {
    model.only_wrong || model.frozen.is_some() || model.chain.is_some() || model.group.is_some()
}

fn page(model: &Model) -> isize {
    let rows = match model.overlays.last() {
        Some(Overlay::Text(_)) => view::text_height(model.size),
        _ => usize::from(model.size.1 / 2),
    };
    isize::try_from(rows / 2).unwrap_or(10).max(1)
}

fn step(model: &mut Model, by: isize) -> Vec<Effect> {
    match model.overlays.pop() {
        Some(Overlay::Text(mut text)) => {
            let lines = view::text_rows(model, &text).len();
            text.scroll(by, lines, view::text_height(model.size));
            model.overlays.push(Overlay::Text(text));
        }
        Some(Overlay::Confirm(mut question)) => {
            question.top = question.top.saturating_add_signed(by).min(500);
            model.overlays.push(Overlay::Confirm(question));
        }
        Some(other) => model.overlays.push(other),
        None => {
            let (rows, at) = model.place(model.pane);
            if rows > 0 {
                let next = at.map_or(0, |at| at.saturating_add_signed(by).min(rows - 1));
                model.select(next);
            }
        }
    }
    vec![]
}

fn follow(model: &mut Model) -> Vec<Effect> {
    if let Some(Overlay::Text(mut text)) = model.overlays.pop() {
        let lines = view::text_rows(model, &text).len();
        text.top = text.first(lines, view::text_height(model.size));
        text.follow = !text.follow;
        model.overlays.push(Overlay::Text(text));
    }
    vec![]
}

fn field(model: &mut Model, action: Action) -> Vec<Effect> {
    if let Some(Overlay::Form(open)) = model.overlays.last_mut() {
        match action {
            Action::NextField => open.step(false),
            Action::PreviousField => open.step(true),
            other => {
                let back = other == Action::PreviousChoice;
                if let Some(field) = open.field() {
                    field.turn(back);
                }
            }
        }
    }
    super::input::edited(model);
    vec![]
}

fn submit(model: &mut Model) -> Vec<Effect> {
    let Some(Overlay::Form(mut open)) = model.overlays.pop() else {
        return vec![];
    };
    let submitted = form::submit(model, &mut open);
    match submitted {
        Ok(Submitted::Ask(question)) => {
            model.overlays.push(Overlay::Form(open));
            push(model, Overlay::Confirm(question))
        }
        Ok(Submitted::Send(intent)) => probe::own(model, *intent),
        Err(why) => {
            model.overlays.push(Overlay::Form(open));
            refuse(model, why)
        }
    }
}

/// Answers yes regardless of the focus; a required name must have been typed.
fn yes(model: &mut Model) -> Vec<Effect> {
    match model.overlays.last() {
        Some(Overlay::Confirm(question)) if question.typed.is_some() && !question.is_typed() => {
            let name = question
                .typed
                .as_ref()
                .map(|(name, _)| name.clone())
                .unwrap_or_default();
            refuse(model, format!("type {name} first"))
        }
        Some(Overlay::Confirm(_)) => send(model),
        _ => vec![],
    }
}

fn press(model: &mut Model) -> Vec<Effect> {
    let Some(Overlay::Confirm(question)) = model.overlays.last() else {
        return vec![];
    };
    match question.focus {
        Focus::Yes => yes(model),
        Focus::Typed if question.is_typed() => send(model),
        Focus::Typed | Focus::Comment => {
            if let Some(Overlay::Confirm(question)) = model.overlays.last_mut() {
                question.turn();
            }
            vec![]
        }
        Focus::No => model.close(),
    }
}

fn send(model: &mut Model) -> Vec<Effect> {
    let Some(Overlay::Confirm(question)) = model.overlays.last() else {
        return vec![];
    };
    if model.read_only {
        return refuse(model, "read-only: nothing is sent");
    }
    if !question.may() {
        let why = question
            .stale
            .clone()
            .unwrap_or_else(|| "not confirmed".into());
        return refuse(model, format!("{why}: nothing was done; look again"));
    }
    let Some(Overlay::Confirm(question)) = model.overlays.pop() else {
        return vec![];
    };
    if question
        .comment
        .as_ref()
        .is_some_and(|c| !c.value().is_empty())
    {
        model.ignore_letters();
    }
    if matches!(model.overlays.last(), Some(Overlay::Form(_))) {
        model.overlays.pop();
    }
    let ticket = model.ticket();
    let pending = Pending {
        words: question.sent.clone(),
        about: question.about.clone(),
        since: model.now,
        probe: None,
    };
    model.pending.insert(ticket, pending);
    model.marked.clear();
    vec![Effect::Perform(ticket, question.answer())]
}

/// Builds the question again from the current world.
fn look_again(model: &mut Model) -> Vec<Effect> {
    let Some(Overlay::Confirm(question)) = model.overlays.pop() else {
        return vec![];
    };
    match question.again {
        Some(action) => ask(model, action),
        // The form below still holds the user's input.
        None => vec![],
    }
}

fn accept(model: &mut Model) -> Vec<Effect> {
    match model.overlays.pop() {
        Some(Overlay::Palette(palette)) => match palette.goal() {
            Some(Goal::Act(action)) if makes_sense(model, action) => act(model, action),
            // Unavailable actions say why.
            Some(Goal::Act(action)) if model.read_only && action.danger() != Danger::Safe => {
                refuse(model, format!("read-only: {} is taken away", action.word()))
            }
            Some(Goal::Act(action)) if action.danger() != Danger::Safe => act(model, action),
            Some(Goal::Place(choice)) if choice.place == model.options.place => {
                act(model, Action::Reconnect)
            }
            Some(Goal::Place(choice)) => {
                let mut effects = model.switch(&choice.place);
                effects.push(Effect::Switch(choice.name));
                effects
            }
            Some(Goal::Object(object)) => open::yaml_of(model, object),
            Some(goal) => match model.go(&goal) {
                true => vec![],
                false => refuse(model, "that is gone meanwhile"),
            },
            None => vec![],
        },
        Some(Overlay::Filter(..)) | None => vec![],
        Some(other) => push(model, other),
    }
}
