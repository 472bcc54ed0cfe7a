//! The cockpit at 1,000 apps and 10,000 pods: how long one message and one frame take, how many bytes a frame costs,
//! and how long it is from the command to the first frame.

use std::{
    io::{self, Read, Write},
    num::NonZeroU16,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use divan::{Bencher, black_box};
use graylane::{
    domain::world::World,
    ui::{Model, Msg, fixture, terminal::FrameBackend, update, view},
};
use jiff::SignedDuration;
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use ratatui::{Terminal, buffer::Buffer, layout::Rect, layout::Size};

const APPS: u32 = 1_000;
const SIZES: [(u16, u16); 2] = [(120, 36), (240, 70)];

fn main() {
    // `cargo test` runs this file too, to see that it works.
    if std::env::args().any(|arg| arg == "--bench") {
        bytes();
        start();
    }
    divan::main();
}

fn model() -> Model {
    fixture::model_of(fixture::large_world(APPS))
}

fn press(model: &mut Model, c: char) {
    update(
        model,
        Msg::Input(Event::Key(KeyEvent::new(
            KeyCode::Char(c),
            KeyModifiers::NONE,
        ))),
    );
}

/// The next world: one pod of ten thousand is another one.
fn next(world: &World) -> World {
    let mut next = world.clone();
    let pods = Arc::make_mut(&mut next.pods);
    if let Some(mut pod) = pods.first_entry() {
        Arc::make_mut(pod.get_mut()).restarts += 1;
    }
    next.revision += 1;
    next
}

/// A world comes in which one pod has changed.
#[divan::bench]
fn update_one_pod_of_10_000(bencher: Bencher) {
    let mut model = model();
    let worlds = [Arc::new(next(&model.world)), Arc::clone(&model.world)];
    let mut turn = 0;
    bencher.bench_local(|| {
        turn += 1;
        update(&mut model, Msg::World(Arc::clone(&worlds[turn % 2])))
    });
}

/// A world comes in which one lane has changed, and no pod.
#[divan::bench]
fn update_one_lane(bencher: Bencher) {
    let mut model = model();
    let mut other = (*model.world).clone();
    other.lanes = Arc::new((*other.lanes).clone());
    let worlds = [Arc::new(other), Arc::clone(&model.world)];
    let mut turn = 0;
    bencher.bench_local(|| {
        turn += 1;
        update(&mut model, Msg::World(Arc::clone(&worlds[turn % 2])))
    });
}

/// To the next of 1,000 apps.
#[divan::bench]
fn update_key(bencher: Bencher) {
    let mut model = model();
    bencher.bench_local(|| press(&mut model, 'j'));
}

/// A letter in the palette: all of them are looked through.
#[divan::bench]
fn update_palette_letter(bencher: Bencher) {
    let mut open = model();
    press(&mut open, ':');
    press(&mut open, 's');
    bencher
        .with_inputs(|| open.clone())
        .bench_local_values(|mut model| {
            press(&mut model, 'e');
            model
        });
}

/// A whole frame into a buffer.
#[divan::bench(args = SIZES)]
fn view_frame(bencher: Bencher, (width, height): (u16, u16)) {
    let mut model = model();
    model.size = (width, height);
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    bencher.bench_local(|| black_box(view(&model, area, &mut buffer)));
}

/// A filter that looks at each of 1,000 apps, drawn.
#[divan::bench]
fn view_filtered(bencher: Bencher) {
    let mut model = model();
    model.size = (120, 36);
    model
        .filters
        .insert(graylane::ui::pane::Pane::Apps, "07".into());
    let area = Rect::new(0, 0, 120, 36);
    let mut buffer = Buffer::empty(area);
    bencher.bench_local(|| black_box(view(&model, area, &mut buffer)));
}

/// Counts what is written, and how often.
#[derive(Clone, Default)]
struct Count(Arc<(AtomicUsize, AtomicUsize)>);

impl Count {
    fn take(&self) -> (usize, usize) {
        (
            self.0.0.swap(0, Ordering::Relaxed),
            self.0.1.swap(0, Ordering::Relaxed),
        )
    }
}

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.fetch_add(bytes.len(), Ordering::Relaxed);
        self.0.1.fetch_add(1, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn bytes() {
    println!("bytes written at 120x36, in how many writes");
    for (name, mut model) in [
        ("five panes, a rollout", fixture::model()),
        ("1,000 apps, 10,000 pods", model()),
    ] {
        let count = Count::default();
        let backend = FrameBackend::new(count.clone(), Some(Size::new(120, 36)));
        let mut terminal = Terminal::new(backend).expect("a terminal");
        model.size = (120, 36);
        let mut frame = |model: &Model| {
            terminal
                .draw(|frame| _ = view(model, frame.area(), frame.buffer_mut()))
                .expect("it is drawn");
            count.take()
        };
        let show = |what: &str, (bytes, writes): (usize, usize)| {
            println!("  {name:<26}{what:<24}{bytes:>7} B  {writes}");
        };
        show("first frame", frame(&model));
        show("nothing has changed", frame(&model));
        press(&mut model, 'j');
        show("the next row", frame(&model));
        let worlds = fixture::with_hops((*model.world).clone(), fixture::leaking_hops());
        update(&mut model, Msg::World(Arc::new(worlds)));
        show("requests came, a leak", frame(&model));
        let now = model.now;
        let (mut sum, mut writes) = (0, 0);
        for second in 1..=60 {
            update(
                &mut model,
                Msg::Tick(
                    now.checked_add(SignedDuration::from_secs(second))
                        .expect("a time"),
                ),
            );
            let (more, often) = frame(&model);
            (sum, writes) = (sum + more, writes + often);
        }
        show("a minute of clocks", (sum, writes));
    }
    let mut world = fixture::world();
    (world.releases, world.hops) = (Arc::default(), Arc::default());
    world.engine = None;
    let mut model = fixture::model_of(world);
    let count = Count::default();
    let mut terminal = Terminal::new(FrameBackend::new(count.clone(), Some(Size::new(120, 36))))
        .expect("a terminal");
    let (mut first, mut rest) = (0, (0, 0));
    for second in 0..=60 {
        let at = fixture::now()
            .checked_add(SignedDuration::from_secs(second))
            .expect("a time");
        update(&mut model, Msg::Tick(at));
        terminal
            .draw(|frame| _ = view(&model, frame.area(), frame.buffer_mut()))
            .expect("it is drawn");
        let (bytes, writes) = count.take();
        if second == 0 {
            first = bytes;
        } else {
            rest = (rest.0 + bytes, rest.1 + writes);
        }
    }
    println!(
        "  {:<26}{:<24}{:>7} B  {} (after {first} B)",
        "nothing under way", "an idle minute", rest.0, rest.1
    );
}

/// The real program in a real terminal: `graylane demo`, on a fresh state and then on the state that it left.
fn start() {
    let state = tempfile::tempdir().expect("a folder");
    println!("from the command to the screen, `graylane demo`");
    for name in ["fresh state", "second start", "third start", "fourth start"] {
        let (frame, facts) = launch(state.path());
        println!(
            "  {name:<26}first frame {:>5} ms   the workspace in it {:>6} ms",
            frame.as_millis(),
            facts.as_millis()
        );
    }
}

fn launch(state: &Path) -> (Duration, Duration) {
    let pair = native_pty_system()
        .openpty(PtySize {
            rows: 36,
            cols: 120,
            pixel_width: 0,
            pixel_height: 0,
        })
        .expect("a terminal can be opened");
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_graylane"));
    command.args(["--state", state.to_str().expect("UTF-8"), "demo"]);
    command.env("TERM", "xterm-256color");
    command.env("LANG", "C.UTF-8");
    command.env("XDG_CONFIG_HOME", state);
    command.env_remove("KUBECONFIG");
    let begun = Instant::now();
    let mut child = pair
        .slave
        .spawn_command(command)
        .expect("the program starts");
    drop(pair.slave);
    let mut output = pair.master.try_clone_reader().expect("it can be read");
    let mut keys = pair.master.take_writer().expect("it can be written");
    let side = |n| NonZeroU16::new(n).expect("some");
    let mut screen = vt100::Parser::new(side(36), side(120), 0);
    let (mut frame, mut facts) = (None, None);
    let mut bytes = vec![0; 65_536];
    while let Ok(n @ 1..) = output.read(&mut bytes) {
        screen.process(&bytes[..n]);
        let text = screen.screen().contents();
        if frame.is_none() && text.contains("1 Apps") {
            frame = Some(begun.elapsed());
        }
        if facts.is_none() && text.contains("spring-cloud-c") && text.contains("live") {
            facts = Some(begun.elapsed());
            keys.write_all(b"q").expect("it takes keys");
        }
    }
    child.wait().expect("it ends");
    (
        frame.expect("it drew"),
        facts.expect("it knew its workspace"),
    )
}
