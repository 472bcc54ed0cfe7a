//! Why there is no question to ask, or no form before one. The texts are shown as they are.

use thiserror::Error;

use crate::domain::command_line::CommandLine;

/// Why something cannot be asked about now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    /// No App is selected.
    #[error("no app is selected")]
    NoApp,
    /// No environment is selected.
    #[error("no environment is selected")]
    NoEnvironment,
    /// There is no lane.
    #[error("there is no lane")]
    NoLane,
    /// There is no lane to edit; a key adds one.
    #[error("there is no lane to edit; {key} adds one")]
    NoLaneToEdit { key: String },
    /// A lane needs a group.
    #[error("there is no lane group")]
    NoLaneGroup,
    /// A probe needs a group.
    #[error("there is no lane group to probe")]
    NoGroupToProbe,
    /// Apps are made from a template.
    #[error(
        "there is no template to make apps from: `graylane apply` brings one (kind AppTemplate)"
    )]
    NoTemplate,
    /// The App has no release; a key starts one.
    #[error("{app} has no release; {key} starts one")]
    NoRelease { app: String, key: String },
    /// No release can be held.
    #[error("no release is running: there is nothing to hold")]
    NothingRuns,
    /// The lane was deleted meanwhile.
    #[error("the lane is gone")]
    LaneGone,
    /// An object was deleted meanwhile: its kind and name.
    #[error("{0} {1} is gone")]
    Gone(&'static str, String),
    /// The App has no such environment.
    #[error("{app} has no environment {environment}")]
    UnknownEnvironment { app: String, environment: String },
    /// The App has no such stage.
    #[error("app {app} has no stage {stage}")]
    UnknownStage { app: String, stage: String },
    /// The Apps cannot be released together.
    #[error("{} have no stage in common", .0.join(", "))]
    NoCommonStage(Vec<String>),
    /// A window is of one namespace.
    #[error(
        "a window is of one namespace: {here} is selected, and {app} of {namespace} is marked too"
    )]
    TwoNamespaces {
        here: String,
        app: String,
        namespace: String,
    },
    /// The action needs no question: its word.
    #[error("{0} needs no confirmation")]
    NoConfirmation(&'static str),
    /// The release is in no state for the action: what it is not or cannot, and its state.
    #[error("{release} {wrong}: {state}")]
    WrongState {
        release: String,
        wrong: &'static str,
        state: String,
    },
    /// The release is paused; a key resumes it.
    #[error("{release} is paused; {key} resumes it")]
    Paused { release: String, key: String },
    /// It cannot be paused twice.
    #[error("{release} is paused already; {key} resumes it")]
    PausedAlready { release: String, key: String },
    /// Approvals are decided by other keys.
    #[error("{release} waits for an approval: {approve} approves, {refuse} refuses")]
    AwaitsApproval {
        release: String,
        approve: String,
        refuse: String,
    },
    /// The engine has not seen the release.
    #[error("{0} is not frozen yet: an engine of this version must see it first")]
    NotFrozen(String),
    /// The frozen App is missing.
    #[error("what {0} would apply is not known: its ControllerRevision is missing")]
    NoRevision(String),
    /// What is shown is not what the engine recorded; a command tells more.
    #[error("the engine would apply something else than is shown here: see `{0}`")]
    OtherProposal(CommandLine),
    /// No task can be tried again.
    #[error("no task of {release} has failed: there is nothing to {word}")]
    NoFailedTask { release: String, word: &'static str },
    /// No task can be skipped.
    #[error("no task of {0} has failed or waits: there is nothing to skip")]
    NoTaskToSkip(String),
    /// An approval cannot be skipped.
    #[error(
        "{task} of {release} is an approval, which cannot be skipped: approve it, or roll back"
    )]
    SkipsApproval { release: String, task: String },
    /// A rollout that has begun cannot be skipped.
    #[error("{task} is half-way and cannot be skipped: {retry} tries it again, {abort} rolls back")]
    HalfWay {
        task: String,
        retry: String,
        abort: String,
    },
    /// The environment is empty.
    #[error("{environment} of {app} runs nothing: there is nothing to take down")]
    RunsNothing { app: String, environment: String },
    /// The environment is locked; a key unlocks it.
    #[error("{environment} of {app} is locked by {by}: {reason}; {key} unlocks")]
    Locked {
        app: String,
        environment: String,
        by: String,
        reason: String,
        key: String,
    },
    /// A new lane needs a name of its own.
    #[error("there is a lane {0} already: edit it, or choose another name")]
    LaneExists(String),
    /// What was entered is what there is.
    #[error("nothing is changed")]
    Unchanged,
    /// The edited text is what there is: kind and name.
    #[error("nothing of {0} {1} would change")]
    EditUnchanged(&'static str, String),
    /// A field of the form is not valid.
    #[error("something is not valid yet")]
    Invalid,
    /// None of the marked Apps can be acted on: the action, their number, and why the first cannot.
    #[error("{word}: none of {all} marked apps: {why}")]
    NoneOfMarked {
        word: &'static str,
        all: usize,
        why: String,
    },
    /// The release could not begin.
    #[error("{app} cannot be released: {why}")]
    CannotBegin { app: String, why: String },
    /// What a rule of the domain says against it.
    #[error("{0}")]
    Refused(String),
}
