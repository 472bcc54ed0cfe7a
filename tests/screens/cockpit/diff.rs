//! Gray and base compared by a key: what is sent, what comes of it, and when nothing is sent.

use graylane::{
    domain::{diff, lanes::ChainRequests, text::Clean, world::World},
    ui::{
        Answer, Effect, Fault, Model, Msg, Query, Ticket, fixture,
        keymap::Action,
        update::{is_available, update},
    },
};
use std::sync::Arc;

use crate::{
    scenes::{after, compared},
    screen::{self, press},
    worlds,
};

/// The only effect: both requests of a chain.
#[track_caller]
fn asked(effects: &[Effect]) -> (Ticket, Arc<ChainRequests>) {
    match effects {
        [Effect::Query(ticket, Query::Comparison { asked, .. })] => (*ticket, Arc::clone(asked)),
        other => panic!("{other:?}"),
    }
}

fn paths(asked: &ChainRequests) -> [&str; 2] {
    let both = &asked.pair.requests;
    [&both.base.path, &both.gray.path]
}

fn in_world(world: World, keys: &str) -> (Model, Vec<Effect>) {
    let mut model = fixture::model_of(world);
    let effects = press(&mut model, keys);
    (model, effects)
}

/// What is drawn at 120 columns.
fn shown(model: &mut Model) -> String {
    screen::shown(model, 120, 36)
}

fn pair(base: diff::Answer, gray: diff::Answer) -> Box<diff::AnswerPair> {
    let answers = diff::Sides { base, gray };
    Box::new(diff::AnswerPair {
        answers,
        ..diff::AnswerPair::default()
    })
}

const BOTH: [&str; 2] = ["/A/a", "/A/a?group=gray"];

#[test]
fn a_request_a_group_and_an_opened_request_are_asked_of_both() {
    // Grouped, each by itself, inside a group, and opened.
    for keys in ["5", "5j", "5v", "5vj", "5<enter>", "5v<enter>"] {
        let mut model = after(keys);
        let depth = model.overlays.len();
        let (ticket, asked) = asked(&press(&mut model, "d"));
        assert_eq!(paths(&asked), BOTH, "{keys}");
        assert_eq!((&*asked.group, &*asked.pair.lane), ("mse-demo", "gray"));
        assert_eq!(model.overlays.len(), depth + 1, "{keys}");
        let screen = shown(&mut model);
        assert!(
            screen.contains("asking gray and base") && screen.contains("GET /A/a?group=gray"),
            "{screen}"
        );
        // Closing it leaves what was beneath, and nobody waits for the answers any more.
        let effects = press(&mut model, "<esc>");
        assert_eq!(effects, [Effect::CancelQuery(ticket)], "{keys}");
        assert_eq!(model.overlays.len(), depth, "{keys}");
    }
}

#[test]
fn the_palette_compares_the_selected_request_from_any_pane() {
    let mut model = after("1:");
    let (_, asked) = asked(&press(&mut model, "diff  send<enter>"));
    assert_eq!(paths(&asked), BOTH);
}

#[test]
fn the_comparison_is_shown_and_scrolled() {
    let mut model = after("5v");
    let (ticket, _) = asked(&press(&mut model, "d"));
    let answer = |number: u8| diff::Answer {
        status: 200,
        body: format!("{{\"items\": {:?}}}", [number; 100]).into(),
        ..diff::Answer::default()
    };
    let pair = pair(answer(1), answer(2));
    update(&mut model, Msg::Answer(ticket, Answer::Compared(pair)));
    update(&mut model, Msg::Answer(ticket, Answer::End));
    let screen = shown(&mut model);
    assert!(screen.contains("$.items[0]: 1 -> 2"), "{screen}");
    assert!(!screen.contains("asking") && !screen.contains("$.items[99]"));
    press(&mut model, "G");
    let screen = shown(&mut model);
    assert!(
        screen.contains("$.items[99]: 1 -> 2")
            && screen.contains("graylane probe /A/a --diff --group mse-demo --lane gray"),
        "{screen}"
    );
}

