//! The colouring of an entry expressed in Gateway API: which matches get which tag.
//!
//! Gateways prefer the most specific match (path, method, headers, parameters), whatever a lane's
//! priority. To keep the priorities, a lane also gets the matches of later lanes that would come
//! before its own, each combined with its own, so that a gateway has no choice of order. What does
//! not fit in an HTTPRoute is left out, the last lanes first, and reported.

use super::{
    Problem, Severity,
    compile::{name, ordered},
    express::{Asked, Both, MOST_WAYS, Value, ways},
    means::{Means, REWRITES},
};
use crate::{
    api::{EntryRoute, Lane, LaneGroup, gateway_api::RouteMatch},
    domain::request::under,
};

/// Maximum number of rules, from the definition of HTTPRoute.
pub const MOST_RULES: usize = 16;
/// Maximum number of matches of all rules of a route.
pub const MOST_MATCHES: usize = MOST_WAYS;
const MOST_OF_A_RULE: usize = 64;

/// What happens to a request's tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The lane's tag is set.
    Set(String),
    /// The client may tag, and sent this tag.
    Own(String),
    /// No lane takes the request, and its own tag, if any, has no meaning.
    None,
}

/// One rule of an entry route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coloured {
    /// Matches, one of which must hold.
    pub matches: Vec<RouteMatch>,
    /// What happens to the tag.
    pub tag: Tag,
    /// Replacement for the matched path prefix.
    pub rewrite: Option<String>,
}

/// Rules of each entry path (by its index in the group), and the problems. Lanes with errors take
/// no request.
pub fn coloured(
    group: &LaneGroup,
    lanes: &[Lane],
    means: &Means,
) -> (Vec<Vec<Coloured>>, Vec<Problem>) {
    let mut problems = vec![];
    let mut said = vec![];
    for lane in ordered(group.metadata.name.as_deref().unwrap_or_default(), lanes) {
        match ways(&lane.spec, means) {
            Ok(ways) => said.push((lane, ways)),
            Err(wrong) => problems.extend(
                wrong
                    .into_iter()
                    .map(|(place, text)| problem(lane, &place, text)),
            ),
        }
    }
    loop {
        let found: Result<Vec<_>, Full> = (0..group.spec.entry.routes.len())
            .map(|at| entry(group, at, &said))
            .collect();
        match found {
            Ok(rules) => return (rules, problems),
            Err(Full::Unsaid(first, second, key)) => {
                // The later lane gives way.
                let other = name(said[first].0);
                let text = format!(
                    "a request that lane {other} takes first could be taken by this one: an HTTPRoute asks one thing \
                     only of {key}. Use == or in, or another key"
                );
                problems.push(problem(said[second].0, "match", text));
                said.remove(second);
            }
            Err(Full::Room(path)) => {
                let text = format!(
                    "has no room: the lanes at {path} come to more than an HTTPRoute takes ({MOST_RULES} rules, \
                     {MOST_MATCHES} matches). Name fewer values, or fewer lanes"
                );
                let Some((lane, _)) = said.pop() else {
                    return (vec![], problems);
                };
                problems.push(problem(lane, "match", text));
            }
        }
    }
}

/// Problems of the group itself: what its gateway cannot do.
pub fn group_problems(group: &LaneGroup, means: &Means) -> Vec<String> {
    let mut problems = vec![];
    let rewritten = group.spec.entry.routes.iter().any(|r| r.rewrite.is_some());
    if let Some(words) = rewritten.then(|| means.lacks(REWRITES)).flatten() {
        problems.push(format!(
            "entry.routes: {words}: leave the rewrite out, and let the services answer at that path"
        ));
    }
    if let Some(member) = &group.spec.propagation.baggage {
        problems.push(format!(
            "propagation.baggage: {} cannot change the member {member} of baggage: only the header {} is set",
            means.who(),
            group.spec.propagation.header
        ));
    }
    problems
}

enum Full {
    Room(String),
    Unsaid(usize, usize, String),
}

fn problem(lane: &Lane, place: &str, text: String) -> Problem {
    Problem {
        severity: Severity::Error,
        lane: name(lane).into(),
        place: place.into(),
        text,
    }
}

/// One match and its tag.
struct Way {
    asked: Asked,
    tag: Tag,
    lane: usize,
}

