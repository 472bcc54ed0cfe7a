//! What actions do that have no file of their own, and how an action is run.

use tui_input::Input;

use super::{diff, forward, input::set_filter, list, open, own_command, probe, reading};
use crate::domain::world::ObjectKey;
use crate::ui::{
    effect::{Effect, Query, ShownNamespace, cluster_of_place},
    form::{self, Submitted},
    keymap::{Action, Danger},
    model::{Level, Model, Overlay, Palette, PaletteItem, Pending, PromptKind},
    pane::Pane,
    question::{self, AskError, Focus},
    rights::missing_right,
    theme::Theme,
    view,
};

/// Runs an action. The caller has checked read-only mode and key repeats.
pub(in crate::ui) fn perform_action(model: &mut Model, action: Action) -> Vec<Effect> {
    if let Some(why) = missing_right(model, action) {
        return report_refusal(model, format!("{}: {why}", action.word()));
    }
    (action.row().run)(model, action)
}

/// Whether an action is available and permitted; for the footer and the palette.
pub fn is_available(model: &Model, action: Action) -> bool {
    makes_sense(model, action) && missing_right(model, action).is_none()
}

/// Whether an action is possible now.
pub(in crate::ui) fn makes_sense(model: &Model, action: Action) -> bool {
    let is_off = model.read_only && action.danger() != Danger::Safe;
    !is_off && (action.row().is_possible)(model, action)
}

fn push_overlay(model: &mut Model, overlay: Overlay) -> Vec<Effect> {
    model.overlays.push(overlay);
    vec![]
}

fn report_refusal(model: &mut Model, why: impl AsRef<str>) -> Vec<Effect> {
    model.add_notice(Level::Warn, why, vec![]);
    vec![]
}

pub(in crate::ui) fn open_question(model: &mut Model, action: Action) -> Vec<Effect> {
    match question::build_question(model, action) {
        Ok(question) => push_overlay(model, Overlay::Confirm(Box::new(question))),
        Err(why) => {
            // A user who types on without looking means the comment field of the dialog.
            model.ignore_letters();
            report_refusal(model, why.to_string())
        }
    }
}

pub(in crate::ui) fn open_form(
    model: &mut Model,
    build: impl Fn(&Model) -> Result<form::Form, AskError>,
) -> Vec<Effect> {
    match build(model) {
        Ok(form) => push_overlay(model, Overlay::Form(Box::new(form))),
        Err(why) => report_refusal(model, why.to_string()),
    }
}

pub(in crate::ui) fn open_lock(model: &mut Model) -> Vec<Effect> {
    let held = model
        .selected_environment()
        .filter(|e| e.lock.is_some())
        .map(|e| e.name.clone());
    match (held, model.app.clone()) {
        (Some(environment), Some(app)) => {
            match question::ask_to_lock(model, &app, &environment, None) {
                Ok(question) => {
                    let question = question.in_namespace_of(model);
                    push_overlay(model, Overlay::Confirm(Box::new(question)))
                }
                Err(why) => report_refusal(model, why.to_string()),
            }
        }
        _ => open_form(model, form::build::lock_form),
    }
}

pub(in crate::ui) fn open_contexts(model: &mut Model) -> Vec<Effect> {
    let ticket = model.next_ticket();
    model
        .overlays
        .push(Overlay::Palette(Box::new(Palette::for_contexts(ticket))));
    vec![Effect::Query(ticket, Query::Contexts)]
}

pub(in crate::ui) fn open_namespaces(model: &mut Model) -> Vec<Effect> {
    let ticket = model.next_ticket();
    let palette = Palette::for_namespaces(ticket, &shown_namespace(model));
    model.overlays.push(Overlay::Palette(Box::new(palette)));
    vec![Effect::Query(ticket, Query::Namespaces)]
}

/// What of the cluster is shown now.
pub(in crate::ui) fn shown_namespace(model: &Model) -> ShownNamespace {
    if model.shows_all {
        ShownNamespace::All
    } else {
        ShownNamespace::One(model.world.namespace.clone())
    }
}

