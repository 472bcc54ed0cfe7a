//! Why a workload cannot be adopted.

use super::label_keys::LabelKeyError;
use crate::domain::{template::TemplateError, text::join_lines};

/// A running workload cannot become an App's environment.
#[derive(Debug, thiserror::Error)]
pub enum AdoptionError {
    /// Another controller manages the Deployment.
    #[error(
        "Deployment {deployment} is made by {kind} {name}: it would undo what graylane does; change it there"
    )]
    Controlled {
        /// Name of the Deployment.
        deployment: String,
        /// Kind of its controller.
        kind: String,
        /// Name of its controller.
        name: String,
    },
    /// Another tool rolls the Deployment out.
    #[error(
        "Deployment {deployment} is rolled by another tool ({annotation}): one of both is enough"
    )]
    RolledElsewhere {
        /// Name of the Deployment.
        deployment: String,
        /// The tool's annotation.
        annotation: String,
    },
    /// No labels distinguish a gray version.
    #[error("Deployment {deployment}: {source}")]
    Labels {
        /// Name of the Deployment.
        deployment: String,
        /// The reason.
        source: LabelKeyError,
    },
    /// The spec has no environment of this name.
    #[error("there is no environment {0}")]
    NoEnvironment(String),
    /// An object cannot be written as YAML.
    #[error(transparent)]
    Yaml(#[from] serde_saphyr::ser::Error),
    /// The templates made from the objects cannot be rendered.
    #[error("{}", join_lines(.0))]
    Templates(Vec<TemplateError>),
    /// The templates render other objects than those that run. Holds the difference.
    #[error(
        "the templates do not give back what runs (this is a fault of graylane, please tell us):\n{0}"
    )]
    Unfaithful(String),
}