fn entry(
    group: &LaneGroup,
    at: usize,
    said: &[(&Lane, Vec<Asked>)],
) -> Result<Vec<Coloured>, Full> {
    let route = &group.spec.entry.routes[at];
    let root = trimmed(&route.path);
    let plain = Asked {
        path: root.clone(),
        ..Asked::default()
    };
    // The baseline comes last; before it, where clients may tag, come the clients' own tags.
    let mut below = vec![Way {
        asked: plain.clone(),
        tag: Tag::None,
        lane: usize::MAX,
    }];
    if group.spec.client_may_tag {
        let header = group.spec.propagation.header.to_ascii_lowercase();
        let mut tags: Vec<&String> = said.iter().map(|(l, _)| &l.spec.tag).collect();
        tags.sort();
        tags.dedup();
        let own = tags.into_iter().map(|tag| {
            let headers = [(header.clone(), Value::Exact(tag.clone()))].into();
            Way {
                asked: Asked {
                    headers,
                    ..plain.clone()
                },
                tag: Tag::Own(tag.clone()),
                lane: usize::MAX,
            }
        });
        below.splice(0..0, own);
    }
    for (lane, (spec, ways)) in said.iter().enumerate().rev() {
        let tag = Tag::Set(spec.spec.tag.clone());
        let mut here: Vec<Asked> = vec![];
        for path in paths(group, route, spec) {
            let whole = |w: &Asked| Asked {
                path: path.clone(),
                ..w.clone()
            };
            here.extend(ways.iter().map(whole));
        }
        let mut also = vec![];
        for own in &here {
            // If the tag is the same, it does not matter which match takes the request.
            for other in below
                .iter()
                .filter(|w| w.tag != tag && own.rank() <= w.asked.rank())
            {
                match own.and(&other.asked) {
                    Both::Never => {}
                    Both::As(both) => also.push(both),
                    // A client's own tag is one exact value: only lanes can ask for two things of
                    // one key.
                    Both::Unsaid(key) => {
                        return Err(Full::Unsaid(lane, other.lane.min(said.len() - 1), key));
                    }
                }
                if also.len() + here.len() + below.len() > 4 * MOST_MATCHES {
                    return Err(Full::Room(route.path.clone()));
                }
            }
        }
        here.extend(also);
        let mut kept: Vec<Asked> = vec![];
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
            kept.into_iter().map(|asked| Way {
                asked,
                tag: tag.clone(),
                lane,
            }),
        );
    }
    if below.len() > MOST_MATCHES {
        return Err(Full::Room(route.path.clone()));
    }
    let rules = rules(route, &root, &below);
    if rules.len() > MOST_RULES {
        Err(Full::Room(route.path.clone()))
    } else {
        Ok(rules)
    }
}

/// Merges neighbours with the same tag and rewrite into one rule.
fn rules(route: &EntryRoute, root: &str, ways: &[Way]) -> Vec<Coloured> {
    let mut rules: Vec<Coloured> = vec![];
    for way in ways {
        // What is matched beyond the entry's own path stays in the path.
        let rest = way.asked.path.strip_prefix(root).unwrap_or_default();
        let rewrite = route.rewrite.as_ref().map(|to| match rest {
            "" => to.clone(),
            rest => format!("{}{rest}", to.trim_end_matches('/')),
        });
        let found = way.asked.route_match();
        match rules.last_mut() {
            Some(last)
                if last.tag == way.tag
                    && last.rewrite == rewrite
                    && last.matches.len() < MOST_OF_A_RULE =>
            {
                last.matches.push(found);
            }
            _ => rules.push(Coloured {
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
pub(super) fn paths(group: &LaneGroup, route: &EntryRoute, lane: &Lane) -> Vec<String> {
    let root = trimmed(&route.path);
    let asked = &lane.spec.rule.paths;
    if asked.is_empty() || asked.iter().any(|p| under(&root, &trimmed(p))) {
        return vec![root];
    }
    let deeper = |p: &&String| {
        let own = trimmed(p);
        let nearer = |r: &EntryRoute| {
            let other = trimmed(&r.path);
            other.len() > root.len() && under(&own, &other)
        };
        under(&own, &root) && !group.spec.entry.routes.iter().any(nearer)
    };
    asked.iter().filter(deeper).map(|p| trimmed(p)).collect()
}

/// Removes trailing slashes: `/A/` becomes `/A`, and `/` becomes empty.
pub(super) fn trimmed(path: &str) -> String {
    path.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests;
