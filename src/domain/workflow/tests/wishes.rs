//! Every pair of intents, the second right after the first: its answer must not depend on whether
//! the engine has reconciled in between, except for what only the engine can open, or has ended.

use super::{
    super::*,
    cluster::{Cluster, production},
};
use crate::{
    api::{Decision, ReleasePhase, TaskPhase},
    domain::{
        intent::ReleaseIntent,
        release_intents::{self, Verb, expected_status, resolve_verb},
    },
};

const VERBS: [(&str, Verb); 8] = [
    ("pause", Verb::Pause),
    ("resume", Verb::Resume),
    ("proceed", Verb::Proceed(None)),
    ("retry", Verb::Retry(false)),
    ("skip", Verb::Skip),
    ("abort", Verb::Abort),
    ("approve", Verb::Approve),
    ("refuse", Verb::Refuse),
];

/// What an intent writes.
enum Answer {
    /// Task and decision of an Approval.
    Decision(String, Decision),
    /// The new control section of the Release.
    Control(Box<crate::api::Control>),
}

/// What would be written; `None` when the intent is refused.
fn answer(c: &Cluster, verb: Verb) -> Option<Answer> {
    let wish = resolve_verb(&c.release, verb, None).ok()?;
    let wish = match wish {
        ReleaseIntent::Decide(said) => {
            return release_intents::may_decide(&c.release, &said.task, said.attempt)
                .ok()
                .map(|()| Answer::Decision(said.task, said.decision));
        }
        ReleaseIntent::Control(wish) => wish,
    };
    let mut control = c.release.spec.control.clone();
    release_intents::apply_to_control(&c.release, &wish, &mut control)
        .ok()
        .map(|_| Answer::Control(Box::new(control)))
}

/// Carries out an intent as the command line and the cockpit do; true when it was written.
fn say(c: &mut Cluster, verb: Verb, who: &str) -> bool {
    match answer(c, verb) {
        None => return false,
        Some(Answer::Decision(task, decision)) => c.approve(&task, who, decision),
        Some(Answer::Control(control)) => c.release.spec.control = *control,
    }
    true
}

fn at_gate() -> Cluster {
    let mut c = Cluster::new(production());
    c.settle();
    c
}

fn at_go() -> Cluster {
    let mut c = at_gate();
    c.approve("gate", "me", Decision::Pass);
    c.settle();
    c
}

fn at_batch() -> Cluster {
    let mut c = at_go();
    c.control().allow.insert("go".into(), 1);
    c.settle();
    c
}

fn refused() -> Cluster {
    let mut c = at_gate();
    c.approve("gate", "me", Decision::Refuse);
    c.settle();
    c
}

fn broken() -> Cluster {
    let mut c = at_gate();
    c.approve("gate", "me", Decision::Pass);
    c.trouble = Some(StepFailure {
        message: "no".into(),
        permanent: true,
    });
    c.settle();
    c.trouble = None;
    c
}

