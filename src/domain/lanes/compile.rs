//! Compiles lanes to rules: every distinct key of the group becomes a field, and each lane is
//! indexed where a request with the right value finds it.

use std::collections::HashMap;

use super::{
    Problem, Severity,
    condition::{self, ConditionTest},
    decide::{Index, KeyKind, Rule, Rules, hash_text},
    percent_to_basis_points,
};
use crate::api::{Condition, ConditionOn, Lane};

impl Rules {
    /// Compiles the enabled lanes of a group. It never fails: an invalid part becomes a problem and
    /// takes no request.
    pub fn compile(group: &str, lanes: &[Lane]) -> (Self, Vec<Problem>) {
        let mut rules = Self::default();
        let mut problems = vec![];
        let mut shared = 0;
        for lane in enabled_lanes(group, lanes) {
            let mut c = Compiler {
                rules: &mut rules,
                problems: &mut problems,
                lane,
            };
            let rule = c.compile_rule(&mut shared);
            rules.rules.push(rule);
        }
        for i in 0..rules.rules.len() {
            index_rule(
                &mut rules.index,
                &rules.rules[i],
                u32::try_from(i).unwrap_or(u32::MAX),
            );
        }
        rules.index.finish_index();
        (rules, problems)
    }
}

/// Enabled lanes of a group in order of evaluation.
pub(super) fn enabled_lanes<'a>(group: &str, lanes: &'a [Lane]) -> Vec<&'a Lane> {
    let mut lanes: Vec<&Lane> = lanes
        .iter()
        .filter(|l| l.spec.group == group && l.spec.enabled)
        .collect();
    lanes.sort_by(|a, b| (a.spec.priority, lane_name(a)).cmp(&(b.spec.priority, lane_name(b))));
    lanes
}

pub(super) fn lane_name(lane: &Lane) -> &str {
    lane.metadata.name.as_deref().unwrap_or_default()
}

struct Compiler<'a> {
    rules: &'a mut Rules,
    problems: &'a mut Vec<Problem>,
    lane: &'a Lane,
}

impl Compiler<'_> {
    fn compile_rule(&mut self, shared: &mut u32) -> Rule {
        let spec = &self.lane.spec;
        let all = self.compile_conditions(&spec.rule.all, "match.all");
        let any = self.compile_conditions(&spec.rule.any, "match.any");
        // Shares are adjacent ranges of the hash, in order of evaluation: 10 % and 20 % are 30 % of
        // all requests.
        let share = spec.share.map(|share| {
            if let Some(bp) = percent_to_basis_points(share) {
                let from = *shared;
                *shared = (*shared + bp).min(10_000);
                from..*shared
            } else {
                self.add_problem(
                    "share".into(),
                    format!("{share} is not a percentage from 0 to 100"),
                );
                0..0
            }
        });
        for (i, path) in spec
            .rule
            .paths
            .iter()
            .enumerate()
            .filter(|(_, p)| !p.starts_with('/'))
        {
            self.add_problem(
                format!("match.paths[{i}]"),
                format!("{path:?} must start with /"),
            );
        }
        let paths = spec.rule.paths.iter().map(|p| p.as_str().into()).collect();
        Rule {
            name: lane_name(self.lane).into(),
            tag: spec.tag.as_str().into(),
            paths,
            all,
            any,
            share,
        }
    }

    fn compile_conditions(
        &mut self,
        conditions: &[Condition],
        list: &str,
    ) -> Vec<(u32, ConditionTest)> {
        let compile = |(i, c): (usize, &Condition)| {
            let test = condition::compile_test(c).unwrap_or_else(|invalid| {
                self.add_problem(format!("{list}[{i}]"), invalid.to_string());
                ConditionTest::Never
            });
            (self.rules.index.find_or_add_field(c), test)
        };
        conditions.iter().enumerate().map(compile).collect()
    }

    fn add_problem(&mut self, place: String, text: String) {
        let lane = lane_name(self.lane).to_owned();
        self.problems.push(Problem {
            severity: Severity::Error,
            lane,
            place,
            text,
        });
    }
}

/// Indexes a rule where requests find it: under the values that it asks for, or else under a key
/// that it needs, or else among the rules that every request is checked against.
fn index_rule(index: &mut Index, rule: &Rule, i: u32) {
    let broken =
        |list: &[(u32, ConditionTest)]| list.iter().any(|(_, t)| matches!(t, ConditionTest::Never));
    if broken(&rule.all) {
        return;
    }
    let mut put = |field: u32, test: &ConditionTest| match test {
        ConditionTest::Equal(v) => index.add_for_value(field, v, i),
        ConditionTest::In(vs) => vs.iter().for_each(|v| index.add_for_value(field, v, i)),
        ConditionTest::Never => {}
        _ => index.add_for_key(field, i),
    };
    let exact = |t: &ConditionTest| matches!(t, ConditionTest::Equal(_) | ConditionTest::In(_));
    if let Some((field, test)) = rule.all.iter().find(|(_, t)| exact(t)) {
        put(*field, test);
    } else if !rule.any.is_empty()
        && rule
            .any
            .iter()
            .all(|(_, t)| exact(t) || matches!(t, ConditionTest::Never))
    {
        rule.any.iter().for_each(|(field, test)| put(*field, test));
    } else if let Some((field, test)) = rule.all.first() {
        put(*field, test);
    } else if !rule.any.is_empty() {
        rule.any.iter().for_each(|(field, test)| put(*field, test));
    } else {
        index.always.push(i);
    }
}

impl Index {
    fn find_or_add_field(&mut self, condition: &Condition) -> u32 {
        let key = condition.key.as_deref().unwrap_or_default();
        let (kind, key) = match condition.on {
            ConditionOn::Parameter => (KeyKind::Parameter, key.to_owned()),
            ConditionOn::Header => (KeyKind::Header, key.to_ascii_lowercase()),
            ConditionOn::Cookie => (KeyKind::Cookie, key.to_owned()),
            ConditionOn::Method => (KeyKind::Method, String::new()),
        };
        let next = u32::try_from(self.fields.len()).unwrap_or(u32::MAX);
        let found = self.names[kind as usize]
            .entry(hash_text(&key))
            .or_default();
        if let Some(field) = found
            .iter()
            .find(|f| *self.fields[**f as usize].key == *key)
        {
            *field
        } else {
            found.push(next);
            self.fields.push(super::decide::KeyField {
                kind,
                key: key.into(),
                values: HashMap::default(),
                with: vec![],
            });
            next
        }
    }

    fn add_for_value(&mut self, field: u32, value: &str, rule: u32) {
        self.fields[field as usize]
            .values
            .entry(hash_text(value))
            .or_default()
            .push(rule);
    }

    fn add_for_key(&mut self, field: u32, rule: u32) {
        self.fields[field as usize].with.push(rule);
    }

    /// Removes duplicates, and lists the fields with rules: the others need no look-up of their
    /// own.
    fn finish_index(&mut self) {
        for field in &mut self.fields {
            field.with.dedup();
            field.values.values_mut().for_each(Vec::dedup);
        }
        for (i, field) in self.fields.iter().enumerate() {
            if !(field.values.is_empty() && field.with.is_empty()) {
                self.filed[field.kind as usize].push(u32::try_from(i).unwrap_or(u32::MAX));
            }
        }
    }
}
