//! What each action does.

use tui_input::Input;

use super::{
    diff, edit, forward, input::set_filter, list, logs, open, own_command, probe, reading,
    release_diff, traces,
};
use crate::domain::{apps, world::ObjectKey};
use crate::ui::{
    effect::{Effect, Query, ShownNamespace, cluster_of_place},
    facts,
    form::{self, Submitted},
    keymap::{Action, Danger},
    model::{
        FrozenChains, Level, LogTarget, Model, Overlay, Palette, PaletteItem, Pane, Pending,
        PromptKind, Source,
    },
    question::{self, Focus},
    rights::missing_right,
    theme::Theme,
    view,
};

/// Runs an action. The caller has checked read-only mode and key repeats.
pub(super) fn perform_action(model: &mut Model, action: Action) -> Vec<Effect> {
    if let Some(why) = missing_right(model, action) {
        return report_refusal(model, format!("{}: {why}", action.word()));
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
        | Action::StopTheLine => open_question(model, action),
        Action::Start => open_form(model, form::build::start_form),
        Action::NewApps => open_form(model, form::build::new_apps_form),
        Action::TemplateDiff => open::open_template_diff(model),
        Action::ReleaseDiff => release_diff::open_release_diff(model),
        Action::Variables => open::open_variables(model),
        Action::NewLane => open_form(model, |m| form::build::lane_form(m, false)),
        Action::EditLane => open_form(model, |m| form::build::lane_form(m, true)),
        Action::ProbeForm => open_form(model, form::build::probe_form),
        Action::Lock => open_lock(model),
        Action::Mark => toggle_mark(model),
        Action::MarkAll => list::mark_all(model),
        Action::NextRelease => show_other_release(model, true),
        Action::PreviousRelease => show_other_release(model, false),
        Action::Logs => logs::open_logs(model),
        Action::NextContainer => logs::switch_log(model, LogTarget::select_next_container),
        Action::NextScope => logs::switch_log(model, LogTarget::select_next_scope),
        Action::Since => logs::switch_log(model, |log| log.range = log.range.next_choice()),
        Action::PreviousRun => logs::switch_log(model, |log| log.previous = !log.previous),
        Action::Timestamps => logs::toggle_timestamps(model),
        Action::Search => reading::open_search(model),
        Action::NextMatch => reading::find_next_match(model, false),
        Action::PreviousMatch => reading::find_next_match(model, true),
        Action::Wrap => reading::toggle_wrap(model),
        Action::ScrollLeft if model.overlays.is_empty() => list::scroll_rows(model, false),
        Action::ScrollRight if model.overlays.is_empty() => list::scroll_rows(model, true),
        Action::ScrollLeft => reading::scroll_columns(model, false),
        Action::ScrollRight => reading::scroll_columns(model, true),
        Action::Save => reading::open_save(model),
        Action::Events => open::open_events(model),
        Action::Yaml => open::open_yaml(model),
        Action::Describe => open::open_description(model),
        Action::Edit => edit::begin_edit(model),
        Action::Shell => forward::open_shell(model),
        Action::PortForward => forward::choose_port(model),
        Action::Forwards => forward::list_forwards(model),
        Action::Open => open::open_selected(model),
        Action::Probe => probe::send_both_probes(model),
        Action::Diff => diff::compare_answers(model),
        Action::LeaveOut => diff::open_ignore_list(model),
        Action::WholeTrace => traces::open_whole_trace(model),
        Action::Freeze => toggle_freeze(model),
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
        Action::Filter => open_filter(model),
        Action::Sort => list::sort_rows(model, false),
        Action::ReverseSort => list::sort_rows(model, true),
        Action::Palette => {
            let palette = Palette::for_model(
                model,
                |a| makes_sense(model, a),
                |a| missing_right(model, a),
            );
            push_overlay(model, Overlay::Palette(Box::new(palette)))
        }
        Action::Contexts => open_contexts(model),
        Action::Namespaces => open_namespaces(model),
        Action::Themes => {
            let palette = Palette::for_themes(&model.options);
            push_overlay(model, Overlay::Palette(Box::new(palette)))
        }
        Action::Reconnect => {
            model.add_notice(Level::Info, "trying the connection again", vec![]);
            vec![Effect::Reconnect]
        }
        Action::Help => open::toggle_help(model),
        Action::Notices => open::open_notices(model),
        Action::Copy => open::copy_selected(model),
        Action::NextPane => cycle_pane(model, 1),
        Action::PreviousPane => cycle_pane(model, 4),
        Action::PaneApps => focus_pane(model, Pane::Apps),
        Action::PaneEnvironments => focus_pane(model, Pane::Environments),
        Action::PaneRollout => focus_pane(model, Pane::Rollout),
        Action::PaneLanes => focus_pane(model, Pane::Lanes),
        Action::PaneTrace => focus_pane(model, Pane::Trace),
        Action::Zoom => {
            model.zoom = !model.zoom;
            vec![]
        }
        Action::Back => go_back(model),
        // Read-only mode from the command line cannot be turned off by one key.
        Action::ReadOnly if model.options.read_only && model.read_only => report_refusal(
            model,
            "started with --read-only: start without it to change anything",
        ),
        Action::ReadOnly => {
            model.read_only = !model.read_only;
            let words = if model.read_only {
                "read-only: all keys that change something are off"
            } else {
                "keys that change something are on"
            };
            model.add_notice(Level::Info, words, vec![]);
            vec![]
        }
        Action::Repaint => vec![Effect::Repaint],
        Action::Suspend => vec![Effect::Suspend],
        Action::Quit => vec![Effect::Quit],
        Action::Down => move_selection(model, 1),
        Action::Up => move_selection(model, -1),
        Action::PageDown => move_selection(model, page_step(model)),
        Action::PageUp => move_selection(model, -page_step(model)),
        Action::First => move_selection(model, isize::MIN / 2),
        Action::Last => move_selection(model, isize::MAX / 2),
        Action::Follow => toggle_follow(model),
        Action::NextField | Action::PreviousField | Action::NextChoice | Action::PreviousChoice => {
            change_field(model, action)
        }
        Action::Submit => submit_open_form(model),
        Action::Yes => answer_yes(model),
        Action::OtherButton => {
            if let Some(Overlay::Confirm(question)) = model.overlays.last_mut() {
                question.move_focus();
            }
            vec![]
        }
        Action::Press => press_button(model),
        Action::LookAgain => look_again(model),
        Action::Accept => accept_input(model),
        Action::Complete | Action::CompleteBack => {
            if let Some(Overlay::Palette(palette)) = model.overlays.last_mut() {
                palette.move_selection(action == Action::CompleteBack);
            }
            vec![]
        }
    }
}

