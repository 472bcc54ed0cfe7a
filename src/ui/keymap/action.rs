//! All actions that keys can trigger: one line each, in help order.

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

macro_rules! actions {
    ($($name:ident $word:literal $danger:ident $hint:literal $sentence:literal;)*) => {
        /// What a key does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action { $(#[doc = $sentence] $name,)* }

        impl Action {
            /// All, in help order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As overrides and the palette write it.
            pub const fn word(self) -> &'static str { match self { $(Self::$name => $word,)* } }

            /// For the footer; empty is not shown there.
            pub const fn hint(self) -> &'static str { match self { $(Self::$name => $hint,)* } }

            /// For help.
            pub const fn sentence(self) -> &'static str { match self { $(Self::$name => $sentence,)* } }

            /// What it can change.
            pub const fn danger(self) -> Danger { match self { $(Self::$name => Danger::$danger,)* } }
        }
    };
}

impl Action {
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

actions! {
    Approve "approve" Dangerous "approve" "Approve what the selected release waits for";
    Refuse "refuse" Dangerous "refuse" "Refuse it";
    Continue "continue" Dangerous "proceed" "Let the next batch, or a waiting task, proceed";
    Pause "pause" Dangerous "pause" "Pause the release where it is";
    Resume "resume" Dangerous "resume" "Resume a paused release";
    Retry "retry" Dangerous "retry" "Try a failed task again";
    Skip "skip" Dangerous "skip" "Skip a failed or waiting task";
    Abort "abort" Dangerous "abort" "Roll the release back and end it";
    Start "start" Change "release" "Start a release of the selected or marked apps";
    NewApps "new-apps" Change "new apps" "Make apps from a template";
    TemplateDiff "template-diff" Safe "" "Show how the app differs from its template";
    ReleaseDiff "release-diff" Safe "changes" "Show what the release changes: images, values and objects, old against new";
    Mark "mark" Safe "mark" "Mark an app: several are released in one window, and their releases acted on at once";
    MarkAll "mark-all" Safe "" "Mark every app that the list shows, or none";
    NextRelease "next-release" Safe "" "Show the app's next newer release";
    PreviousRelease "previous-release" Safe "" "Show the app's next older release";
    NewLane "new-lane" Change "new lane" "Add a lane";
    EditLane "edit-lane" Change "edit" "Edit the selected lane";
    ToggleLane "toggle-lane" Dangerous "on/off" "Enable or disable the selected lane";
    DeleteLane "delete-lane" Dangerous "delete" "Delete the selected lane";
    Logs "logs" Safe "logs" "Follow the logs of the selected pod, environment, app or lane";
    Events "events" Safe "events" "Events of the selected object";
    Variables "variables" Safe "" "Show what manifests read as .Values, where it comes from, and what a group reaches";
    Lock "lock" Change "lock" "Lock or unlock the environment";
    Teardown "teardown" Dangerous "tear down" "Take down what the environment runs (its name must be typed)";
    Freeze "freeze" Safe "freeze" "Freeze the list of chains, or let it run again";
    OnlyWrong "only-wrong" Safe "only wrong" "Show only chains that leak or fail";
    EveryRequest "every-request" Safe "each/groups" "Show every request by itself, or groups of them again";
    WholeTrace "whole-trace" Safe "whole trace" "Show a probe's traces in full, and ask the trace store for the rest";
    LeaveOut "leave-out" Safe "leave out" "Name what may differ in comparisons: paths in a JSON body, headers";
    Diff "diff" Safe "diff" "Send the request again to gray and to base, and compare the answers";
    Open "open" Safe "open" "Open what is selected";
    Probe "probe" Safe "probe" "Send a tagged and an untagged request and compare their chains";
    ProbeForm "probe-form" Safe "" "Probe with a request of your own";
    Filter "filter" Safe "filter" "Filter the pane; a leading ! hides what matches";
    Sort "sort" Safe "" "Sort the list by its next column";
    ReverseSort "reverse-sort" Safe "" "Turn the order of the list round";
    Palette "palette" Safe "palette" "Find any action or object by a few letters";
    Help "help" Safe "help" "Keys that work here, and all others";
    Yaml "yaml" Safe "yaml" "The selected object as YAML";
    Describe "describe" Safe "describe" "The selected object in words, with its events";
    Edit "edit" Change "" "Edit an app, template, variable group, lane group or lane in $EDITOR";
    Shell "shell" Change "shell" "A shell in the selected pod, by kubectl exec";
    PortForward "port-forward" Safe "forward" "Forward a port of the selected pod to this machine, by kubectl";
    Forwards "forwards" Safe "" "Ports that are forwarded; end one";
    Copy "copy" Safe "" "Copy the selected name, or the shown text, by OSC 52";
    Notices "notices" Safe "" "What was reported since the start, newest first";
    NextPane "next-pane" Safe "" "Next pane";
    PreviousPane "previous-pane" Safe "" "Previous pane";
    PaneApps "pane-apps" Safe "" "Go to Apps";
    PaneEnvironments "pane-environments" Safe "" "Go to Environments";
    PaneRollout "pane-rollout" Safe "" "Go to Rollout";
    PaneLanes "pane-lanes" Safe "" "Go to Lanes";
    PaneTrace "pane-trace" Safe "" "Go to Trace";
    Zoom "zoom" Safe "zoom" "Show the pane on the whole screen, or with the others again";
    Back "back" Safe "back" "Close, clear, or go back";
    ReadOnly "read-only" Safe "" "Turn all keys that change something off or on";
    Contexts "contexts" Safe "" "Show another cluster: a context of kubectl's files";
    Namespaces "ns" Safe "" "Show another namespace, or all; `ns NAME` and `ns all` in the palette do so";
    Reconnect "reconnect" Safe "" "Try the connection again now, with new credentials where they were refused";
    StopTheLine "stop-the-line" Dangerous "" "Stop the line: pause every running release";
    Themes "themes" Safe "" "Try another colour theme";
    Repaint "repaint" Safe "" "Redraw the screen";
    Suspend "suspend" Safe "" "Suspend to the shell";
    Quit "quit" Safe "quit" "Quit; the engine carries on with releases, but the demo ends with its pods";
    Down "down" Safe "" "Next row";
    Up "up" Safe "" "Previous row";
    PageDown "page-down" Safe "" "Half a page down";
    PageUp "page-up" Safe "" "Half a page up";
    First "first" Safe "" "First row";
    Last "last" Safe "" "Last row";
    Search "search" Safe "search" "Search for a word; all lines stay";
    NextMatch "next-match" Safe "next" "The next line with the searched word";
    PreviousMatch "previous-match" Safe "" "The previous line with it";
    Wrap "wrap" Safe "wrap" "Wrap long lines, or cut them";
    ScrollLeft "scroll-left" Safe "" "Scroll left, where lines are cut";
    ScrollRight "scroll-right" Safe "" "Scroll right, where lines are cut";
    Timestamps "timestamps" Safe "times" "Show the time of each line of a log, or hide it";
    Since "since" Safe "since" "How far back the log is read: the last lines, minutes, an hour, all";
    NextScope "next-scope" Safe "more pods" "The logs of more pods: of its version, environment, app or lane";
    Save "save" Safe "save" "Save the text to a file";
    Follow "follow" Safe "follow" "Follow the newest line, or stop following";
    NextContainer "next-container" Safe "container" "The log of the pod's next container";
    PreviousRun "previous-run" Safe "run before" "The log of the run before the last restart, or of this one again";
    NextField "next-field" Safe "next" "Next field";
    PreviousField "previous-field" Safe "" "Previous field";
    NextChoice "next-choice" Safe "change" "Next choice of a field";
    PreviousChoice "previous-choice" Safe "" "Previous choice of a field";
    Submit "submit" Safe "review" "Go on to the question";
    Yes "yes" Safe "yes" "Do it (where a name must be typed, once it is typed)";
    OtherButton "other-button" Safe "" "The next button or field";
    Press "press" Safe "press the button" "Press the chosen button; No is the default";
    LookAgain "look-again" Safe "look again" "When something has changed: ask again as things are now";
    Accept "accept" Safe "take" "Take it";
    Complete "complete" Safe "" "Next match";
    CompleteBack "complete-back" Safe "" "Previous match";
}
