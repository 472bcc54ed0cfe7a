//! Finds and describes problems with the lanes of a group before they are saved.

use super::{
    GatewayFeatures, Problem, Rules, Severity, build_coloured_rules,
    compile::{enabled_lanes, lane_name},
    constraints::{Branch, LaneConstraints},
    describe_preceding_routes,
    gateway_match::expand_conditions,
    inexpressible::Inexpressible,
    percent_to_basis_points,
    remote_versions::check_remote_versions,
    text::format_condition,
    unmatchable,
};
use crate::{
    api::{
        App, ClusterName, Condition, ConditionOn, Lane, LaneGroup, LaneMode, LaneSpec, Operator,
    },
    domain::request::is_under_prefix,
};

/// Maximum number of pairs of lanes that are reported, so that a large group does not get hundreds
/// of problems.
const MAX_REPORTED_PAIRS: usize = 100;

/// What the lanes of a group are checked against: by the cockpit, the command line and the engine
/// alike.
#[derive(Clone, Copy)]
pub struct LaneCheck<'a> {
    /// Name of the lane group.
    pub name: &'a str,
    /// The group; `None` if it does not exist.
    pub group: Option<&'a LaneGroup>,
    /// Apps, as far as they are known.
    pub app_of: &'a dyn Fn(&str) -> Option<&'a App>,
    /// Whether it is another cluster than the home cluster.
    pub away: &'a dyn Fn(&ClusterName) -> bool,
}

impl<'a> LaneCheck<'a> {
    /// A check that knows no Apps.
    pub fn without_apps(name: &'a str, group: Option<&'a LaneGroup>) -> Self {
        Self {
            name,
            group,
            app_of: &|_| None,
            away: &|_| false,
        }
    }

    /// All problems of the group's lanes. Disabled lanes are checked on their own, not against
    /// others.
    pub fn find_problems(&self, lanes: &[Lane]) -> Vec<Problem> {
        let mut problems = check_lanes(self.name, self.group, lanes);
        for lane in lanes.iter().filter(|l| l.spec.group == self.name) {
            problems.extend(self.find_remote_versions(lane));
        }
        problems
    }

    /// Problems of a lane that gets this spec, and those that it causes in other lanes. `lanes` are
    /// all that there are.
    pub fn find_new_problems(&self, lanes: &[Lane], name: &str, spec: &LaneSpec) -> Vec<Problem> {
        let old = self.find_problems(lanes);
        self.find_problems(&replace_lane(lanes, name, Some(spec)))
            .into_iter()
            .filter(|p| p.lane == name || !old.contains(p))
            .collect()
    }

    /// Versions of a lane that run in another cluster, which no lane reaches.
    pub fn find_remote_versions(&self, lane: &Lane) -> Vec<Problem> {
        self.group.map_or_else(Vec::new, |group| {
            check_remote_versions(group, lane, self.app_of, self.away)
        })
    }
}

/// These lanes, with one of them changed, added or (`None`) removed.
pub fn replace_lane(lanes: &[Lane], name: &str, spec: Option<&LaneSpec>) -> Vec<Lane> {
    let others = lanes.iter().filter(|l| lane_name(l) != name).cloned();
    others
        .chain(spec.map(|spec| Lane::new(name, spec.clone())))
        .collect()
}

/// Problems of the lanes of the group called `group_name`, apart from where Apps run.
pub(super) fn check_lanes(
    group_name: &str,
    group: Option<&LaneGroup>,
    lanes: &[Lane],
) -> Vec<Problem> {
    let mut problems = vec![];
    for lane in lanes.iter().filter(|l| l.spec.group == group_name) {
        let mut add = |severity, place: &str, text: String| {
            problems.push(Problem {
                severity,
                lane: lane_name(lane).into(),
                place: place.into(),
                text,
            });
        };
        match group {
            None => add(
                Severity::Error,
                "group",
                format!("there is no lane group {group_name:?}"),
            ),
            Some(group) => check_paths(lane, group, &mut add),
        }
        check_tag(lane, group, &mut add);
        check_share(lane, &mut add);
        check_unmatchable(lane, &mut add);
        check_contradictions(lane, &mut add);
        check_method_case(lane, &mut add);
        let mut alone = lane.clone();
        alone.spec.enabled = true;
        problems.extend(Rules::compile(group_name, &[alone]).1);
    }
    check_share_sum(group_name, lanes, &mut problems);
    check_lane_pairs(group_name, lanes, &mut problems);
    if let Some(group) = group {
        check_gateway(group, lanes, &mut problems);
    }
    problems
}

