//! All actions of the cockpit, one row each: its keys, words and danger, the right it needs, when it
//! is possible, and what it does. Dispatch, footer, help, palette, `docs/keys.md` and the user's
//! keys file follow this table.

use super::{
    effect::Effect,
    form,
    keymap::KeyContext,
    model::{LogTarget, Model},
    pane::{Pane, apps, trace},
    rights::RightNeed::{self, ChosenPods, EditedObject, Home, Nothing, SelectedPod},
    update::{
        act::{
            accept_input, answer_yes, change_field, cycle_pane, focus_other_button, focus_pane,
            go_back, look_again, move_in_palette, move_selection, open_contexts, open_filter,
            open_form, open_lock, open_namespaces, open_palette, open_question, open_themes,
            page_step, press_button, reconnect, scroll_sideways, show_other_release,
            submit_open_form, toggle_follow, toggle_read_only, toggle_zoom,
        },
        conditions::{
            always, can_confirm, can_describe, can_scroll, can_sort, can_tear_down, has_app,
            has_environment, has_lane, has_lane_group, has_release_diff, has_template, in_log,
            in_overlay, in_pods, in_search, in_text, is_stale, log_has_containers, log_has_scopes,
            release_awaits_approval, release_awaits_go_ahead, release_can_abort, release_can_pause,
            release_can_skip, release_has_failed, release_is_held,
        },
        diff, edit, editable_object, forward, list, logs, open, probe, reading, release_diff,
        selected_pods, traces,
    },
};
use crate::domain::rights::Right;

/// How much an action can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// Changes nothing but the screen.
    Safe,
    /// Leads to a change; disabled in read-only mode.
    Change,
    /// Opens a confirmation dialog; key repeats are ignored; disabled in read-only mode.
    Dangerous,
}

/// All that is known of an action.
pub(super) struct ActionRow {
    word: &'static str,
    hint: &'static str,
    sentence: &'static str,
    danger: Danger,
    /// Context, place among its keys in footer and help, and the keys, separated by spaces.
    pub(super) keys: &'static [(KeyContext, u8, &'static str)],
    /// The right that it needs.
    pub(super) needs: RightNeed,
    /// Whether it is possible now.
    pub(super) is_possible: fn(&Model, Action) -> bool,
    /// What it does.
    pub(super) run: fn(&mut Model, Action) -> Vec<Effect>,
}

macro_rules! actions {
    ($(
        $name:ident $word:literal $danger:ident $hint:literal $sentence:literal
        [$($context:ident $place:literal $keys:literal),+] $needs:expr,
        $when:expr => $run:expr;
    )*) => {
        /// What a key does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action { $(#[doc = $sentence] $name,)* }

        impl Action {
            /// All, in help order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }

        /// In the order of the variants.
        static ROWS: &[ActionRow] = &[$(ActionRow {
            word: $word,
            hint: $hint,
            sentence: $sentence,
            danger: Danger::$danger,
            keys: &[$((KeyContext::$context, $place, $keys)),+],
            needs: $needs,
            is_possible: $when,
            run: $run,
        },)*];
    };
}

impl Action {
    pub(super) fn row(self) -> &'static ActionRow {
        &ROWS[self as usize]
    }

    /// As overrides and the palette write it.
    pub fn word(self) -> &'static str {
        self.row().word
    }

    /// For the footer; empty is not shown there.
    pub fn hint(self) -> &'static str {
        self.row().hint
    }

    /// For help.
    pub fn sentence(self) -> &'static str {
        self.row().sentence
    }

    /// What it can change.
    pub fn danger(self) -> Danger {
        self.row().danger
    }

    /// Whether it steers a release.
    pub const fn steers_release(self) -> bool {
        matches!(
            self,
            Self::Approve
                | Self::Refuse
                | Self::Continue
                | Self::Pause
                | Self::Resume
                | Self::Retry
                | Self::Skip
                | Self::Abort
        )
    }
}

