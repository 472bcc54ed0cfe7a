//! How a request ended.

use super::text::clean_bounded;

/// HTTP status and name of each gRPC status.
/// <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>
const GRPC: [(u16, &str); 17] = [
    (200, "OK"),
    (499, "CANCELLED"),
    (500, "UNKNOWN"),
    (400, "INVALID_ARGUMENT"),
    (504, "DEADLINE_EXCEEDED"),
    (404, "NOT_FOUND"),
    (409, "ALREADY_EXISTS"),
    (403, "PERMISSION_DENIED"),
    (429, "RESOURCE_EXHAUSTED"),
    (400, "FAILED_PRECONDITION"),
    (409, "ABORTED"),
    (400, "OUT_OF_RANGE"),
    (501, "UNIMPLEMENTED"),
    (500, "INTERNAL"),
    (503, "UNAVAILABLE"),
    (500, "DATA_LOSS"),
    (401, "UNAUTHENTICATED"),
];

/// Why Envoy answered itself.
/// <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage>
const FLAGS: [(&str, &str); 12] = [
    ("UH", "no healthy upstream"),
    ("UF", "connection to the upstream failed"),
    ("UO", "circuit breaker open"),
    ("NR", "no route"),
    ("NC", "no such cluster"),
    ("URX", "retries used up"),
    ("UT", "upstream did not answer in time"),
    ("UC", "upstream closed the connection"),
    ("UR", "upstream reset the stream"),
    ("DC", "the caller went away"),
    ("RL", "rate limited"),
    ("UAEX", "refused by the authorization service"),
];

/// The HTTP status for a gRPC status (given as number or name), and the name of the gRPC status.
pub(super) fn grpc_status(code: &str) -> Option<(u16, &'static str)> {
    let code = code.trim();
    let by_name = || {
        GRPC.into_iter()
            .find(|(_, name)| code.eq_ignore_ascii_case(name))
    };
    code.parse::<usize>()
        .ok()
        .and_then(|n| GRPC.get(n).copied())
        .or_else(by_name)
}

/// A description of Envoy's response flags; `None` when nothing went wrong.
pub(super) fn describe_flags(flags: &str) -> Option<String> {
    if matches!(flags, "" | "-") {
        return None;
    }
    let known = |flag: &str| {
        FLAGS
            .iter()
            .find(|(name, _)| *name == flag)
            .map(|(_, words)| *words)
    };
    let words: Vec<&str> = flags
        .split(',')
        .take(FLAGS.len())
        .filter_map(known)
        .collect();
    Some(if words.is_empty() {
        clean_bounded(&format!("Envoy: {flags}"))
    } else {
        format!("{} ({})", words.join(", "), clean_bounded(flags))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_flags_have_words() {
        assert_eq!(grpc_status("14"), Some((503, "UNAVAILABLE")));
        assert_eq!(grpc_status("NOT_FOUND"), Some((404, "NOT_FOUND")));
        for none in ["17", "-1", "", "x"] {
            assert_eq!(grpc_status(none), None);
        }
        assert_eq!(describe_flags("-"), None);
        assert_eq!(
            describe_flags("UF,URX").unwrap(),
            "connection to the upstream failed, retries used up (UF,URX)"
        );
        assert_eq!(describe_flags("ZZ").unwrap(), "Envoy: ZZ");
    }
}
