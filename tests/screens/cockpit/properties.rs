//! Whatever is pressed, pasted, resized, answered, and however the world turns meanwhile: nothing panics, what is
//! selected is there, nothing is written without its question answered, nothing at all when read-only, and nothing
//! hostile reaches the terminal.

use std::sync::{Arc, LazyLock};

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEvent, MouseEventKind,
};
use graylane::{
    domain::{diff, intent::Intent, text::Clean, world::World},
    ui::{
        Answer, Effect, Fault, IntentOutcome, Model, Msg, Options, Ticket, fixture,
        glyph::ASCII,
        keymap::{Action, Binding, Danger},
        model::Overlay,
        pane::Pane,
        question::{Focus, Question},
        theme::Depth,
        update, view,
    },
};
use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any},
    prop_assert, prop_assert_eq, prop_oneof, proptest,
    sample::select,
    test_runner::TestCaseError,
};
use ratatui::{buffer::Buffer, layout::Rect};

use super::hostile;
use crate::worlds;

type Checked = Result<(), TestCaseError>;

static WORLDS: LazyLock<Vec<Arc<World>>> = LazyLock::new(|| {
    let all = [
        fixture::world(),
        worlds::empty(),
        hostile::world(),
        fixture::large_world(12),
        worlds::approval(),
        worlds::proceed(),
        worlds::failed(),
        worlds::held(),
        worlds::succeeded(),
        worlds::locked(),
        worlds::stale(),
        worlds::straight_to_production(),
        fixture::with_hops(fixture::world(), fixture::leaking_hops()),
        fixture::with_hops(fixture::world(), fixture::failing_hops()),
        worlds::sampled(),
    ];
    all.into_iter().map(Arc::new).collect()
});

/// One thing that happens.
#[derive(Clone, Debug)]
enum Op {
    Key(KeyCode, KeyModifiers, KeyEventKind),
    /// Letters one after another.
    Type(String),
    Paste(String),
    Resize(u16, u16),
    Mouse(u16, u16),
    Focus(bool),
    World(usize),
    Tick(i64),
    Settled(usize, bool),
    Answer(usize, u8),
}

