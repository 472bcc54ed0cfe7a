//! A person at the keyboard, without a terminal: keys go through `update`, `view` draws into a buffer.

use std::sync::Arc;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use graylane::{
    domain::world::World,
    ui::{Effect, Model, Msg, update, view},
};
use ratatui::{buffer::Buffer, layout::Rect};

/// The keys of a text in the key table's own words: `ja<enter><ctrl-r>`.
pub fn keys(text: &str) -> Vec<KeyEvent> {
    let mut out = vec![];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '<'
            && let Some(end) = rest.find('>')
        {
            let event: KeyEvent = crokey::parse(&rest[1..end])
                .unwrap_or_else(|e| panic!("{rest}: {e}"))
                .into();
            out.push(event);
            rest = &rest[end + 1..];
        } else {
            let shift = if c.is_uppercase() {
                KeyModifiers::SHIFT
            } else {
                KeyModifiers::NONE
            };
            out.push(KeyEvent::new(KeyCode::Char(c), shift));
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Presses them, each after a look at the screen; all effects in order.
pub fn press(model: &mut Model, text: &str) -> Vec<Effect> {
    let press = |key| {
        model.letters_ignored_until = None;
        update(model, Msg::Input(Event::Key(key)))
    };
    keys(text).into_iter().flat_map(press).collect()
}

/// A new world comes.
pub fn see(model: &mut Model, world: World) {
    update(model, Msg::World(Arc::new(world)));
}

/// What is drawn at that size, as text.
pub fn shown(model: &mut Model, width: u16, height: u16) -> String {
    let (buffer, _) = draw(model, width, height);
    let rows = buffer.content().chunks(usize::from(width));
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n")
        .collect()
}

/// What is drawn at that size, and where the cursor stands.
pub fn draw(model: &mut Model, width: u16, height: u16) -> (Buffer, Option<(u16, u16)>) {
    update(model, Msg::Input(Event::Resize(width, height)));
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    let cursor = view(model, area, &mut buffer);
    (buffer, cursor)
}
