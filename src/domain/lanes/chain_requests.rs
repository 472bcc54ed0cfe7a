//! The requests that repeat a chain: the same path once on gray and once on base.

use super::{
    RequestPair, RequestPairError, Rules, build_request_pair,
    compile::{enabled_lanes, lane_name},
    request_pair::find_taking_lane,
};
use crate::{
    api::{ConditionOn, Lane, ProbeSpec},
    domain::{
        chain::Chain,
        diff::Sides,
        request::{decode_query_part, query_pairs},
        world::World,
    },
};

/// The requests that repeat a chain, and the lane group whose entry takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainRequests {
    /// Name of the lane group.
    pub group: String,
    /// Both requests.
    pub pair: RequestPair,
    /// Whether `probe --diff` makes the same pair of the base request.
    pub from_base: bool,
}

/// Why a chain is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainRequestsError {
    /// No lane group is known whose entry could be asked.
    #[error("it is not known which lane group's entry took this request")]
    NoGroup,
    /// The hop at the entry was not reported.
    #[error("how this request came in was not reported: it cannot be sent again")]
    NoEntry,
    /// The chain began inside the cluster.
    #[error("this request did not come in at the entry but began at {0}: it cannot be sent again")]
    Inside(String),
    /// The method is not known.
    #[error("the method of this request was not reported, and only a GET is sent again")]
    NoMethod,
    /// Another method than GET, which may change something.
    #[error("this request was a {0}: only a GET is sent again, others may change something")]
    Method(String),
    /// The path was too long to be kept, or is none.
    #[error("the path of this request is not known in full: it cannot be sent again")]
    Path,
    /// The lane of the chain is gone or disabled.
    #[error("lane group {group} has no enabled lane any more that sets tag {tag}")]
    NoTag {
        /// Name of the lane group.
        group: String,
        /// Tag of the chain.
        tag: String,
    },
    /// The lanes allow no such pair.
    #[error(transparent)]
    Pair(#[from] RequestPairError),
}

/// Builds the requests that repeat a chain: for its own lane or, for an untagged chain, for the
/// group's first enabled lane. Query parameters that the lane tests are what makes a request gray,
/// so the base request has none of them.
pub fn build_chain_requests(
    chain: &Chain,
    world: &World,
) -> Result<ChainRequests, ChainRequestsError> {
    check_entry_hop(chain)?;
    let group = find_entry_group(chain, world).ok_or(ChainRequestsError::NoGroup)?;
    let lanes: Vec<Lane> = world.lanes.values().map(|l| (**l).clone()).collect();
    let enabled = enabled_lanes(&group, &lanes);
    let (candidates, missing) = match &chain.tag {
        Some(tag) => (
            enabled.into_iter().filter(|l| l.spec.tag == *tag).collect(),
            ChainRequestsError::NoTag {
                group: group.clone(),
                tag: tag.clone(),
            },
        ),
        None => (
            enabled.into_iter().take(1).collect::<Vec<&Lane>>(),
            RequestPairError::NoLane(group.clone()).into(),
        ),
    };
    let mut why = None;
    for lane in candidates {
        match build_lane_pair(&chain.path, &group, &lanes, lane) {
            Ok((pair, from_base)) => {
                return Ok(ChainRequests {
                    group,
                    pair,
                    from_base,
                });
            }
            Err(error) => why = why.or(Some(error.into())),
        }
    }
    Err(why.unwrap_or(missing))
}

/// Checks that the chain began with a GET at an entry whose path is known.
fn check_entry_hop(chain: &Chain) -> Result<(), ChainRequestsError> {
    let first = chain.steps.first().and_then(|s| s.hop.as_ref());
    let hop = first.ok_or(ChainRequestsError::NoEntry)?;
    if !hop.entry {
        return Err(ChainRequestsError::Inside(hop.app.clone()));
    }
    if hop.method.is_empty() {
        return Err(ChainRequestsError::NoMethod);
    }
    if hop.method != "GET" {
        return Err(ChainRequestsError::Method(hop.method.clone()));
    }
    // A log may contain anything, such as a method before the path; a long path ends with `…`.
    let whole = chain.path.starts_with('/')
        && !chain
            .path
            .contains(|c: char| c.is_whitespace() || c.is_control())
        && !chain.path.ends_with('…');
    whole.then_some(()).ok_or(ChainRequestsError::Path)
}

/// The group that the chain names or, if it names none, the only one with its first app.
fn find_entry_group(chain: &Chain, world: &World) -> Option<String> {
    if let Some(group) = &chain.group {
        return world.groups.contains_key(group).then(|| group.clone());
    }
    let app = &chain.steps.first()?.app;
    let mut having = world
        .groups
        .iter()
        .filter(|(_, g)| g.spec.apps.iter().any(|a| a.app == *app));
    match (having.next(), having.next()) {
        (Some((name, _)), None) => Some(name.clone()),
        _ => None,
    }
}