fn keys() -> impl Strategy<Value = (KeyCode, KeyModifiers)> {
    let plain = |c: char| {
        let shift = if c.is_uppercase() {
            KeyModifiers::SHIFT
        } else {
            KeyModifiers::NONE
        };
        (KeyCode::Char(c), shift)
    };
    let named = [
        KeyCode::Enter,
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::F(5),
    ];
    prop_oneof![
        // Every letter that means something somewhere, and those that decide more often.
        6 => select("ynaxdcsurSA][LEbTetDwvpP/:?qz12345YNy!RjkgGFh l".chars().collect::<Vec<_>>()).prop_map(plain),
        2 => Just((KeyCode::Char('y'), KeyModifiers::CONTROL)),
        5 => select(named.to_vec()).prop_map(|code| (code, KeyModifiers::NONE)),
        1 => select("lzcrduaekwbf".chars().collect::<Vec<_>>()).prop_map(|c| (KeyCode::Char(c), KeyModifiers::CONTROL)),
        1 => (any::<char>(), any::<u8>()).prop_map(|(c, m)| (KeyCode::Char(c), KeyModifiers::from_bits_truncate(m))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![
        12 => Just(KeyEventKind::Press),
        1 => Just(KeyEventKind::Repeat),
        1 => Just(KeyEventKind::Release),
    ];
    let size = prop_oneof![
        12 => (60u16..100, 20u16..30),
        3 => (0u16..60, 0u16..40),
        2 => (0u16..4, 0u16..4),
        1 => (0u16..=300, 0u16..=100),
    ];
    // Names that questions ask for, and other words.
    let words = select(vec![
        "prod",
        "gray",
        "beta",
        "test",
        "lane-1",
        "header x in a,b",
        "10",
        "!",
        "",
        "production",
    ]);
    let evil = select(hostile::EVIL.to_vec());
    prop_oneof![
        24 => (keys(), kind).prop_map(|((code, modifiers), kind)| Op::Key(code, modifiers, kind)),
        4 => words.prop_map(|w| Op::Type(w.into())),
        2 => evil.prop_map(|t| Op::Paste(t.into())),
        1 => ".{0,40}".prop_map(Op::Paste),
        3 => size.prop_map(|(w, h)| Op::Resize(w, h)),
        1 => (0u16..300, 0u16..100).prop_map(|(x, y)| Op::Mouse(x, y)),
        1 => any::<bool>().prop_map(Op::Focus),
        5 => (0..WORLDS.len()).prop_map(Op::World),
        2 => (-100i64..100_000).prop_map(Op::Tick),
        2 => (0usize..4, any::<bool>()).prop_map(|(n, ok)| Op::Settled(n, ok)),
        2 => (0usize..4, 0u8..5).prop_map(|(n, kind)| Op::Answer(n, kind)),
    ]
}

fn answer(kind: u8) -> Answer {
    match kind {
        0 => Answer::End,
        1 => Answer::Failed(Fault {
            detail: hostile::EVIL.map(Clean::from).into(),
            ..Fault::new(hostile::EVIL[2])
        }),
        2 => Answer::Lines(
            (0..300)
                .map(|n| Clean::from(format!("line {n} of many")))
                .collect(),
        ),
        3 => Answer::Lines(hostile::EVIL.map(|e| Clean::from(e.repeat(30))).into()),
        _ => {
            let answer = |evil: &str| diff::Answer {
                status: 200,
                body: evil.repeat(30).into(),
                ..diff::Answer::default()
            };
            let answers = diff::Sides {
                base: answer(hostile::EVIL[0]),
                gray: answer(&hostile::EVIL.concat()),
            };
            Answer::Compared(Box::new(diff::AnswerPair {
                answers,
                ..diff::AnswerPair::default()
            }))
        }
    }
}

fn messages(op: &Op, tickets: &[Ticket]) -> Vec<Msg> {
    let ticket = |n: &usize| tickets.iter().rev().nth(*n).copied().unwrap_or(Ticket(99));
    let key = |code, modifiers, kind| {
        Msg::Input(Event::Key(KeyEvent::new_with_kind(code, modifiers, kind)))
    };
    let one = match op {
        Op::Key(code, modifiers, kind) => key(*code, *modifiers, *kind),
        Op::Type(text) => {
            let typed = text
                .chars()
                .map(|c| key(KeyCode::Char(c), KeyModifiers::NONE, KeyEventKind::Press));
            return typed.collect();
        }
        Op::Paste(text) => Msg::Input(Event::Paste(text.clone())),
        Op::Resize(w, h) => Msg::Input(Event::Resize(*w, *h)),
        Op::Mouse(column, row) => {
            let kind = MouseEventKind::Down(crossterm::event::MouseButton::Left);
            let modifiers = KeyModifiers::NONE;
            Msg::Input(Event::Mouse(MouseEvent {
                kind,
                column: *column,
                row: *row,
                modifiers,
            }))
        }
        Op::Focus(true) => Msg::Input(Event::FocusGained),
        Op::Focus(false) => Msg::Resumed,
        Op::World(n) => Msg::World(WORLDS[*n].clone()),
        Op::Tick(seconds) => {
            let now = fixture::now()
                .checked_add(jiff::SignedDuration::from_secs(*seconds))
                .expect("a time");
            Msg::Tick(now)
        }
        Op::Settled(n, true) => {
            let text = Clean::from(hostile::EVIL[*n]);
            let releases = WORLDS[0].releases.keys().cloned().collect();
            Msg::Settled(
                ticket(n),
                Ok(IntentOutcome {
                    text,
                    releases,
                    ..IntentOutcome::default()
                }),
            )
        }
        Op::Settled(n, false) => Msg::Settled(ticket(n), Err(Fault::new(hostile::EVIL[*n]))),
        Op::Answer(n, kind) => Msg::Answer(ticket(n), answer(*kind)),
    };
    vec![one]
}

/// What may be sent: exactly what the question on the screen said, by a fresh press of the key for it.
fn asked(
    before: Option<&Question>,
    action: Option<Action>,
    fresh: bool,
    intent: &Intent,
) -> Checked {
    let Some(question) = before else {
        return Err(TestCaseError::fail(format!("{intent:?} was never asked")));
    };
    prop_assert!(
        question.can_confirm(),
        "{intent:?} was sent though its question could not be answered"
    );
    prop_assert!(fresh, "{intent:?} was sent by a held key or by none");
    match action {
        Some(Action::Yes) => {}
        Some(Action::Press) => prop_assert!(
            question.focus != Focus::No,
            "the button that says no did {intent:?}"
        ),
        other => return Err(TestCaseError::fail(format!("{other:?} did {intent:?}"))),
    }
    let planned = question.clone().into_intents();
    prop_assert!(planned.iter().any(|planned| planned.intent == *intent));
    Ok(())
}

fn selected(model: &Model) -> Checked {
    let world = &model.world;
    if let Some(app) = &model.app {
        prop_assert!(
            world.apps.contains_key(app),
            "app {app} is selected and gone"
        );
    } else {
        prop_assert!(
            world.apps.is_empty() || !model.pane_filter(Pane::Apps).is_empty(),
            "no app is selected"
        );
    }
    prop_assert!(
        model
            .marked
            .iter()
            .all(|key| world.apps.contains_key(&key.name))
    );
    for pane in Pane::ALL {
        if let (rows, Some(at)) = model.row_position(pane) {
            prop_assert!(at < rows, "{pane:?}: {at} of {rows}");
        }
    }
    if let Some((name, release)) = model.selected_release() {
        prop_assert!(world.releases.contains_key(name));
        prop_assert_eq!(Some(&release.spec.app), model.app.as_ref());
    }
    if let (Some(pod), true) = (model.selected_pod(), model.drilled) {
        prop_assert_eq!(
            pod.app.as_ref(),
            model.app.as_ref(),
            "a pod of another app is selected"
        );
        let environment = model.selected_environment().map(|e| e.name.clone());
        prop_assert_eq!(
            pod.environment.as_ref(),
            environment.as_ref(),
            "a pod of another environment"
        );
    }
    Ok(())
}

/// Nothing on the screen but what was meant: no control, no turned text, in ASCII mode only ASCII, without colour none.
fn drawn(model: &Model) -> Checked {
    let area = Rect::new(0, 0, model.size.0, model.size.1);
    let mut buffer = Buffer::empty(area);
    if let Some(cursor) = view(model, area, &mut buffer) {
        prop_assert!(
            area.contains(cursor.into()),
            "the cursor at {cursor:?} of {area:?}"
        );
    }
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}')
    };
    let colourless = model.options.theme.name == "mono";
    for cell in buffer.content() {
        let symbol = cell.symbol();
        if let ([b' '..=b'~'], false) = (symbol.as_bytes(), colourless) {
            continue;
        }
        prop_assert!(!symbol.chars().any(hidden), "{symbol:?} is on the screen");
        prop_assert!(
            symbol.is_ascii() || !model.options.glyphs.ascii,
            "{symbol:?} in ASCII mode"
        );
        let plain =
            (cell.fg, cell.bg) == (ratatui::style::Color::Reset, ratatui::style::Color::Reset);
        prop_assert!(plain || !colourless, "a colour without colour: {cell:?}");
    }
    Ok(())
}

