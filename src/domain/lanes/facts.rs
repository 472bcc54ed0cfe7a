//! Analyses a lane's conditions together: whether they can hold at all, whether two lanes can take
//! the same request, and whether one takes everything that another does. Regexes are tried only on
//! known values; if nothing is known, the answer is that it is possible.

use std::collections::BTreeMap;

use super::condition::{self, Test};
use crate::{
    api::{Condition, ConditionOn, Lane},
    domain::request::under,
};

/// What is known about the value of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Fact {
    /// The only possible values, if they are known.
    one_of: Option<Vec<String>>,
    tests: Vec<(Condition, Test)>,
}

type Key = (&'static str, String);

/// One way to fulfil a lane's rule: all of `all`, and one of `any`.
#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    facts: BTreeMap<Key, Fact>,
}

impl Branch {
    /// Adds a condition; false if it is invalid, in which case it is left out.
    pub(super) fn add(&mut self, condition: &Condition) -> bool {
        let Ok(test) = condition::compile(condition) else {
            return false;
        };
        self.facts
            .entry(key(condition))
            .or_default()
            .add(condition, test);
        true
    }

    /// First earlier condition that cannot hold together with this one; the condition itself if it
    /// can never hold.
    pub(super) fn clash(&self, condition: &Condition) -> Option<Condition> {
        let test = condition::compile(condition).ok()?;
        let mut alone = Fact::default();
        alone.add(condition, test.clone());
        if !alone.possible() {
            return Some(condition.clone());
        }
        let fact = self.facts.get(&key(condition))?;
        let mut with = fact.clone();
        with.add(condition, test);
        if with.possible() {
            return None;
        }
        let clashing = |(earlier, earlier_test): &&(Condition, Test)| {
            let mut pair = alone.clone();
            pair.add(earlier, earlier_test.clone());
            !pair.possible()
        };
        fact.tests
            .iter()
            .find(clashing)
            .or(fact.tests.last())
            .map(|(c, _)| c.clone())
    }

    fn possible_with(&self, other: &Self) -> bool {
        self.facts.iter().all(|(key, fact)| {
            let Some(theirs) = other.facts.get(key) else {
                return fact.possible();
            };
            let mut both = fact.clone();
            theirs
                .tests
                .iter()
                .for_each(|(c, t)| both.add(c, t.clone()));
            both.possible()
        })
    }

    /// Whether every request of this branch also fulfils the other one.
    fn implies(&self, other: &Self) -> bool {
        other.facts.iter().all(|(key, theirs)| {
            let mine = self.facts.get(key);
            theirs.tests.iter().all(|(_, test)| match mine {
                Some(fact) => fact.implies(test),
                None => key.0 == ConditionOn::Method.word() && matches!(test, Test::Exists),
            })
        })
    }
}

impl Fact {
    fn add(&mut self, condition: &Condition, test: Test) {
        let values = match &test {
            Test::Equal(_) | Test::In(_) => Some(condition.values.clone()),
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

    fn possible(&self) -> bool {
        if let Some(known) = &self.one_of {
            return !known.is_empty();
        }
        let prefixes = self.prefixes();
        let apart = |a: &str, b: &str| !a.starts_with(b) && !b.starts_with(a);
        let none = self
            .tests
            .iter()
            .any(|(_, t)| matches!(t, Test::Percent(0) | Test::Never));
        !none
            && !prefixes
                .iter()
                .any(|a| prefixes.iter().any(|b| apart(a, b)))
    }

    fn prefixes(&self) -> Vec<&str> {
        let prefix = |t: &'_ (Condition, Test)| matches!(t.1, Test::Prefix(_));
        self.tests
            .iter()
            .filter(|t| prefix(t))
            .map(|(c, _)| c.values[0].as_str())
            .collect()
    }

    fn implies(&self, test: &Test) -> bool {
        if let Some(known) = &self.one_of {
            return known.iter().all(|v| test.holds(v));
        }
        let excludes = |v: &str| {
            self.prefixes().iter().any(|p| !v.starts_with(p))
                || self.tests.iter().any(|(_, t)| !t.holds(v))
        };
        match test {
            Test::Exists => true,
            Test::NotEqual(v) => excludes(v),
            Test::NotIn(vs) => vs.iter().all(|v| excludes(v)),
            Test::Prefix(p) => self.prefixes().iter().any(|mine| mine.starts_with(&**p)),
            Test::Regex(r) => self
                .tests
                .iter()
                .any(|(_, t)| matches!(t, Test::Regex(mine) if mine.as_str() == r.as_str())),
            Test::Percent(n) => {
                *n == 10_000
                    || self
                        .tests
                        .iter()
                        .any(|(_, t)| matches!(t, Test::Percent(m) if m <= n))
            }
            Test::Equal(_) | Test::In(_) | Test::Never => false,
        }
    }
}

fn key(condition: &Condition) -> Key {
    let key = condition.key.clone().unwrap_or_default();
    let key = match condition.on {
        ConditionOn::Header => key.to_ascii_lowercase(),
        ConditionOn::Method => String::new(),
        _ => key,
    };
    (condition.on.word(), key)
}

/// Everything that a lane asks for.
pub(super) struct Facts<'a> {
    pub(super) lane: &'a Lane,
    branches: Vec<Branch>,
}

impl<'a> Facts<'a> {
    /// Collects what a lane asks for, without the branches that are impossible.
    pub(super) fn of(lane: &'a Lane) -> Self {
        let rule = &lane.spec.rule;
        let mut all = Branch::default();
        let possible = |b: &Branch| b.facts.values().all(Fact::possible);
        let usable = rule.all.iter().all(|c| all.add(c)) && possible(&all);
        let branches = match (usable, rule.any.is_empty()) {
            (false, _) => vec![],
            (true, true) => vec![all],
            (true, false) => {
                let branch = |c: &Condition| {
                    let mut branch = all.clone();
                    (branch.add(c) && possible(&branch)).then_some(branch)
                };
                rule.any.iter().filter_map(branch).collect()
            }
        };
        Self { lane, branches }
    }

    /// Whether some request fulfils both lanes.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.lane.spec, &other.lane.spec);
        // Shares of different lanes do not overlap.
        let shares = mine.share.is_some() && theirs.share.is_some();
        let none = |share: Option<f64>| share.is_some_and(|s| s <= 0.0);
        let paths = mine.rule.paths.is_empty()
            || theirs.rule.paths.is_empty()
            || mine
                .rule
                .paths
                .iter()
                .any(|a| theirs.rule.paths.iter().any(|b| under(a, b) || under(b, a)));
        !shares
            && !none(mine.share)
            && !none(theirs.share)
            && paths
            && self
                .branches
                .iter()
                .any(|a| other.branches.iter().any(|b| a.possible_with(b)))
    }

    /// Whether every request that fulfils this lane also fulfils the other.
    pub(super) fn within(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.lane.spec, &other.lane.spec);
        let paths = theirs.rule.paths.is_empty()
            || (!mine.rule.paths.is_empty()
                && mine
                    .rule
                    .paths
                    .iter()
                    .all(|a| theirs.rule.paths.iter().any(|b| under(a, b))));
        theirs.share.is_none_or(|s| s >= 100.0)
            && paths
            && !self.branches.is_empty()
            && self
                .branches
                .iter()
                .all(|a| other.branches.iter().any(|b| a.implies(b)))
    }
}
