//! The story of the design, played through the command line on a fresh state folder while a load runs: every
//! response is checked for its status and for the right chain of its tag.

use std::collections::BTreeSet;

use crate::support::{demo::Demo, load::Load, rollout::Watched};
use serde_json::Value;

const TAGGED: &str = "/A/a?group=gray";
const ALL_GRAY: &str = "spring-cloud-a=gray,spring-cloud-b=base,spring-cloud-c=gray";
const ALL_BASE: &str = "spring-cloud-a=base,spring-cloud-b=base,spring-cloud-c=base";

/// From the approval to a gray that is verified.
async fn gray_up(demo: &Demo, releases: &[String]) {
    for name in releases {
        demo.wait(name, Some("approve"), "Waiting").await;
    }
    for name in releases {
        demo.ok(&["approve", name, "--comment", "fine"]).await;
    }
    for name in releases {
        demo.wait(name, Some("proceed"), "Waiting").await;
    }
}

/// What docs/story.md shows to look with does so at the end of the story. What changes something was played above.
async fn run_documented(demo: &Demo) {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/story.md");
    let page = std::fs::read_to_string(page).unwrap();
    let looks = ["get ", "release list", "release show ", "probe '/A/a' "];
    let mut seen = 0;
    for line in page.lines().filter_map(|l| l.strip_prefix("graylane ")) {
        if looks.iter().any(|look| line.starts_with(look)) {
            let command = line.split('#').next().unwrap_or_default();
            let words = command.split_whitespace().map(|w| w.trim_matches('\''));
            demo.ok(&words.collect::<Vec<_>>()).await;
            seen += 1;
        }
    }
    assert_eq!(seen, looks.len());
}

