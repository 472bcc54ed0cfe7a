//! Whole numbers.

use super::{Function, one, takes, two, whole};
use gotmpl::Value as Go;

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("int", |args| one(args, "int X").and_then(whole).map(Go::Int)),
    ("int64", |args| one(args, "int64 X").and_then(whole).map(Go::Int)),
    ("add", |args| fold(args, "add N …", i64::checked_add)),
    ("mul", |args| fold(args, "mul N …", i64::checked_mul)),
    ("max", |args| fold(args, "max N …", |a, b| Some(a.max(b)))),
    ("min", |args| fold(args, "min N …", |a, b| Some(a.min(b)))),
    ("sub", |args| pair(args, "sub N M", i64::checked_sub)),
    ("div", |args| pair(args, "div N M", i64::checked_div)),
    ("mod", |args| pair(args, "mod N M", i64::checked_rem)),
];

fn fold(args: &[Go], usage: &str, f: fn(i64, i64) -> Option<i64>) -> Result<Go, String> {
    let mut numbers = args.iter().map(whole);
    let first = numbers.next().ok_or_else(|| takes(usage))??;
    numbers.try_fold(first, |a, b| f(a, b?).ok_or_else(out_of_range)).map(Go::Int)
}

fn pair(args: &[Go], usage: &str, f: fn(i64, i64) -> Option<i64>) -> Result<Go, String> {
    let (a, b) = two(args, usage)?;
    f(whole(a)?, whole(b)?).map(Go::Int).ok_or_else(out_of_range)
}

fn out_of_range() -> String {
    "the result is no number of 64 bits".into()
}
