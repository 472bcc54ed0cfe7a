//! Why the objects of an App cannot be rendered.

use crate::domain::{account::OwnObjectError, batches::ManifestError, template::TemplateError};

/// One reason why an App's objects cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A template is wrong.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A template renders an object that cannot be applied.
    #[error("{manifest}: {source}")]
    Object {
        /// Name of the manifest.
        manifest: String,
        /// The reason.
        source: ObjectError,
    },
    /// Nothing is rendered at all.
    #[error("the manifests make no object")]
    Empty,
}

/// A rendered object cannot be applied as part of an App.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// It has no kind or no apiVersion.
    #[error("an object names no kind or no apiVersion")]
    NoKind,
    /// It has no name. Holds its kind.
    #[error("a {0} has no metadata.name")]
    NoName(String),
    /// It is graylane's own, or its pods would run as one of graylane's accounts.
    #[error(transparent)]
    Own(#[from] OwnObjectError),
    /// Its labels are not a map.
    #[error("{kind} {name}: {place}/labels is not a map")]
    Labels {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
        /// Path of the metadata in the object.
        place: &'static str,
    },
    /// It is not of the kind that it names.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifests render it twice.
    #[error("{kind} {name} is in the manifests twice")]
    Twice {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
}
