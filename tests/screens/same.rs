//! "The same without this screen" is the same: each command that a question shows is split by a shell, read by the
//! program's own command line, and wishes exactly what the question sends; each patch writes the same control.

use std::process::Command;

use graylane::{
    api::{Decision, Release},
    cli,
    domain::{
        intent::{Intent, ReleaseIntent, TaskDecision},
        release_intents::preview_intent,
        world::World,
    },
    ui::{Model, fixture, model::Overlay, question::Question},
};
use serde_json::Value;

use crate::{
    scenes::{NAMES, scene},
    screen::press,
};

/// The words of a command as a shell takes them.
fn words(line: &str) -> Vec<String> {
    let script = format!("set -- {line}\nfor word in \"$@\"; do printf '%s\\0' \"$word\"; done");
    let told = Command::new("sh")
        .args(["-c", &script])
        .output()
        .expect("a shell");
    assert!(
        told.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&told.stderr)
    );
    let text = String::from_utf8(told.stdout).expect("text");
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// A wish without what was seen: that is how the screen guards itself.
fn bare(mut intent: Intent) -> Intent {
    match &mut intent {
        Intent::Release { seen, .. }
        | Intent::SetLane { seen, .. }
        | Intent::EnableLane { seen, .. }
        | Intent::DeleteLane { seen, .. }
        | Intent::CreateApps { seen, .. }
        | Intent::Lock { seen, .. } => *seen = None,
        _ => {}
    }
    intent
}

/// What `kubectl patch` would leave of the release's control, and what the wish leaves.
fn patched(world: &World, name: &str, wish: &ReleaseIntent, words: &[String]) {
    let at = words.iter().position(|w| w == "-p").expect("a patch");
    let patch: Value = serde_json::from_str(&words[at + 1]).expect("JSON");
    let release = &world.releases[name];
    let mut object = serde_json::to_value(&**release).expect("JSON");
    merge(&mut object, &patch);
    let patched: Release = serde_json::from_value(object).expect("a release");
    let ReleaseIntent::Control(wish) = wish else {
        panic!("a decision is no patch: {words:?}");
    };
    let wanted = preview_intent(release, wish).expect("it can be wished");
    assert_eq!(patched.spec.control, wanted.spec.control, "{words:?}");
}

/// A JSON merge patch.
fn merge(target: &mut Value, patch: &Value) {
    match (target.as_object_mut(), patch.as_object()) {
        (Some(fields), Some(patch)) => {
            patch
                .iter()
                .for_each(|(key, value)| merge(fields.entry(key).or_insert(Value::Null), value));
        }
        _ => target.clone_from(patch),
    }
}

/// Each command of a question about several releases wishes one of what is sent, and all of it is wished.
fn check_many(model: &Model, question: &Question) -> usize {
    let sent: Vec<Intent> = question
        .clone()
        .into_intents()
        .into_iter()
        .map(|planned| bare(planned.intent))
        .collect();
    let mut wished = vec![];
    for line in &question.kubectl {
        let line = line.to_shell_line().expect("it can be shown");
        let all = words(&line);
        let (program, rest) = all.split_first().expect("a program");
        if program == "graylane" {
            let said = cli::parse_intent(rest, &model.world, model.world.acting_user())
                .unwrap_or_else(|e| panic!("{line}: {e}"));
            wished.push(bare(said));
            continue;
        }
        let named = sent.iter().find_map(|intent| match intent {
            Intent::Release { name, wish, .. } if rest.contains(name) => Some((name, wish)),
            _ => None,
        });
        let (name, wish) = named.unwrap_or_else(|| panic!("{line} is about none of them"));
        patched(&model.world, name, wish, rest);
    }
    assert_eq!(wished, sent);
    wished.len()
}

