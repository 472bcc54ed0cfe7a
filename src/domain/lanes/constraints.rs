//! Analyses a lane's conditions together: whether they can hold at all, whether two lanes can take
//! the same request, and whether one takes everything that another does. Regexes are tried only on
//! known values; if nothing is known, the answer is that it is possible.

use std::collections::BTreeMap;

use super::condition::{self, ConditionTest};
use crate::{
    api::{Condition, ConditionOn, Lane},
    domain::request::is_under_prefix,
};

/// What is known about the value of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyConstraint {
    /// The only possible values, if they are known.
    one_of: Option<Vec<String>>,
    tests: Vec<(Condition, ConditionTest)>,
}

type ConstraintKey = (&'static str, String);

/// One way to fulfil a lane's rule: all of `all`, and one of `any`.
#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    facts: BTreeMap<ConstraintKey, KeyConstraint>,
}

impl Branch {
    /// Adds a condition; false if it is invalid, in which case it is left out.
    pub(super) fn add_condition(&mut self, condition: &Condition) -> bool {
        let Ok(test) = condition::compile_test(condition) else {
            return false;
        };
        self.facts
            .entry(constraint_key(condition))
            .or_default()
            .add_test(condition, test);
        true
    }

    /// First earlier condition that cannot hold together with this one; the condition itself if it
    /// can never match.
    pub(super) fn find_conflict(&self, condition: &Condition) -> Option<Condition> {
        let test = condition::compile_test(condition).ok()?;
        let mut alone = KeyConstraint::default();
        alone.add_test(condition, test.clone());
        if !alone.is_possible() {
            return Some(condition.clone());
        }
        let fact = self.facts.get(&constraint_key(condition))?;
        let mut with = fact.clone();
        with.add_test(condition, test);
        if with.is_possible() {
            return None;
        }
        let clashing = |(earlier, earlier_test): &&(Condition, ConditionTest)| {
            let mut pair = alone.clone();
            pair.add_test(earlier, earlier_test.clone());
            !pair.is_possible()
        };
        fact.tests
            .iter()
            .find(clashing)
            .or(fact.tests.last())
            .map(|(c, _)| c.clone())
    }

    fn is_compatible_with(&self, other: &Self) -> bool {
        self.facts.iter().all(|(key, fact)| {
            let Some(theirs) = other.facts.get(key) else {
                return fact.is_possible();
            };
            let mut both = fact.clone();
            theirs
                .tests
                .iter()
                .for_each(|(c, t)| both.add_test(c, t.clone()));
            both.is_possible()
        })
    }

    /// Whether every request of this branch also fulfils the other one.
    fn implies(&self, other: &Self) -> bool {
        other.facts.iter().all(|(key, theirs)| {
            let mine = self.facts.get(key);
            theirs.tests.iter().all(|(_, test)| match mine {
                Some(fact) => fact.implies(test),
                None => {
                    key.0 == ConditionOn::Method.as_str() && matches!(test, ConditionTest::Exists)
                }
            })
        })
    }
}

impl KeyConstraint {
    fn add_test(&mut self, condition: &Condition, test: ConditionTest) {
        let values = match &test {
            ConditionTest::Equal(_) | ConditionTest::In(_) => Some(condition.values.clone()),
            _ => None,
        };
        self.tests.push((condition.clone(), test));
        if let Some(values) = values {
            self.one_of = Some(match self.one_of.take() {
                Some(known) => known.into_iter().filter(|v| values.contains(v)).collect(),
                None => values,
            });
        }
        if let Some(known) = self.one_of.take() {
            self.one_of = Some(
                known
                    .into_iter()
                    .filter(|v| self.tests.iter().all(|(_, t)| t.holds(v)))
                    .collect(),
            );
        }
    }

    fn is_possible(&self) -> bool {
        if let Some(known) = &self.one_of {
            return !known.is_empty();
        }
        let prefixes = self.prefixes();
        let apart = |a: &str, b: &str| !a.starts_with(b) && !b.starts_with(a);
        let none = self
            .tests
            .iter()
            .any(|(_, t)| matches!(t, ConditionTest::Percent(0) | ConditionTest::Never));
        !none
            && !prefixes
                .iter()
                .any(|a| prefixes.iter().any(|b| apart(a, b)))
    }

