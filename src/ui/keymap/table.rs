//! The built-in key bindings: context, keys, action.

use super::{Action as A, Binding, KeyContext as C, parse_key};

const KEYS: &[(C, &str, A)] = &[
    (C::Apps, "space", A::Mark),
    (C::Apps, "M", A::MarkAll),
    (C::Apps, "n", A::Start),
    (C::Apps, "+", A::NewApps),
    (C::Apps, "d", A::TemplateDiff),
    (C::Release, "a", A::Approve),
    (C::Release, "x", A::Refuse),
    (C::Release, "c", A::Continue),
    (C::Release, "s", A::Pause),
    (C::Release, "u", A::Resume),
    (C::Release, "r", A::Retry),
    (C::Release, "S", A::Skip),
    (C::Release, "A", A::Abort),
    (C::Release, "]", A::NextRelease),
    (C::Release, "[", A::PreviousRelease),
    (C::Release, "D", A::ReleaseDiff),
    (C::Release, "L", A::Logs),
    (C::Environments, "L", A::Logs),
    (C::Environments, "E", A::Events),
    (C::Environments, "v", A::Variables),
    (C::Environments, "t", A::Shell),
    (C::Environments, "f", A::PortForward),
    (C::Environments, "b", A::Lock),
    (C::Environments, "T", A::Teardown),
    (C::Lanes, "n", A::NewLane),
    (C::Lanes, "e", A::EditLane),
    (C::Lanes, "t", A::ToggleLane),
    (C::Lanes, "D", A::DeleteLane),
    (C::Lanes, "L", A::Logs),
    (C::Trace, "space", A::Freeze),
    (C::Trace, "w", A::OnlyWrong),
    (C::Trace, "v", A::EveryRequest),
    (C::Trace, "d", A::Diff),
    (C::Trace, "L", A::Logs),
    (C::Global, "enter", A::Open),
    (C::Global, "p", A::Probe),
    (C::Global, "P", A::ProbeForm),
    (C::Global, "/", A::Filter),
    (C::Global, "o", A::Sort),
    (C::Global, "O", A::ReverseSort),
    (C::Global, ">", A::ScrollRight),
    (C::Global, "<", A::ScrollLeft),
    (C::Global, ":", A::Palette),
    (C::Global, "? f1", A::Help),
    (C::Global, "q", A::Quit),
    (C::Global, "z", A::Zoom),
    (C::Global, "tab l right", A::NextPane),
    (C::Global, "backtab h left", A::PreviousPane),
    (C::Global, "1", A::PaneApps),
    (C::Global, "2", A::PaneEnvironments),
    (C::Global, "3", A::PaneRollout),
    (C::Global, "4", A::PaneLanes),
    (C::Global, "5", A::PaneTrace),
    (C::Global, "Y", A::Yaml),
    (C::Global, "i", A::Describe),
    (C::Global, "ctrl-e", A::Edit),
    (C::Global, "F", A::Forwards),
    (C::Global, "y", A::Copy),
    (C::Global, "N", A::Notices),
    (C::Global, "!", A::StopTheLine),
    (C::Global, "R", A::ReadOnly),
    (C::Global, "C", A::Contexts),
    (C::Global, "ctrl-n", A::Namespaces),
    (C::Global, "ctrl-t", A::Themes),
    (C::Global, "ctrl-r", A::Reconnect),
    (C::Global, "esc", A::Back),
    (C::Global, "ctrl-l", A::Repaint),
    (C::Global, "ctrl-z", A::Suspend),
    (C::Global, "ctrl-c", A::Quit),
    (C::Move, "j down", A::Down),
    (C::Move, "k up", A::Up),
    (C::Move, "ctrl-d pagedown", A::PageDown),
    (C::Move, "ctrl-u pageup", A::PageUp),
    (C::Move, "g home", A::First),
    (C::Move, "G end", A::Last),
    (C::Text, "/", A::Search),
    (C::Text, "n", A::NextMatch),
    (C::Text, "N", A::PreviousMatch),
    (C::Text, "&", A::Filter),
    (C::Text, "F", A::Follow),
    (C::Text, "a", A::NextScope),
    (C::Text, "s", A::Since),
    (C::Text, "c", A::NextContainer),
    (C::Text, "p", A::PreviousRun),
    (C::Text, "t", A::Timestamps),
    (C::Text, "w", A::Wrap),
    (C::Text, "left h", A::ScrollLeft),
    (C::Text, "right l", A::ScrollRight),
    (C::Text, "d", A::Diff),
    (C::Text, "i", A::LeaveOut),
    (C::Text, "enter", A::WholeTrace),
    (C::Text, "I", A::Describe),
    (C::Text, "e ctrl-e", A::Edit),
    (C::Text, "ctrl-s", A::Save),
    (C::Text, "y", A::Copy),
    (C::Text, "? f1", A::Help),
    (C::Text, "esc q", A::Back),
    (C::Text, "ctrl-l", A::Repaint),
    (C::Form, "tab down", A::NextField),
    (C::Form, "backtab up", A::PreviousField),
    (C::Form, "right", A::NextChoice),
    (C::Form, "left", A::PreviousChoice),
    (C::Form, "enter", A::Submit),
    (C::Form, "f1", A::Help),
    (C::Form, "esc", A::Back),
    (C::Form, "ctrl-l", A::Repaint),
    (C::Confirm, "ctrl-y", A::Yes),
    (C::Confirm, "tab left right", A::OtherButton),
    (C::Confirm, "enter", A::Press),
    (C::Confirm, "ctrl-r", A::LookAgain),
    (C::Confirm, "down", A::Down),
    (C::Confirm, "up", A::Up),
    (C::Confirm, "f1", A::Help),
    (C::Confirm, "esc", A::Back),
    (C::Confirm, "ctrl-l", A::Repaint),
    (C::Line, "enter", A::Accept),
    (C::Line, "tab down", A::Complete),
    (C::Line, "backtab up", A::CompleteBack),
    (C::Line, "f1", A::Help),
    (C::Line, "esc", A::Back),
];

/// The built-in bindings. Keys that do not parse are skipped; a test ensures that there are none.
pub(super) fn built_in_bindings() -> Vec<Binding> {
    KEYS.iter()
        .map(|(context, keys, action)| Binding {
            context: *context,
            keys: keys.split(' ').filter_map(parse_key).collect(),
            action: *action,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_key_parses_and_none_means_two_things() {
        let mut seen = HashSet::new();
        for (context, keys, action) in KEYS {
            for key in keys.split(' ') {
                let parsed = parse_key(key).unwrap_or_else(|| panic!("{key} of {action:?}"));
                assert!(seen.insert((*context, parsed)), "{context:?} {key} twice");
            }
        }
    }

    #[test]
    fn every_action_has_a_row_and_its_own_word() {
        let words: HashSet<_> = A::ALL.iter().map(|a| a.word()).collect();
        assert_eq!(words.len(), A::ALL.len());
        for action in A::ALL {
            assert!(KEYS.iter().any(|(_, _, a)| a == action), "{action:?}");
        }
    }
}