/// Shows a namespace of the cluster that is shown, or all of them.
fn switch_namespace(model: &mut Model, namespace: ShownNamespace) -> Vec<Effect> {
    if namespace == shown_namespace(model) {
        let words = match namespace {
            ShownNamespace::One(name) => format!("namespace {name} is shown already"),
            ShownNamespace::All => "all namespaces are shown already".to_owned(),
        };
        return report_refusal(model, words);
    }
    let cluster = cluster_of_place(&model.options.place);
    let place = namespace.place_in(cluster);
    let mut effects = model.switch_cluster(&place);
    effects.push(Effect::SwitchNamespace(namespace));
    effects
}

/// Draws with a theme until the end, and says how it is kept: the configuration is the user's file.
fn keep_theme(model: &mut Model, theme: Theme) -> Vec<Effect> {
    let words = format!(
        "theme {0} until the end; theme = \"{0}\" in config.toml keeps it",
        theme.name
    );
    model.options.theme = theme;
    model.add_notice(Level::Info, words, vec![]);
    vec![]
}

/// Shows the next newer or older release; releases are sorted newest first.
pub(in crate::ui) fn show_other_release(model: &mut Model, newer: bool) -> Vec<Effect> {
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
            model.pin_release(name);
            vec![]
        }
        None => report_refusal(
            model,
            if newer {
                "this is the newest release"
            } else {
                "this is the oldest release"
            },
        ),
    }
}

pub(in crate::ui) fn scroll_sideways(model: &mut Model, right: bool) -> Vec<Effect> {
    if model.overlays.is_empty() {
        list::scroll_rows(model, right)
    } else {
        reading::scroll_columns(model, right)
    }
}

pub(in crate::ui) fn open_palette(model: &mut Model) -> Vec<Effect> {
    let palette = Palette::for_model(
        model,
        |a| makes_sense(model, a),
        |a| missing_right(model, a),
    );
    push_overlay(model, Overlay::Palette(Box::new(palette)))
}

pub(in crate::ui) fn open_themes(model: &mut Model) -> Vec<Effect> {
    let palette = Palette::for_themes(&model.options);
    push_overlay(model, Overlay::Palette(Box::new(palette)))
}

pub(in crate::ui) fn reconnect(model: &mut Model) -> Vec<Effect> {
    model.add_notice(Level::Info, "trying the connection again", vec![]);
    vec![Effect::Reconnect]
}

pub(in crate::ui) fn toggle_zoom(model: &mut Model) -> Vec<Effect> {
    model.zoom = !model.zoom;
    vec![]
}

pub(in crate::ui) fn toggle_read_only(model: &mut Model) -> Vec<Effect> {
    // Read-only mode from the command line cannot be turned off by one key.
    if model.options.read_only && model.read_only {
        return report_refusal(
            model,
            "started with --read-only: start without it to change anything",
        );
    }
    model.read_only = !model.read_only;
    let words = if model.read_only {
        "read-only: all keys that change something are off"
    } else {
        "keys that change something are on"
    };
    model.add_notice(Level::Info, words, vec![]);
    vec![]
}

pub(in crate::ui) fn focus_other_button(model: &mut Model) -> Vec<Effect> {
    if let Some(Overlay::Confirm(question)) = model.overlays.last_mut() {
        question.move_focus();
    }
    vec![]
}

pub(in crate::ui) fn move_in_palette(model: &mut Model, back: bool) -> Vec<Effect> {
    if let Some(Overlay::Palette(palette)) = model.overlays.last_mut() {
        palette.move_selection(back);
    }
    vec![]
}

pub(in crate::ui) fn open_filter(model: &mut Model) -> Vec<Effect> {
    let before = match model.overlays.last() {
        Some(Overlay::Text(text)) => text.filter.clone(),
        _ => model.pane_filter(model.pane).to_owned(),
    };
    push_overlay(model, Overlay::Filter(Input::new(before.clone()), before))
}

pub(in crate::ui) fn cycle_pane(model: &mut Model, back: bool) -> Vec<Effect> {
    model.pane = model.pane.neighbour(back);
    vec![]
}

pub(in crate::ui) fn focus_pane(model: &mut Model, pane: Pane) -> Vec<Effect> {
    model.pane = pane;
    vec![]
}

