//! The mouse: a click reaches what is drawn where it falls, and does no more than a key would there.

use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use graylane::ui::{
    Effect, Model, Msg,
    form::{FieldValue, Form},
    model::{Overlay, SortColumn},
    pane::Pane,
    update,
};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    scenes::{after, scene},
    screen::{draw, press},
};

const SIZES: [(u16, u16); 4] = [(60, 20), (80, 24), (120, 36), (200, 60)];

fn with_mouse(mut model: Model, (width, height): (u16, u16)) -> Model {
    model.options.mouse = true;
    model.size = (width, height);
    model
}

fn point(model: &mut Model, kind: MouseEventKind, x: u16, y: u16) -> Vec<Effect> {
    let event = MouseEvent {
        kind,
        column: x,
        row: y,
        modifiers: KeyModifiers::NONE,
    };
    update(model, Msg::Input(Event::Mouse(event)))
}

fn click(model: &mut Model, x: u16, y: u16) -> Vec<Effect> {
    point(model, MouseEventKind::Down(MouseButton::Left), x, y)
}

fn turn(model: &mut Model, down: bool, (x, y): (u16, u16)) -> Vec<Effect> {
    let kind = if down {
        MouseEventKind::ScrollDown
    } else {
        MouseEventKind::ScrollUp
    };
    point(model, kind, x, y)
}

fn picture(model: &Model) -> Buffer {
    let mut model = model.clone();
    let (width, height) = model.size;
    draw(&mut model, width, height).0
}

