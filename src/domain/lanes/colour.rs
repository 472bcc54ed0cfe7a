//! The colouring of an entry expressed in Gateway API: which matches get which tag.
//!
//! Gateways prefer the most specific match (path, method, headers, parameters), whatever a lane's
//! priority. To keep the priorities, a lane also gets the matches of later lanes that would come
//! before its own, each combined with its own, so that a gateway has no choice of order. What does
//! not fit in an HTTPRoute is left out, the last lanes first, and reported.

use super::{
    Problem, Severity,
    compile::{enabled_lanes, lane_name},
    gateway_features::{GatewayFeatures, PATH_REWRITE},
    gateway_match::{CombinedMatch, MAX_ALTERNATIVES, MatchCriteria, ValueTest, expand_conditions},
};
use crate::{
    api::{EntryRoute, Lane, LaneGroup, gateway_api::RouteMatch},
    domain::request::is_under_prefix,
};

/// Maximum number of rules, from the definition of HTTPRoute.
pub const MAX_RULES: usize = 16;
/// Maximum number of matches of all rules of a route.
pub const MAX_MATCHES: usize = MAX_ALTERNATIVES;
const MAX_MATCHES_PER_RULE: usize = 64;

/// What happens to a request's tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagAction {
    /// The lane's tag is set.
    Set(String),
    /// The client may tag, and sent this tag.
    Client(String),
    /// No lane takes the request, and its own tag, if any, has no meaning.
    None,
}

/// One rule of an entry route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColouredRule {
    /// Matches, one of which must hold.
    pub matches: Vec<RouteMatch>,
    /// What happens to the tag.
    pub tag: TagAction,
    /// Replacement for the matched path prefix.
    pub rewrite: Option<String>,
}

/// Rules of each entry path (by its index in the group), and the problems. Lanes with errors take
/// no request.
pub fn build_coloured_rules(
    group: &LaneGroup,
    lanes: &[Lane],
    means: &GatewayFeatures,
) -> (Vec<Vec<ColouredRule>>, Vec<Problem>) {
    let mut problems = vec![];
    let mut said = vec![];
    for lane in enabled_lanes(group.metadata.name.as_deref().unwrap_or_default(), lanes) {
        match expand_conditions(&lane.spec, means) {
            Ok(ways) => said.push((lane, ways)),
            Err(wrong) => problems.extend(
                wrong
                    .into_iter()
                    .map(|(place, why)| lane_error(lane, &place, why.to_string())),
            ),
        }
    }
    loop {
        let found: Result<Vec<_>, ColourError> = (0..group.spec.entry.routes.len())
            .map(|at| build_entry_rules(group, at, &said))
            .collect();
        match found {
            Ok(rules) => return (rules, problems),
            Err(ColourError::Inexpressible(first, second, key)) => {
                // The later lane gives way.
                let other = lane_name(said[first].0);
                let text = format!(
                    "a request that lane {other} takes first could be taken by this one: an HTTPRoute can test only \
                    one thing of {key}. Use == or in, or another key"
                );
                problems.push(lane_error(said[second].0, "match", text));
                said.remove(second);
            }
            Err(ColourError::NoRoom(path)) => {
                let text = format!(
                    "has no room: the lanes at {path} need more than an HTTPRoute can hold ({MAX_RULES} rules, \
                     {MAX_MATCHES} matches). Name fewer values, or fewer lanes"
                );
                let Some((lane, _)) = said.pop() else {
                    return (vec![], problems);
                };
                problems.push(lane_error(lane, "match", text));
            }
        }
    }
}

/// Problems of the group itself: what its gateway cannot do.
pub fn group_problems(group: &LaneGroup, means: &GatewayFeatures) -> Vec<String> {
    let mut problems = vec![];
    let rewritten = group.spec.entry.routes.iter().any(|r| r.rewrite.is_some());
    if let Some(words) = rewritten
        .then(|| means.describe_missing(PATH_REWRITE))
        .flatten()
    {
        problems.push(format!(
            "entry.routes: {words}: leave the rewrite out, and let the services answer at that path"
        ));
    }
    if let Some(member) = &group.spec.propagation.baggage {
        problems.push(format!(
            "propagation.baggage: {} cannot change the member {member} of baggage: only the header {} is set",
            means.describe_class(),
            group.spec.propagation.header
        ));
    }
    problems
}

enum ColourError {
    NoRoom(String),
    Inexpressible(usize, usize, String),
}

fn lane_error(lane: &Lane, place: &str, text: String) -> Problem {
    Problem {
        severity: Severity::Error,
        lane: lane_name(lane).into(),
        place: place.into(),
        text,
    }
}

/// One match and its tag.
struct TaggedMatch {
    asked: MatchCriteria,
    tag: TagAction,
    lane: usize,
}

