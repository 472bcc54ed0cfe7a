//! The engine's Lease, as read by standby engines and observers.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;

/// Name of the engine's Lease.
pub const ENGINE_LEASE: &str = crate::domain::account::ENGINE;
/// A holder that has not renewed for this long has lost the Lease, unless the Lease names another
/// duration. With one poll of a standby engine before and after, takeover happens within 15 s.
pub const LEASE_DURATION: Duration = Duration::from_secs(12);
/// Upper bound, whatever the Lease says: someone may have written a year into it.
const MAX_LEASE_DURATION: Duration = Duration::from_mins(1);

/// How long the holder may stay silent before it counts as gone.
#[must_use]
pub fn holder_timeout(spec: &LeaseSpec) -> Duration {
    let said = spec
        .lease_duration_seconds
        .and_then(|s| u64::try_from(s).ok());
    said.map_or(LEASE_DURATION, Duration::from_secs)
        .min(MAX_LEASE_DURATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lease_is_waited_for_longer_than_a_minute() {
        let of = |seconds| {
            holder_timeout(&LeaseSpec {
                lease_duration_seconds: seconds,
                ..LeaseSpec::default()
            })
            .as_secs()
        };
        assert_eq!(
            [None, Some(3), Some(60), Some(31_536_000), Some(-1)].map(of),
            [12, 3, 60, 60, 12]
        );
    }
}