/// The text of a part of a line, without the sign of the selection and with single blanks.
fn words(buffer: &Buffer, x: std::ops::Range<u16>, y: u16) -> String {
    let cells: String = x.map(|x| buffer[(x, y)].symbol().to_owned()).collect();
    let cells = cells.replace('▌', " ");
    cells.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a click could change.
fn state(model: &Model) -> String {
    let lists = (&model.app, &model.environment, &model.pod, &model.lane);
    let below = (
        &model.release,
        &model.task,
        &model.trace.chain,
        &model.trace.group,
    );
    let look = (
        model.pane,
        model.drilled,
        &model.trace.inside,
        &model.overlays,
    );
    format!("{lists:?} {below:?} {look:?} {:?}", model.pending)
}

/// Where a text stands on the screen, as columns of a line.
fn find_text(buffer: &Buffer, text: &str) -> Option<(std::ops::Range<u16>, u16)> {
    let wanted: Vec<String> = text.chars().map(String::from).collect();
    let length = u16::try_from(wanted.len()).unwrap();
    let area = buffer.area;
    let is_at = |x: u16, y: u16| {
        (x..)
            .zip(&wanted)
            .all(|(x, c)| buffer[(x, y)].symbol() == c)
    };
    let starts = |y: u16| (0..=area.width.checked_sub(length)?).find(|x| is_at(*x, y));
    (0..area.height).find_map(|y| starts(y).map(|x| (x..x + length, y)))
}

/// The panes as their frames show them.
fn drawn_panes(buffer: &Buffer) -> Vec<(Pane, Rect)> {
    let at = |x: u16, y: u16| buffer[(x, y)].symbol();
    let mut found = vec![];
    for (y, x) in (0..buffer.area.height).flat_map(|y| (0..buffer.area.width).map(move |x| (y, x)))
    {
        if at(x, y) != "╭" {
            continue;
        }
        let right = (x..buffer.area.width).find(|x| at(*x, y) == "╮").unwrap();
        let bottom = (y..buffer.area.height).find(|y| at(x, *y) == "╰").unwrap();
        let number: usize = at(x + 2 + 1, y).parse().unwrap();
        let area = Rect::new(x, y, right - x + 1, bottom - y + 1);
        found.push((Pane::ALL[number - 1], area));
    }
    found
}

/// The lines of a pane that are marked as selected.
fn selected_lines(model: &Model, pane: Pane) -> Vec<String> {
    let buffer = picture(model);
    let panes = drawn_panes(&buffer);
    let (_, area) = panes.iter().find(|(own, _)| *own == pane).unwrap();
    let marked = |y: &u16| buffer[(area.x + 1, *y)].symbol() == "▌";
    (area.y + 1..area.bottom() - 1)
        .filter(marked)
        .map(|y| words(&buffer, area.x + 1..area.right() - 1, y))
        .collect()
}

/// The lines of all rows of the focused pane, found by going through them with the keys.
fn lines_by_key(model: &Model, pane: Pane) -> Vec<String> {
    let mut model = model.clone();
    press(&mut model, "<home>");
    let mut lines = selected_lines(&model, pane);
    for _ in 1..model.row_position(pane).0 {
        press(&mut model, "<down>");
        lines.extend(selected_lines(&model, pane));
    }
    lines
}

/// Clicks on every line of every pane. What is selected then is what the line showed; a line that
/// shows no row selects nothing. Which lines are rows is found out by keys.
fn click_every_line(name: &str, size: (u16, u16)) -> usize {
    let (_, _, model) = scene(name);
    let model = with_mouse(model, size);
    let buffer = picture(&model);
    let mut hits = 0;
    for (pane, area) in drawn_panes(&buffer) {
        let mut focused = model.clone();
        click(&mut focused, area.x + 3, area.y);
        assert_eq!(focused.pane, pane, "{name} {size:?}");
        assert!(focused.overlays.is_empty());
        let rows = lines_by_key(&focused, pane);
        let before = selected_lines(&focused, pane);
        for y in area.y + 1..area.bottom() - 1 {
            let line = words(&buffer, area.x + 1..area.right() - 1, y);
            if line.is_empty() {
                continue;
            }
            let mut clicked = model.clone();
            click(&mut clicked, area.x + 3, y);
            if model.pane == pane && before.contains(&line) {
                let mut entered = model.clone();
                press(&mut entered, "<enter>");
                assert_eq!(state(&clicked), state(&entered), "{name} {size:?} {line}");
                hits += 1;
                continue;
            }
            assert_eq!(clicked.pane, pane, "{name} {size:?} {line}");
            assert!(clicked.overlays.is_empty(), "{name} {size:?} {line}");
            let now = selected_lines(&clicked, pane);
            if rows.contains(&line) {
                assert!(
                    now.contains(&line),
                    "{name} {size:?}: {line:?} selects {now:?}"
                );
                hits += 1;
            } else {
                assert_eq!(now, before, "{name} {size:?}: {line:?}");
            }
        }
    }
    hits
}

#[test]
fn a_click_selects_the_row_that_is_drawn_there() {
    for name in ["cockpit", "pane_pods", "pane_trace_each", "list_sorted"] {
        for size in SIZES {
            let hits = click_every_line(name, size);
            assert!(hits > 0, "{name} {size:?}");
        }
    }
}

/// Every row that a list shows whole is reached, not only some.
#[test]
fn all_rows_on_the_screen_can_be_clicked() {
    let model = with_mouse(after(""), (120, 36));
    for (pane, area) in drawn_panes(&picture(&model)) {
        let mut seen = std::collections::BTreeSet::new();
        for y in area.y + 1..area.bottom() - 1 {
            let mut clicked = model.clone();
            click(&mut clicked, area.right() - 2, y);
            seen.extend(clicked.row_position(pane).1);
        }
        let rows = model.row_position(pane).0;
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            (0..rows).collect::<Vec<_>>(),
            "{pane:?}"
        );
    }
}

/// What lies below an overlay is out of reach, and in a question only its buttons do something.
#[test]
fn only_the_buttons_of_a_question_take_a_click() {
    for name in ["question_lane_off", "question_stale"] {
        for size in [(60, 20), (120, 36)] {
            let (_, _, model) = scene(name);
            let Some(Overlay::Confirm(question)) = model.overlays.last() else {
                panic!("{name} is a question");
            };
            let verb = question.verb.clone();
            let model = with_mouse(model, size);
            let buffer = picture(&model);
            let (no, row) = find_text(&buffer, "No, leave it").unwrap();
            // From where on the words begin with the button's, seen from the right.
            let yes = (no.end..size.0)
                .rfind(|x| words(&buffer, *x..size.0, row).starts_with(&verb))
                .unwrap();
            let yes = yes..yes + u16::try_from(verb.chars().count()).unwrap();
            let can_confirm = question_can_confirm(&model);
            // A click in a text that is typed places the cursor there.
            let typed = ["to confirm  ", "comment  "].map(|text| find_text(&buffer, text));
            let typed = typed.map(|found| found.map(|(_, y)| y));
            for (x, y) in (0..size.1).flat_map(|y| (0..size.0).map(move |x| (x, y))) {
                if y != row && x % 31 != 0 || typed.contains(&Some(y)) {
                    continue;
                }
                let mut clicked = model.clone();
                let effects = click(&mut clicked, x, y);
                let place = format!("{name} {size:?} {x},{y}");
                if y == row && no.contains(&x) {
                    assert_eq!(clicked.overlays.len() + 1, model.overlays.len(), "{place}");
                    assert!(effects.is_empty(), "{place}");
                } else if y == row && yes.contains(&x) {
                    let sent = effects.iter().any(|e| matches!(e, Effect::Perform(..)));
                    assert_eq!(sent, can_confirm, "{place}");
                } else if y != row || x + 2 < no.start || x > yes.end + 1 {
                    assert!(effects.is_empty(), "{place}");
                    assert_eq!(state(&clicked), state(&model), "{place}");
                }
            }
        }
    }
}