// name, word, danger, word of the footer, sentence
//     [context, place, keys], right,
//     when it is possible => what it does
actions! {
    Approve "approve" Dangerous "approve" "Approve what the selected release waits for"
        [Release 0 "a"] Home(Right::Approve),
        release_awaits_approval => open_question;
    Refuse "refuse" Dangerous "refuse" "Refuse it"
        [Release 1 "x"] Home(Right::Approve),
        release_awaits_approval => open_question;
    Continue "continue" Dangerous "proceed" "Let the next batch, or a waiting task, proceed"
        [Release 2 "c"] Home(Right::Steer),
        release_awaits_go_ahead => open_question;
    Pause "pause" Dangerous "pause" "Pause the release where it is"
        [Release 3 "s"] Home(Right::Steer),
        release_can_pause => open_question;
    Resume "resume" Dangerous "resume" "Resume a paused release"
        [Release 4 "u"] Home(Right::Steer),
        release_is_held => open_question;
    Retry "retry" Dangerous "retry" "Try a failed task again"
        [Release 5 "r"] Home(Right::Steer),
        release_has_failed => open_question;
    Skip "skip" Dangerous "skip" "Skip a failed or waiting task"
        [Release 6 "S"] Home(Right::Steer),
        release_can_skip => open_question;
    Abort "abort" Dangerous "abort" "Roll the release back and end it"
        [Release 7 "A"] Home(Right::Steer),
        release_can_abort => open_question;
    Start "start" Change "release" "Start a release of the selected or marked apps"
        [Apps 2 "n"] Home(Right::Start),
        has_app => |m, _| open_form(m, form::build::start_form);
    NewApps "new-apps" Change "new apps" "Make apps from a template"
        [Apps 3 "+"] Home(Right::NewApp),
        |m, _| !m.world.templates.is_empty() => |m, _| open_form(m, form::build::new_apps_form);
    TemplateDiff "template-diff" Safe "" "Show how the app differs from its template"
        [Apps 4 "d"] Nothing,
        has_template => |m, _| open::open_template_diff(m);
    ReleaseDiff "release-diff" Safe "changes" "Show what the release changes: images, values and objects, old against new"
        [Release 10 "D"] Nothing,
        has_release_diff => |m, _| release_diff::open_release_diff(m);
    Mark "mark" Safe "mark" "Mark an app: several are released in one window, and their releases acted on at once"
        [Apps 0 "space"] Nothing,
        has_app => |m, _| apps::toggle_mark(m);
    MarkAll "mark-all" Safe "" "Mark every app that the list shows, or none"
        [Apps 1 "M"] Nothing,
        has_app => |m, _| apps::mark_all(m);
    NextRelease "next-release" Safe "" "Show the app's next newer release"
        [Release 8 "]"] Nothing,
        always => |m, _| show_other_release(m, true);
    PreviousRelease "previous-release" Safe "" "Show the app's next older release"
        [Release 9 "["] Nothing,
        always => |m, _| show_other_release(m, false);
    NewLane "new-lane" Change "new lane" "Add a lane"
        [Lanes 0 "n"] Home(Right::NewLane),
        always => |m, _| open_form(m, |m| form::build::lane_form(m, false));
    EditLane "edit-lane" Change "edit" "Edit the selected lane"
        [Lanes 1 "e"] Home(Right::EditLane),
        has_lane => |m, _| open_form(m, |m| form::build::lane_form(m, true));
    ToggleLane "toggle-lane" Dangerous "on/off" "Enable or disable the selected lane"
        [Lanes 2 "t"] Home(Right::EditLane),
        has_lane => open_question;
    DeleteLane "delete-lane" Dangerous "delete" "Delete the selected lane"
        [Lanes 3 "D"] Home(Right::DeleteLane),
        has_lane => open_question;
    Logs "logs" Safe "logs" "Follow the logs of the selected pod, environment, app or lane"
        [Release 11 "L", Environments 0 "L", Lanes 4 "L", Trace 4 "L"] ChosenPods(Right::Logs),
        |m, _| selected_pods(m).is_some() => |m, _| logs::open_logs(m);
    Events "events" Safe "events" "Events of the selected object"
        [Environments 1 "E"] Nothing,
        has_environment => |m, _| open::open_events(m);
    Variables "variables" Safe "" "Show what manifests read as .Values, where it comes from, and what a group reaches"
        [Environments 2 "v"] Nothing,
        has_environment => |m, _| open::open_variables(m);
    Lock "lock" Change "lock" "Lock or unlock the environment"
        [Environments 5 "b"] Home(Right::Lock),
        has_environment => |m, _| open_lock(m);
    Teardown "teardown" Dangerous "tear down" "Take down what the environment runs (its name must be typed)"
        [Environments 6 "T"] Home(Right::Start),
        can_tear_down => open_question;
    Freeze "freeze" Safe "freeze" "Freeze the list of chains, or let it run again"
        [Trace 0 "space"] Nothing,
        always => |m, _| trace::toggle_freeze(m);
    OnlyWrong "only-wrong" Safe "only wrong" "Show only chains that leak or fail"
        [Trace 1 "w"] Nothing,
        always => |m, _| trace::toggle_only_wrong(m);
    EveryRequest "every-request" Safe "each/groups" "Show every request by itself, or groups of them again"
        [Trace 2 "v"] Nothing,
        always => |m, _| trace::show_every_request(m);
    WholeTrace "whole-trace" Safe "whole trace" "Show a probe's traces in full, and ask the trace store for the rest"
        [Text 15 "enter"] Nothing,
        |m, _| traces::has_traces(m) => |m, _| traces::open_whole_trace(m);
    LeaveOut "leave-out" Safe "leave out" "Name what may differ in comparisons: paths in a JSON body, headers"
        [Text 14 "i"] Nothing,
        |m, _| diff::is_comparison_open(m) => |m, _| diff::open_ignore_list(m);
    Diff "diff" Safe "diff" "Send the request again to gray and to base, and compare the answers"
        [Trace 3 "d", Text 13 "d"] Nothing,
        |m, _| diff::chosen_chain(m).is_some() => |m, _| diff::compare_answers(m);
    Open "open" Safe "open" "Open what is selected"
        [Global 0 "enter"] Nothing,
        always => |m, _| open::open_selected(m);
    Probe "probe" Safe "probe" "Send a tagged and an untagged request and compare their chains"
        [Global 1 "p"] Nothing,
        has_lane_group => |m, _| probe::send_both_probes(m);
    ProbeForm "probe-form" Safe "" "Probe with a request of your own"
        [Global 2 "P"] Nothing,
        has_lane_group => |m, _| open_form(m, form::build::probe_form);
    Filter "filter" Safe "filter" "Filter the pane; a leading ! hides what matches"
        [Global 3 "/", Text 3 "&"] Nothing,
        always => |m, _| open_filter(m);
    Sort "sort" Safe "" "Sort the list by its next column"
        [Global 4 "o"] Nothing,
        can_sort => |m, _| list::sort_rows(m, false);
    ReverseSort "reverse-sort" Safe "" "Turn the order of the list round"
        [Global 5 "O"] Nothing,
        can_sort => |m, _| list::sort_rows(m, true);
    Palette "palette" Safe "palette" "Find any action or object by a few letters"
        [Global 8 ":"] Nothing,
        always => |m, _| open_palette(m);
    Help "help" Safe "help" "Keys that work here, and all others"
        [Global 9 "? f1", Text 20 "? f1", Form 5 "f1", Confirm 6 "f1", Line 3 "f1"] Nothing,
        always => |m, _| open::toggle_help(m);
    Yaml "yaml" Safe "yaml" "The selected object as YAML"
        [Global 19 "Y"] Nothing,
        always => |m, _| open::open_yaml(m);
    Describe "describe" Safe "describe" "The selected object in words, with its events"
        [Global 20 "i", Text 16 "I"] Nothing,
        can_describe => |m, _| open::open_description(m);
    Edit "edit" Change "" "Edit an app, template, variable group, lane group or lane in $EDITOR"
        [Global 21 "ctrl-e", Text 17 "e ctrl-e"] EditedObject,
        |m, _| editable_object(m).is_some() => |m, _| edit::begin_edit(m);
    Shell "shell" Change "shell" "A shell in the selected pod, by kubectl exec"
        [Environments 3 "t"] SelectedPod(Right::Shell),
        in_pods => |m, _| forward::open_shell(m);
    PortForward "port-forward" Safe "forward" "Forward a port of the selected pod to this machine, by kubectl"
        [Environments 4 "f"] SelectedPod(Right::PortForward),
        in_pods => |m, _| forward::choose_port(m);
    Forwards "forwards" Safe "" "Ports that are forwarded; end one"
        [Global 22 "F"] Nothing,
        always => |m, _| forward::list_forwards(m);
    Copy "copy" Safe "" "Copy the selected name, or the shown text, by OSC 52"
        [Global 23 "y", Text 19 "y"] Nothing,
        always => |m, _| open::copy_selected(m);
    Notices "notices" Safe "" "What was reported since the start, newest first"
        [Global 24 "N"] Nothing,
        always => |m, _| open::open_notices(m);
    NextPane "next-pane" Safe "" "Next pane"
        [Global 12 "tab l right"] Nothing,
        always => |m, _| cycle_pane(m, false);
    PreviousPane "previous-pane" Safe "" "Previous pane"
        [Global 13 "backtab h left"] Nothing,
        always => |m, _| cycle_pane(m, true);
    PaneApps "pane-apps" Safe "" "Go to Apps"
        [Global 14 "1"] Nothing,
        always => |m, _| focus_pane(m, Pane::Apps);
    PaneEnvironments "pane-environments" Safe "" "Go to Environments"
        [Global 15 "2"] Nothing,
        always => |m, _| focus_pane(m, Pane::Environments);
    PaneRollout "pane-rollout" Safe "" "Go to Rollout"
        [Global 16 "3"] Nothing,
        always => |m, _| focus_pane(m, Pane::Rollout);
    PaneLanes "pane-lanes" Safe "" "Go to Lanes"
        [Global 17 "4"] Nothing,
        always => |m, _| focus_pane(m, Pane::Lanes);
    PaneTrace "pane-trace" Safe "" "Go to Trace"
        [Global 18 "5"] Nothing,
        always => |m, _| focus_pane(m, Pane::Trace);
    Zoom "zoom" Safe "zoom" "Show the pane on the whole screen, or with the others again"
        [Global 11 "z"] Nothing,
        always => |m, _| toggle_zoom(m);
    Back "back" Safe "back" "Close, clear, or go back"
        [Global 31 "esc", Text 21 "esc q", Form 6 "esc", Confirm 7 "esc", Line 4 "esc"] Nothing,
        always => |m, _| go_back(m);
    ReadOnly "read-only" Safe "" "Turn all keys that change something off or on"
        [Global 26 "R"] Nothing,
        always => |m, _| toggle_read_only(m);
    Contexts "contexts" Safe "" "Show another cluster: a context of kubectl's files"
        [Global 27 "C"] Nothing,
        always => |m, _| open_contexts(m);
    Namespaces "ns" Safe "" "Show another namespace, or all; `ns NAME` and `ns all` in the palette do so"
        [Global 28 "ctrl-n"] Nothing,
        always => |m, _| open_namespaces(m);
    Reconnect "reconnect" Safe "" "Try the connection again now, with new credentials where they were refused"
        [Global 30 "ctrl-r"] Nothing,
        always => |m, _| reconnect(m);
    StopTheLine "stop-the-line" Dangerous "" "Stop the line: pause every running release"
        [Global 25 "!"] Home(Right::Steer),
        |m, _| !m.facts.active.is_empty() => open_question;
    Themes "themes" Safe "" "Try another colour theme"
        [Global 29 "ctrl-t"] Nothing,
        always => |m, _| open_themes(m);
    Repaint "repaint" Safe "" "Redraw the screen"
        [Global 32 "ctrl-l", Text 22 "ctrl-l", Form 7 "ctrl-l", Confirm 8 "ctrl-l"] Nothing,
        always => |_, _| vec![Effect::Repaint];
    Suspend "suspend" Safe "" "Suspend to the shell"
        [Global 33 "ctrl-z"] Nothing,
        always => |_, _| vec![Effect::Suspend];
    Quit "quit" Safe "quit" "Quit; the engine carries on with releases, but the demo ends with its pods"
        [Global 10 "q", Global 34 "ctrl-c"] Nothing,
        always => |_, _| vec![Effect::Quit];
    Down "down" Safe "" "Next row"
        [Move 0 "j down", Confirm 4 "down"] Nothing,
        in_overlay => |m, _| move_selection(m, 1);
    Up "up" Safe "" "Previous row"
        [Move 1 "k up", Confirm 5 "up"] Nothing,
        in_overlay => |m, _| move_selection(m, -1);
    PageDown "page-down" Safe "" "Half a page down"
        [Move 2 "ctrl-d pagedown"] Nothing,
        in_overlay => |m, _| move_selection(m, page_step(m));
    PageUp "page-up" Safe "" "Half a page up"
        [Move 3 "ctrl-u pageup"] Nothing,
        in_overlay => |m, _| move_selection(m, -page_step(m));
    First "first" Safe "" "First row"
        [Move 4 "g home"] Nothing,
        in_overlay => |m, _| move_selection(m, isize::MIN / 2);
    Last "last" Safe "" "Last row"
        [Move 5 "G end"] Nothing,
        in_overlay => |m, _| move_selection(m, isize::MAX / 2);
    Search "search" Safe "search" "Search for a word; all lines stay"
        [Text 0 "/"] Nothing,
        in_text => |m, _| reading::open_search(m);
    NextMatch "next-match" Safe "next" "The next line with the searched word"
        [Text 1 "n"] Nothing,
        in_search => |m, _| reading::find_next_match(m, false);
    PreviousMatch "previous-match" Safe "" "The previous line with it"
        [Text 2 "N"] Nothing,
        in_search => |m, _| reading::find_next_match(m, true);
    Wrap "wrap" Safe "wrap" "Wrap long lines, or cut them"
        [Text 10 "w"] Nothing,
        in_text => |m, _| reading::toggle_wrap(m);
    ScrollLeft "scroll-left" Safe "" "Scroll left, where lines are cut"
        [Global 7 "<", Text 11 "left h"] Nothing,
        can_scroll => |m, _| scroll_sideways(m, false);
    ScrollRight "scroll-right" Safe "" "Scroll right, where lines are cut"
        [Global 6 ">", Text 12 "right l"] Nothing,
        can_scroll => |m, _| scroll_sideways(m, true);
    Timestamps "timestamps" Safe "times" "Show the time of each line of a log, or hide it"
        [Text 9 "t"] Nothing,
        in_log => |m, _| logs::toggle_timestamps(m);
    Since "since" Safe "since" "How far back the log is read: the last lines, minutes, an hour, all"
        [Text 6 "s"] Nothing,
        in_log => |m, _| logs::switch_log(m, |log| log.range = log.range.next_choice());
    NextScope "next-scope" Safe "more pods" "The logs of more pods: of its version, environment, app or lane"
        [Text 5 "a"] Nothing,
        log_has_scopes => |m, _| logs::switch_log(m, LogTarget::select_next_scope);
    Save "save" Safe "save" "Save the text to a file"
        [Text 18 "ctrl-s"] Nothing,
        in_text => |m, _| reading::open_save(m);
    Follow "follow" Safe "follow" "Follow the newest line, or stop following"
        [Text 4 "F"] Nothing,
        in_log => |m, _| toggle_follow(m);
    NextContainer "next-container" Safe "container" "The log of the pod's next container"
        [Text 7 "c"] Nothing,
        log_has_containers => |m, _| logs::switch_log(m, LogTarget::select_next_container);
    PreviousRun "previous-run" Safe "run before" "The log of the run before the last restart, or of this one again"
        [Text 8 "p"] Nothing,
        in_log => |m, _| logs::switch_log(m, |log| log.previous = !log.previous);
    NextField "next-field" Safe "next" "Next field"
        [Form 0 "tab down"] Nothing,
        in_overlay => change_field;
    PreviousField "previous-field" Safe "" "Previous field"
        [Form 1 "backtab up"] Nothing,
        in_overlay => change_field;
    NextChoice "next-choice" Safe "change" "Next choice of a field"
        [Form 2 "right"] Nothing,
        in_overlay => change_field;
    PreviousChoice "previous-choice" Safe "" "Previous choice of a field"
        [Form 3 "left"] Nothing,
        in_overlay => change_field;
    Submit "submit" Safe "review" "Go on to the question"
        [Form 4 "enter"] Nothing,
        in_overlay => |m, _| submit_open_form(m);
    Yes "yes" Safe "yes" "Do it (where a name must be typed, once it is typed)"
        [Confirm 0 "ctrl-y"] Nothing,
        can_confirm => |m, _| answer_yes(m);
    OtherButton "other-button" Safe "" "The next button or field"
        [Confirm 1 "tab left right"] Nothing,
        in_overlay => |m, _| focus_other_button(m);
    Press "press" Safe "press the button" "Press the chosen button; No is the default"
        [Confirm 2 "enter"] Nothing,
        in_overlay => |m, _| press_button(m);
    LookAgain "look-again" Safe "look again" "When something has changed: ask again as things are now"
        [Confirm 3 "ctrl-r"] Nothing,
        is_stale => |m, _| look_again(m);
    Accept "accept" Safe "take" "Take it"
        [Line 0 "enter"] Nothing,
        in_overlay => |m, _| accept_input(m);
    Complete "complete" Safe "" "Next match"
        [Line 1 "tab down"] Nothing,
        in_overlay => |m, _| move_in_palette(m, false);
    CompleteBack "complete-back" Safe "" "Previous match"
        [Line 2 "backtab up"] Nothing,
        in_overlay => |m, _| move_in_palette(m, true);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::ui::keymap::parse_key;

    #[test]
    fn every_key_parses_and_none_means_two_things() {
        let (mut seen, mut places) = (HashSet::new(), HashSet::new());
        for action in Action::ALL {
            for (context, place, keys) in action.row().keys {
                assert!(places.insert((context, place)), "{context:?} {place} twice");
                for key in keys.split(' ') {
                    let parsed = parse_key(key).unwrap_or_else(|| panic!("{key} of {action:?}"));
                    assert!(seen.insert((context, parsed)), "{context:?} {key} twice");
                }
            }
        }
    }

    #[test]
    fn every_action_has_its_own_word_a_sentence_and_a_key() {
        let words: HashSet<_> = Action::ALL.iter().map(|a| a.word()).collect();
        assert_eq!(words.len(), Action::ALL.len());
        for action in Action::ALL {
            let row = action.row();
            assert!(
                !row.sentence.is_empty() && !row.keys.is_empty(),
                "{action:?}"
            );
            assert!(!action.steers_release() || row.danger == Danger::Dangerous);
        }
    }

    #[test]
    fn what_needs_a_right_to_change_something_is_not_safe() {
        for action in Action::ALL {
            let reads = matches!(action, Action::Logs | Action::PortForward);
            if !matches!(action.row().needs, RightNeed::Nothing) && !reads {
                assert_ne!(action.danger(), Danger::Safe, "{action:?}");
            }
        }
    }
}
