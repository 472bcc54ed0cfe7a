//! Compares bodies: by path when both are JSON, otherwise by line.

use serde_json::{Number, Value};
use similar::{DiffOp, TextDiff};

use super::{Comparison, DifferencePlace, Ignored, JsonPath, path::PathStep};

/// Longer texts are compared line by line without alignment, which would take too long.
const MAX_ALIGNED_LINES: usize = 2000;

pub(super) fn compare_bodies(base: &[u8], gray: &[u8], ignored: &Ignored, found: &mut Comparison) {
    if base == gray || ignored.has_path(&JsonPath::default()) {
        return;
    }
    let [old, new] = [base, gray].map(|body| serde_json::from_slice::<Value>(body).ok());
    if let (Some(old), Some(new)) = (old, new) {
        return compare_values(&mut JsonPath::default(), &old, &new, ignored, found);
    }
    let before = found.count();
    let [old, new] = [base, gray].map(String::from_utf8_lossy);
    compare_lines(&old, &new, found);
    if found.count() == before {
        // The bytes differ but not as text, so the bodies are binary.
        let at = base.iter().zip(gray).take_while(|(a, b)| a == b).count();
        let [old, new] = [base, gray].map(|body| body.get(at).map(|byte| format!("{byte:02x}")));
        found.add_difference(
            DifferencePlace::Byte(at + 1),
            old.as_deref(),
            new.as_deref(),
        );
    }
}

fn compare_values(
    at: &mut JsonPath,
    base: &Value,
    gray: &Value,
    ignored: &Ignored,
    found: &mut Comparison,
) {
    match (base, gray) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                compare_child(
                    at,
                    PathStep::Name(name.clone()),
                    Some(value),
                    new.get(name),
                    ignored,
                    found,
                );
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                compare_child(
                    at,
                    PathStep::Name(name.clone()),
                    None,
                    Some(value),
                    ignored,
                    found,
                );
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for i in 0..old.len().max(new.len()) {
                compare_child(
                    at,
                    PathStep::Index(i),
                    old.get(i),
                    new.get(i),
                    ignored,
                    found,
                );
            }
        }
        (Value::Number(old), Value::Number(new)) if is_same_number(old, new) => {}
        (old, new) if old == new => {}
        (old, new) => found.add_difference(
            DifferencePlace::Path(at.clone()),
            Some(&old.to_string()),
            Some(&new.to_string()),
        ),
    }
}

fn compare_child(
    at: &mut JsonPath,
    step: PathStep,
    base: Option<&Value>,
    gray: Option<&Value>,
    ignored: &Ignored,
    found: &mut Comparison,
) {
    at.0.push(step);
    if !ignored.has_path(at) {
        match (base, gray) {
            (Some(old), Some(new)) => compare_values(at, old, new, ignored, found),
            (old, new) => {
                let [old, new] = [old, new].map(|v| v.map(ToString::to_string));
                found.add_difference(
                    DifferencePlace::Path(at.clone()),
                    old.as_deref(),
                    new.as_deref(),
                );
            }
        }
    }
    at.0.pop();
}

/// Whether two numbers are equal, regardless of notation: 1 and 1.0.
fn is_same_number(a: &Number, b: &Number) -> bool {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a == b,
        (None, None) => a.as_f64() == b.as_f64(),
        (Some(whole), None) => is_whole(b, whole),
        (None, Some(whole)) => is_whole(a, whole),
    }
}

/// Whether a number written with a fraction or an exponent equals this integer. JSON integers fit
/// into 65 bits.
fn is_whole(number: &Number, whole: i128) -> bool {
    number
        .as_f64()
        .is_some_and(|f| f.fract() == 0.0 && f.abs() < 1e20 && f as i128 == whole)
}

fn compare_lines(base: &str, gray: &str, found: &mut Comparison) {
    let [old, new] = [base, gray].map(|text| text.split('\n').collect::<Vec<_>>());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let start = old.iter().zip(&new).take_while(same).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let end = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(same)
        .count();
    let (old, new) = (
        &old_rest[..old_rest.len() - end],
        &new_rest[..new_rest.len() - end],
    );
    let mut block = |at: (usize, usize), old: &[&str], new: &[&str]| {
        for i in 0..old.len().max(new.len()) {
            let (a, b) = (old.get(i).copied(), new.get(i).copied());
            if a != b {
                let number = if a.is_some() { at.0 } else { at.1 } + i + start + 1;
                found.add_difference(DifferencePlace::Line(number), a, b);
            }
        }
    };
    if old.len().max(new.len()) > MAX_ALIGNED_LINES {
        return block((0, 0), old, new);
    }
    for op in TextDiff::from_slices(old, new).ops() {
        if !matches!(op, DiffOp::Equal { .. }) {
            block(
                (op.old_range().start, op.new_range().start),
                &old[op.old_range()],
                &new[op.new_range()],
            );
        }
    }
}
