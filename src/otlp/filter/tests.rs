//! Which spans are chosen, case by case, and that limits hold for any input.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    span::Tag,
    world::{ObjectKey, Pod, pods_by_key},
};

const BASE: &str = "10.0.0.1";
const GRAY: &str = "10.0.0.2";
const OTHER: &str = "10.9.9.9";

fn pods() -> PodIndex {
    let pod = |name: &str, address: &str, tag: Option<&str>| Pod {
        key: ObjectKey::at_home("demo", name),
        address: Some(address.into()),
        tag: tag.map(Into::into),
        ..Pod::default()
    };
    let both = [pod("base", BASE, None), pod("gray", GRAY, Some("gray"))];
    PodIndex::from_pods(&pods_by_key(both))
}

fn span(trace: &str, id: &str, parent: &str, side: Side, peer: &str) -> Span {
    let some = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    Span {
        side,
        trace: trace.into(),
        span: id.into(),
        parent: some(parent),
        peer: some(peer),
        ..Span::default()
    }
}

fn ids(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.span.as_str()).collect()
}

fn filter(lines: u32, rest: u32) -> (Filter, Instant) {
    let now = Instant::now();
    (Filter::new(Limits { lines, rest }, now), now)
}

#[test]
fn what_is_about_a_lane_or_failed_is_written_and_the_rest_in_part() {
    let (mut filter, now) = filter(100, 1);
    let tagged = Span {
        tag: Tag::Value("gray".into()),
        ..span("t1", "tagged", "", Side::Client, OTHER)
    };
    let failed = Span {
        status: Some(503),
        ..span("t2", "failed", "", Side::Server, "")
    };
    let error = Span {
        error: Some("no".into()),
        ..span("t3", "error", "", Side::Client, OTHER)
    };
    let by = Emitter {
        pod: Some("gray".into()),
        ..Emitter::default()
    };
    let told = Span {
        by,
        ..span("t4", "told by gray", "", Side::Server, "")
    };
    let caller = Span {
        caller: Some(GRAY.into()),
        ..span("t5", "asked by gray", "", Side::Server, "")
    };
    let absent = Span {
        tag: Tag::Absent,
        ..span("t6", "absent", "", Side::Client, OTHER)
    };
    let found = Span {
        status: Some(404),
        ..span("t7", "404", "", Side::Client, OTHER)
    };
    let spans = vec![
        tagged,
        failed,
        error,
        told,
        caller,
        absent,
        found,
        span("t8", "to gray", "", Side::Client, GRAY),
        span("t9", "first base", "", Side::Client, BASE),
        span("ta", "second base", "", Side::Client, BASE),
        span("tb", "inner", "", Side::Inner, ""),
    ];
    let (kept, skipped) = filter.choose_spans(spans, &pods(), now);
    let expected = [
        "tagged",
        "failed",
        "error",
        "told by gray",
        "asked by gray",
        "to gray",
        "first base",
    ];
    assert_eq!(ids(&kept), expected);
    assert_eq!(
        skipped,
        Skipped {
            rate: 0,
            share: 1,
            elsewhere: 3
        }
    );
}

#[test]
fn what_ties_a_written_one_is_written_whatever_it_is() {
    let (mut filter, now) = filter(100, 0);
    let spans = vec![
        span("t", "entry", "", Side::Server, ""),
        span("t", "client", "entry", Side::Client, BASE),
        span("t", "inner", "client", Side::Inner, ""),
        span("t", "gray", "inner", Side::Client, GRAY),
        span("t", "leaf", "gray", Side::Inner, ""),
        span("t", "database", "entry", Side::Client, OTHER),
        span("u", "entry", "", Side::Server, ""),
    ];
    let (kept, _) = filter.choose_spans(spans, &pods(), now);
    assert_eq!(ids(&kept), ["entry", "client", "inner", "gray"]);

    // Later spans of a trace: those that concern our pods are wanted, and those that were named as
    // a parent.
    let (kept, _) = filter.choose_spans(
        vec![span("v", "late", "above", Side::Client, GRAY)],
        &pods(),
        now,
    );
    assert_eq!(ids(&kept), ["late"]);
    let spans = vec![
        span("v", "lost", "", Side::Client, BASE),
        span("v", "above", "top", Side::Inner, ""),
        span("v", "beside", "top", Side::Inner, ""),
        span("w", "above", "", Side::Inner, ""),
    ];
    let (kept, skipped) = filter.choose_spans(spans, &pods(), now);
    assert_eq!(ids(&kept), ["lost", "above"]);
    assert_eq!(skipped.elsewhere, 2);
    let (kept, _) = filter.choose_spans(vec![span("v", "top", "", Side::Server, "")], &pods(), now);
    assert_eq!(ids(&kept), ["top"]);
}