/// Both requests for one lane, and whether the gray one can be told from the base one alone.
fn build_lane_pair(
    path: &str,
    group: &str,
    lanes: &[Lane],
    lane: &Lane,
) -> Result<(RequestPair, bool), RequestPairError> {
    let to_spec = |path: String| ProbeSpec {
        path,
        count: 1,
        ..ProbeSpec::default()
    };
    let base = to_spec(remove_tested_parameters(path, lane));
    let name = lane_name(lane);
    let built = build_request_pair(group, lanes, Some(name), base.clone());
    // The values of the chain itself are better than made-up ones, and known where a rule tells
    // none.
    let gray = to_spec(path.to_owned());
    let (rules, _) = Rules::compile(group, lanes);
    let is_own = lane.spec.share.is_none()
        && find_taking_lane(&rules, &gray)?.as_deref() == Some(name)
        && find_taking_lane(&rules, &base)?.is_none();
    if !is_own {
        return built.map(|pair| (pair, true));
    }
    let pair = RequestPair {
        lane: name.to_owned(),
        tag: lane.spec.tag.clone(),
        requests: Sides { base, gray },
    };
    let from_base = built.as_ref() == Ok(&pair);
    Ok((pair, from_base))
}

/// The path without the query parameters that the lane tests.
fn remove_tested_parameters(path: &str, lane: &Lane) -> String {
    let rule = &lane.spec.rule;
    let tested: Vec<&str> = rule
        .all
        .iter()
        .chain(&rule.any)
        .filter(|c| c.on == ConditionOn::Parameter)
        .filter_map(|c| c.key.as_deref())
        .collect();
    let is_tested = |key: &str| tested.iter().any(|t| *t == decode_query_part(key));
    let Some((bare, query)) = path.split_once('?') else {
        return path.to_owned();
    };
    if !query_pairs(query).any(|(key, _)| is_tested(key)) {
        return path.to_owned();
    }
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !query_pairs(pair).any(|(key, _)| is_tested(key)))
        .collect();
    if kept.is_empty() {
        bare.to_owned()
    } else {
        format!("{bare}?{}", kept.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        api::{LaneApp, LaneGroup, LaneGroupSpec, LaneSpec},
        domain::{chain::ChainStep, hop::Hop, lanes::text::parse_condition},
    };

    fn lane(name: &str, priority: i32, condition: &str) -> Lane {
        let mut spec = LaneSpec {
            group: "g".into(),
            tag: name.into(),
            enabled: true,
            priority,
            ..LaneSpec::default()
        };
        spec.rule.all = vec![parse_condition(condition).unwrap()];
        Lane::new(name, spec)
    }

    fn world(lanes: Vec<Lane>) -> World {
        let group = |name: &str, app: &str| {
            let app = LaneApp {
                app: app.into(),
                service: None,
                port: 1,
            };
            let spec = LaneGroupSpec {
                apps: vec![app],
                ..LaneGroupSpec::default()
            };
            (name.to_owned(), Arc::new(LaneGroup::new(name, spec)))
        };
        let named = |lane: Lane| (lane_name(&lane).to_owned(), Arc::new(lane));
        World {
            groups: Arc::new([group("g", "a"), group("other", "b")].into()),
            lanes: Arc::new(lanes.into_iter().map(named).collect()),
            ..World::default()
        }
    }

    fn gray() -> World {
        world(vec![lane("gray", 1, "parameter group == gray")])
    }

    fn chain(path: &str, tag: Option<&str>) -> Chain {
        let hop = Hop {
            entry: true,
            app: "a".into(),
            method: "GET".into(),
            ..Hop::default()
        };
        let step = ChainStep {
            app: "a".into(),
            hop: Some(Arc::new(hop)),
            ..ChainStep::default()
        };
        Chain {
            group: Some("g".into()),
            tag: tag.map(str::to_owned),
            path: path.into(),
            steps: vec![step],
            ..Chain::default()
        }
    }

    fn paths(chain: &Chain, world: &World) -> (String, String) {
        let made = build_chain_requests(chain, world).unwrap();
        assert_eq!(made.group, "g");
        let Sides { base, gray } = made.pair.requests;
        assert_eq!((base.count, gray.count), (1, 1));
        (base.path, gray.path)
    }

    fn pair(base: &str, gray: &str) -> (String, String) {
        (base.to_owned(), gray.to_owned())
    }

    #[test]
    fn a_tagged_and_an_untagged_chain_are_the_same_request() {
        let wanted = pair("/A/a", "/A/a?group=gray");
        assert_eq!(
            paths(&chain("/A/a?group=gray", Some("gray")), &gray()),
            wanted
        );
        assert_eq!(paths(&chain("/A/a", None), &gray()), wanted);
        // What takes no lane stays, and another value of what the lane tests does not.
        assert_eq!(
            paths(&chain("/A/a?x=1&gr%6Fup=gray&y", Some("gray")), &gray()),
            pair("/A/a?x=1&y", "/A/a?x=1&gr%6Fup=gray&y")
        );
        assert_eq!(
            paths(&chain("/A/a?group=blue&x=1", None), &gray()),
            pair("/A/a?x=1", "/A/a?x=1&group=gray")
        );
    }

    #[test]
    fn the_lane_of_the_chain_takes_grays_request() {
        let both = || {
            vec![
                lane("gray", 1, "parameter group == gray"),
                lane("vip", 2, "header x-user in mia,noah"),
            ]
        };
        let made = build_chain_requests(&chain("/A/a", Some("vip")), &world(both())).unwrap();
        assert!(made.from_base);
        assert_eq!((&*made.pair.lane, &*made.pair.tag), ("vip", "vip"));
        assert_eq!(made.pair.requests.gray.headers["x-user"], "mia");
        // An untagged chain is sent in the first lane.
        let made = build_chain_requests(&chain("/A/a", None), &world(both())).unwrap();
        assert_eq!(made.pair.lane, "gray");
    }

    #[test]
    fn values_of_the_chain_are_kept_where_the_lane_takes_them() {
        let mine = world(vec![lane("gray", 1, "parameter user in mia,noah")]);
        let made = build_chain_requests(&chain("/?user=noah", Some("gray")), &mine).unwrap();
        assert_eq!(made.pair.requests.gray.path, "/?user=noah");
        assert!(!made.from_base, "the command would ask as mia");
        // No request can be made up for a regex, but this one is there.
        let regex = world(vec![lane("gray", 1, "parameter v regex 2.*")]);
        assert_eq!(
            paths(&chain("/?v=21", Some("gray")), &regex),
            pair("/", "/?v=21")
        );
        assert!(matches!(
            build_chain_requests(&chain("/", None), &regex),
            Err(ChainRequestsError::Pair(RequestPairError::Unclear(_)))
        ));
    }

    #[test]
    fn only_a_whole_get_at_the_entry_is_repeated() {
        let why = |change: &dyn Fn(&mut Chain, &mut Hop)| {
            let mut chain = chain("/A/a", None);
            let mut hop = chain.steps[0].hop.take().map(|h| (*h).clone()).unwrap();
            change(&mut chain, &mut hop);
            if !hop.app.is_empty() {
                chain.steps[0].hop = Some(Arc::new(hop));
            }
            build_chain_requests(&chain, &gray()).unwrap_err()
        };
        type E = ChainRequestsError;
        assert_eq!(
            why(&|_, hop| hop.method = "POST".into()).to_string(),
            "this request was a POST: only a GET is sent again, others may change something"
        );
        assert_eq!(why(&|_, hop| hop.method.clear()), E::NoMethod);
        assert_eq!(why(&|_, hop| hop.entry = false), E::Inside("a".into()));
        assert_eq!(why(&|_, hop| hop.app.clear()), E::NoEntry);
        for path in ["", "A", "DELETE /A", "/A b", "/A\tb", "/long…"] {
            assert_eq!(
                why(&|chain, _| chain.path = path.into()),
                E::Path,
                "{path:?}"
            );
        }
    }

    #[test]
    fn without_group_or_lane_nothing_is_sent() {
        let mut own = chain("/A/a", None);
        own.group = None;
        assert_eq!(paths(&own, &gray()).0, "/A/a", "the only group with app a");
        own.steps[0].app = "c".into();
        let unknown = build_chain_requests(&own, &gray());
        assert_eq!(unknown, Err(ChainRequestsError::NoGroup));
        own.group = Some("gone".into());
        let gone = build_chain_requests(&own, &gray());
        assert_eq!(gone, Err(ChainRequestsError::NoGroup));
        let old = build_chain_requests(&chain("/", Some("old")), &gray());
        assert!(matches!(old, Err(ChainRequestsError::NoTag { .. })));
        let none = build_chain_requests(&chain("/", None), &world(vec![]));
        assert_eq!(none, Err(RequestPairError::NoLane("g".into()).into()));
        // Another lane takes the request as it is.
        let both = world(vec![
            lane("any", 0, "parameter group exists"),
            lane("vip", 1, "header x-user == 7"),
        ]);
        let taken = build_chain_requests(&chain("/?group=1", Some("vip")), &both);
        assert!(matches!(
            taken,
            Err(ChainRequestsError::Pair(RequestPairError::Taken { .. }))
        ));
    }
}