    fn prefixes(&self) -> Vec<&str> {
        let prefix = |t: &'_ (Condition, ConditionTest)| matches!(t.1, ConditionTest::Prefix(_));
        self.tests
            .iter()
            .filter(|t| prefix(t))
            .map(|(c, _)| c.values[0].as_str())
            .collect()
    }

    fn implies(&self, test: &ConditionTest) -> bool {
        if let Some(known) = &self.one_of {
            return known.iter().all(|v| test.holds(v));
        }
        let excludes = |v: &str| {
            self.prefixes().iter().any(|p| !v.starts_with(p))
                || self.tests.iter().any(|(_, t)| !t.holds(v))
        };
        match test {
            ConditionTest::Exists => true,
            ConditionTest::NotEqual(v) => excludes(v),
            ConditionTest::NotIn(vs) => vs.iter().all(|v| excludes(v)),
            ConditionTest::Prefix(p) => self.prefixes().iter().any(|mine| mine.starts_with(&**p)),
            ConditionTest::Regex(r) => self.tests.iter().any(
                |(_, t)| matches!(t, ConditionTest::Regex(mine) if mine.as_str() == r.as_str()),
            ),
            ConditionTest::Percent(n) => {
                *n == 10_000
                    || self
                        .tests
                        .iter()
                        .any(|(_, t)| matches!(t, ConditionTest::Percent(m) if m <= n))
            }
            ConditionTest::Equal(_) | ConditionTest::In(_) | ConditionTest::Never => false,
        }
    }
}

fn constraint_key(condition: &Condition) -> ConstraintKey {
    let key = condition.key.clone().unwrap_or_default();
    let key = match condition.on {
        ConditionOn::Header => key.to_ascii_lowercase(),
        ConditionOn::Method => String::new(),
        _ => key,
    };
    (condition.on.as_str(), key)
}

/// Everything that a lane asks for.
pub(super) struct LaneConstraints<'a> {
    pub(super) lane: &'a Lane,
    branches: Vec<Branch>,
}

impl<'a> LaneConstraints<'a> {
    /// Collects what a lane asks for, without the branches that are impossible.
    pub(super) fn from_lane(lane: &'a Lane) -> Self {
        let rule = &lane.spec.rule;
        let mut all = Branch::default();
        let possible = |b: &Branch| b.facts.values().all(KeyConstraint::is_possible);
        let usable = rule.all.iter().all(|c| all.add_condition(c)) && possible(&all);
        let branches = match (usable, rule.any.is_empty()) {
            (false, _) => vec![],
            (true, true) => vec![all],
            (true, false) => {
                let branch = |c: &Condition| {
                    let mut branch = all.clone();
                    (branch.add_condition(c) && possible(&branch)).then_some(branch)
                };
                rule.any.iter().filter_map(branch).collect()
            }
        };
        Self { lane, branches }
    }

    /// Whether some request fulfils both lanes.
    pub(super) fn overlaps_with(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.lane.spec, &other.lane.spec);
        // Shares of different lanes do not overlap.
        let shares = mine.share.is_some() && theirs.share.is_some();
        let none = |share: Option<f64>| share.is_some_and(|s| s <= 0.0);
        let paths = mine.rule.paths.is_empty()
            || theirs.rule.paths.is_empty()
            || mine.rule.paths.iter().any(|a| {
                theirs
                    .rule
                    .paths
                    .iter()
                    .any(|b| is_under_prefix(a, b) || is_under_prefix(b, a))
            });
        !shares
            && !none(mine.share)
            && !none(theirs.share)
            && paths
            && self
                .branches
                .iter()
                .any(|a| other.branches.iter().any(|b| a.is_compatible_with(b)))
    }

    /// Whether every request that fulfils this lane also fulfils the other.
    pub(super) fn is_subset_of(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.lane.spec, &other.lane.spec);
        let paths = theirs.rule.paths.is_empty()
            || (!mine.rule.paths.is_empty()
                && mine
                    .rule
                    .paths
                    .iter()
                    .all(|a| theirs.rule.paths.iter().any(|b| is_under_prefix(a, b))));
        theirs.share.is_none_or(|s| s >= 100.0)
            && paths
            && !self.branches.is_empty()
            && self
                .branches
                .iter()
                .all(|a| other.branches.iter().any(|b| a.implies(b)))
    }
}