#[test]
fn the_rate_is_kept_and_lanes_come_first() {
    let (mut filter, now) = filter(10, 5);
    let mut spans: Vec<Span> = (0..5)
        .map(|n| span(&n.to_string(), "base", "", Side::Client, BASE))
        .collect();
    spans.extend((0..8).map(|n| span(&format!("g{n}"), "gray", "", Side::Client, GRAY)));
    let (kept, skipped) = filter.choose_spans(spans.clone(), &pods(), now);
    assert_eq!(kept.iter().filter(|s| s.span == "gray").count(), 8);
    assert_eq!(
        (kept.len(), skipped),
        (
            10,
            Skipped {
                rate: 3,
                ..Skipped::default()
            }
        )
    );
    assert_eq!(filter.choose_spans(spans.clone(), &pods(), now).0.len(), 0);
    let later = now + Duration::from_millis(500);
    assert_eq!(
        filter.choose_spans(spans.clone(), &pods(), later).0.len(),
        5
    );
    // Unused tokens do not accumulate, and a clock that goes back adds none.
    let (kept, _) = filter.choose_spans(spans.clone(), &pods(), later + Duration::from_hours(1));
    assert_eq!(kept.len(), 10);
    assert_eq!(filter.choose_spans(spans, &pods(), now).0.len(), 0);
}

#[test]
fn memory_is_bounded() {
    let mut recent = RecentHashes::default();
    (0..2 * REMEMBERED as u64).for_each(|n| recent.insert(n));
    assert_eq!(
        (recent.known.len(), recent.order.len()),
        (REMEMBERED, REMEMBERED)
    );
    assert!(!recent.contains(0) && recent.contains(2 * REMEMBERED as u64 - 1));
}

/// Few ids, so that they repeat and parents form loops.
fn any_spans() -> impl Strategy<Value = Vec<Span>> {
    let id = prop::sample::select(&["", "a", "b", "c", "d"][..]);
    let side = prop::sample::select(&[Side::Inner, Side::Client, Side::Server, Side::Gateway][..]);
    let peer = prop::sample::select(&["", BASE, GRAY, OTHER, "\u{0}"][..]);
    let one = (
        id.clone(),
        id.clone(),
        id,
        side,
        peer,
        any::<bool>(),
        prop::option::of(0..u16::MAX),
    );
    let one = one.prop_map(|(trace, id, parent, side, peer, tagged, status)| Span {
        tag: if tagged {
            Tag::Value("gray".into())
        } else {
            Tag::Absent
        },
        status,
        ..span(trace, id, parent, side, peer)
    });
    prop::collection::vec(one, 0..40)
}

#[test]
fn any_spans_are_chosen_or_counted() {
    let pods = pods();
    crate::fuzz::any("spans to choose of", 300, 4, &any_spans(), |batches| {
        let (mut filter, now) = filter(20, 3);
        let mut total = 0;
        for spans in batches {
            let (all, lanes) = (
                spans.len(),
                spans.iter().filter(|s| s.tag.value().is_some()).count(),
            );
            let (kept, skipped) = filter.choose_spans(spans, &pods, now);
            let left_out = skipped.rate + skipped.share + skipped.elsewhere;
            prop_assert_eq!(all as u64, kept.len() as u64 + left_out);
            let tagged = kept.iter().filter(|s| s.tag.value().is_some()).count();
            prop_assert!(tagged == lanes || skipped.rate > 0);
            total += kept.len();
        }
        prop_assert!(total <= 20);
        Ok(())
    });
}