/// Whether an action is available and permitted; for the footer and the palette.
pub fn is_available(model: &Model, action: Action) -> bool {
    makes_sense(model, action) && missing_right(model, action).is_none()
}

fn makes_sense(model: &Model, action: Action) -> bool {
    if model.read_only && action.danger() != Danger::Safe {
        return false;
    }
    let is = |test: fn(facts::ReleaseState<'_>) -> bool| {
        if question::is_about_marked(model, action) {
            let marked = model.marked.iter();
            let releases = marked.filter_map(|key| {
                let scope = model.scope_of(&key.namespace)?;
                scope.world.releases.get(scope.facts.release_of(&key.name)?)
            });
            releases.map(|r| facts::release_state(r)).any(test)
        } else {
            let selected = model.selected_release();
            selected.is_some_and(|(_, r)| test(facts::release_state(r)))
        }
    };
    match action {
        Action::Approve | Action::Refuse => is(|t| matches!(t, facts::ReleaseState::Approve(_))),
        Action::Continue => is(|t| {
            matches!(
                t,
                facts::ReleaseState::Batch(..) | facts::ReleaseState::Proceed(_)
            )
        }),
        Action::Pause => is(|t| {
            !t.is_over() && !matches!(t, facts::ReleaseState::Held | facts::ReleaseState::Aborting)
        }),
        Action::Resume => is(|t| matches!(t, facts::ReleaseState::Held)),
        Action::Retry => is(|t| matches!(t, facts::ReleaseState::Failed(_))),
        Action::Skip => is(|t| t.waits_for_person() && !matches!(t, facts::ReleaseState::Held)),
        Action::Abort => is(|t| !t.is_over() && !matches!(t, facts::ReleaseState::Aborting)),
        Action::EditLane | Action::ToggleLane | Action::DeleteLane => {
            model.selected_lane().is_some()
        }
        Action::StopTheLine => !model.facts.active.is_empty(),
        Action::Start | Action::Mark | Action::MarkAll => model.app.is_some(),
        Action::NewApps => !model.world.templates.is_empty(),
        Action::ReleaseDiff => model
            .selected_release()
            .is_some_and(|(_, r)| r.status.as_ref().is_some_and(|s| s.revision.is_some())),
        Action::TemplateDiff => model
            .selected_app()
            .is_some_and(|app| apps::template_name(app).is_some()),
        Action::Logs => logs::selected_pods(model).is_some(),
        Action::Lock | Action::Events | Action::Variables => model.selected_environment().is_some(),
        Action::Teardown => !model.drilled && question::build_question(model, action).is_ok(),
        Action::Follow | Action::Since | Action::Timestamps | Action::PreviousRun => {
            logs::top_log(model).is_some()
        }
        Action::NextContainer => logs::top_log(model).is_some_and(|log| log.containers.len() > 1),
        Action::NextScope => logs::top_log(model).is_some_and(|log| log.scopes.len() > 1),
        Action::NextMatch | Action::PreviousMatch => {
            matches!(model.overlays.last(), Some(Overlay::Text(t)) if !t.search.is_empty())
        }
        Action::Describe => match model.overlays.last() {
            Some(Overlay::Text(text)) => matches!(text.source, Source::Yaml(_)),
            _ => true,
        },
        Action::Edit => edit::editable_object(model).is_some(),
        Action::Shell | Action::PortForward => model.drilled && model.selected_pod().is_some(),
        Action::Search | Action::Wrap | Action::Save => {
            matches!(model.overlays.last(), Some(Overlay::Text(_)))
        }
        Action::ScrollLeft | Action::ScrollRight => match model.overlays.last() {
            Some(overlay) => matches!(overlay, Overlay::Text(text) if !text.wrap),
            None => true,
        },
        Action::Yes => {
            matches!(model.overlays.last(), Some(Overlay::Confirm(q)) if q.can_confirm())
        }
        Action::LookAgain => {
            matches!(model.overlays.last(), Some(Overlay::Confirm(q)) if q.stale.is_some())
        }
        Action::Sort | Action::ReverseSort => model.sortable_list(model.pane).is_some(),
        Action::Probe | Action::ProbeForm => !model.world.groups.is_empty(),
        Action::Diff => diff::chosen_chain(model).is_some(),
        Action::LeaveOut => diff::is_comparison_open(model),
        Action::WholeTrace => traces::has_traces(model),
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

fn push_overlay(model: &mut Model, overlay: Overlay) -> Vec<Effect> {
    model.overlays.push(overlay);
    vec![]
}

fn report_refusal(model: &mut Model, why: impl AsRef<str>) -> Vec<Effect> {
    model.add_notice(Level::Warn, why, vec![]);
    vec![]
}

fn open_question(model: &mut Model, action: Action) -> Vec<Effect> {
    match question::build_question(model, action) {
        Ok(question) => push_overlay(model, Overlay::Confirm(Box::new(question))),
        Err(why) => {
            // A user who types on without looking means the comment field of the dialog.
            model.ignore_letters();
            report_refusal(model, why)
        }
    }
}

fn open_form(
    model: &mut Model,
    build: impl Fn(&Model) -> Result<form::Form, String>,
) -> Vec<Effect> {
    match build(model) {
        Ok(form) => push_overlay(model, Overlay::Form(Box::new(form))),
        Err(why) => report_refusal(model, why),
    }
}

fn open_lock(model: &mut Model) -> Vec<Effect> {
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
                Err(why) => report_refusal(model, why),
            }
        }
        _ => open_form(model, form::build::lock_form),
    }
}