fn build_entry_rules(
    group: &LaneGroup,
    at: usize,
    said: &[(&Lane, Vec<MatchCriteria>)],
) -> Result<Vec<ColouredRule>, ColourError> {
    let route = &group.spec.entry.routes[at];
    let root = trim_slashes(&route.path);
    let plain = MatchCriteria {
        path: root.clone(),
        ..MatchCriteria::default()
    };
    let mut below = baseline_matches(group, said, &plain);
    for (lane, (spec, ways)) in said.iter().enumerate().rev() {
        let tag = TagAction::Set(spec.spec.tag.clone());
        let mut here: Vec<MatchCriteria> = vec![];
        for path in lane_paths(group, route, spec) {
            let whole = |w: &MatchCriteria| MatchCriteria {
                path: path.clone(),
                ..w.clone()
            };
            here.extend(ways.iter().map(whole));
        }
        let inexpressible =
            |other: usize, key| ColourError::Inexpressible(lane, other.min(said.len() - 1), key);
        let also = find_overlaps(route, &here, &below, &tag, &inexpressible)?;
        here.extend(also);
        let mut kept: Vec<MatchCriteria> = vec![];
        for asked in here {
            if !kept.contains(&asked) {
                kept.push(asked);
            }
        }
        // Matches with the same path become neighbours and can share a rule.
        kept.sort_by(|a, b| a.path.cmp(&b.path));
        // The same match of a later lane is never reached.
        below.retain(|w| !kept.contains(&w.asked));
        below.splice(
            0..0,
            kept.into_iter().map(|asked| TaggedMatch {
                asked,
                tag: tag.clone(),
                lane,
            }),
        );
    }
    if below.len() > MAX_MATCHES {
        return Err(ColourError::NoRoom(route.path.clone()));
    }
    let rules = merge_rules(route, &root, &below);
    if rules.len() > MAX_RULES {
        Err(ColourError::NoRoom(route.path.clone()))
    } else {
        Ok(rules)
    }
}

/// Matches below those of the lanes: the baseline comes last; before it, where clients may tag,
/// come the clients' own tags.
fn baseline_matches(
    group: &LaneGroup,
    said: &[(&Lane, Vec<MatchCriteria>)],
    plain: &MatchCriteria,
) -> Vec<TaggedMatch> {
    let mut below = vec![];
    if group.spec.client_may_tag {
        let header = group.spec.propagation.header.to_ascii_lowercase();
        let mut tags: Vec<&String> = said.iter().map(|(l, _)| &l.spec.tag).collect();
        tags.sort();
        tags.dedup();
        below.extend(tags.into_iter().map(|tag| {
            let headers = [(header.clone(), ValueTest::Exact(tag.clone()))].into();
            TaggedMatch {
                asked: MatchCriteria {
                    headers,
                    ..plain.clone()
                },
                tag: TagAction::Client(tag.clone()),
                lane: usize::MAX,
            }
        }));
    }
    below.push(TaggedMatch {
        asked: plain.clone(),
        tag: TagAction::None,
        lane: usize::MAX,
    });
    below
}

/// Matches for the requests that a lane's match and one below it both take.
fn find_overlaps(
    route: &EntryRoute,
    here: &[MatchCriteria],
    below: &[TaggedMatch],
    tag: &TagAction,
    inexpressible: &dyn Fn(usize, String) -> ColourError,
) -> Result<Vec<MatchCriteria>, ColourError> {
    let mut also = vec![];
    for own in here {
        // If the tag is the same, it does not matter which match takes the request.
        for other in below
            .iter()
            .filter(|w| w.tag != *tag && own.rank() <= w.asked.rank())
        {
            match own.combine_with(&other.asked) {
                CombinedMatch::Never => {}
                CombinedMatch::Match(both) => also.push(both),
                // A client's own tag is one exact value: only lanes can ask for two things of one
                // key.
                CombinedMatch::Inexpressible(key) => return Err(inexpressible(other.lane, key)),
            }
            if also.len() + here.len() + below.len() > 4 * MAX_MATCHES {
                return Err(ColourError::NoRoom(route.path.clone()));
            }
        }
    }
    Ok(also)
}

/// Merges neighbours with the same tag and rewrite into one rule.
fn merge_rules(route: &EntryRoute, root: &str, ways: &[TaggedMatch]) -> Vec<ColouredRule> {
    let mut rules: Vec<ColouredRule> = vec![];
    for way in ways {
        // What is matched beyond the entry's own path stays in the path.
        let rest = way.asked.path.strip_prefix(root).unwrap_or_default();
        let rewrite = route.rewrite.as_ref().map(|to| match rest {
            "" => to.clone(),
            rest => format!("{}{rest}", to.trim_end_matches('/')),
        });
        let found = way.asked.to_route_match();
        match rules.last_mut() {
            Some(last)
                if last.tag == way.tag
                    && last.rewrite == rewrite
                    && last.matches.len() < MAX_MATCHES_PER_RULE =>
            {
                last.matches.push(found);
            }
            _ => rules.push(ColouredRule {
                matches: vec![found],
                tag: way.tag.clone(),
                rewrite,
            }),
        }
    }
    rules
}

/// Paths at or below an entry path where a lane takes requests. A deeper entry path has rules of
/// its own.
pub(super) fn lane_paths(group: &LaneGroup, route: &EntryRoute, lane: &Lane) -> Vec<String> {
    let root = trim_slashes(&route.path);
    let asked = &lane.spec.rule.paths;
    if asked.is_empty()
        || asked
            .iter()
            .any(|p| is_under_prefix(&root, &trim_slashes(p)))
    {
        return vec![root];
    }
    let deeper = |p: &&String| {
        let own = trim_slashes(p);
        let nearer = |r: &EntryRoute| {
            let other = trim_slashes(&r.path);
            other.len() > root.len() && is_under_prefix(&own, &other)
        };
        is_under_prefix(&own, &root) && !group.spec.entry.routes.iter().any(nearer)
    };
    asked
        .iter()
        .filter(deeper)
        .map(|p| trim_slashes(p))
        .collect()
}

/// Removes trailing slashes: `/A/` becomes `/A`, and `/` becomes empty.
pub(super) fn trim_slashes(path: &str) -> String {
    path.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests;
