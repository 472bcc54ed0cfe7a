//! The moving picture of the README: the story, played by keys on fixed worlds, through the real `view`. Rows that
//! stay the same from one frame to the next are drawn once. Drift fails; `UPDATE_SCREENSHOTS=1` accepts it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    ops::Range,
    sync::Arc,
};

use graylane::{
    api::{BatchPhase, EnvironmentState, ReleasePhase, TaskPhase},
    domain::{hop::Hop, text::Clean, world::World},
    ui::{Model, fixture},
};
use ratatui::buffer::Buffer;

use crate::{
    screen::{draw, press, see},
    screenshots::compare_picture,
    svg,
    worlds::{self, RELEASE},
};

const C: &str = "spring-cloud-c";
const SIZE: (u16, u16) = (110, 30);
/// Height of the line below the screen that says what is done.
const CAPTION: u32 = 34;
/// No more than this, or a page that shows it loads slowly.
const MOST_BYTES: usize = 300_000;

/// A screen, and what is said below it.
struct Frame {
    caption: &'static str,
    seconds: u32,
    buffer: Buffer,
    cursor: Option<(u16, u16)>,
}

/// Plays keys, and keeps what is seen.
struct Film {
    model: Model,
    frames: Vec<Frame>,
}

impl Film {
    fn shoot(&mut self, caption: &'static str, seconds: u32) {
        let (buffer, cursor) = draw(&mut self.model, SIZE.0, SIZE.1);
        self.frames.push(Frame {
            caption,
            seconds,
            buffer,
            cursor,
        });
    }

    fn press(&mut self, keys: &str, caption: &'static str, seconds: u32) {
        press(&mut self.model, keys);
        self.shoot(caption, seconds);
    }

    /// What has come of it; whatever lay over the panes is closed.
    fn see(&mut self, world: World, keys: &str, caption: &'static str, seconds: u32) {
        self.model = fixture::model_of(world.clone());
        see(&mut self.model, world);
        self.press(keys, caption, seconds);
    }
}

/// Before the release: only the old versions run, and serve everybody.
fn at_rest() -> World {
    let mut world = fixture::world();
    world.releases = Arc::default();
    without_gray(&mut world);
    set_production(&mut world, &[(worlds::A, 0), (C, 0)]);
    world
}

/// Takes the gray versions out of a world, with the requests that met them.
fn without_gray(world: &mut World) {
    Arc::make_mut(&mut world.pods).retain(|_, pod| pod.tag.is_none());
    Arc::make_mut(&mut world.deployments).retain(|_, w| w.environment.as_deref() != Some("gray"));
    without_requests(world, |hop| hop.tag.is_some());
    for app in Arc::make_mut(&mut world.apps).values_mut() {
        let status = Arc::make_mut(app).status.as_mut();
        if let Some(gray) = status.and_then(|s| s.environments.get_mut("gray")) {
            gray.state = EnvironmentState::Cleaned;
        }
    }
    for lane in Arc::make_mut(&mut world.lanes).values_mut() {
        Arc::make_mut(lane).status = None;
    }
}

/// Takes whole requests out of a world of which one hop is meant.
fn without_requests(world: &mut World, meant: impl Fn(&Hop) -> bool) {
    let gone: BTreeSet<&str> = world
        .hops
        .iter()
        .filter(|h| meant(h))
        .map(|h| h.trace.as_str())
        .collect();
    let left = world
        .hops
        .iter()
        .filter(|h| !gone.contains(h.trace.as_str()));
    let left: Vec<Arc<Hop>> = left.cloned().collect();
    world.hops_seen = left.len() as u64;
    world.hops = Arc::new(left);
}