/// Sends a tagged probe while requests are traced, until it is among those that are shown, and
/// returns it. Only the last lines of the gateway's log are read, and under this load they are of
/// the last second or two: on a slow machine the probe may have gone from them before.
async fn probe_and_trace(demo: &Demo) -> Value {
    for _ in 0..10 {
        let (probed, traced) = tokio::join!(
            demo.ok(&["probe", TAGGED, "-o", "json"]),
            demo.ok(&["trace", "mse-demo", "-o", "json", "--for", "6s"])
        );
        let probed: Value = serde_json::from_str(&probed).unwrap();
        let is_shown = traced.lines().any(|line| {
            let shown: Value = serde_json::from_str(line).unwrap();
            shown["trace"] == probed["trace"] && shown["chain"][0]["version"] == "gray"
        });
        if is_shown {
            return probed;
        }
    }
    panic!("no probe is among the requests that are shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story() {
    let mut demo = Demo::start().await;
    demo.set_pause("spring-cloud-a", "every").await;
    let before = demo.pods("spring-cloud-b", "prod").await;
    assert_eq!(before.len(), 4, "{before:?}");
    demo.ok(&["probe", TAGGED, "--expect", ALL_BASE]).await;
    let watched = Watched::start(&demo).await;
    let load = Load::start(demo.entry().await);
    load.expect_only("BBB", "BBB").await;

    // 1, 2: a window of A and C; their gray comes up, B has none.
    let releases = demo.start_window().await;
    let (a, c) = (&releases[0], &releases[1]);
    let refused = demo.refused(&["proceed", a]).await;
    assert!(refused.contains(a.as_str()), "{refused}");
    load.anything().await;
    gray_up(&demo, &releases).await;

    // 3: tagged requests walk through gray, the others do not.
    load.expect_only("BBB", "GBG").await;
    demo.ok(&["probe", TAGGED, "--count", "5", "--expect", ALL_GRAY])
        .await;
    demo.ok(&["probe", "/A/a", "--count", "5", "--expect", ALL_BASE])
        .await;
    demo.refused(&["probe", TAGGED, "--expect", ALL_BASE]).await;
    // The same where the entry cannot be reached: through the API server, which leads to any Service.
    demo.ok(&["--via", "proxy", "probe", TAGGED, "--expect", ALL_GRAY])
        .await;
    let direct = http::Request::get(
        "/api/v1/namespaces/demo/services/spring-cloud-a-gray:20001/proxy/a?group=gray",
    );
    let text = demo
        .client
        .request_text(direct.body(vec![]).unwrap())
        .await
        .unwrap();
    assert!(text.starts_with("Agray["), "{text}");
    let why = demo
        .refused(&["--via", "proxy=demo/nobody:80", "probe", "/a"])
        .await;
    assert!(why.contains("services \"nobody\" not found"), "{why}");
    let probed = probe_and_trace(&demo).await;
    assert_eq!(
        (&probed["status"], &probed["lane"], &probed["verdict"]),
        (&200.into(), &"gray".into(), &"ok".into())
    );
    assert_eq!(probed["chain"].as_array().unwrap().len(), 3, "{probed}");
    let signals: Value = serde_json::from_str(
        &demo
            .ok(&["signals", "spring-cloud-c", "--for", "3s", "-o", "json"])
            .await,
    )
    .unwrap();
    let base = signals["versions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|v| v["version"] == "base")
        .expect("its baseline");
    assert!(
        base["requests"].as_u64() > Some(0) && base["sampled"] == false,
        "{signals}"
    );
    let differs = demo.refused(&["probe", "/A/a", "--diff"]).await;
    assert!(
        differs.contains("the answers differ in 1 place"),
        "{differs}"
    );
    let equal: Value = serde_json::from_str(
        &demo
            .ok(&["probe", "/A/a", "--diff", "--ignore", "$", "-o", "json"])
            .await,
    )
    .unwrap();
    assert_eq!(
        (&equal["equal"], &equal["gray"]["lane"]),
        (&true.into(), &"gray".into()),
        "{equal}"
    );
    load.checked(50).await;

    // 4: production of A in exact batches, held after each; C with one stop.
    demo.ok(&["proceed", a, "--task", "proceed"]).await;
    for (batch, new) in [(1, 1), (2, 2)] {
        demo.wait_batch(a, "deploy-prod", batch).await;
        demo.wait(a, Some("deploy-prod"), "Waiting").await;
        let (fresh, old) = demo.split("spring-cloud-a", "v2").await;
        assert_eq!((fresh, old), (new, 4 - new), "after batch {batch}");
        demo.ok(&["probe", "/A/a", "--count", "4", "--expect", ALL_BASE])
            .await;
        load.checked(50).await;
        if batch == 1 {
            demo.ok(&["pause", a]).await;
            demo.wait(a, None, "Paused").await;
            demo.ok(&["resume", a]).await;
            demo.wait(a, Some("deploy-prod"), "Waiting").await;
        }
        // With the last batch gray goes too.
        if batch == 2 {
            load.anything().await;
        }
        demo.ok(&["proceed", a, "--task", "deploy-prod"]).await;
    }
    demo.wait(a, None, "Succeeded").await;
    demo.ok(&["proceed", c]).await;
    demo.wait(c, Some("deploy-prod"), "Waiting").await;
    assert_eq!(demo.split("spring-cloud-c", "v2").await, (1, 3));
    demo.ok(&["proceed", c]).await;
    demo.wait(c, None, "Succeeded").await;
    for name in &releases {
        let release: Value =
            serde_json::from_str(&demo.ok(&["release", "show", name, "-o", "json"]).await).unwrap();
        let tasks = release["status"]["tasks"].as_array().unwrap();
        let prod = tasks.iter().find(|t| t["name"] == "deploy-prod").unwrap();
        let targets: Vec<u64> = prod["batches"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| b["target"].as_u64().unwrap())
            .collect();
        assert_eq!(targets, [1, 2, 4], "{prod}");
    }

    // 5: gray is gone, its environment is kept, all traffic is on the baseline.
    load.expect_only("BBB", "BBB").await;
    for app in ["spring-cloud-a", "spring-cloud-c"] {
        assert_eq!(demo.pods(app, "gray").await, BTreeSet::new());
        let place = format!("{app}/gray");
        let kept: Value = serde_json::from_str(
            &demo
                .ok(&["get", "environments", &place, "-o", "json"])
                .await,
        )
        .unwrap();
        assert_eq!(
            (&kept["status"]["state"], &kept["spec"]["lane"]),
            (&"Cleaned".into(), &"gray".into()),
            "{kept}"
        );
        assert_eq!(demo.split(app, "v2").await, (4, 0));
    }
    load.checked(50).await;
    run_documented(&demo).await;

    // A second release brings gray up again; it is ended by hand.
    let image = ["--image", "backend=spring-cloud-a:v1"];
    let told = demo
        .ok(&[
            &[
                "release",
                "start",
                "spring-cloud-a",
                "--stage",
                "production",
            ][..],
            &image,
        ]
        .concat())
        .await;
    let again = vec![told.trim().to_owned()];
    load.anything().await;
    gray_up(&demo, &again).await;
    load.expect_only("BBB", "GBB").await;
    load.checked(30).await;
    load.anything().await;
    demo.ok(&["abort", &again[0]]).await;
    demo.wait(&again[0], None, "Aborted").await;

    assert_eq!(
        demo.pods("spring-cloud-b", "prod").await,
        before,
        "nobody touched B"
    );
    let report = load.stop().await;
    assert!(
        report.wrong.is_empty(),
        "{} of {} wrong:\n{}",
        report.wrong.len(),
        report.sent,
        report.wrong.join("\n")
    );
    assert!(report.sent > 300, "{} requests are no load", report.sent);
    watched.stop().await;
    demo.stop().await;
}