#[test]
fn what_may_differ_is_left_out_of_this_comparison_and_of_later_ones() {
    let mut model = compared(true);
    assert!(is_available(&model, Action::LeaveOut));
    let lines = |model: &mut Model| {
        let screen = shown(model);
        ["$.price", "$.items[1]", "$.kept", "cache-control: "].map(|place| {
            let told = format!("  {place}");
            screen
                .lines()
                .any(|line| line.contains(&told) && !line.contains("Left out"))
        })
    };
    assert_eq!(lines(&mut model), [true; 4], "{}", shown(&mut model));
    press(&mut model, "i$.price; Cache-Control");
    assert!(shown(&mut model).contains("differences are left"));
    assert_eq!(press(&mut model, "<enter>"), [], "nothing is sent again");
    assert_eq!(
        lines(&mut model),
        [false, true, true, false],
        "{}",
        shown(&mut model)
    );
    let screen = shown(&mut model);
    assert!(
        screen.contains("--ignore '$.price' --ignore Cache-Control"),
        "{screen}"
    );
    // A list that cannot be read is told, and changes nothing.
    press(&mut model, "i; nonsense<enter>");
    assert!(
        shown(&mut model).contains("neither a JSON path"),
        "{}",
        shown(&mut model)
    );
    press(&mut model, "<esc>");
    assert_eq!(lines(&mut model), [false, true, true, false]);
    // Everything is shown again when the list is empty.
    press(&mut model, "i<ctrl-u><enter>");
    assert_eq!(lines(&mut model), [true; 4]);
    // The next comparison leaves out the same.
    press(&mut model, "i$<enter><esc>");
    let (ticket, _) = asked(&press(&mut model, "d"));
    let body = |text: &str| diff::Answer {
        status: 200,
        body: text.to_owned().into(),
        ..diff::Answer::default()
    };
    let two = pair(body("{\"a\": 1}"), body("{\"a\": 2}"));
    update(&mut model, Msg::Answer(ticket, Answer::Compared(two)));
    assert!(shown(&mut model).contains("The answers are equal."));
}

#[test]
fn why_there_are_no_two_answers_is_told() {
    let mut model = after("5v");
    let (ticket, _) = asked(&press(&mut model, "d"));
    let fault = Fault {
        detail: vec![Clean::from("connection refused (os error 111)")],
        ..Fault::new("gray and base were not compared: gray: no answer")
    };
    update(&mut model, Msg::Answer(ticket, Answer::Failed(fault)));
    update(&mut model, Msg::Answer(ticket, Answer::End));
    let screen = shown(&mut model);
    assert!(
        screen.contains("gray and base were not compared: gray: no answer")
            && screen.contains("os error 111")
            && !screen.contains("asking"),
        "{screen}"
    );
}

/// An answer that comes after its overlay was closed, or one of another kind, harms nothing.
#[test]
fn a_late_or_strange_answer_is_left() {
    let report = || Answer::Compared(pair(diff::Answer::default(), diff::Answer::default()));
    let mut model = after("5v");
    let (ticket, _) = asked(&press(&mut model, "d"));
    press(&mut model, "<esc>");
    update(&mut model, Msg::Answer(ticket, report()));
    assert!(model.overlays.is_empty());
    let mut model = after("4");
    let effects = press(&mut model, "Y");
    let [Effect::Query(ticket, Query::Yaml(_))] = effects[..] else {
        panic!("{effects:?}")
    };
    update(&mut model, Msg::Answer(ticket, report()));
    assert!(!shown(&mut model).contains("The answers are equal."));
}

#[test]
fn where_nothing_can_be_asked_twice_the_reason_is_told_and_nothing_sent() {
    let mut no_lane = fixture::world();
    no_lane.lanes = Arc::default();
    for (world, keys, why) in [
        (worlds::empty(), "5d", "there is no request to compare"),
        (worlds::empty(), "5vd", "there is no request to compare"),
        (
            worlds::posted(),
            "5vd",
            "this request was a POST: only a GET is sent again, others may change something",
        ),
        (no_lane, "5vd", "has no enabled lane"),
    ] {
        let (mut model, effects) = in_world(world, keys);
        assert_eq!(effects, [], "{why}");
        assert!(model.overlays.is_empty(), "{why}");
        assert!(model.notices[0].text.contains(why), "{:?}", model.notices);
        assert!(shown(&mut model).contains(why));
    }
}

#[test]
fn the_key_says_where_it_works() {
    let mut model = after("4d");
    assert!(
        model.notices[0].text.starts_with("d does nothing here: ")
            && model.notices[0].text.contains("diff in Trace"),
        "{:?}",
        model.notices
    );
    // Over a text that shows no request.
    press(&mut model, "Y");
    assert!(!is_available(&model, Action::Diff));
    assert_eq!(press(&mut model, "d"), []);
    assert!(
        model.notices[0].text.contains("a request of Trace, or"),
        "{:?}",
        model.notices
    );
}

/// A request that is read changes nothing, so it is asked as probes are when read-only.
#[test]
fn read_only_asks_as_probes_do() {
    let mut model = after("R5v");
    assert!(model.read_only && is_available(&model, Action::Diff));
    asked(&press(&mut model, "d"));
    let (model, _) = in_world(worlds::viewer(), "5v");
    assert!(is_available(&model, Action::Diff));
}
