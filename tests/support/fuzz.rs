//! Any input: a short slice in every `cargo test`, as many as `GRAYLANE_FUZZ_CASES` says in a long run, which tells
//! after each tenth how much memory its process holds.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, TestCaseError, TestRunner},
};

/// Times that a failing input is made smaller or put back.
const STEPS: usize = 2000;

/// Tries `short` inputs, or as many as are asked for, `batch` of them at a time. Of a batch that fails each is tried
/// alone, and the first that fails alone is told, made small.
///
/// # Panics
///
/// When `test` fails or panics.
pub fn any<S: Strategy>(
    what: &str,
    short: u32,
    batch: u32,
    inputs: &S,
    test: impl Fn(Vec<S::Value>) -> Result<(), TestCaseError>,
) {
    let wanted: Option<u32> = std::env::var("GRAYLANE_FUZZ_CASES")
        .ok()
        .and_then(|n| n.parse().ok());
    let all = wanted.unwrap_or(short);
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    let fails = |values: Vec<S::Value>| match catch_unwind(AssertUnwindSafe(|| test(values))) {
        Ok(Ok(()) | Err(TestCaseError::Reject(_))) => None,
        Ok(Err(TestCaseError::Fail(why))) => Some(why.to_string()),
        Err(panic) => Some(format!("panic: {}", words(&*panic))),
    };
    let mut done = 0;
    while done < all {
        let count = batch.min(all - done);
        let mut trees: Vec<S::Tree> = (0..count)
            .map(|_| inputs.new_tree(&mut runner).expect("an input"))
            .collect();
        if let Some(why) = fails(trees.iter().map(ValueTree::current).collect()) {
            let Some(at) = trees
                .iter()
                .position(|tree| fails(vec![tree.current()]).is_some())
            else {
                panic!("{what}: {why}\n(side by side only: none of these {count} fails alone)");
            };
            let (input, why) = smallest(&mut trees[at], why, &fails);
            panic!("{what}: {why}\nof {input:?}");
        }
        let tenth = |n: u32| u64::from(n) * 10 / u64::from(all);
        if wanted.is_some() && tenth(done + count) > tenth(done) {
            eprintln!(
                "{what}: {} of {all} inputs, {} KiB resident",
                done + count,
                resident().unwrap_or_default()
            );
        }
        done += count;
    }
}

fn smallest<T: ValueTree>(
    tree: &mut T,
    why: String,
    fails: &impl Fn(Vec<T::Value>) -> Option<String>,
) -> (T::Value, String) {
    let mut found = (tree.current(), why);
    for _ in 0..STEPS {
        let more = match fails(vec![tree.current()]) {
            Some(why) => {
                found = (tree.current(), why);
                tree.simplify()
            }
            None => tree.complicate(),
        };
        if !more {
            break;
        }
    }
    found
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no words")
}

/// Memory of this process that is in use, in KiB.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
