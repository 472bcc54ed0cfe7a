//! The order of API versions in Kubernetes (`CompareKubeAwareVersionStrings` of
//! k8s.io/apimachinery): stable before beta before alpha, newer before older, and other names after
//! them, alphabetically.

use std::cmp::{Ordering, Reverse};

/// Orders versions by preference: the version that clients should prefer is less.
pub(crate) fn compare_versions(one: &str, two: &str) -> Ordering {
    match (parse_version(one), parse_version(two)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one.cmp(two),
    }
}

type VersionKey = (u8, Reverse<u64>, Reverse<u64>);

/// `v2beta1` becomes its stability, 2, 1.
fn parse_version(text: &str) -> Option<VersionKey> {
    let number = |text: &str| {
        let plain =
            !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    let rest = text.strip_prefix('v')?;
    let Some(at) = rest.find(|c: char| !c.is_ascii_digit()) else {
        return Some((0, Reverse(number(rest)?), Reverse(0)));
    };
    let (major, rest) = rest.split_at(at);
    let (stability, minor) = match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
        (Some(minor), _) => (1, minor),
        (_, Some(minor)) => (2, minor),
        _ => return None,
    };
    Some((stability, Reverse(number(major)?), Reverse(number(minor)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_before_beta_before_alpha_and_newer_before_older() {
        // The example of Kubernetes' documentation on CRD versions, and names that are almost
        // versions.
        let wanted = [
            "v10",
            "v2",
            "v1",
            "v11beta2",
            "v10beta3",
            "v3beta1",
            "v12alpha1",
            "v11alpha2",
            "foo1",
            "foo10",
            "v",
            "v01",
            "v1beta",
            "v1gamma1",
            "v2beta0",
        ];
        let mut got = wanted;
        got.reverse();
        got.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(got, wanted);
    }
}
