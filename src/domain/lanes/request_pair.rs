//! The same request twice: one that a lane takes, and one that no lane takes.

use super::{Rules, build_lane_request, compile};
use crate::{
    api::{Lane, ProbeSpec},
    domain::{
        diff::Sides,
        request::{RequestError, parse_request},
    },
};

/// Both requests, and the lane that takes the gray one.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestPair {
    /// Lane that takes the gray request.
    pub lane: String,
    /// Tag that the lane sets.
    pub tag: String,
    /// Base request and gray request.
    pub requests: Sides<ProbeSpec>,
}

/// Why there is no such pair of requests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestPairError {
    /// No lane is enabled.
    #[error("lane group {0} has no enabled lane: nothing is gray there")]
    NoLane(String),
    /// No enabled lane has that name.
    #[error("lane group {group} has no enabled lane {lane}")]
    Unknown {
        /// Name of the lane group.
        group: String,
        /// Name that was given.
        lane: String,
    },
    /// The lane's rule does not determine a request.
    #[error(
        "no request can be made up for lane {0}: it has a regex, a share or a method other than GET"
    )]
    Unclear(String),
    /// Another lane takes the request, or its path is not one of the lane's.
    #[error("lane {lane} does not take {path}: `graylane lane explain` says why")]
    NotTaken {
        /// Name of the lane.
        lane: String,
        /// Path of the derived request.
        path: String,
    },
    /// A lane takes the plain request as it is.
    #[error("lane {lane} takes {path} as it is: leave out what that lane matches")]
    Taken {
        /// Name of that lane.
        lane: String,
        /// Path of the plain request.
        path: String,
    },
    /// The text is not a request.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Builds both requests from a plain one, for the named lane or the group's first enabled lane.
pub fn build_request_pair(
    group: &str,
    lanes: &[Lane],
    named: Option<&str>,
    plain: ProbeSpec,
) -> Result<RequestPair, RequestPairError> {
    let enabled = compile::enabled_lanes(group, lanes);
    let found = enabled
        .into_iter()
        .find(|l| named.is_none_or(|name| compile::lane_name(l) == name));
    let lane = found.ok_or_else(|| match named {
        Some(lane) => RequestPairError::Unknown {
            group: group.into(),
            lane: lane.into(),
        },
        None => RequestPairError::NoLane(group.into()),
    })?;
    let name = compile::lane_name(lane).to_owned();
    if lane.spec.share.is_some() {
        return Err(RequestPairError::Unclear(name));
    }
    let gray = build_lane_request(&lane.spec, plain.clone())
        .ok_or_else(|| RequestPairError::Unclear(name.clone()))?;
    let (rules, _) = Rules::compile(group, lanes);
    if let Some(lane) = find_taking_lane(&rules, &plain)? {
        return Err(RequestPairError::Taken {
            lane,
            path: plain.path,
        });
    }
    if find_taking_lane(&rules, &gray)?.as_ref() != Some(&name) {
        return Err(RequestPairError::NotTaken {
            lane: name,
            path: gray.path,
        });
    }
    Ok(RequestPair {
        lane: name,
        tag: lane.spec.tag.clone(),
        requests: Sides { base: plain, gray },
    })
}

/// Name of the lane that takes a request.
pub(super) fn find_taking_lane(
    rules: &Rules,
    spec: &ProbeSpec,
) -> Result<Option<String>, RequestError> {
    let headers: Vec<String> = spec
        .headers
        .iter()
        .map(|(k, v)| format!("{k}: {v}"))
        .collect();
    let request = parse_request(&spec.path, &headers, &[])?;
    Ok(rules.decide_lane(&request).map(|d| d.lane.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::LaneSpec, domain::lanes::text};

    fn lane(name: &str, priority: i32, condition: &str) -> Lane {
        let mut spec = LaneSpec {
            group: "g".into(),
            tag: name.into(),
            enabled: true,
            priority,
            ..LaneSpec::default()
        };
        spec.rule.all = vec![text::parse_condition(condition).unwrap()];
        Lane::new(name, spec)
    }

    fn made(
        lanes: &[Lane],
        named: Option<&str>,
        path: &str,
    ) -> Result<RequestPair, RequestPairError> {
        build_request_pair(
            "g",
            lanes,
            named,
            ProbeSpec {
                path: path.into(),
                count: 1,
                ..ProbeSpec::default()
            },
        )
    }

    #[test]
    fn the_first_lane_or_the_named_one_takes_grays_request_and_none_the_other() {
        let lanes = [
            lane("vip", 2, "header x-user == 7"),
            lane("gray", 1, "parameter group == gray"),
        ];
        let first = made(&lanes, None, "/A/a").unwrap();
        assert_eq!(
            (first.lane.as_str(), first.requests.gray.path.as_str()),
            ("gray", "/A/a?group=gray")
        );
        assert_eq!(first.requests.base.path, "/A/a");
        let named = made(&lanes, Some("vip"), "/A/a").unwrap();
        assert_eq!(
            (
                named.tag.as_str(),
                named.requests.gray.headers["x-user"].as_str()
            ),
            ("vip", "7")
        );
    }

    #[test]
    fn where_there_are_no_two_requests_it_is_said_why() {
        let gray = || lane("gray", 1, "parameter group == gray");
        assert!(matches!(
            made(&[], None, "/"),
            Err(RequestPairError::NoLane(_))
        ));
        assert!(matches!(
            made(&[gray()], Some("x"), "/"),
            Err(RequestPairError::Unknown { .. })
        ));
        assert!(matches!(
            made(&[gray()], None, "/?group=gray"),
            Err(RequestPairError::Taken { .. })
        ));
        assert!(matches!(
            made(&[gray()], None, "no path"),
            Err(RequestPairError::Request(_))
        ));
        assert!(matches!(
            made(&[lane("r", 1, "header x regex a+")], None, "/"),
            Err(RequestPairError::Unclear(_))
        ));
        let mut narrow = gray();
        narrow.spec.rule.paths = vec!["/A".into()];
        assert!(matches!(
            made(&[narrow], None, "/B"),
            Err(RequestPairError::NotTaken { .. })
        ));
        let mut share = lane("s", 1, "header x == 1");
        (share.spec.rule.all, share.spec.share) = (vec![], Some(0.01));
        assert!(matches!(
            made(&[share], None, "/"),
            Err(RequestPairError::Unclear(_))
        ));
        let both = [lane("any", 0, "parameter group exists"), gray()];
        assert!(matches!(
            made(&both, Some("gray"), "/"),
            Err(RequestPairError::NotTaken { .. })
        ));
    }
}