fn check(model: &Model, question: &Question) -> usize {
    if !question.further.is_empty() {
        return check_many(model, question);
    }
    if let Some(own) = &question.own_command {
        let lines = question.kubectl.iter().filter_map(|l| l.to_shell_line());
        let shown: Vec<_> = lines.map(|line| words(&line)).collect();
        assert_eq!(shown, std::slice::from_ref(&own.argv));
        return 1;
    }
    let mut seen = 0;
    for line in &question.kubectl {
        let line = line.to_shell_line().expect("it can be shown");
        let all = words(&line);
        let (program, rest) = all.split_first().expect("a program");
        let intent = question.intent.as_ref().expect("an intent");
        match (program.as_str(), intent) {
            ("graylane", Intent::CreateApps { .. }) => {}
            ("graylane", _) => {
                let said = cli::parse_intent(rest, &model.world, model.world.acting_user())
                    .unwrap_or_else(|e| panic!("{line}: {e}"));
                let sent = question.clone().into_intents().remove(0).intent;
                assert_eq!(bare(said), bare(sent), "{line}");
                seen += 1;
            }
            ("kubectl", Intent::Release { name, wish, .. }) => {
                patched(&model.world, name, wish, rest);
            }
            ("kubectl", Intent::EnableLane { name, enabled, .. }) => {
                assert!(
                    rest.contains(name)
                        && rest
                            .iter()
                            .any(|w| w.contains(&format!("\"enabled\":{enabled}")))
                );
            }
            ("kubectl", Intent::EditObject { .. }) => {
                let path = question.draft.clone().expect("the edited text");
                assert!(
                    rest.ends_with(&["replace".into(), "-f".into(), path]),
                    "{rest:?}"
                );
            }
            ("kubectl", Intent::DeleteLane { name, .. }) => {
                assert!(rest.ends_with(&["lane".into(), name.clone()]));
            }
            other => panic!("{line}: nobody knows what it does: {other:?}"),
        }
    }
    // One wish is one command: two starts are two releases without a window.
    assert!(seen <= 1, "{:?}", question.kubectl);
    seen
}

#[test]
fn every_command_that_is_shown_wishes_what_the_question_sends() {
    let mut seen = 0;
    for name in NAMES {
        let (_, _, model) = scene(name);
        if let Some(Overlay::Confirm(question)) = model.overlays.last() {
            seen += check(&model, question);
        }
    }
    assert!(seen > 20, "only {seen} commands");
}

/// Seen once: two lines for a window, which made two releases without one.
#[test]
fn one_command_starts_a_window() {
    let mut model = fixture::model();
    press(&mut model, "1 jj n<enter>");
    let Some(Overlay::Confirm(question)) = model.overlays.last() else {
        panic!("{:?}", model.notices)
    };
    let Some(Intent::StartRelease { apps, .. }) = &question.intent else {
        panic!("{:?}", question.intent)
    };
    assert_eq!((apps.len(), question.kubectl.len()), (2, 1));
    assert_eq!(check(&model, question), 1);
}

/// Images of one App need no name before them, those of several do.
#[test]
fn chosen_images_are_in_the_command() {
    for (keys, apps) in [("1n", 1), ("1 jj n", 2)] {
        let mut model = fixture::model();
        press(&mut model, &format!("{keys}<tab>"));
        (0..apps).for_each(|n| {
            press(&mut model, &format!("<ctrl-u>registry/x:v{n}<tab>"));
        });
        press(&mut model, "<enter>");
        let Some(Overlay::Confirm(question)) = model.overlays.last() else {
            panic!("{:?}", model.notices)
        };
        let Some(Intent::StartRelease { images, .. }) = &question.intent else {
            panic!("{:?}", question.intent)
        };
        assert_eq!(images.len(), apps);
        assert_eq!(check(&model, question), 1);
    }
}

/// A decision names what was shown, so that the command approves nothing else either.
#[test]
fn the_command_of_an_approval_names_what_was_shown() {
    let mut model = fixture::model_of(crate::worlds::approval());
    press(&mut model, "3a");
    let Some(Overlay::Confirm(question)) = model.overlays.last() else {
        panic!("{:?}", model.notices)
    };
    let Some(Intent::Release {
        wish: ReleaseIntent::Decide(TaskDecision {
            decision, digest, ..
        }),
        ..
    }) = &question.intent
    else {
        panic!("{:?}", question.intent);
    };
    assert_eq!(*decision, Decision::Pass);
    let line = question.kubectl[0]
        .to_shell_line()
        .expect("it can be shown");
    assert!(
        line.contains(digest.as_deref().expect("a digest")),
        "{line}"
    );
}