fn options(look: u8) -> Options {
    static PLAIN: LazyLock<Options> = LazyLock::new(fixture::options);
    static MONO: LazyLock<graylane::ui::theme::Theme> = LazyLock::new(|| {
        graylane::ui::theme::Theme::built_in("default", Depth::Mono).expect("built in")
    });
    let mut options = PLAIN.clone();
    if look & 1 == 1 {
        options.glyphs = ASCII;
    }
    if look & 2 == 2 {
        options.theme = MONO.clone();
    }
    options.read_only = look & 0b1100 == 0b1100;
    options
}

fn run(ops: &[Op], start: usize, look: u8) -> Checked {
    let mut model = Model::new(options(look), fixture::now());
    let mut tickets = vec![];
    update(&mut model, Msg::World(WORLDS[start].clone()));
    for op in ops {
        for msg in messages(op, &tickets) {
            let before = match model.overlays.last() {
                Some(Overlay::Confirm(question)) => Some((**question).clone()),
                _ => None,
            };
            let read_only = model.read_only;
            let action = match &msg {
                Msg::Input(Event::Key(key)) => model
                    .options
                    .keymap
                    .find_action(&model.active_contexts(), (*key).into()),
                _ => None,
            };
            let fresh =
                matches!(&msg, Msg::Input(Event::Key(key)) if key.kind == KeyEventKind::Press);
            let depth = model.overlays.len();
            let effects = update(&mut model, msg);
            for effect in &effects {
                if let Effect::Perform(_, _, intent) = effect {
                    prop_assert!(!read_only, "{intent:?} was sent when read-only");
                    asked(before.as_ref(), action, fresh, intent)?;
                }
                if let Effect::Perform(ticket, ..)
                | Effect::Probe(ticket, ..)
                | Effect::Query(ticket, _) = effect
                {
                    tickets.push(*ticket);
                }
            }
            let opened = model
                .overlays
                .last()
                .filter(|_| model.overlays.len() > depth);
            if let (Some(Overlay::Confirm(question)), true) = (opened, read_only) {
                return Err(TestCaseError::fail(format!(
                    "{} was asked when read-only",
                    question.title
                )));
            }
            selected(&model)?;
        }
    }
    drawn(&model)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1200, max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_happens_breaks_a_promise(ops in vec(op(), 1..20), start in 0..WORLDS.len(), look in 0u8..16) {
        run(&ops, start, look)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every screen that there is, at every size.
    #[test]
    fn every_screen_is_drawn_at_every_size(scene in 0..crate::scenes::NAMES.len(), w in 0u16..=300, h in 0u16..=100, look in 0u8..4) {
        let (_, _, mut model) = crate::scenes::scene(crate::scenes::NAMES[scene]);
        let looks = options(look);
        (model.options.glyphs, model.options.theme) = (looks.glyphs, looks.theme);
        update(&mut model, Msg::Input(Event::Resize(w, h)));
        drawn(&model)?;
    }
}

/// Each dangerous key that is in force, in every world and pane, with a model on which it has not been pressed.
pub(super) fn each_dangerous_key(mut visit: impl FnMut(Model, &Binding)) {
    for world in WORLDS.iter() {
        for pane in Pane::ALL {
            let mut model = fixture::model_of((**world).clone());
            model.pane = pane;
            for binding in model.options.keymap.bindings() {
                if binding.action.danger() == Danger::Dangerous
                    && model.active_contexts().contains(&binding.context)
                {
                    visit(model.clone(), binding);
                }
            }
        }
    }
}

/// In every world each dangerous key opens its question or refuses in words, and a yes sends at most once.
#[test]
fn a_dangerous_key_asks_and_an_answer_is_sent_once() {
    let mut asked = std::collections::BTreeSet::new();
    each_dangerous_key(|mut model, binding| {
        let key = |model: &mut Model, key: KeyEvent| update(model, Msg::Input(Event::Key(key)));
        let said = model.notices.len();
        let effects = key(&mut model, binding.keys[0].into());
        assert!(
            effects.is_empty(),
            "{:?} acts on one key: {effects:?}",
            binding.action
        );
        let Some(Overlay::Confirm(question)) = model.overlays.last() else {
            assert!(
                model.notices.len() > said,
                "{:?} neither asks nor says why not",
                binding.action
            );
            return;
        };
        asked.insert(binding.action.word());
        let name = question.typed.as_ref().map(|(name, _)| name.clone());
        let y = KeyEvent::new(KeyCode::Char('y'), KeyModifiers::CONTROL);
        let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        let mut sent = vec![];
        if let Some(name) = name {
            sent.extend(key(&mut model, enter));
            assert!(sent.is_empty(), "{:?} without its name", binding.action);
            while !matches!(model.overlays.last(), Some(Overlay::Confirm(q)) if q.focus == Focus::Typed)
            {
                key(&mut model, KeyEvent::new(KeyCode::Tab, KeyModifiers::NONE));
            }
            update(&mut model, Msg::Input(Event::Paste(name)));
            sent.extend(key(&mut model, enter));
        } else {
            sent.extend(key(&mut model, enter));
            assert!(
                sent.is_empty(),
                "the default button of {:?} does it",
                binding.action
            );
            key(&mut model, binding.keys[0].into());
            sent.extend(key(&mut model, y));
        }
        sent.extend(
            key(&mut model, enter)
                .into_iter()
                .filter(|e| matches!(e, Effect::Perform(..))),
        );
        assert_eq!(sent.len(), 1, "{:?}: {sent:?}", binding.action);
    });
    let dangerous: Vec<&str> = Action::ALL
        .iter()
        .filter(|a| a.danger() == Danger::Dangerous)
        .map(|a| a.word())
        .collect();
    assert_eq!(
        asked.len(),
        dangerous.len(),
        "asked {asked:?} of {dangerous:?}"
    );
}
