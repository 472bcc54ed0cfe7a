//! Makes the decision. Rules that the request's own values rule out are not evaluated, so the cost
//! depends on the request and on the lanes that could take it, not on the number of lanes.

use std::{
    borrow::Cow,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    ops::Range,
};

use xxhash_rust::xxh3::xxh3_64;

use super::condition::ConditionTest;
use crate::domain::request::{
    RequestView, cookie_pairs, decode_query_part, is_under_prefix, query_pairs,
};

/// Compiled lanes of one group.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub(super) rules: Vec<Rule>,
    pub(super) index: Index,
}

/// One compiled lane.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: Box<str>,
    pub(super) tag: Box<str>,
    pub(super) paths: Vec<Box<str>>,
    pub(super) all: Vec<(u32, ConditionTest)>,
    pub(super) any: Vec<(u32, ConditionTest)>,
    pub(super) share: Option<Range<u32>>,
}

/// Kinds of keys that conditions test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Parameter,
    Header,
    Cookie,
    Method,
}

/// Index from the keys and values of requests to rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    pub(super) fields: Vec<KeyField>,
    /// By kind: hash of a name to the fields with that name.
    pub(super) names: [ByHash; 4],
    /// By kind: fields that rules are indexed under.
    pub(super) filed: [Vec<u32>; 4],
    /// Rules that every request is checked against.
    pub(super) always: Vec<u32>,
}

/// One key that some lane tests.
#[derive(Clone, Debug)]
pub(super) struct KeyField {
    pub(super) kind: KeyKind,
    pub(super) key: Box<str>,
    /// Hash of a value to the rules that ask for it, in order of evaluation.
    pub(super) values: ByHash,
    /// Rules that need the key, whatever its value.
    pub(super) with: Vec<u32>,
}

pub(super) type ByHash = HashMap<u64, Vec<u32>, BuildHasherDefault<IdentityHasher>>;

/// Hasher for keys that are hashes already.
#[derive(Clone, Debug, Default)]
pub(super) struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

pub(super) fn hash_text(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// Lane that takes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'r> {
    /// Name of the lane.
    pub lane: &'r str,
    /// Tag that the request gets.
    pub tag: &'r str,
}

/// With fewer keys than this to look up, a look-up of each is cheaper than a scan of the request.
const SCAN_THRESHOLD: usize = 8;

impl Rules {
    /// Lane that takes a request, if any.
    pub fn decide_lane(&self, request: &impl RequestView) -> Option<Decision<'_>> {
        if self.rules.is_empty() {
            return None;
        }
        let mut best = u32::MAX;
        let mut consider = |candidates: &[u32]| {
            for &i in candidates {
                if i >= best {
                    break;
                }
                if self.matches_rule(&self.rules[i as usize], request) {
                    best = i;
                    break;
                }
            }
        };
        self.for_each_present(request, &mut |field, value| {
            if !field.values.is_empty()
                && let Some(rules) = field.values.get(&hash_text(value))
            {
                consider(rules);
            }
            consider(&field.with);
        });
        consider(&self.index.always);
        self.rules.get(best as usize).map(|r| Decision {
            lane: &r.name,
            tag: &r.tag,
        })
    }

    /// Whether there are no lanes, so that no request needs to be examined.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(super) fn matches_rule(&self, rule: &Rule, request: &impl RequestView) -> bool {
        let path = request.path();
        let holds = |(field, test): &(u32, ConditionTest)| {
            let field = &self.index.fields[*field as usize];
            find_value(field.kind, &field.key, request).is_some_and(|v| test.holds(&v))
        };
        (rule.paths.is_empty() || rule.paths.iter().any(|p| is_under_prefix(path, p)))
            && rule.all.iter().all(holds)
            && (rule.any.is_empty() || rule.any.iter().any(holds))
            && rule
                .share
                .as_ref()
                .is_none_or(|s| s.contains(&request.share_position()))
    }

    /// Calls `each` with every indexed field that the request has.
    fn for_each_present(&self, request: &impl RequestView, each: &mut dyn FnMut(&KeyField, &str)) {
        let filed = |kind: KeyKind| self.index.filed[kind as usize].as_slice();
        for kind in [
            KeyKind::Parameter,
            KeyKind::Header,
            KeyKind::Cookie,
            KeyKind::Method,
        ] {
            if filed(kind).len() < SCAN_THRESHOLD {
                for field in filed(kind).iter().map(|f| &self.index.fields[*f as usize]) {
                    if let Some(value) = find_value(kind, &field.key, request) {
                        each(field, &value);
                    }
                }
            } else {
                self.for_each_of_many(kind, request, each);
            }
        }
    }

    /// Does the same for many keys by a scan of the request. A repeated key may be found twice,
    /// which at worst yields too many candidates, because only first values are tested in the end.
    fn for_each_of_many(
        &self,
        kind: KeyKind,
        request: &impl RequestView,
        each: &mut dyn FnMut(&KeyField, &str),
    ) {
        let mut found = |key: &str, value: &str| {
            let fields = self.index.names[kind as usize]
                .get(&hash_text(key))
                .map(Vec::as_slice)
                .unwrap_or_default();
            fields
                .iter()
                .map(|f| &self.index.fields[*f as usize])
                .filter(|f| *f.key == *key)
                .for_each(|f| each(f, value));
        };
        match kind {
            KeyKind::Parameter => query_pairs(request.query())
                .for_each(|(k, v)| found(&decode_query_part(k), &decode_query_part(v))),
            KeyKind::Header => request.for_each_header(&mut |k, v| found(k, v)),
            KeyKind::Cookie => request.for_each_header(&mut |k, v| {
                if k == "cookie" {
                    cookie_pairs(v).for_each(|(k, v)| found(k, v));
                }
            }),
            KeyKind::Method => found("", request.method()),
        }
    }
}

/// Value of a key that counts: the first one.
fn find_value<'a>(kind: KeyKind, key: &str, request: &'a impl RequestView) -> Option<Cow<'a, str>> {
    match kind {
        KeyKind::Parameter => request.parameter(key),
        KeyKind::Header => request.header(key).map(Cow::Borrowed),
        KeyKind::Cookie => request.cookie(key).map(Cow::Borrowed),
        KeyKind::Method => Some(Cow::Borrowed(request.method())),
    }
}
