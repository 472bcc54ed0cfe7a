//! What reaches the terminal, read back by a terminal emulator: it equals what was drawn, in one write a frame, and
//! it is nothing when nothing has changed.

use std::{
    io::{self, Write},
    num::NonZeroU16,
    sync::{Arc, Mutex},
};

use graylane::{
    domain::{hop::Hop, world::World},
    ui::{
        Model, Msg, fixture,
        terminal::FrameBackend,
        theme::{Depth, Theme},
        update, view,
    },
};
use jiff::{SignedDuration, Timestamp};
use ratatui::{
    Terminal,
    buffer::{Buffer, Cell},
    layout::Size,
    style::{Color, Modifier},
};

use crate::scenes::{NAMES, leaking, scene};

const SIZE: (u16, u16) = (100, 30);

/// Every write, apart.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Vec<Vec<u8>>>>);

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no writer panics")
            .push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A cockpit on a wire, with an emulator at its end.
struct Line {
    wire: Wire,
    terminal: Terminal<FrameBackend<Wire>>,
    emulator: vt100::Parser,
}

impl Line {
    fn new() -> Self {
        // As the real one does: no colour is the theme's business.
        crossterm::style::force_color_output(true);
        let wire = Wire::default();
        let backend = FrameBackend::new(wire.clone(), Some(Size::new(SIZE.0, SIZE.1)));
        let terminal = Terminal::new(backend).expect("a terminal");
        Self {
            wire,
            terminal,
            emulator: vt100::Parser::new(side(SIZE.1), side(SIZE.0), 0),
        }
    }

    /// Draws a frame; what was drawn, and the writes that it took.
    fn frame(&mut self, model: &mut Model) -> (Buffer, Vec<Vec<u8>>) {
        model.size = SIZE;
        let drawn = self
            .terminal
            .draw(|frame| {
                if let Some(cursor) = view(model, frame.area(), frame.buffer_mut()) {
                    frame.set_cursor_position(cursor);
                }
            })
            .expect("it is drawn")
            .buffer
            .clone();
        let writes = std::mem::take(&mut *self.wire.0.lock().expect("no writer panics"));
        for bytes in &writes {
            self.emulator.process(bytes);
        }
        (drawn, writes)
    }
}

fn side(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).expect("a screen has some")
}

fn colour(colour: Color) -> vt100::Color {
    let named = |n| vt100::Color::Idx(n);
    match colour {
        Color::Reset => vt100::Color::Default,
        Color::Rgb(r, g, b) => vt100::Color::Rgb(r, g, b),
        Color::Indexed(n) => named(n),
        Color::Black => named(0),
        Color::Red => named(1),
        Color::Green => named(2),
        Color::Yellow => named(3),
        Color::Blue => named(4),
        Color::Magenta => named(5),
        Color::Cyan => named(6),
        Color::Gray => named(7),
        Color::DarkGray => named(8),
        Color::LightRed => named(9),
        Color::LightGreen => named(10),
        Color::LightYellow => named(11),
        Color::LightBlue => named(12),
        Color::LightMagenta => named(13),
        Color::LightCyan => named(14),
        Color::White => named(15),
    }
}

fn same(drawn: &Cell, seen: &vt100::Cell) -> bool {
    let text = if seen.contents().is_empty() {
        " "
    } else {
        seen.contents()
    };
    let has = |modifier| drawn.modifier.contains(modifier);
    // Of a blank only the ground is seen.
    let letters = text == " "
        || colour(drawn.fg) == seen.fgcolor()
            // The emulator knows one strength at a time.
            && (has(Modifier::BOLD) && !has(Modifier::DIM)) == seen.bold()
            && has(Modifier::DIM) == seen.dim()
            && has(Modifier::ITALIC) == seen.italic();
    drawn.symbol() == text
        && letters
        && colour(drawn.bg) == seen.bgcolor()
        && has(Modifier::UNDERLINED) == seen.underline()
        && has(Modifier::REVERSED) == seen.inverse()
}