/// Closes, clears or goes back, one step at a time.
pub(in crate::ui) fn go_back(model: &mut Model) -> Vec<Effect> {
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
        Some(Overlay::Prompt(prompt)) => {
            let kind = prompt.kind.clone();
            model.overlays.pop();
            if let PromptKind::Search {
                before,
                top,
                follow,
            } = kind
            {
                reading::undo_search(model, before, top, follow);
            }
            return vec![];
        }
        Some(_) => return model.close_overlay(),
        None => {}
    }
    if model.scrolled.remove(&model.pane).is_some() {
        // The left end of the list is back.
    } else if !model.pane_filter(model.pane).is_empty() {
        model.filters.remove(&model.pane);
    } else if model.pane.behaviour().go_back(model) {
        // What was chosen in the pane is undone.
    } else if model.zoom {
        model.zoom = false;
    } else {
        model.marked.clear();
    }
    vec![]
}

pub(in crate::ui) fn page_step(model: &Model) -> isize {
    let rows = match model.overlays.last() {
        Some(Overlay::Text(_)) => view::text_height(model.size),
        _ => usize::from(model.size.1 / 2),
    };
    isize::try_from(rows / 2).unwrap_or(10).max(1)
}

pub(in crate::ui) fn move_selection(model: &mut Model, by: isize) -> Vec<Effect> {
    match model.overlays.pop() {
        Some(Overlay::Text(mut text)) => {
            let rows = view::TextRows::new(model, &text).len();
            text.scroll(by, rows, view::text_height(model.size));
            model.overlays.push(Overlay::Text(text));
        }
        Some(Overlay::Confirm(mut question)) => {
            question.top = question.top.saturating_add_signed(by).min(500);
            model.overlays.push(Overlay::Confirm(question));
        }
        Some(other) => model.overlays.push(other),
        None => {
            let (rows, at) = model.row_position(model.pane);
            if rows > 0 {
                let next = at.map_or(0, |at| at.saturating_add_signed(by).min(rows - 1));
                model.select_row(next);
            }
        }
    }
    vec![]
}

pub(in crate::ui) fn toggle_follow(model: &mut Model) -> Vec<Effect> {
    if let Some(Overlay::Text(mut text)) = model.overlays.pop() {
        let rows = view::TextRows::new(model, &text).len();
        text.top = text.first_row(rows, view::text_height(model.size));
        text.follow = !text.follow;
        model.overlays.push(Overlay::Text(text));
    }
    vec![]
}

pub(in crate::ui) fn change_field(model: &mut Model, action: Action) -> Vec<Effect> {
    if let Some(Overlay::Form(open)) = model.overlays.last_mut() {
        match action {
            Action::NextField => open.move_focus(false),
            Action::PreviousField => open.move_focus(true),
            other => {
                let back = other == Action::PreviousChoice;
                if let Some(field) = open.current_field() {
                    field.cycle_choice(back);
                }
            }
        }
    }
    super::input::refresh_after_edit(model);
    vec![]
}

pub(in crate::ui) fn submit_open_form(model: &mut Model) -> Vec<Effect> {
    let Some(Overlay::Form(mut open)) = model.overlays.pop() else {
        return vec![];
    };
    let submitted = form::submit_form(model, &mut open);
    match submitted {
        Ok(Submitted::Ask(question)) => {
            model.overlays.push(Overlay::Form(open));
            let question = Box::new(question.in_namespace_of(model));
            push_overlay(model, Overlay::Confirm(question))
        }
        Ok(Submitted::Probe(request)) => probe::send_custom_probe(model, *request),
        Ok(Submitted::Ignore(list)) => diff::leave_out(model, list),
        Err(why) => {
            model.overlays.push(Overlay::Form(open));
            report_refusal(model, why.to_string())
        }
    }
}

/// Answers yes regardless of the focus; a required name must have been typed.
pub(in crate::ui) fn answer_yes(model: &mut Model) -> Vec<Effect> {
    match model.overlays.last() {
        Some(Overlay::Confirm(question)) if question.typed.is_some() && !question.is_typed() => {
            let name = question
                .typed
                .as_ref()
                .map(|(name, _)| name.clone())
                .unwrap_or_default();
            report_refusal(model, format!("type {name} first"))
        }
        Some(Overlay::Confirm(_)) => send_intent(model),
        _ => vec![],
    }
}

pub(in crate::ui) fn press_button(model: &mut Model) -> Vec<Effect> {
    let Some(Overlay::Confirm(question)) = model.overlays.last() else {
        return vec![];
    };
    match question.focus {
        Focus::Yes => answer_yes(model),
        Focus::Typed if question.is_typed() => send_intent(model),
        Focus::Typed | Focus::Comment => {
            if let Some(Overlay::Confirm(question)) = model.overlays.last_mut() {
                question.move_focus();
            }
            vec![]
        }
        Focus::No => model.close_overlay(),
    }
}

