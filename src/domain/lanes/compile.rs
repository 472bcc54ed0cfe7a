//! Compiles lanes to rules: every distinct key of the group becomes a field, and each lane is
//! indexed where a request with the right value finds it.

use std::collections::HashMap;

use super::{
    Problem, Severity,
    condition::{self, Test},
    decide::{Index, Kind, Rule, Rules, hash},
    to_basis_points,
};
use crate::api::{Condition, ConditionOn, Lane};

impl Rules {
    /// Compiles the enabled lanes of a group. It never fails: an invalid part becomes a problem and
    /// takes no request.
    pub fn compile(group: &str, lanes: &[Lane]) -> (Self, Vec<Problem>) {
        let mut rules = Self::default();
        let mut problems = vec![];
        let mut shared = 0;
        for lane in ordered(group, lanes) {
            let mut c = Compiler {
                rules: &mut rules,
                problems: &mut problems,
                lane,
            };
            let rule = c.rule(&mut shared);
            rules.rules.push(rule);
        }
        for i in 0..rules.rules.len() {
            file(
                &mut rules.index,
                &rules.rules[i],
                u32::try_from(i).unwrap_or(u32::MAX),
            );
        }
        rules.index.finish();
        (rules, problems)
    }
}

/// Enabled lanes of a group in order of evaluation.
pub(super) fn ordered<'a>(group: &str, lanes: &'a [Lane]) -> Vec<&'a Lane> {
    let mut lanes: Vec<&Lane> = lanes
        .iter()
        .filter(|l| l.spec.group == group && l.spec.enabled)
        .collect();
    lanes.sort_by(|a, b| (a.spec.priority, name(a)).cmp(&(b.spec.priority, name(b))));
    lanes
}

pub(super) fn name(lane: &Lane) -> &str {
    lane.metadata.name.as_deref().unwrap_or_default()
}

struct Compiler<'a> {
    rules: &'a mut Rules,
    problems: &'a mut Vec<Problem>,
    lane: &'a Lane,
}

impl Compiler<'_> {
    fn rule(&mut self, shared: &mut u32) -> Rule {
        let spec = &self.lane.spec;
        let all = self.conditions(&spec.rule.all, "match.all");
        let any = self.conditions(&spec.rule.any, "match.any");
        // Shares are adjacent ranges of the hash, in order of evaluation: 10 % and 20 % are 30 % of
        // all requests.
        let share = spec.share.map(|share| match to_basis_points(share) {
            Some(bp) => {
                let from = *shared;
                *shared = (*shared + bp).min(10_000);
                from..*shared
            }
            None => {
                self.problem(
                    "share".into(),
                    format!("{share} is no percentage from 0 to 100"),
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
            self.problem(
                format!("match.paths[{i}]"),
                format!("{path:?} must start with /"),
            );
        }
        let paths = spec.rule.paths.iter().map(|p| p.as_str().into()).collect();
        Rule {
            name: name(self.lane).into(),
            tag: spec.tag.as_str().into(),
            paths,
            all,
            any,
            share,
        }
    }

    fn conditions(&mut self, conditions: &[Condition], list: &str) -> Vec<(u32, Test)> {
        let compile = |(i, c): (usize, &Condition)| {
            let test = condition::compile(c).unwrap_or_else(|text| {
                self.problem(format!("{list}[{i}]"), text);
                Test::Never
            });
            (self.rules.index.field(c), test)
        };
        conditions.iter().enumerate().map(compile).collect()
    }

    fn problem(&mut self, place: String, text: String) {
        let lane = name(self.lane).to_owned();
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
fn file(index: &mut Index, rule: &Rule, i: u32) {
    let broken = |list: &[(u32, Test)]| list.iter().any(|(_, t)| matches!(t, Test::Never));
    if broken(&rule.all) {
        return;
    }
    let mut put = |field: u32, test: &Test| match test {
        Test::Equal(v) => index.at(field, v, i),
        Test::In(vs) => vs.iter().for_each(|v| index.at(field, v, i)),
        Test::Never => {}
        _ => index.with(field, i),
    };
    let exact = |t: &Test| matches!(t, Test::Equal(_) | Test::In(_));
    if let Some((field, test)) = rule.all.iter().find(|(_, t)| exact(t)) {
        put(*field, test);
    } else if !rule.any.is_empty()
        && rule
            .any
            .iter()
            .all(|(_, t)| exact(t) || matches!(t, Test::Never))
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
    fn field(&mut self, condition: &Condition) -> u32 {
        let key = condition.key.as_deref().unwrap_or_default();
        let (kind, key) = match condition.on {
            ConditionOn::Parameter => (Kind::Parameter, key.to_owned()),
            ConditionOn::Header => (Kind::Header, key.to_ascii_lowercase()),
            ConditionOn::Cookie => (Kind::Cookie, key.to_owned()),
            ConditionOn::Method => (Kind::Method, String::new()),
        };
        let next = u32::try_from(self.fields.len()).unwrap_or(u32::MAX);
        let found = self.names[kind as usize].entry(hash(&key)).or_default();
        match found
            .iter()
            .find(|f| *self.fields[**f as usize].key == *key)
        {
            Some(field) => *field,
            None => {
                found.push(next);
                self.fields.push(super::decide::Field {
                    kind,
                    key: key.into(),
                    values: HashMap::default(),
                    with: vec![],
                });
                next
            }
        }
    }

    fn at(&mut self, field: u32, value: &str, rule: u32) {
        self.fields[field as usize]
            .values
            .entry(hash(value))
            .or_default()
            .push(rule);
    }

    fn with(&mut self, field: u32, rule: u32) {
        self.fields[field as usize].with.push(rule);
    }

    /// Removes duplicates, and lists the fields with rules: the others need no look-up of their
    /// own.
    fn finish(&mut self) {
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