/// Lets production of these Apps have so many new pods of four; where it has none, none has served a request.
fn set_production(world: &mut World, apps: &[(&str, usize)]) {
    for (app, new) in apps {
        let (old_hash, new_hash, old, tag) = match *app {
            C => ("9c6d58", "5d77b9", "2.0.1", "2.1.0"),
            _ => ("6f8b7d", "84b5cf", "1.4.2", "1.5.0"),
        };
        let pods = Arc::make_mut(&mut world.pods);
        let own = pods
            .values_mut()
            .filter(|p| p.app.as_deref() == Some(*app) && p.environment.as_deref() == Some("prod"));
        for (n, pod) in own.enumerate() {
            let pod = Arc::make_mut(pod);
            let (hash, version) = if n < *new {
                (new_hash, tag)
            } else {
                (old_hash, old)
            };
            pod.hash = Some(hash.into());
            pod.images = vec![Clean::from(format!("{app}:{version}").as_str())];
            (pod.ready, pod.state) = (true, Clean::from("Running"));
        }
        let done = [(0, old), (4, tag)].into_iter().find(|(n, _)| n == new);
        let app = Arc::make_mut(&mut world.apps)
            .get_mut(*app)
            .expect("it is there");
        let status = Arc::make_mut(app).status.as_mut().expect("it has run");
        let prod = status.environments.get_mut("prod").expect("it has run");
        if let Some((_, version)) = done {
            prod.state = EnvironmentState::Running;
            for image in prod.images.values_mut() {
                let name = image.split(':').next().unwrap_or_default().to_owned();
                *image = format!("{name}:{version}");
            }
        }
        if *new == 0 {
            without_requests(world, |hop| {
                let pod = hop.pod.as_deref().unwrap_or_default();
                pod.contains("-prod-") && pod.contains(new_hash)
            });
        }
    }
}

/// The second batch is done: two of four are new.
fn second_batch() -> World {
    let mut world = worlds::with_release(|release| {
        let status = release.status.as_mut().expect("it has begun");
        let deploy = status
            .tasks
            .iter_mut()
            .find(|t| t.phase == TaskPhase::Waiting)
            .expect("it waits");
        for batch in &mut deploy.batches[..2] {
            batch.phase = BatchPhase::Done;
        }
        deploy.message = Some("batch 2 of 3 is exact and held: 2 new, 2 old".into());
    });
    set_production(&mut world, &[(worlds::A, 2)]);
    world
}

/// Leaves the release that is followed.
fn only_own(world: &mut World) {
    Arc::make_mut(&mut world.releases).retain(|name, _| name == RELEASE);
}

fn play() -> Vec<Frame> {
    let mut film = Film {
        model: fixture::model_of(at_rest()),
        frames: vec![],
    };
    film.shoot(
        "A call chain of three services. A and C get a new version.",
        3,
    );
    film.press("<space>jj<space>", "Space marks A and C", 2);
    film.press("n", "n starts a release of both", 3);
    film.press(
        "<enter>",
        "A question says what will happen. No is its default; Ctrl-Y says yes",
        4,
    );
    let mut approval = worlds::approval();
    // Whoever started it may not approve it.
    approval.me = Some(Clean::from("noah"));
    without_gray(&mut approval);
    set_production(&mut approval, &[(worlds::A, 0), (C, 0)]);
    only_own(&mut approval);
    film.see(approval, "3", "The release waits for an approval", 2);
    film.press("a", "a approves: first it shows what will be applied", 4);
    let mut gray = worlds::at(
        "go-production",
        TaskPhase::Waiting,
        ReleasePhase::Waiting,
        None,
    );
    set_production(&mut gray, &[(worlds::A, 0), (C, 0)]);
    only_own(&mut gray);
    film.see(
        gray,
        "5",
        "Gray is up. Tagged requests use the new A and C, all others the old ones",
        5,
    );
    film.press("<enter>", "Enter opens the requests of one line", 3);
    film.see(
        fixture::world(),
        "3",
        "Production goes in batches: one new pod of four, then it waits",
        4,
    );
    film.press(
        "c",
        "c lets the next batch go, after a look at old and new",
        4,
    );
    film.press("prod", "Production asks for its name", 3);
    film.see(
        second_batch(),
        "3",
        "Two of four. Each batch can be stopped, and rolled back",
        3,
    );
    let mut done = worlds::succeeded();
    without_gray(&mut done);
    set_production(&mut done, &[(worlds::A, 4), (C, 4)]);
    only_own(&mut done);
    film.see(done, "3", "All pods are new, gray is taken down", 4);
    film.frames
}

/// Runs of frames in which a piece is the same.
fn runs(frames: &[String]) -> Vec<(Range<usize>, &String)> {
    let mut found: Vec<(Range<usize>, &String)> = vec![];
    for (n, piece) in frames.iter().enumerate() {
        match found.last_mut() {
            Some((range, last)) if *last == piece => range.end = n + 1,
            _ => found.push((n..n + 1, piece)),
        }
    }
    found
}

