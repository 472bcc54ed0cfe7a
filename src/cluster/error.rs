//! Describes API errors for people, preferring the server's own words, and classifies them.

use std::error::Error as Cause;

use kube::{client::AuthError, core::Status, runtime::watcher};
use rustls::AlertDescription;

use super::connect::ConnectError;
use crate::domain::{account, text::Clean, world::LinkTrouble};

/// An error as one clean line without type names.
pub fn describe_error(error: &kube::Error) -> String {
    let text = match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => {
            format!("the server answered {} {}", status.code, status.reason)
        }
        kube::Error::SerdeError(e) => format!("the server's answer cannot be read: {e}"),
        other => find_cause::<ConnectError>(other)
            .map(|known| match known {
                ConnectError::Credentials { why, .. } => why.clone(),
                known => known.to_string(),
            })
            .or_else(|| {
                find_cause::<AuthError>(other)
                    .map(|auth| format!("the token cannot be used: {}", root_message(auth)))
            })
            .unwrap_or_else(|| root_message(other)),
    };
    let text = text.trim().replace('\n', "; ");
    let text = match account::suggest_remedy(&text).filter(|_| status_code(error) == Some(403)) {
        Some(remedy) => format!("{text}; {remedy}"),
        None => text,
    };
    Clean::from_untrusted(&text).to_string()
}

/// The HTTP status of an API error.
pub fn status_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether a write conflicts with another one: on the resource version, or on fields of another
/// manager.
pub fn is_conflict(error: &kube::Error) -> bool {
    status_code(error) == Some(409)
}

/// Classifies an error.
pub fn classify_error(error: &kube::Error) -> LinkTrouble {
    if let Some(code) = status_code(error) {
        return classify_status(code);
    }
    match find_cause::<ConnectError>(error) {
        Some(ConnectError::Credentials { .. } | ConnectError::Kubeconfig { .. }) => {
            return LinkTrouble::Unauthorized;
        }
        Some(ConnectError::NoPocket(_) | ConnectError::Server { .. }) => {
            return LinkTrouble::Offline;
        }
        None => {}
    }
    if find_cause::<AuthError>(error).is_some() {
        return LinkTrouble::Unauthorized;
    }
    match find_cause::<rustls::Error>(error) {
        Some(rustls::Error::AlertReceived(alert)) if is_client_certificate_alert(*alert) => {
            LinkTrouble::Unauthorized
        }
        Some(_) => LinkTrouble::Failing,
        None if is_unreachable(error) => LinkTrouble::Offline,
        None => LinkTrouble::Failing,
    }
}

/// Classifies an HTTP status.
pub fn classify_status(code: u16) -> LinkTrouble {
    match code {
        401 => LinkTrouble::Unauthorized,
        403 => LinkTrouble::Forbidden,
        404 => LinkTrouble::Missing,
        410 => LinkTrouble::Expired,
        429 => LinkTrouble::Throttled,
        _ => LinkTrouble::Failing,
    }
}

/// The description of a broken watch.
pub fn describe_watch_error(error: &watcher::Error) -> String {
    match watch_cause(error) {
        Some(Ok(error)) => describe_error(error),
        Some(Err(status)) => describe_error(&kube::Error::Api(Box::new(status.clone()))),
        None => error.to_string(),
    }
}

/// The HTTP status with which a list or watch was refused.
pub fn watch_status_code(error: &watcher::Error) -> Option<u16> {
    match watch_cause(error)? {
        Ok(error) => status_code(error),
        Err(status) => Some(status.code),
    }
}

/// Classifies a broken watch.
pub fn classify_watch_error(error: &watcher::Error) -> LinkTrouble {
    match watch_cause(error) {
        Some(Ok(error)) => classify_error(error),
        Some(Err(status)) => classify_status(status.code),
        None => LinkTrouble::Failing,
    }
}

/// What broke a watch: a failed request, or an error that the server sent in the stream.
fn watch_cause(error: &watcher::Error) -> Option<Result<&kube::Error, &Status>> {
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
fn is_client_certificate_alert(alert: AlertDescription) -> bool {
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
    find_cause::<std::io::Error>(error).is_some()
        || find_cause::<tokio::time::error::Elapsed>(error).is_some()
        || matches!(
            error,
            kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_)
        )
}

/// The cause of type `T`, anywhere in the chain.
pub fn find_cause<'a, T: Cause + 'static>(error: &'a (dyn Cause + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if let Some(found) = e.downcast_ref::<T>() {
            return Some(found);
        }
        cause = inner_cause(e);
    }
    None
}

/// The next cause. An I/O error does not report its inner error as its source.
fn inner_cause<'a>(error: &'a (dyn Cause + 'static)) -> Option<&'a (dyn Cause + 'static)> {
    match error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
    {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}

fn root_message(error: &(dyn Cause + 'static)) -> String {
    let mut deepest = error;
    while let Some(next) = inner_cause(deepest) {
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
            describe_error(&error).starts_with("no such; app"),
            "{}",
            describe_error(&error)
        );
        assert!(!describe_error(&error).contains('\u{1b}'));
        assert_eq!(
            (status_code(&error), classify_error(&error)),
            (Some(404), LinkTrouble::Missing)
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
            classify_error(&of(AlertDescription::CertificateExpired)),
            LinkTrouble::Unauthorized
        );
        assert_eq!(
            classify_error(&of(AlertDescription::DecodeError)),
            LinkTrouble::Failing
        );
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(
            classify_error(&kube::Error::Service(refused.into())),
            LinkTrouble::Offline
        );
    }
}