fn question_can_confirm(model: &Model) -> bool {
    matches!(model.overlays.last(), Some(Overlay::Confirm(q)) if q.can_confirm())
}

#[test]
fn a_click_on_yes_needs_the_name_where_the_key_needs_it() {
    let (_, _, model) = scene("question_teardown");
    let mut model = with_mouse(model, (120, 36));
    let verb = match model.overlays.last() {
        Some(Overlay::Confirm(question)) => question.verb.clone(),
        _ => panic!("a question"),
    };
    let yes = |model: &Model| {
        let buffer = picture(model);
        let (_, row) = find_text(&buffer, "No, leave it").unwrap();
        let at = (0..buffer.area.width).rfind(|x| words(&buffer, *x..120, row).starts_with(&verb));
        (at.unwrap(), row)
    };
    let (x, y) = yes(&model);
    let before = state(&model);
    assert!(click(&mut model, x, y).is_empty());
    assert_eq!(state(&model), before);
    assert_eq!(model.notices[0].text, "type gray first");
    press(&mut model, "gray");
    let (x, y) = yes(&model);
    let effects = click(&mut model, x, y);
    assert!(matches!(effects[..], [Effect::Perform(..)]), "{effects:?}");
    assert!(model.overlays.is_empty());
}

#[test]
fn overlays_cover_what_is_below_them() {
    for name in [
        "help",
        "filter_typing",
        "form_lane_new",
        "palette",
        "text_logs_search",
    ] {
        let (_, _, model) = scene(name);
        let model = with_mouse(model, (120, 36));
        for y in 0..36 {
            // The first columns are beside the palette and the form.
            let mut clicked = model.clone();
            let mut turned = model.clone();
            assert!(click(&mut clicked, 1, y).is_empty());
            assert_eq!(state(&clicked), state(&model), "{name} {y}");
            if !matches!(model.overlays.last(), Some(Overlay::Text(_))) {
                turn(&mut turned, true, (1, y));
                assert_eq!(state(&turned), state(&model), "{name} {y}");
            }
        }
    }
}

#[test]
fn the_wheel_moves_what_is_under_the_pointer() {
    let mut model = with_mouse(after("4"), (120, 36));
    let panes = drawn_panes(&picture(&model));
    let inside = |pane: Pane| {
        let (_, area) = panes.iter().find(|(own, _)| *own == pane).unwrap();
        (area.x + 4, area.y + 2)
    };
    let first = model.app.clone();
    turn(&mut model, true, inside(Pane::Apps));
    assert_ne!(model.app, first);
    assert_eq!(model.pane, Pane::Lanes);
    turn(&mut model, false, inside(Pane::Apps));
    turn(&mut model, false, inside(Pane::Apps));
    assert_eq!(model.app, first);
    let before = state(&model);
    turn(&mut model, true, (5, 0));
    assert_eq!(state(&model), before, "the header has nothing to move");

    press(&mut model, "?");
    let top = |model: &Model| match model.overlays.last() {
        Some(Overlay::Text(text)) => text.top,
        Some(Overlay::Confirm(question)) => question.top,
        _ => panic!("a text or a question"),
    };
    turn(&mut model, true, (40, 10));
    turn(&mut model, true, (40, 10));
    turn(&mut model, false, (40, 10));
    assert_eq!(top(&model), 3);
}