/// The frames as one picture that plays over and over. Who wants no motion sees the last one.
fn animate(frames: &[Frame], title: &str) -> String {
    let (width, height) = svg::size(&frames[0].buffer);
    let ground = svg::ground(&frames[0].buffer);
    let mut body = String::new();
    let mut shown: BTreeMap<(usize, usize), String> = BTreeMap::new();
    let mut put = |pieces: &[String]| {
        for (range, piece) in runs(pieces)
            .into_iter()
            .filter(|(_, piece)| !piece.is_empty())
        {
            shown
                .entry((range.start, range.end))
                .or_default()
                .push_str(piece);
        }
    };
    for row in 0..SIZE.1 {
        let pieces: Vec<String> = frames
            .iter()
            .map(|f| svg::draw_row(&f.buffer, f.cursor, row))
            .collect();
        put(&pieces);
    }
    let captions: Vec<String> = frames.iter().map(|f| caption(f, width, height)).collect();
    put(&captions);
    let last = frames.len();
    let mut style = String::new();
    let whole: u32 = frames.iter().map(|f| f.seconds).sum();
    for ((from, to), piece) in &shown {
        if (*from, *to) == (0, last) {
            body.push_str(piece);
            continue;
        }
        let name = format!("f{from}t{to}");
        style.push_str(&keyframes(&name, frames, *from..*to, whole));
        let class = if *to == last { "v" } else { "h" };
        _ = writeln!(body, "<g class=\"{class} {name}\">\n{piece}</g>");
    }
    let head = svg::open_document((width, height + CAPTION), &ground, title);
    format!(
        "{head}<style>.h{{visibility:hidden}}@media (prefers-reduced-motion:no-preference){{\n{style}}}</style>\n{body}</g>\n</svg>\n"
    )
}

/// When a piece is seen, as a part of the whole time.
fn keyframes(name: &str, frames: &[Frame], range: Range<usize>, whole: u32) -> String {
    let before = |n: usize| frames[..n].iter().map(|f| f.seconds).sum::<u32>();
    let percent = |seconds: u32| format!("{:.2}%", f64::from(seconds) * 100.0 / f64::from(whole));
    let mut steps = String::new();
    if range.start > 0 {
        steps.push_str("0%{visibility:hidden}");
    }
    _ = write!(
        steps,
        "{}{{visibility:visible}}",
        percent(before(range.start))
    );
    if range.end < frames.len() {
        _ = write!(steps, "{}{{visibility:hidden}}", percent(before(range.end)));
    }
    steps.push_str(if range.end < frames.len() {
        "100%{visibility:hidden}"
    } else {
        "100%{visibility:visible}"
    });
    format!(".{name}{{animation:{name} {whole}s step-end infinite}}@keyframes {name}{{{steps}}}\n")
}

fn caption(frame: &Frame, width: u32, height: u32) -> String {
    format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#f0f4f8\" font-weight=\"bold\">{}</text>\n",
        width / 2,
        height + CAPTION - 20,
        svg::escape(frame.caption)
    )
}

#[test]
fn the_story_moves() {
    let frames = play();
    let made = animate(
        &frames,
        "The story: two applications get a new version, step by step",
    );
    assert!(made.len() < MOST_BYTES, "{} bytes", made.len());
    compare_picture("story", &made);
}

#[test]
fn a_piece_is_drawn_once_while_it_stays() {
    let pieces = ["a", "a", "b", "a"].map(str::to_owned);
    let found: Vec<(Range<usize>, &str)> = runs(&pieces)
        .into_iter()
        .map(|(range, piece)| (range, piece.as_str()))
        .collect();
    assert_eq!(found, [(0..2, "a"), (2..3, "b"), (3..4, "a")]);
    let buffer = Buffer::empty(ratatui::layout::Rect::new(0, 0, SIZE.0, SIZE.1));
    let frame = |seconds| Frame {
        caption: "",
        seconds,
        buffer: buffer.clone(),
        cursor: None,
    };
    let frames = [frame(1), frame(3)];
    assert!(
        keyframes("x", &frames, 0..1, 4).contains(
            "{0.00%{visibility:visible}25.00%{visibility:hidden}100%{visibility:hidden}}"
        )
    );
    assert!(
        keyframes("x", &frames, 1..2, 4)
            .contains("0%{visibility:hidden}25.00%{visibility:visible}100%{visibility:visible}")
    );
}
