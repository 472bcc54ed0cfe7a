//! Why a release cannot begin.

use crate::domain::{
    revision::FrozenAppError, template::TemplateError, variables::UnresolvedGroup,
};

/// One reason why a release cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The App is not known.
    #[error(transparent)]
    App(#[from] FrozenAppError),
    /// The release names an image that the App does not have.
    #[error("app {app} has no image {image:?}; it has {known}")]
    NoImage {
        /// Name of the App.
        app: String,
        /// Image that the release names.
        image: String,
        /// Images of the App.
        known: String,
    },
    /// The App's workflow has no such stage.
    #[error("app {app} has no stage {stage:?}; it has {known}")]
    NoStage {
        /// Name of the App.
        app: String,
        /// Stage that the release names.
        stage: String,
        /// Stages of the App.
        known: String,
    },
    /// The App has no such environment.
    #[error("app {app} has no environment {environment:?}")]
    NoEnvironment {
        /// Name of the App.
        app: String,
        /// Environment that the release names.
        environment: String,
    },
    /// The stage has nothing to do.
    #[error("stage {stage:?} of app {app} has no tasks")]
    NoTasks {
        /// Name of the App.
        app: String,
        /// Name of the stage.
        stage: String,
    },
    /// A task has no kind, or several.
    #[error("task {task:?} of stage {stage:?} must name exactly one kind")]
    TaskKind {
        /// Name of the task.
        task: String,
        /// Name of the stage.
        stage: String,
    },
    /// Two tasks have the same name.
    #[error("stage {stage:?} has two tasks named {task:?}")]
    DuplicateTask {
        /// Name of the stage.
        stage: String,
        /// Name of both tasks.
        task: String,
    },
    /// A variable group cannot be used.
    #[error(transparent)]
    Variables(#[from] UnresolvedGroup),
    /// A manifest cannot be rendered for an environment.
    #[error("environment {environment}: {source}")]
    Template {
        /// Name of the environment.
        environment: String,
        /// The reason.
        source: Box<TemplateError>,
    },
}