/// However far the wheel was turned, the way back begins at once.
#[test]
fn a_question_scrolls_to_its_last_line_and_back() {
    let (_, _, model) = scene("question_start_production");
    let mut model = with_mouse(model, (60, 20));
    let shown = |model: &Model| picture(model);
    let begin = shown(&model);
    for _ in 0..100 {
        turn(&mut model, true, (30, 8));
    }
    let end = shown(&model);
    assert_ne!(end, begin);
    turn(&mut model, false, (30, 8));
    assert_ne!(shown(&model), end);
    for _ in 0..100 {
        turn(&mut model, false, (30, 8));
    }
    assert_eq!(shown(&model), begin);
}

#[test]
fn a_click_in_the_palette_selects_and_then_goes_there() {
    let mut model = with_mouse(after(":lane"), (120, 36));
    let at = |model: &Model| match model.overlays.last() {
        Some(Overlay::Palette(palette)) => palette.at,
        _ => panic!("the palette"),
    };
    let (_, input) = find_text(&picture(&model), ": lane").unwrap();
    click(&mut model, 30, input + 3);
    assert_eq!(at(&model), 2);
    let mut entered = model.clone();
    press(&mut entered, "<enter>");
    click(&mut model, 30, input + 3);
    assert_eq!(state(&model), state(&entered));
    assert!(!matches!(model.overlays.last(), Some(Overlay::Palette(_))));
}

#[test]
fn the_name_of_a_hidden_pane_shows_it() {
    let mut model = with_mouse(after(""), (60, 20));
    let (lanes, y) = find_text(&picture(&model), "4 Lanes").unwrap();
    click(&mut model, lanes.start, y);
    assert_eq!(model.pane, Pane::Lanes);
    let (trace, y) = find_text(&picture(&model), "5 Trace").unwrap();
    click(&mut model, trace.end - 1, y);
    assert_eq!(model.pane, Pane::Trace);
}

/// A notice hides a row: a click there only takes the notice away.
#[test]
fn a_click_on_a_notice_selects_nothing() {
    let mut model = with_mouse(after("2"), (120, 36));
    model.add_notice(
        graylane::ui::model::Level::Info,
        "something was done",
        vec![],
    );
    let (place, y) = find_text(&picture(&model), "something was done").unwrap();
    let before = state(&model);
    click(&mut model, place.start, y);
    assert_eq!(state(&model), before);
    assert!(find_text(&picture(&model), "something was done").is_none());
}

#[test]
fn without_the_option_the_mouse_does_nothing() {
    let model = with_mouse(after(""), (120, 36));
    let (_, lanes) = *drawn_panes(&picture(&model))
        .iter()
        .find(|(pane, _)| *pane == Pane::Lanes)
        .unwrap();
    let mut with = model.clone();
    click(&mut with, lanes.x + 4, lanes.y);
    assert_eq!(with.pane, Pane::Lanes);
    let mut without = model.clone();
    without.options.mouse = false;
    click(&mut without, lanes.x + 4, lanes.y);
    turn(&mut without, true, (lanes.x + 4, lanes.y));
    assert_eq!(state(&without), state(&model));
}

/// Column of a form's right side.
fn right_side(buffer: &Buffer, y: u16) -> u16 {
    (0..buffer.area.width)
        .rfind(|x| buffer[(*x, y)].symbol() == "┃")
        .unwrap()
}

fn open_form(model: &Model) -> &Form {
    match model.overlays.last() {
        Some(Overlay::Form(form)) => form,
        _ => panic!("a form"),
    }
}

/// A click on a field's label or beside its text focuses it; each field that is seen is reached.
#[test]
fn a_click_focuses_the_field_that_is_drawn_there() {
    for name in ["form_lane_new", "form_start", "form_probe"] {
        for size in SIZES {
            let (_, _, model) = scene(name);
            let model = with_mouse(model, size);
            let buffer = picture(&model);
            for (i, field) in open_form(&model).fields.iter().enumerate() {
                let Some((place, y)) = find_text(&buffer, &format!("┃ {} ", field.label)) else {
                    continue;
                };
                for x in [place.start + 2, size.0 / 2] {
                    let mut clicked = model.clone();
                    assert!(click(&mut clicked, x, y).is_empty());
                    assert_eq!(open_form(&clicked).at, i, "{name} {size:?} {}", field.label);
                }
            }
        }
    }
}