/// `y`, `n`: accepted or not, both now and after a pass. `l`: not before the engine has opened, or
/// failed, something. `o`: only now, because after a pass it has gone on or is over. `-`: the first
/// intent makes no sense there.
#[test]
fn a_wish_after_a_wish_is_judged_as_if_the_engine_had_followed() {
    type State = (&'static str, fn() -> Cluster, [&'static str; 8]);
    let none = "--------";
    #[rustfmt::skip]
    let states: [State; 5] = [
        //                          pause       resume      proceed     retry       skip        abort       approve     refuse
        ("an approval waits", at_gate, ["yynnnynn", "yynnnyyy", none,       none,       none,       "nnnnnonn", "yylnlyoo", "yynlnyoo"]),
        ("a proceed waits",   at_go,   ["yynnyynn", "yyynyynn", "yylnlynn", none,       "yylnlynn", "nnnnnonn", none,       none]),
        ("a batch waits",     at_batch, ["yynnyynn", "yyynyynn", "oonnnonn", none,      "yyynyynn", "nnnnnonn", none,       none]),
        ("it was refused",    refused, ["yynynynn", "yynynynn", none,       "yynnnyll", none,       "nnnnnonn", none,       none]),
        ("a deploy failed",   broken,  ["yynyyynn", "yynyyynn", none,       "yylnlynn", "yylnlynn", "nnnnnonn", none,       none]),
    ];
    let mut wrong = vec![];
    for (state, make, table) in states {
        for ((first, a), want) in VERBS.into_iter().zip(table) {
            let mut c = make();
            let got: String = if say(&mut c, a, "ann") {
                let now = VERBS.map(|(_, second)| answer(&c, second).is_some());
                let followed = release_intents::is_followed(&c.release, &c.approvals);
                c.settle();
                assert!(
                    release_intents::is_followed(&c.release, &c.approvals),
                    "{state}, {first}: never followed"
                );
                let later = VERBS.map(|(_, second)| answer(&c, second).is_some());
                let sign = |(now, later): (&bool, &bool)| match (now, later) {
                    (true, true) => 'y',
                    (false, false) => 'n',
                    (false, true) => 'l',
                    (true, false) => 'o',
                };
                let got: String = now.iter().zip(&later).map(sign).collect();
                // A person who sends the next intent at once is told to wait, not that it makes no
                // sense.
                assert!(
                    !(got.contains('l') && followed),
                    "{state}, {first}: {got}, as if nothing were to come"
                );
                got
            } else {
                none.to_owned()
            };
            if got != want {
                wrong.push(format!("{state}, {first}: {got}, not {want}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The state shown right after an intent is the state that the engine makes of it.
#[test]
fn as_wished_is_what_the_engine_makes_of_it() {
    let makes: [fn() -> Cluster; 5] = [at_gate, at_go, at_batch, refused, broken];
    for make in makes {
        for held in [false, true] {
            let mut c = make();
            if held {
                say(&mut c, Verb::Pause, "ann");
                let told = expected_status(&c.release);
                c.settle();
                assert_eq!(
                    (told.phase, phases(&told)),
                    (c.status().phase, phases(&c.status())),
                    "paused"
                );
            }
            say(&mut c, Verb::Resume, "bob");
            let told = expected_status(&c.release);
            c.settle();
            assert_eq!(
                (told.phase, phases(&told)),
                (c.status().phase, phases(&c.status())),
                "resumed"
            );
        }
    }
}

fn phases(status: &ReleaseStatus) -> Vec<(String, TaskPhase)> {
    status
        .tasks
        .iter()
        .map(|t| (t.name.clone(), t.phase))
        .collect()
}

/// `graylane approve X && graylane proceed X`: the second one waits until the engine has counted
/// the first.
#[test]
fn a_decision_is_followed_when_it_is_counted_and_not_before() {
    let tasks = serde_json::json!([
        {"name": "gate", "approval": {"requesterMayApprove": true, "mode": "count", "count": 2}},
        {"name": "go", "proceed": {}},
    ]);
    let mut c = Cluster::new(tasks);
    c.settle();
    for (by, phase) in [("ann", TaskPhase::Pending), ("bob", TaskPhase::Waiting)] {
        assert!(release_intents::is_followed(&c.release, &c.approvals));
        assert!(say(&mut c, Verb::Approve, by));
        assert!(
            !release_intents::is_followed(&c.release, &c.approvals),
            "{by}"
        );
        assert!(!say(&mut c, Verb::Proceed(None), by), "nothing is open yet");
        c.settle();
        assert_eq!(c.task("go").phase, phase, "{by}");
    }
    assert!(
        release_intents::is_followed(&c.release, &c.approvals)
            && say(&mut c, Verb::Proceed(None), "ann")
    );
    // A decision on another release of that name, or on another attempt, is not waited for.
    let mut c = at_gate();
    c.approve("gate", "me", Decision::Pass);
    c.approvals[0].spec.release_uid = "another".into();
    assert!(release_intents::is_followed(&c.release, &c.approvals));
    c.approvals[0].spec.release_uid = "uid-a-7".into();
    c.approvals[0].spec.attempt = 2;
    assert!(release_intents::is_followed(&c.release, &c.approvals));
}

#[test]
fn resumed_and_let_through_at_once_it_goes_on() {
    let mut c = at_batch();
    say(&mut c, Verb::Pause, "ann");
    c.settle();
    assert_eq!(c.task("deploy-prod").phase, TaskPhase::Paused);
    assert!(!say(&mut c, Verb::Proceed(None), "ann"), "held is held");
    assert!(say(&mut c, Verb::Resume, "ann") && say(&mut c, Verb::Proceed(None), "ann"));
    c.settle();
    assert_eq!(c.status().phase, ReleasePhase::Succeeded);
}