fn equal(name: &str, drawn: &Buffer, screen: &vt100::Screen) {
    for y in 0..SIZE.1 {
        let mut behind_wide = false;
        for x in 0..SIZE.0 {
            let seen = screen.cell(y, x).expect("on the screen");
            if std::mem::replace(&mut behind_wide, seen.is_wide()) {
                continue;
            }
            let cell = &drawn[(x, y)];
            assert!(
                same(cell, seen),
                "{name} at {x},{y}: drawn {cell:?}, seen {seen:?}\n{}",
                screen.contents()
            );
        }
    }
}

/// Screen after screen on one terminal, at every depth: what is seen is what was drawn, and each frame is one
/// write, and a large one is shown as a whole.
#[test]
fn what_reaches_the_terminal_is_what_was_drawn() {
    let mut line = Line::new();
    let depths = [Depth::True, Depth::Indexed, Depth::Sixteen, Depth::Mono];
    for (n, name) in NAMES.iter().enumerate() {
        let (_, _, mut model) = scene(name);
        let theme = Theme::names()[n % 3];
        model.options.theme = Theme::built_in(theme, depths[n % 4]).expect("built in");
        let (drawn, writes) = line.frame(&mut model);
        equal(name, &drawn, line.emulator.screen());
        assert_eq!(writes.len(), 1, "{name} took {} writes", writes.len());
        assert!(
            writes[0].len() <= 1024
                || writes[0].starts_with(b"\x1b[?2026h") && writes[0].ends_with(b"\x1b[?2026l"),
            "{name} may tear"
        );
        let shown = view(&model, drawn.area, &mut drawn.clone());
        assert_eq!(
            line.emulator.screen().hide_cursor(),
            shown.is_none(),
            "{name}: the cursor"
        );
        if let Some((x, y)) = shown {
            assert_eq!(
                line.emulator.screen().cursor_position(),
                (y, x),
                "{name}: the cursor"
            );
        }
    }
}

/// Hostile names are seen as they were drawn: none of their bytes moves the cursor or paints anything.
#[test]
fn hostile_names_do_not_write_on_the_terminal() {
    let mut line = Line::new();
    let mut model = fixture::model_of(super::hostile::world());
    // What is reported stands on the frames.
    model.noticed = true;
    let (_, writes) = line.frame(&mut model);
    let bytes = writes.concat();
    assert!(
        !bytes.windows(4).any(|w| w == b"\x1b]0;"),
        "a title was set"
    );
    assert!(
        !bytes.contains(&7) && !bytes.windows(4).any(|w| w == b"\x1b[31"),
        "foreign sequences came through"
    );
    let screen = line.emulator.screen();
    for (corner, sign) in [
        ((2, 0), "╭"),
        ((28, 0), "╰"),
        ((2, SIZE.0 - 1), "╮"),
        ((28, SIZE.0 - 1), "╯"),
    ] {
        assert_eq!(
            screen
                .cell(corner.0, corner.1)
                .expect("on the screen")
                .contents(),
            sign,
            "{}",
            screen.contents()
        );
    }
}

/// One more pod ready is a matter of a few hundred bytes.
#[test]
fn a_busy_frame_is_small_and_an_unchanged_one_is_nothing() {
    let mut line = Line::new();
    let mut model = fixture::model();
    let first: usize = line.frame(&mut model).1.iter().map(Vec::len).sum();
    let (_, writes) = line.frame(&mut model);
    assert!(
        writes.is_empty(),
        "an unchanged frame wrote {:?}",
        String::from_utf8_lossy(&writes.concat())
    );
    // A second later the spinner and the clocks have moved on.
    let now = model
        .now
        .checked_add(SignedDuration::from_secs(1))
        .expect("a time");
    update(&mut model, Msg::Tick(now));
    let (drawn, writes) = line.frame(&mut model);
    let busy: usize = writes.iter().map(Vec::len).sum();
    assert!(busy > 0 && busy * 10 < first, "{busy} bytes after {first}");
    equal("a second later", &drawn, line.emulator.screen());
}

