//! The custom resources of graylane.dev/v1alpha1: data and validation, no I/O.