/// Checks what the entry's gateway cannot do, and which other routes come first there.
fn check_gateway(group: &LaneGroup, lanes: &[Lane], problems: &mut Vec<Problem>) {
    let own = || {
        lanes
            .iter()
            .filter(|l| Some(&l.spec.group) == group.metadata.name.as_ref())
    };
    if let Some(means) = GatewayFeatures::from_group(group) {
        problems.extend(build_coloured_rules(group, lanes, &means).1);
        for lane in own().filter(|l| !l.spec.enabled) {
            let wrong = expand_conditions(&lane.spec, &means)
                .err()
                .unwrap_or_default();
            let told = |(place, why): (String, Inexpressible)| Problem {
                severity: Severity::Error,
                lane: lane_name(lane).into(),
                place,
                text: why.to_string(),
            };
            problems.extend(wrong.into_iter().map(told));
        }
    }
    for lane in own() {
        for text in describe_preceding_routes(group, Some(lane)) {
            let place = "match".to_owned();
            problems.push(Problem {
                severity: Severity::Warning,
                lane: lane_name(lane).into(),
                place,
                text,
            });
        }
    }
}

fn check_tag(lane: &Lane, group: Option<&LaneGroup>, add: &mut impl FnMut(Severity, &str, String)) {
    let tag = lane.spec.tag.as_str();
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if tag.is_empty() {
        add(Severity::Error, "tag", "the tag is missing".into());
    } else if tag.len() > 63
        || !edge(tag.chars().next())
        || !edge(tag.chars().last())
        || !tag.chars().all(inner)
    {
        let rule =
            "up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
        add(
            Severity::Error,
            "tag",
            format!("{tag:?} cannot be a label of pods: {rule}"),
        );
    } else if group.is_none_or(|g| g.spec.mode != LaneMode::Agent)
        && !tag
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    {
        let rule = "no Service can be called SERVICE-TAG unless the tag is of lower-case letters, digits and '-'";
        add(Severity::Error, "tag", format!("{tag:?}: {rule}"));
    }
}

fn check_paths(lane: &Lane, group: &LaneGroup, add: &mut impl FnMut(Severity, &str, String)) {
    for (i, path) in lane.spec.rule.paths.iter().enumerate() {
        let met = group
            .spec
            .entry
            .routes
            .iter()
            .any(|r| is_under_prefix(path, &r.path) || is_under_prefix(&r.path, path));
        if path.starts_with('/') && !met {
            add(
                Severity::Warning,
                &format!("match.paths[{i}]"),
                format!("no entry of the group leads to {path}"),
            );
        }
    }
}

fn check_share(lane: &Lane, add: &mut impl FnMut(Severity, &str, String)) {
    let rule = &lane.spec.rule;
    match lane.spec.share {
        Some(_) if !(rule.all.is_empty() && rule.any.is_empty()) => {
            add(
                Severity::Error,
                "share",
                "a share replaces conditions and cannot be combined with them".into(),
            );
        }
        Some(share) if percent_to_basis_points(share) == Some(0) => {
            add(
                Severity::Warning,
                "share",
                "a share of 0 takes no request".into(),
            );
        }
        None if rule.is_empty() => {
            add(
                Severity::Warning,
                "match",
                "without path, condition or share the lane takes every request".into(),
            );
        }
        _ => {}
    }
}

