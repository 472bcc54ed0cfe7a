//! Describes API errors for people, preferring the server's own words, and classifies them.

use std::error::Error as Cause;

use kube::{client::AuthError, core::Status, runtime::watcher};
use rustls::AlertDescription;

use super::connect::ConnectError;
use crate::domain::{account, text::Clean, world::Trouble};

/// An error as one clean line without type names.
pub fn words(error: &kube::Error) -> String {
    let text = match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => {
            format!("the server answered {} {}", status.code, status.reason)
        }
        kube::Error::SerdeError(e) => format!("the server's answer cannot be read: {e}"),
        other => find::<ConnectError>(other)
            .map(|known| match known {
                ConnectError::Credentials { why, .. } => why.clone(),
                known => known.to_string(),
            })
            .or_else(|| {
                find::<AuthError>(other)
                    .map(|auth| format!("the token cannot be used: {}", root(auth)))
            })
            .unwrap_or_else(|| root(other)),
    };
    let text = text.trim().replace('\n', "; ");
    let text = match account::remedy(&text).filter(|_| code(error) == Some(403)) {
        Some(remedy) => format!("{text}; {remedy}"),
        None => text,
    };
    Clean::from_untrusted(&text).to_string()
}

/// The HTTP status of an API error.
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether a write conflicts with another one: on the resource version, or on fields of another
/// manager.
pub fn is_conflict(error: &kube::Error) -> bool {
    code(error) == Some(409)
}

/// Classifies an error.
pub fn trouble(error: &kube::Error) -> Trouble {
    if let Some(code) = code(error) {
        return trouble_of(code);
    }
    match find::<ConnectError>(error) {
        Some(ConnectError::Credentials { .. } | ConnectError::Kubeconfig { .. }) => {
            return Trouble::Unauthorized;
        }
        Some(ConnectError::NoPocket(_) | ConnectError::Server { .. }) => return Trouble::Offline,
        None => {}
    }
    if find::<AuthError>(error).is_some() {
        return Trouble::Unauthorized;
    }
    match find::<rustls::Error>(error) {
        Some(rustls::Error::AlertReceived(alert)) if is_about_us(*alert) => Trouble::Unauthorized,
        Some(_) => Trouble::Failing,
        None if is_unreachable(error) => Trouble::Offline,
        None => Trouble::Failing,
    }
}

/// Classifies an HTTP status.
pub fn trouble_of(code: u16) -> Trouble {
    match code {
        401 => Trouble::Unauthorized,
        403 => Trouble::Forbidden,
        404 => Trouble::Missing,
        410 => Trouble::Expired,
        429 => Trouble::Throttled,
        _ => Trouble::Failing,
    }
}

/// The description of a broken watch.
pub fn words_of_watch(error: &watcher::Error) -> String {
    match of_watch(error) {
        Some(Ok(error)) => words(error),
        Some(Err(status)) => words(&kube::Error::Api(Box::new(status.clone()))),
        None => error.to_string(),
    }
}

/// The HTTP status with which a list or watch was refused.
pub fn code_of_watch(error: &watcher::Error) -> Option<u16> {
    match of_watch(error)? {
        Ok(error) => code(error),
        Err(status) => Some(status.code),
    }
}

/// Classifies a broken watch.
pub fn trouble_of_watch(error: &watcher::Error) -> Trouble {
    match of_watch(error) {
        Some(Ok(error)) => trouble(error),
        Some(Err(status)) => trouble_of(status.code),
        None => Trouble::Failing,
    }
}

/// What broke a watch: a failed request, or an error that the server sent in the stream.
fn of_watch(error: &watcher::Error) -> Option<Result<&kube::Error, &Status>> {
    use watcher::Error::{
        InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed,
    };
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => Some(Ok(error)),
        WatchError(status) => Some(Err(status)),
        NoResourceVersion => None,
    }
}

/// Whether the server rejected our client certificate.
fn is_about_us(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::BadCertificate
            | A::CertificateExpired
            | A::CertificateRevoked
            | A::CertificateUnknown
            | A::CertificateRequired
            | A::UnsupportedCertificate
            | A::AccessDenied
            | A::UnknownCA
    )
}

/// Whether there was no answer at all.
pub fn is_unreachable(error: &kube::Error) -> bool {
    find::<std::io::Error>(error).is_some()
        || find::<tokio::time::error::Elapsed>(error).is_some()
        || matches!(
            error,
            kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_)
        )
}

/// The cause of type `T`, anywhere in the chain.
pub fn find<'a, T: Cause + 'static>(error: &'a (dyn Cause + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if let Some(found) = e.downcast_ref::<T>() {
            return Some(found);
        }
        cause = inner(e);
    }
    None
}

/// The next cause. An I/O error does not report its inner error as its source.
fn inner<'a>(error: &'a (dyn Cause + 'static)) -> Option<&'a (dyn Cause + 'static)> {
    match error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
    {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}

fn root(error: &(dyn Cause + 'static)) -> String {
    let mut deepest = error;
    while let Some(next) = inner(deepest) {
        deepest = next;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_error_speaks_the_servers_words_on_one_clean_line() {
        let status = Status::failure("no such\napp \u{1b}[31m", "NotFound").with_code(404);
        let error = kube::Error::Api(Box::new(status));
        assert!(
            words(&error).starts_with("no such; app"),
            "{}",
            words(&error)
        );
        assert!(!words(&error).contains('\u{1b}'));
        assert_eq!(
            (code(&error), trouble(&error)),
            (Some(404), Trouble::Missing)
        );
        assert!(!is_unreachable(&error));
    }

    #[test]
    fn a_refused_certificate_is_found_within_an_io_error() {
        let of = |alert| {
            let tls = rustls::Error::AlertReceived(alert);
            kube::Error::Service(std::io::Error::new(std::io::ErrorKind::InvalidData, tls).into())
        };
        assert_eq!(
            trouble(&of(AlertDescription::CertificateExpired)),
            Trouble::Unauthorized
        );
        assert_eq!(
            trouble(&of(AlertDescription::DecodeError)),
            Trouble::Failing
        );
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(
            trouble(&kube::Error::Service(refused.into())),
            Trouble::Offline
        );
    }
}
