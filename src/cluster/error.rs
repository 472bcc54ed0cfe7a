//! What an API error says, in words for people: the server's own words first.

use crate::domain::text::Clean;

/// The words of an error, cleaned, on one line, without type names.
pub fn words(error: &kube::Error) -> String {
    let text = match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("the server answered {} {}", status.code, status.reason),
        kube::Error::SerdeError(e) => format!("the server's answer cannot be read: {e}"),
        other => root(other),
    };
    Clean::from_untrusted(&text.replace('\n', "; ")).to_string()
}

/// The HTTP status of an API error.
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether nobody answered at all.
pub fn is_unreachable(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if e.is::<std::io::Error>() || e.is::<tokio::time::error::Elapsed>() {
            return true;
        }
        cause = e.source();
    }
    matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_))
}

fn root(error: &kube::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(next) = deepest.source() {
        deepest = next;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_api_error_speaks_the_servers_words_on_one_clean_line() {
        let status = Status::failure("no such\napp \u{1b}[31m", "NotFound").with_code(404);
        let error = kube::Error::Api(Box::new(status));
        assert!(words(&error).starts_with("no such; app"), "{}", words(&error));
        assert!(!words(&error).contains('\u{1b}'));
        assert_eq!(code(&error), Some(404));
        assert!(!is_unreachable(&error));
    }
}