#[test]
fn a_click_in_a_text_places_the_cursor() {
    for width in [60, 120] {
        let mut model = with_mouse(after("4e"), (width, 36));
        press(&mut model, "<tab><tab><tab>");
        let before = open_form(&model).clone();
        let text = before
            .fields
            .iter()
            .position(|f| f.value().len() > 3)
            .unwrap();
        let value = before.fields[text].value().to_owned();
        let buffer = picture(&model);
        let (label, y) = find_text(&buffer, &format!("┃ {} ", before.fields[text].label)).unwrap();
        let start = (label.end..width)
            .find(|x| buffer[(*x, y)].symbol() == &value[..1])
            .unwrap();
        for (x, at) in [
            (start, 0),
            (start + 2, 2),
            (right_side(&buffer, y) - 3, value.len()),
        ] {
            let mut clicked = model.clone();
            click(&mut clicked, x, y);
            press(&mut clicked, "Z");
            let form = open_form(&clicked);
            let mut wanted = value.clone();
            wanted.insert(at, 'Z');
            assert_eq!(
                (form.at, form.fields[text].value()),
                (text, &*wanted),
                "{width}"
            );
        }
    }
}

#[test]
fn a_click_on_an_option_chooses_it() {
    let model = with_mouse(after("4n"), (120, 36));
    let buffer = picture(&model);
    let (_, y) = find_text(&buffer, "┃ on loss ").unwrap();
    let option = |text: &str| {
        (0..120)
            .rfind(|x| words(&buffer, *x..120, y).starts_with(text))
            .unwrap()
    };
    let mut clicked = model.clone();
    click(&mut clicked, option("close"), y);
    let form = open_form(&clicked);
    assert_eq!(form.fields[form.at].label, "on loss");
    assert_eq!(form.fields[form.at].value(), "close");
    // What is beside them chooses nothing.
    let mut beside = model.clone();
    click(&mut beside, right_side(&buffer, y) - 3, y);
    let form = open_form(&beside);
    assert!(matches!(
        form.fields[form.at].value,
        FieldValue::Choice { at: 0, .. }
    ));
}

#[test]
fn a_click_places_the_cursor_in_a_filter_and_in_a_question() {
    let mut model = with_mouse(after("1/abcd"), (120, 36));
    let (place, y) = find_text(&picture(&model), "/ abcd").unwrap();
    click(&mut model, place.start + 3, y);
    press(&mut model, "X");
    assert!(find_text(&picture(&model), "/ aXbcd").is_some());

    let (_, _, model) = scene("question_teardown");
    let mut model = with_mouse(model, (120, 36));
    let (place, y) = find_text(&picture(&model), "to confirm  ").unwrap();
    press(&mut model, "<tab>");
    click(&mut model, place.end + 3, y);
    press(&mut model, "gray");
    let typed = matches!(model.overlays.last(), Some(Overlay::Confirm(q)) if q.is_typed());
    assert!(typed, "the text has the focus");
}

/// Every title that names a column of the order sorts by it; again, and the order is turned.
#[test]
fn a_click_on_a_title_sorts_by_its_column() {
    use SortColumn as C;
    let wide = with_mouse(after("1z"), (200, 60));
    let environments = with_mouse(after("2"), (120, 36));
    let pods = with_mouse(after("2jjj<enter>z"), (120, 36));
    let trace = with_mouse(after("5z"), (120, 36));
    for (model, pane, title, column) in [
        (&wide, Pane::Apps, "APP ", C::Name),
        (&wide, Pane::Apps, "STAGE", C::Stage),
        (&wide, Pane::Apps, "BY ", C::Requester),
        (&environments, Pane::Environments, "ENV ", C::Name),
        (&environments, Pane::Environments, "READY", C::Ready),
        (&pods, Pane::Environments, "RESTARTS", C::Restarts),
        (&pods, Pane::Environments, "AGE", C::Age),
        (&trace, Pane::Trace, "5 MIN", C::Requests),
        (&trace, Pane::Trace, "P95", C::Latency),
    ] {
        let mut model = model.clone();
        let (place, y) = find_text(&picture(&model), title).unwrap_or_else(|| panic!("{title}"));
        let list = model.sortable_list(pane).unwrap();
        click(&mut model, place.start, y);
        assert_eq!((model.pane, model.sort_order(list).column), (pane, column));
        assert!(!model.sort_order(list).reversed, "{title}");
        let (place, y) = find_text(&picture(&model), title).unwrap();
        click(&mut model, place.start, y);
        assert!(model.sort_order(list).reversed, "{title}");
        assert!(model.overlays.is_empty(), "{title}");
    }
}