fn send_intent(model: &mut Model) -> Vec<Effect> {
    let Some(Overlay::Confirm(question)) = model.overlays.last() else {
        return vec![];
    };
    let is_safe = question.own_command.as_ref().is_some_and(|own| own.safe);
    if model.read_only && !is_safe {
        return report_refusal(model, "read-only: nothing is sent");
    }
    if !question.can_confirm() {
        let why = question
            .stale
            .clone()
            .unwrap_or_else(|| "not confirmed".into());
        return report_refusal(model, format!("{why}: nothing was done; look again"));
    }
    let Some(Overlay::Confirm(mut question)) = model.overlays.pop() else {
        return vec![];
    };
    if let Some(command) = question.own_command.take() {
        return own_command::run_command(model, command);
    }
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
    let draft = question.draft.clone();
    let word = question.verb.to_lowercase();
    let all = question.into_intents();
    let run = (all.len() > 1).then(|| model.begin_run(&word, all.len()));
    model.marked.clear();
    let effects = all.into_iter().map(|planned| {
        let ticket = model.next_ticket();
        let about = ObjectKey::at_home(planned.namespace.as_str(), planned.about);
        let pending = Pending {
            run,
            draft: draft.clone(),
            ..Pending::new(planned.sent, &about, model.now)
        };
        model.pending.insert(ticket, pending);
        Effect::Perform(ticket, planned.namespace, planned.intent)
    });
    effects.collect()
}

/// Builds the question again from the current world.
pub(in crate::ui) fn look_again(model: &mut Model) -> Vec<Effect> {
    let Some(Overlay::Confirm(question)) = model.overlays.pop() else {
        return vec![];
    };
    match question.again {
        Some(_) if !model.visit_namespace(&question.namespace) => {
            let words = format!("namespace {} holds nothing any more", question.namespace);
            report_refusal(model, words)
        }
        Some(action) => open_question(model, action),
        // The form below still holds the user's input.
        None => vec![],
    }
}

pub(in crate::ui) fn accept_input(model: &mut Model) -> Vec<Effect> {
    match model.overlays.pop() {
        Some(Overlay::Palette(palette)) => match palette.selected_item() {
            Some(PaletteItem::Act(action)) if makes_sense(model, action) => {
                perform_action(model, action)
            }
            // Unavailable actions say why.
            Some(PaletteItem::Act(action))
                if model.read_only && action.danger() != Danger::Safe =>
            {
                report_refusal(model, format!("read-only: {} is off", action.word()))
            }
            Some(PaletteItem::Act(action)) if action.danger() != Danger::Safe => {
                perform_action(model, action)
            }
            Some(PaletteItem::Theme(theme)) => keep_theme(model, *theme),
            Some(PaletteItem::Namespace(name)) => switch_namespace(model, name),
            Some(PaletteItem::Cluster(choice))
                if choice.place == cluster_of_place(&model.options.place) =>
            {
                perform_action(model, Action::Reconnect)
            }
            Some(PaletteItem::Cluster(choice)) => {
                let mut effects = model.switch_cluster(&choice.shown_place());
                effects.push(Effect::SwitchCluster(choice.name));
                effects
            }
            Some(PaletteItem::OwnCommand(own)) => own_command::begin_command(model, &own),
            Some(PaletteItem::Object(object)) => open::open_yaml_of(model, object),
            Some(PaletteItem::Shell(pod, container)) => forward::run_shell(model, pod, container),
            Some(PaletteItem::Forward(pod, port)) => forward::start_forward(model, pod, port),
            Some(PaletteItem::EndForward(ticket)) => forward::end_forward(model, ticket),
            Some(goal) => {
                if model.go_to(&goal) {
                    vec![]
                } else {
                    report_refusal(model, "that is gone by now")
                }
            }
            None => {
                if let Some(theme) = palette.theme_before {
                    model.options.theme = *theme;
                }
                vec![]
            }
        },
        Some(Overlay::Prompt(prompt)) => reading::accept_prompt(model, &prompt),
        Some(Overlay::Filter(..)) | None => vec![],
        Some(other) => push_overlay(model, other),
    }
}