fn open_contexts(model: &mut Model) -> Vec<Effect> {
    let ticket = model.next_ticket();
    model
        .overlays
        .push(Overlay::Palette(Box::new(Palette::for_contexts(ticket))));
    vec![Effect::Query(ticket, Query::Contexts)]
}

fn open_namespaces(model: &mut Model) -> Vec<Effect> {
    let ticket = model.next_ticket();
    let palette = Palette::for_namespaces(ticket, &shown_namespace(model));
    model.overlays.push(Overlay::Palette(Box::new(palette)));
    vec![Effect::Query(ticket, Query::Namespaces)]
}

/// What of the cluster is shown now.
pub(super) fn shown_namespace(model: &Model) -> ShownNamespace {
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

fn toggle_mark(model: &mut Model) -> Vec<Effect> {
    if let Some(app) = model
        .app
        .as_ref()
        .map(|app| model.current_scope().key_of(app))
        && !model.marked.remove(&app)
    {
        model.marked.insert(app);
    }
    move_selection(model, 1)
}

/// Shows the next newer or older release; releases are sorted newest first.
fn show_other_release(model: &mut Model, newer: bool) -> Vec<Effect> {
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

fn toggle_freeze(model: &mut Model) -> Vec<Effect> {
    model.frozen = if model.frozen.is_some() {
        None
    } else {
        Some(FrozenChains {
            chains: model.facts.chains.clone(),
            groups: model.facts.figures.groups.clone(),
        })
    };
    vec![]
}

fn open_filter(model: &mut Model) -> Vec<Effect> {
    let before = match model.overlays.last() {
        Some(Overlay::Text(text)) => text.filter.clone(),
        _ => model.pane_filter(model.pane).to_owned(),
    };
    push_overlay(model, Overlay::Filter(Input::new(before.clone()), before))
}

fn cycle_pane(model: &mut Model, by: usize) -> Vec<Effect> {
    let at = (model.pane as usize + by) % Pane::ALL.len();
    model.pane = Pane::ALL.get(at).copied().unwrap_or_default();
    vec![]
}

fn focus_pane(model: &mut Model, pane: Pane) -> Vec<Effect> {
    model.pane = pane;
    vec![]
}

/// Closes, clears or goes back, one step at a time.
fn go_back(model: &mut Model) -> Vec<Effect> {
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

fn page_step(model: &Model) -> isize {
    let rows = match model.overlays.last() {
        Some(Overlay::Text(_)) => view::text_height(model.size),
        _ => usize::from(model.size.1 / 2),
    };
    isize::try_from(rows / 2).unwrap_or(10).max(1)
}

pub(super) fn move_selection(model: &mut Model, by: isize) -> Vec<Effect> {
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

fn toggle_follow(model: &mut Model) -> Vec<Effect> {
    if let Some(Overlay::Text(mut text)) = model.overlays.pop() {
        let rows = view::TextRows::new(model, &text).len();
        text.top = text.first_row(rows, view::text_height(model.size));
        text.follow = !text.follow;
        model.overlays.push(Overlay::Text(text));
    }
    vec![]
}

fn change_field(model: &mut Model, action: Action) -> Vec<Effect> {
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

fn submit_open_form(model: &mut Model) -> Vec<Effect> {
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
        Ok(Submitted::Send(intent)) => probe::send_custom_probe(model, *intent),
        Ok(Submitted::Ignore(list)) => diff::leave_out(model, list),
        Err(why) => {
            model.overlays.push(Overlay::Form(open));
            report_refusal(model, why)
        }
    }
}

/// Answers yes regardless of the focus; a required name must have been typed.
fn answer_yes(model: &mut Model) -> Vec<Effect> {
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

fn press_button(model: &mut Model) -> Vec<Effect> {
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
        let about = ObjectKey {
            namespace: planned.namespace.clone(),
            name: planned.about,
        };
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
fn look_again(model: &mut Model) -> Vec<Effect> {
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

fn accept_input(model: &mut Model) -> Vec<Effect> {
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
            Some(goal) => match model.go_to(&goal) {
                true => vec![],
                false => report_refusal(model, "that is gone by now"),
            },
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
