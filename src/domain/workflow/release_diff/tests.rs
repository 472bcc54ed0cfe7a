use serde_json::json;

use super::*;
use crate::{
    api::{
        App, AppStatus, EnvironmentState, EnvironmentStatus, ReleasePhase, ReleaseSpec, TaskKind,
        TaskPhase, TaskStatus,
    },
    domain::digest::hash_json,
};

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ .Values.replicas }}
  image: {{ .AppStack.image.backend }}
";
const CACHE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: cache}\n";
const QUEUE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: queue}\n";
const LOGIN: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: {{ .Values.password }}, user: {{ .Values.user }}}
data: {token: {{ .Values.token }}}
";

/// One side: manifests, image, digest, and the values of the environment.
struct Side {
    manifests: Vec<&'static str>,
    image: &'static str,
    digest: Option<&'static str>,
    values: Value,
}

fn side(manifests: &[&'static str], image: &'static str, values: Value) -> Side {
    Side {
        manifests: manifests.to_vec(),
        image,
        digest: None,
        values,
    }
}

fn app_of(side: &Side) -> App {
    let manifests: Vec<Value> = side
        .manifests
        .iter()
        .map(|text| json!({"name": &hash_json(&json!(text))[..8], "template": text}))
        .collect();
    let environment = |name: &str, lane: Option<&str>| json!({"name": name, "namespace": "demo", "lane": lane, "values": side.values});
    let spec = json!({
        "images": {"backend": {"repository": "web"}},
        "manifests": manifests,
        "environments": [environment("gray", Some("gray")), environment("prod", None)],
    });
    App::new("web", serde_json::from_value(spec).unwrap())
}

fn deploy(environment: &str, image: &str) -> TaskStatus {
    TaskStatus {
        name: format!("deploy-{environment}"),
        kind: TaskKind::Deploy,
        environment: Some(environment.into()),
        new_images: [("backend".to_owned(), image.to_owned())].into(),
        ..TaskStatus::default()
    }
}

fn release_of(name: &str, side: &Side, tasks: Vec<TaskStatus>) -> Release {
    let spec = ReleaseSpec {
        app: "web".into(),
        ..ReleaseSpec::default()
    };
    let mut release = Release::new(name, spec);
    let digest = side.digest.map(|d| ("backend".to_owned(), d.to_owned()));
    release.status = Some(ReleaseStatus {
        revision: Some(Revision::from_app(&app_of(side)).name().to_owned()),
        images: [("backend".to_owned(), side.image.to_owned())].into(),
        digests: digest.into_iter().collect(),
        tasks,
        ..ReleaseStatus::default()
    });
    release
}

/// A release that is over.
fn finished(name: &str, side: &Side, environment: &str, at: &str) -> Release {
    let task = TaskStatus {
        phase: TaskPhase::Succeeded,
        started_at: Some(at.into()),
        finished_at: Some(at.into()),
        ..deploy(environment, side.image)
    };
    let mut release = release_of(name, side, vec![task]);
    release.status.as_mut().unwrap().phase = ReleasePhase::Succeeded;
    release
}

/// Compares a release of the new side with others, of whose sides all are known.
fn compare(
    new: &Side,
    release: &Release,
    state: EnvironmentState,
    before: &[(&Side, &Release)],
) -> EnvironmentDiff {
    let mut app = app_of(new);
    let mut status = AppStatus::default();
    for name in ["gray", "prod"] {
        let told = EnvironmentStatus {
            state,
            images: [("backend".to_owned(), "web:running".to_owned())].into(),
            ..EnvironmentStatus::default()
        };
        status.environments.insert(name.into(), told);
    }
    app.status = Some(status);
    let revisions: BTreeMap<String, Arc<Revision>> = before
        .iter()
        .map(|(side, _)| Revision::from_app(&app_of(side)))
        .map(|revision| (revision.name().to_owned(), Arc::new(revision)))
        .collect();
    let releases = before.iter().map(|(_, release)| *release);
    let mut diff = compare_release(
        &FrozenApp::for_new_release(&app),
        release,
        releases.chain([release]),
        |name| revisions.get(name).cloned(),
    )
    .unwrap();
    diff.environments.remove(0)
}

/// The differences in short: images, values, objects with their fates and changed lines.
fn short(diff: &EnvironmentDiff) -> Vec<String> {
    let images = diff.images.iter().map(|c| format!("image {c}"));
    let values = diff.values.iter().map(|c| format!("value {c}"));
    let objects = diff.objects.iter().map(|o| {
        let is_change = |l: &&str| l.starts_with(['+', '-']);
        let lines: Vec<&str> = o.diff.lines().filter(is_change).collect();
        match o.fate {
            ObjectFate::Changed => format!("{}: {}", o.object, lines.join(" ")),
            fate => format!("{}: {fate}", o.object),
        }
    });
    images.chain(values).chain(objects).collect()
}

#[test]
fn what_differs_is_told_by_image_value_and_object() {
    let one = || json!({"replicas": 1});
    let old = side(&[WEB, CACHE], "web:1", one());
    let cases: [(Side, &[&str]); 6] = [
        (side(&[WEB, CACHE], "web:1", one()), &[]),
        (
            side(&[WEB, CACHE], "web:2", one()),
            &[
                "image backend: web:1 → web:2",
                "Deployment demo/web: -  image: web:1 +  image: web:2",
            ],
        ),
        (
            side(&[WEB, CACHE], "web:1", json!({"replicas": 2})),
            &[
                "value replicas: 1 → 2",
                "Deployment demo/web: -  replicas: 1 +  replicas: 2",
            ],
        ),
        (
            side(
                &[WEB, CACHE],
                "web:1",
                json!({"replicas": 1, "unread": "x"}),
            ),
            &["value unread: x"],
        ),
        (
            side(&[WEB, CACHE, QUEUE], "web:1", one()),
            &["Service demo/queue: added"],
        ),
        (
            side(&[WEB], "web:1", one()),
            &["Service demo/cache: removed"],
        ),
    ];
    let before = finished("web-1", &old, "prod", "2026-01-01T00:00:00Z");
    for (new, wanted) in &cases {
        let release = release_of("web-2", new, vec![deploy("prod", new.image)]);
        let diff = compare(new, &release, EnvironmentState::Running, &[(&old, &before)]);
        assert_eq!(short(&diff), *wanted);
        assert_eq!(diff.is_empty(), wanted.is_empty());
        let against = OldSide::Release {
            release: "web-1".into(),
        };
        assert_eq!(diff.against, against);
    }
}

#[test]
fn one_tag_with_two_digests_is_another_image_and_an_unknown_digest_is_none() {
    let with = |digest| Side {
        digest,
        ..side(&[WEB], "web:1", json!({"replicas": 1}))
    };
    let (a, b) = (
        Some("sha256:aaaaaaaaaaaaaaaa"),
        Some("sha256:bbbbbbbbbbbbbbbb"),
    );
    for (old, new, differs) in [
        (a, b, true),
        (a, a, false),
        (a, None, false),
        (None, b, false),
    ] {
        let (old, new) = (with(old), with(new));
        let before = finished("web-1", &old, "prod", "2026-01-01T00:00:00Z");
        let release = release_of("web-2", &new, vec![deploy("prod", new.image)]);
        let diff = compare(
            &new,
            &release,
            EnvironmentState::Running,
            &[(&old, &before)],
        );
        let wanted = "image backend: web:1 sha256:aaaaaaaaaaaa → web:1 sha256:bbbbbbbbbbbb";
        let wanted: &[&str] = if differs { &[wanted] } else { &[] };
        assert_eq!(short(&diff), wanted);
    }
}

#[test]
fn what_is_old_is_what_the_environment_ran_before_as_far_as_that_is_known() {
    let values = || json!({"replicas": 1});
    let [first, second, third] =
        ["web:1", "web:2", "web:3"].map(|image| side(&[WEB], image, values()));
    let earlier = finished("web-1", &first, "prod", "2026-01-01T00:00:00Z");
    let later = finished("web-3", &third, "prod", "2026-03-01T00:00:00Z");
    let known = [(&first, &earlier), (&third, &later)];
    let image = |diff: &EnvironmentDiff| diff.images[0].to_string();

    // A new release: against the newest.
    let release = release_of("web-4", &second, vec![deploy("prod", "web:2")]);
    let diff = compare(&second, &release, EnvironmentState::Running, &known);
    assert_eq!(image(&diff), "backend: web:3 → web:2");

    // An old one: against what was before it.
    let mut old = finished("web-2", &second, "prod", "2026-02-01T00:00:00Z");
    let task = &mut old.status.as_mut().unwrap().tasks[0];
    task.old_images = [("backend".to_owned(), "web:1".to_owned())].into();
    let diff = compare(&second, &old, EnvironmentState::Running, &known);
    assert_eq!(image(&diff), "backend: web:1 → web:2");

    // The first release of all.
    let diff = compare(&second, &release, EnvironmentState::New, &[]);
    assert_eq!(diff.against, OldSide::Nothing);
    assert_eq!(image(&diff), "backend: web:2");
    assert_eq!(diff.objects[0].fate, ObjectFate::Added);

    // What runs was deployed by nobody that is known; its images are.
    let diff = compare(&second, &release, EnvironmentState::Running, &[]);
    assert_eq!(diff.against, OldSide::Unknown);
    assert_eq!(image(&diff), "backend: web:running → web:2");
    assert!(
        diff.against
            .to_string()
            .contains("not from a known release")
    );
}

#[test]
fn gray_is_compared_with_what_its_baseline_would_be_there() {
    let old = side(&[WEB], "web:1", json!({"replicas": 1}));
    let new = side(&[WEB], "web:2", json!({"replicas": 1}));
    let before = finished("web-1", &old, "prod", "2026-01-01T00:00:00Z");
    let release = release_of("web-2", &new, vec![deploy("gray", "web:2")]);
    let diff = compare(
        &new,
        &release,
        EnvironmentState::Cleaned,
        &[(&old, &before)],
    );
    assert_eq!(
        diff.against.to_string(),
        "against release web-1, which its baseline prod runs"
    );
    assert_eq!(diff.line_counts(), (1, 1));
    assert_eq!(
        diff.summary(),
        "backend: web:1 → web:2, 1 object (+1 -1 lines)"
    );
}

#[test]
fn no_secret_is_shown_and_a_changed_one_is_told() {
    let old =
        json!({"replicas": 1, "password": "hunter2old", "user": "ann", "token": "b2xkdG9rZW4="});
    let new =
        json!({"replicas": 1, "password": "hunter2new", "user": "ann", "token": "bmV3dG9rZW4="});
    let (old, new) = (
        side(&[WEB, LOGIN], "web:1", old),
        side(&[WEB, LOGIN], "web:1", new),
    );
    let before = finished("web-1", &old, "prod", "2026-01-01T00:00:00Z");
    let release = release_of("web-2", &new, vec![deploy("prod", "web:1")]);
    let known = compare(
        &new,
        &release,
        EnvironmentState::Running,
        &[(&old, &before)],
    );
    assert_eq!(
        short(&known),
        [
            "value password: (secret) → (secret, changed)",
            "value token: (secret) → (secret, changed)",
            "Secret demo/login: -  token: (secret) +  token: (secret, changed) \
             -  password: (secret) +  password: (secret, changed)",
        ]
    );
    let first = compare(&new, &release, EnvironmentState::New, &[]);
    for diff in [known, first] {
        let diff = ReleaseDiff {
            app: "web".into(),
            environments: vec![diff],
        };
        let told = format!("{diff:?}{}", diff.to_unified_text());
        for secret in ["hunter2", "ann", "b2xkdG9rZW4", "bmV3dG9rZW4"] {
            assert!(!told.contains(secret), "{secret} is in {told}");
        }
    }
}

/// A template writes the secret into another kind of object, too, as it is, as a part of a text, and
/// encoded.
#[test]
fn a_secret_is_hidden_wherever_it_is_written() {
    const CONFIG: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {url: \"db://ann:{{ .Values.password }}@db\", user: {{ .Values.user }}, plain: {{ .Values.password }}}
";
    let values = |password: &str| json!({"replicas": 1, "password": password, "user": "ann", "token": "b2xkdG9rZW4="});
    let (old, new) = (
        side(&[WEB, LOGIN, CONFIG], "web:1", values("hunter2old")),
        side(&[WEB, LOGIN, CONFIG], "web:1", values("hunter2new")),
    );
    let before = finished("web-1", &old, "prod", "2026-01-01T00:00:00Z");
    let release = release_of("web-2", &new, vec![deploy("prod", "web:1")]);
    let known = compare(
        &new,
        &release,
        EnvironmentState::Running,
        &[(&old, &before)],
    );
    let config = known
        .objects
        .iter()
        .find(|o| o.object.contains("ConfigMap"));
    let config = &config.unwrap().diff;
    assert!(!config.contains("hunter2"), "{config}");
    for line in [
        "-  url: db://ann:(secret)@db",
        "+  url: db://ann:(secret, changed)@db",
        "+  plain: (secret, changed)",
    ] {
        assert!(config.contains(line), "{line} is not in {config}");
    }
    let first = compare(&new, &release, EnvironmentState::New, &[]);
    let told = format!("{first:?}");
    assert!(!told.contains("hunter2"), "{told}");
    assert!(
        told.contains("user: ann"),
        "too short to be looked for: {told}"
    );
}

/// Of an image that is not built yet the tag is not known.
#[test]
fn a_tag_that_the_build_sets_is_told_as_such() {
    let old = side(&[WEB], "web:1", json!({"replicas": 1}));
    let new = side(&[WEB], "web:${DATETIME}", json!({"replicas": 1}));
    let before = finished("web-1", &old, "prod", "2026-01-01T00:00:00Z");
    let release = release_of("web-2", &new, vec![deploy("prod", "web:${DATETIME}")]);
    let known = compare(
        &new,
        &release,
        EnvironmentState::Running,
        &[(&old, &before)],
    );
    assert_eq!(
        known.summary().lines().next(),
        Some("backend: web:1 → web:(tag set when built), 1 object (+1 -1 lines)")
    );
    assert!(
        known.objects[0]
            .diff
            .contains("+  image: web:(tag set when built)")
    );
    assert_eq!(
        describe_tag("web:v2-${DATETIME}"),
        "web:v2-(time of the build)"
    );
}

#[test]
fn the_text_is_a_unified_diff_with_the_rest_as_comments() {
    let old = side(&[WEB, CACHE], "web:1", json!({"replicas": 1}));
    let new = side(&[WEB], "web:2", json!({"replicas": 1}));
    let before = finished("web-1", &old, "prod", "2026-01-01T00:00:00Z");
    let release = release_of("web-2", &new, vec![deploy("prod", "web:2")]);
    let diff = ReleaseDiff {
        app: "web".into(),
        environments: vec![compare(
            &new,
            &release,
            EnvironmentState::Running,
            &[(&old, &before)],
        )],
    };
    let text = diff.to_unified_text();
    let starts = |start: &str| text.lines().filter(|l| l.starts_with(start)).count();
    assert_eq!(
        text.lines().take(4).collect::<Vec<_>>(),
        [
            "# environment prod: against release web-1",
            "# image backend: web:1 → web:2",
            "--- Deployment demo/web in prod",
            "+++ Deployment demo/web in prod",
        ]
    );
    assert!(text.contains("--- Service demo/cache in prod\n+++ /dev/null\n@@"));
    assert_eq!((starts("--- "), starts("+++ "), starts("@@")), (2, 2, 2));
    let kinds: Vec<_> = diff.report_lines().iter().map(|l| l.kind).collect();
    assert_eq!(kinds[0], ReleaseDiffLineKind::Environment);
    let removed = kinds.iter().filter(|k| **k == ReleaseDiffLineKind::Minus);
    assert_eq!(removed.count(), diff.environments[0].line_counts().1);
}