/// Nothing under way, nobody at the keys: a minute costs no byte.
#[test]
fn an_idle_minute_writes_nothing() {
    let mut line = Line::new();
    let mut model = fixture::model_of(crate::worlds::quiet());
    let (_, first) = line.frame(&mut model);
    assert!(!first.is_empty() && !model.is_busy());
    for second in 1..=60 {
        let now = fixture::now()
            .checked_add(SignedDuration::from_secs(second))
            .expect("a time");
        update(&mut model, Msg::Tick(now));
        let (_, writes) = line.frame(&mut model);
        assert!(
            writes.is_empty(),
            "second {second} wrote {:?}",
            String::from_utf8_lossy(&writes.concat())
        );
    }
}

/// A release that nobody carries out does not move: no engine, or one that is not heard of any more. Its age and what is
/// said of the engine may change, but nothing turns.
#[test]
fn nothing_turns_while_no_engine_acts() {
    let mut line = Line::new();
    let mut model = fixture::model();
    assert!(model.is_busy());
    let later = |seconds| {
        let at = fixture::now().checked_add(SignedDuration::from_secs(seconds));
        Msg::Tick(at.expect("a time"))
    };
    update(&mut model, later(31));
    assert!(!model.is_busy(), "the engine is late");
    let beat = model.beat;
    update(&mut model, later(32));
    assert_eq!(model.beat, beat);
    line.frame(&mut model);
    let mut world = World::clone(&model.world);
    world.engine = None;
    update(&mut model, Msg::World(Arc::new(world)));
    assert!(!model.is_busy(), "there is no engine");
    let mut back = World::clone(&model.world);
    back.engine.clone_from(&fixture::model().world.engine);
    if let Some(engine) = &mut back.engine {
        engine.renewed = Some(model.now);
    }
    update(&mut model, Msg::World(Arc::new(back)));
    assert!(model.is_busy(), "an engine acts again");
    update(&mut model, later(33));
    assert_ne!(model.beat, beat);
}

/// One more request through the whole chain, come in at that time.
fn requested(world: &World, n: u32, time: Timestamp) -> World {
    let last = world.hops.last_chunk::<3>().expect("a chain");
    let hop = |(i, hop): (usize, &Arc<Hop>)| {
        let span = |i: usize| format!("{:08x}{i:08x}", 5000 + n);
        let (trace, parent) = (
            format!("{:032x}", 5000 + n),
            (i > 0).then(|| span(i.wrapping_sub(1))),
        );
        Hop {
            trace,
            span: span(i),
            parent,
            time,
            ..Hop::clone(hop)
        }
    };
    let hops = last.iter().enumerate().map(hop).collect();
    fixture::with_hops(world.clone(), hops)
}

/// Five requests a second while a rollout is under way: their figures change once a second, and where every request is
/// shown by itself the whole list moves with each.
#[test]
fn a_minute_of_requests_is_cheap_unless_each_is_shown() {
    let cost = |keys: &str| {
        let mut line = Line::new();
        let mut model = crate::scenes::after(keys);
        line.frame(&mut model);
        let mut bytes = 0;
        for n in 0..300 {
            let now = fixture::now()
                .checked_add(SignedDuration::from_millis(200 * i64::from(n)))
                .expect("a time");
            let world = requested(&model.world, n, now);
            update(&mut model, Msg::Tick(now));
            update(&mut model, Msg::World(Arc::new(world)));
            bytes += line.frame(&mut model).1.iter().map(Vec::len).sum::<usize>();
        }
        bytes / 60
    };
    let (grouped, each) = (cost("5z"), cost("5zv"));
    println!("{grouped} bytes a second in groups, {each} with every request");
    assert!(
        grouped < 1000 && grouped < each,
        "{grouped} and {each} bytes a second"
    );
}

/// After `Ctrl-l` (or a stop) every cell is written anew, whatever somebody else has left there.
#[test]
fn a_repaint_heals_a_spoilt_screen() {
    let mut line = Line::new();
    let mut model = leaking("");
    line.frame(&mut model);
    line.emulator
        .process(b"\x1b[5;5Hwall: the system is going down\x1b[31m");
    line.terminal.clear().expect("it is cleared");
    let (drawn, _) = line.frame(&mut model);
    equal("after a repaint", &drawn, line.emulator.screen());
}
