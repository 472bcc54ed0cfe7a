//! Why a request takes the lane it takes, and which requests a change of lanes moves.

use super::{
    Rules, basis_points,
    compile::{name, ordered},
    condition, text,
};
use crate::{
    api::{Condition, ConditionOn, Lane},
    domain::request::{Look, RequestParts, under},
};

/// The decision on one request, with everything that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// The lane that takes it, and its tag; none is the baseline.
    pub taken: Option<(String, String)>,
    /// Lane by lane in the order of asking; the disabled ones last.
    pub reasons: Vec<Reason>,
}

/// One thing that a lane asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The lane.
    pub lane: String,
    /// `match.all[0]`.
    pub place: String,
    /// The condition, as people write it.
    pub condition: String,
    /// What the request had there; none is nothing.
    pub saw: Option<String>,
    /// Whether it holds.
    pub held: bool,
}

/// Explains the decision of a group's lanes on one request.
pub fn explain(group: &str, lanes: &[Lane], request: &RequestParts) -> Explained {
    let (rules, problems) = Rules::compile(group, lanes);
    let taken = rules.decide(request).map(|d| (d.lane.to_owned(), d.tag.to_owned()));
    let mut reasons = vec![];
    for (rule, lane) in rules.rules.iter().zip(ordered(group, lanes)) {
        let mut add = |place: String, condition: String, saw: Option<String>, held: bool| {
            reasons.push(Reason { lane: name(lane).into(), place, condition, saw, held });
        };
        let spec = &lane.spec;
        if !spec.rule.paths.is_empty() {
            let held = spec.rule.paths.iter().any(|p| under(request.path(), p));
            add("match.paths".into(), format!("path {}", spec.rule.paths.join(",")), Some(request.path.clone()), held);
        }
        for (list, conditions) in [("match.all", &spec.rule.all), ("match.any", &spec.rule.any)] {
            for (i, c) in conditions.iter().enumerate() {
                let place = format!("{list}[{i}]");
                let broken = problems.iter().find(|p| p.lane == name(lane) && p.place == place);
                let words = text::print(c);
                let saw = seen(c, request);
                let held = condition::compile(c).is_ok_and(|t| saw.as_deref().is_some_and(|v| t.holds(v)));
                add(place, broken.map_or(words.clone(), |p| format!("{words} ({})", p.text)), saw, held);
            }
        }
        if let (Some(share), Some(range)) = (spec.share, &rule.share) {
            let at = basis_points(request.trace());
            let saw = format!("{} of 100", f64::from(at) / 100.0);
            add("share".into(), format!("share {share} %"), Some(saw), range.contains(&at));
        }
        if spec.rule.is_empty() && spec.share.is_none() {
            add("match".into(), "every request".into(), None, true);
        }
    }
    for lane in lanes.iter().filter(|l| l.spec.group == group && !l.spec.enabled) {
        let condition = "enabled".to_owned();
        reasons.push(Reason { lane: name(lane).into(), place: "enabled".into(), condition, saw: None, held: false });
    }
    Explained { taken, reasons }
}

fn seen(condition: &Condition, request: &RequestParts) -> Option<String> {
    let key = condition.key.as_deref().unwrap_or_default();
    match condition.on {
        ConditionOn::Parameter => request.parameter(key).map(|v| v.into_owned()),
        ConditionOn::Header => request.header(key).map(str::to_owned),
        ConditionOn::Cookie => request.cookie(key).map(str::to_owned),
        ConditionOn::Method => Some(request.method.clone()),
    }
}

/// A request that a change of lanes moves; lanes by name, none is the baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which of the requests.
    pub request: usize,
    /// The lane that takes it before.
    pub from: Option<String>,
    /// The lane that takes it after.
    pub to: Option<String>,
}

/// Which of the recent requests a change of lanes moves.
pub fn preview(group: &str, before: &[Lane], after: &[Lane], recent: &[RequestParts]) -> Vec<Move> {
    let (before, _) = Rules::compile(group, before);
    let (after, _) = Rules::compile(group, after);
    let lane = |rules: &Rules, request| rules.decide(request).map(|d| d.lane.to_owned());
    let moved = |(i, request)| {
        let (from, to) = (lane(&before, request), lane(&after, request));
        (from != to).then_some(Move { request: i, from, to })
    };
    recent.iter().enumerate().filter_map(moved).collect()
}