fn check_share_sum(group: &str, lanes: &[Lane], problems: &mut Vec<Problem>) {
    let mut sum = 0;
    for lane in enabled_lanes(group, lanes) {
        let share = lane
            .spec
            .share
            .and_then(percent_to_basis_points)
            .unwrap_or_default();
        sum += share;
        if share > 0 && sum > 10_000 {
            let total = f64::from(sum) / 100.0;
            let text =
                format!("the shares of the group's lanes come to {total} %, more than 100 %");
            problems.push(Problem {
                severity: Severity::Error,
                lane: lane_name(lane).into(),
                place: "share".into(),
                text,
            });
            return;
        }
    }
}

fn check_contradictions(lane: &Lane, add: &mut impl FnMut(Severity, &str, String)) {
    let mut all = Branch::default();
    let mut tell = |branch: &Branch, condition: &Condition, place: String| {
        if let Some(other) = branch.find_conflict(condition) {
            let what = format_condition(condition);
            add(
                Severity::Error,
                &place,
                if other == *condition {
                    format!("'{what}' can never match")
                } else {
                    format!(
                        "'{what}' can never match together with '{}'",
                        format_condition(&other)
                    )
                },
            );
        }
    };
    for (i, condition) in lane.spec.rule.all.iter().enumerate() {
        tell(&all, condition, format!("match.all[{i}]"));
        all.add_condition(condition);
    }
    for (i, condition) in lane.spec.rule.any.iter().enumerate() {
        tell(&all, condition, format!("match.any[{i}]"));
    }
}

fn check_unmatchable(lane: &Lane, add: &mut impl FnMut(Severity, &str, String)) {
    let rule = &lane.spec.rule;
    for (i, path) in rule.paths.iter().enumerate() {
        if let Some((severity, text)) = unmatchable::check_path(path) {
            add(severity, &format!("match.paths[{i}]"), text);
        }
    }
    for (list, conditions) in [("match.all", &rule.all), ("match.any", &rule.any)] {
        for (i, condition) in conditions.iter().enumerate() {
            if let Some((severity, text)) = unmatchable::check_condition(condition) {
                add(
                    severity,
                    &format!("{list}[{i}]"),
                    format!("'{}': {text}", format_condition(condition)),
                );
            }
        }
    }
}

fn check_method_case(lane: &Lane, add: &mut impl FnMut(Severity, &str, String)) {
    let rule = &lane.spec.rule;
    let lists = [("match.all", &rule.all), ("match.any", &rule.any)];
    for (list, conditions) in lists {
        for (i, c) in conditions.iter().enumerate() {
            let exact = matches!(c.op, Operator::Equal | Operator::In);
            let small = c
                .values
                .iter()
                .find(|v| v.bytes().any(|b| b.is_ascii_lowercase()));
            if let (ConditionOn::Method, true, Some(value)) = (c.on, exact, small) {
                let text = format!(
                    "methods are written in capitals: {} instead of {value}",
                    value.to_uppercase()
                );
                add(Severity::Warning, &format!("{list}[{i}]"), text);
            }
        }
    }
}

fn check_lane_pairs(group: &str, lanes: &[Lane], problems: &mut Vec<Problem>) {
    let facts: Vec<LaneConstraints> = enabled_lanes(group, lanes)
        .into_iter()
        .map(LaneConstraints::from_lane)
        .collect();
    let mut told = 0;
    for (j, later) in facts.iter().enumerate() {
        for earlier in &facts[..j] {
            let (first, own) = (lane_name(earlier.lane), lane_name(later.lane));
            let text = if later.is_subset_of(earlier) {
                format!("takes no request: lane {first} comes before it and takes all of them")
            } else if earlier.lane.spec.tag != later.lane.spec.tag && earlier.overlaps_with(later) {
                format!("lane {first} can take the same request, and comes first")
            } else {
                continue;
            };
            problems.push(Problem {
                severity: Severity::Warning,
                lane: own.into(),
                place: "match".into(),
                text,
            });
            told += 1;
            if told >= MAX_REPORTED_PAIRS {
                return;
            }
        }
    }
}
