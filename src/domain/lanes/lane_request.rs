//! Builds a request that a lane takes from the lane's rule.

use crate::api::{Condition, ConditionOn, LaneSpec, Operator, ProbeSpec};

/// Adds what the lane's conditions ask for to `plain`; `None` if it cannot be derived (regex,
/// percent, a method other than GET).
pub fn build_lane_request(lane: &LaneSpec, plain: ProbeSpec) -> Option<ProbeSpec> {
    let mut spec = plain;
    for condition in lane.rule.all.iter().chain(lane.rule.any.first()) {
        fulfil_condition(&mut spec, condition)?;
    }
    Some(spec)
}

/// Changes a request so that it fulfils a condition.
fn fulfil_condition(spec: &mut ProbeSpec, condition: &Condition) -> Option<()> {
    let key = condition.key.clone().unwrap_or_default();
    let value = match condition.op {
        Operator::Equal | Operator::In | Operator::Prefix => condition.values.first()?.clone(),
        Operator::NotEqual | Operator::NotIn => "x".to_owned(),
        Operator::Exists => "1".to_owned(),
        Operator::Regex | Operator::Percent => return None,
    };
    match condition.on {
        ConditionOn::Parameter => {
            let join = if spec.path.contains('?') { '&' } else { '?' };
            let encode = |t: &str| {
                percent_encoding::utf8_percent_encode(t, percent_encoding::NON_ALPHANUMERIC)
                    .to_string()
            };
            spec.path = format!("{}{join}{}={}", spec.path, encode(&key), encode(&value));
        }
        ConditionOn::Header => {
            spec.headers.insert(key, value);
        }
        ConditionOn::Cookie => {
            let cookies = spec.headers.entry("cookie".into()).or_default();
            let join = if cookies.is_empty() { "" } else { "; " };
            cookies.push_str(&format!("{join}{key}={value}"));
        }
        ConditionOn::Method => return (value == "GET").then_some(()),
    }
    Some(())
}
