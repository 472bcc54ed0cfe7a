//! Why a login plugin gives no credentials. No message repeats the plugin's input.

use std::io;

use crate::{
    cluster::connect::{IdentityError, TokenError},
    domain::text::Clean,
};

/// A login plugin gives no credentials.
#[derive(Debug, thiserror::Error)]
pub(in crate::cluster) enum PluginError {
    #[error(
        "the login plugin {command} is not there, or cannot be run{}",
        if .hint.is_empty() { String::new() } else { format!("\n{}", .hint) }
    )]
    NotFound {
        command: String,
        /// What the kubeconfig says about installing it.
        hint: Clean,
    },
    #[error("the login plugin cannot be run: {0}")]
    Run(#[source] io::Error),
    /// Holds the last lines that it printed, or else how it ended.
    #[error("the login plugin says: {0}")]
    Failed(Clean),
    #[error("the login plugin's answer cannot be used: {0}")]
    Answer(#[from] AnswerError),
}

/// A login plugin's answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::cluster) enum AnswerError {
    #[error("it is no text")]
    NoText,
    #[error("it is neither JSON nor YAML")]
    NoYaml,
    #[error("it is no ExecCredential")]
    NoCredential,
    #[error("it is no ExecCredential of {0}")]
    ApiVersion(String),
    #[error("it has no status")]
    NoStatus,
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("it has only one of certificate and key")]
    HalfIdentity,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("it has neither a token nor a certificate")]
    Empty,
}
