use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: &str = "2026-01-10T00:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn app(history: serde_json::Value, status: serde_json::Value) -> App {
    let spec = json!({
        "manifests": [],
        "environments": [{"name": "prod", "namespace": "n"}, {"name": "gray", "namespace": "n", "lane": "gray"}],
        "workflow": {"stages": [{"name": "s", "tasks": []}, {"name": "t", "tasks": []}]},
        "history": history,
    });
    let mut app = App::new("a", serde_json::from_value(spec).unwrap());
    app.status = Some(serde_json::from_value(json!({"environments": status})).unwrap());
    app
}

/// Release `a-N` of a stage, created at minute N and finished a minute later.
fn release(n: u64, stage: &str, phase: &str) -> Release {
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let at = |minutes: u64| {
        (begin + jiff::SignedDuration::from_mins(i64::try_from(minutes).unwrap())).to_string()
    };
    serde_json::from_value(json!({
        "apiVersion": "graylane.dev/v1alpha1", "kind": "Release",
        "metadata": {"name": format!("a-{n}"), "uid": format!("u-{n}"), "creationTimestamp": at(n)},
        "spec": {"app": "a", "stage": stage},
        "status": {"phase": phase, "finishedAt": at(n + 1)},
    }))
    .unwrap()
}

fn gone(all: &[Release], app: &App) -> Vec<String> {
    told(all, app, &|_| true)
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

fn told(
    all: &[Release],
    app: &App,
    stands: &dyn Fn(&InventoryItem) -> bool,
) -> Vec<(String, PruneReason)> {
    let app_of = |name: &str| (name == "a").then_some(app);
    let all: Vec<&Release> = all.iter().collect();
    let found = releases_to_prune(
        &all,
        &Surroundings {
            app_of: &app_of,
            stands,
            now: now(),
        },
    );
    found
        .into_iter()
        .map(|(release, why)| (release_name(release).to_owned(), why))
        .collect()
}

#[test]
fn by_default_the_twenty_newest_of_each_stage_stay_and_the_oldest_goes_first() {
    let app = app(json!({}), json!({}));
    let mut all: Vec<Release> = (1..=22).map(|n| release(n, "s", "Aborted")).collect();
    assert_eq!(gone(&all, &app), ["a-1", "a-2"]);
    assert!(
        is_full(&all, "a", "s", &app.spec.history) && !is_full(&all, "a", "t", &app.spec.history)
    );
    // Releases of another stage do not count.
    all.extend((23..=30).map(|n| release(n, "t", "Aborted")));
    assert_eq!(gone(&all, &app), ["a-1", "a-2"]);
    all.truncate(20);
    assert_eq!(gone(&all, &app), [] as [&str; 0]);
}

#[test]
fn what_finished_too_long_ago_goes_and_a_clock_that_is_behind_takes_none() {
    let week = app(
        json!({"limit": 20, "ttlSecondsAfterFinished": 7 * 86_400}),
        json!({}),
    );
    let mut all: Vec<Release> = (1..=4).map(|n| release(n, "s", "Aborted")).collect();
    for (release, at) in all.iter_mut().zip([
        "2026-01-02T23:59:59Z",
        "2026-01-03T00:00:00Z",
        "2027-01-01T00:00:00Z",
    ]) {
        release.status.as_mut().unwrap().finished_at = Some(at.into());
    }
    assert_eq!(
        describe_history(&week.spec.history),
        "20 of each stage, finished within 168h"
    );
    assert_eq!(
        told(&all, &week, &|_| true),
        [("a-1".to_owned(), PruneReason::Ttl(7 * 86_400))]
    );
}

/// Each case is the only reason to keep `a-1` of five although the limit is 0.
#[test]
fn what_is_still_needed_stays_whatever_the_limit_says() {
    let strict = json!({"limit": 0});
    let plain = || {
        (1..=5)
            .map(|n| release(n, "s", "Aborted"))
            .collect::<Vec<_>>()
    };
    let none = app(strict.clone(), json!({}));
    assert_eq!(
        gone(&plain(), &none),
        ["a-1", "a-2", "a-3", "a-4"],
        "but for the newest: names are counted on from it"
    );
    let stays = |why: &str, all: &[Release], app: &App| {
        assert!(
            !gone(all, app).contains(&"a-1".into()),
            "{why}: {:?}",
            gone(all, app)
        );
    };
    let told = json!({"prod": {"state": "Running", "release": "a-1"}});
    stays(
        "an environment was last deployed by it",
        &plain(),
        &app(strict.clone(), told),
    );
    for phase in [
        "Pending", "Running", "Waiting", "Paused", "Failed", "Aborting",
    ] {
        let mut all = plain();
        all[0] = release(1, "s", phase);
        stays(phase, &all, &none);
    }
    let mut all = plain();
    all[0] = release(1, "s", "Succeeded");
    stays("the last of its stage that succeeded", &all, &none);
    all[1] = release(2, "s", "Succeeded");
    assert!(
        gone(&all, &none).contains(&"a-1".into()),
        "there is a newer one"
    );
    let deploy =
        json!([{"name": "d", "kind": "deploy", "environment": "prod", "phase": "Succeeded"}]);
    all[0].status.as_mut().unwrap().tasks = serde_json::from_value(deploy).unwrap();
    stays("the last that deployed prod and succeeded", &all, &none);

    let mut all = plain();
    all[0].spec.window = Some("w".into());
    assert!(
        gone(&all, &none).contains(&"a-1".into()),
        "nobody of its window runs"
    );
    let mut mate = release(9, "s", "Waiting");
    (mate.spec.app, mate.spec.window) = ("b".into(), Some("w".into()));
    mate.metadata.name = Some("b-9".into());
    all.push(mate);
    stays("another release of its window runs", &all, &none);

    let mut all = plain();
    let record = json!([{"name": "d", "kind": "deploy", "rollouts": [{"attempt": 1, "state": "Begun", "workload":
        {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "n", "name": "w", "uid": "w-1"}}]}]);
    all[0].status.as_mut().unwrap().tasks = serde_json::from_value(record).unwrap();
    stays("it holds what brings a workload back", &all, &none);
    let app_of = |_: &str| Some(&none);
    let refs: Vec<&Release> = all.iter().collect();
    let around = Surroundings {
        app_of: &app_of,
        stands: &|i| i.uid.as_str() != "w-1",
        now: now(),
    };
    assert!(
        releases_to_prune(&refs, &around)
            .iter()
            .any(|(r, _)| release_name(r) == "a-1"),
        "the workload is gone"
    );
    all[2].status.as_mut().unwrap().tasks = all[0].status.as_ref().unwrap().tasks.clone();
    assert!(
        gone(&all, &none).contains(&"a-1".into()),
        "a newer release has a record of it"
    );
}

#[test]
fn a_name_that_looks_like_another_apps_keeps_that_apps_numbers() {
    let none = app(json!({"limit": 0}), json!({}));
    let mut all: Vec<Release> = (1..=3).map(|n| release(n, "s", "Aborted")).collect();
    // Created by hand: of App a, with a name that App b continues from.
    all[0].metadata.name = Some("b-7".into());
    let mut of_b = release(2, "s", "Running");
    (of_b.spec.app, of_b.metadata.name) = ("b".into(), Some("b-2".into()));
    all.push(of_b);
    assert_eq!(gone(&all, &none), ["a-2"]);
    assert_eq!(
        [
            release_number("a", "a-12"),
            release_number("a", "a-b-1"),
            release_number("a", "a-+1"),
            release_number("a", "ab-1")
        ],
        [Some(12), None, None, None]
    );
}

#[test]
fn what_the_app_no_longer_has_is_bounded_together_and_of_an_app_that_is_gone_all_stays() {
    let some = app(json!({"limit": 2}), json!({}));
    // Each of a stage that does not exist (any more).
    let mut all: Vec<Release> = (1..=6)
        .map(|n| release(n, &format!("x{n}"), "Succeeded"))
        .collect();
    assert_eq!(gone(&all, &some), ["a-1", "a-2", "a-3", "a-4"]);
    for release in &mut all {
        release.spec.app = "b".into();
    }
    assert_eq!(
        gone(&all, &some),
        [] as [&str; 0],
        "nobody says what of an App that is gone is kept"
    );
    let teardown = |n: u64, environment: &str| {
        let mut release = release(n, "", "Aborted");
        release.spec.teardown =
            Some(serde_json::from_value(json!({"environment": environment})).unwrap());
        release
    };
    let all = [1, 2, 3, 4, 5, 6].map(|n| teardown(n, if n % 2 == 0 { "prod" } else { "gray" }));
    assert_eq!(gone(&all, &some), ["a-1", "a-2"], "two of each environment");
}

const PHASES: [&str; 5] = ["Succeeded", "Succeeded", "Aborted", "Waiting", "Failed"];

prop_compose! {
    fn any_history()(
        releases in prop::collection::vec((0usize..PHASES.len(), 0usize..3, any::<bool>(), 0u8..4), 0..60),
        limit in 0u32..8,
        ttl in prop::option::of(0u32..1_000_000),
        last in prop::option::of(0u64..60),
    ) -> (Vec<Release>, App) {
        let all = (0..).zip(releases).map(|(n, (phase, stage, windowed, environment))| {
            let mut release = release(n, ["s", "t", "gone"][stage], PHASES[phase]);
            release.spec.window = windowed.then(|| format!("w-{}", n / 4));
            let environment = ["prod", "gray", "other", ""][usize::from(environment)];
            let task = json!([{"name": "d", "kind": "deploy", "environment": environment, "phase": "Succeeded"}]);
            release.status.as_mut().unwrap().tasks = serde_json::from_value(task).unwrap();
            release
        });
        let status = last.map_or(json!({}), |n| json!({"prod": {"release": format!("a-{n}")}}));
        (all.collect(), app(json!({"limit": limit, "ttlSecondsAfterFinished": ttl}), status))
    }
}

proptest! {
    #[test]
    fn nothing_that_runs_or_is_needed_goes_and_names_never_come_twice((mut all, app) in any_history(), seed in any::<u64>()) {
        let found = gone(&all, &app);
        let left: Vec<&Release> = all.iter().filter(|r| !found.iter().any(|g| g == release_name(r))).collect();
        let gone_ones: Vec<&Release> = all.iter().filter(|r| found.iter().any(|g| g == release_name(r))).collect();
        prop_assert!(gone_ones.iter().all(|r| is_final(r)));
        let highest = |of: &[&Release]| of.iter().filter_map(|r| release_number("a", release_name(r))).max();
        prop_assert_eq!(highest(&left), highest(&all.iter().collect::<Vec<_>>()));
        for stage in ["s", "t"] {
            let good = |r: &&&Release| r.spec.stage == stage && r.status.as_ref().unwrap().phase == ReleasePhase::Succeeded;
            prop_assert!(gone_ones.iter().find(good).is_none() || left.iter().any(|r| good(&r)));
        }
        let last = app.status.as_ref().unwrap().environments.get("prod").and_then(|e| e.release.clone());
        prop_assert!(!last.is_some_and(|l| found.contains(&l)));
        // Releases beyond the limit are needed: a bounded number, for stages, environments, windows
        // and names.
        for stage in ["s", "t", "gone"] {
            let of = left.iter().filter(|r| is_final(r) && r.spec.stage == stage && r.spec.window.is_none()).count();
            prop_assert!(of <= usize::try_from(app.spec.history.limit).unwrap() + 6, "{of} of {stage}");
        }
        // The result is stable: nothing more is deleted, in any order of the input.
        let rest: Vec<Release> = left.into_iter().cloned().collect();
        prop_assert_eq!(gone(&rest, &app), Vec::<String>::new());
        let at = usize::try_from(seed % 61).unwrap().min(all.len());
        all.rotate_left(at);
        prop_assert_eq!(gone(&all, &app), found.clone());
        // A higher limit deletes no more.
        let mut more = app;
        more.spec.history.limit += 1;
        prop_assert!(gone(&all, &more).iter().all(|g| found.contains(g)));
    }
}
