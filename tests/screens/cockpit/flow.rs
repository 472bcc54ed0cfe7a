//! The loop on a clock that only moves when nothing else can: how often it draws, what wakes it, how it ends.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crossterm::event::Event;
use futures::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use graylane::{
    domain::{
        intent::Intent,
        log::{LogEvent, LogLine},
        text::Clean,
        world::{Link, LinkTrouble, ObjectKey, ShownWorlds, World},
    },
    ui::{
        Answer, EffectHandler, Fault, IntentOutcome, Model, Query,
        effect::ForegroundCommand,
        fixture,
        run::{Ended, PacedBackend, Ports, TerminalControl, run_loop},
    },
};
use jiff::{SignedDuration, Timestamp};
use ratatui::{
    Terminal,
    backend::{Backend, ClearType, TestBackend, WindowSize},
    buffer::Cell,
    layout::{Position, Size},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{screen::keys, worlds};

const FPS: u32 = 30;

/// What was drawn last, and how much so far.
#[derive(Clone, Debug, Default)]
struct Seen {
    text: String,
    frames: usize,
    cells: usize,
}

/// A screen that tells whenever it has changed.
struct Screen {
    inner: TestBackend,
    seen: watch::Sender<Seen>,
}

impl Backend for Screen {
    type Error = std::convert::Infallible;

    fn draw<'a, I>(&mut self, content: I) -> Result<(), Self::Error>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let content: Vec<_> = content.collect();
        let cells = content.len();
        self.inner.draw(content.into_iter())?;
        self.seen.send_modify(|seen| {
            seen.frames += 1;
            seen.cells += cells;
            seen.text = self.inner.to_string();
        });
        Ok(())
    }

    fn hide_cursor(&mut self) -> Result<(), Self::Error> {
        self.inner.hide_cursor()
    }

    fn show_cursor(&mut self) -> Result<(), Self::Error> {
        self.inner.show_cursor()
    }

    fn get_cursor_position(&mut self) -> Result<Position, Self::Error> {
        self.inner.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> Result<(), Self::Error> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> Result<(), Self::Error> {
        self.inner.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> Result<(), Self::Error> {
        self.inner.clear_region(clear_type)
    }

    fn size(&self) -> Result<Size, Self::Error> {
        self.inner.size()
    }

    fn window_size(&mut self) -> Result<WindowSize, Self::Error> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        self.inner.flush()
    }
}

impl PacedBackend for Screen {}

/// Whoever carries wishes out, in a test's hands.
#[derive(Default)]
struct Hands {
    done: Mutex<Vec<Intent>>,
    /// How long a wish takes; none never ends.
    takes: Option<Duration>,
    finished: AtomicUsize,
    asked: AtomicUsize,
    dropped: Arc<AtomicBool>,
    screen: Option<watch::Receiver<Seen>>,
    /// Frames that were drawn when the first was said to be.
    first_frames: Mutex<Vec<usize>>,
}

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Held(Arc<Hands>);

impl EffectHandler for Held {
    fn after_first_frame(&self) {
        let drawn = self.0.screen.as_ref().map(|seen| seen.borrow().frames);
        let mut first_frames = self.0.first_frames.lock().expect("no reader panics");
        first_frames.extend(drawn);
    }

    fn perform_intent(
        &self,
        _: String,
        intent: Intent,
    ) -> BoxFuture<'static, Result<IntentOutcome, Fault>> {
        let hands = self.0.clone();
        async move {
            hands.done.lock().expect("no reader panics").push(intent);
            match hands.takes {
                Some(takes) => sleep(takes).await,
                None => std::future::pending().await,
            }
            hands.finished.fetch_add(1, Ordering::SeqCst);
            Ok(IntentOutcome {
                text: Clean::from("the batch was let go"),
                ..IntentOutcome::default()
            })
        }
        .boxed()
    }

    fn run_query(&self, _: Query) -> BoxStream<'static, Answer> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let alive = Dropped(self.0.dropped.clone());
        let pod = Arc::new(ObjectKey::at_home("demo", "a"));
        let lines = stream::unfold((0, alive), move |(n, alive)| {
            let line = LogLine {
                pod: Arc::clone(&pod),
                container: None,
                time: None,
                text: Clean::from(format!("log line {n}")),
            };
            async move {
                sleep(Duration::from_millis(20)).await;
                Some((Answer::Log(vec![LogEvent::Line(line)]), (n + 1, alive)))
            }
        });
        lines.boxed()
    }
}

#[derive(Clone, Default)]
struct Tty {
    stops: Arc<AtomicUsize>,
    copied: Arc<Mutex<String>>,
}

impl TerminalControl for Tty {
    fn copy_text(&mut self, text: &str) -> io::Result<()> {
        *self.copied.lock().expect("no reader panics") = text.into();
        Ok(())
    }

    fn run_foreground(&mut self, _: &ForegroundCommand) -> io::Result<std::process::ExitStatus> {
        Ok(std::process::ExitStatus::default())
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.stops.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

thread_local! {
    static START: Instant = Instant::now();
}

/// The time as tokio's clock tells it.
fn clock() -> Timestamp {
    let spent = START.with(|start| Instant::now().duration_since(*start));
    fixture::now()
        .checked_add(SignedDuration::try_from(spent).expect("short"))
        .expect("a time")
}

type Input = Pin<Box<dyn Stream<Item = io::Result<Event>>>>;

/// A cockpit that runs, and everything that it hangs on.
struct Rig {
    events: mpsc::UnboundedSender<Event>,
    worlds: Option<watch::Sender<ShownWorlds>>,
    seen: watch::Receiver<Seen>,
    stop: CancellationToken,
    hands: Arc<Hands>,
    tty: Tty,
}

impl Rig {
    fn press(&self, text: &str) {
        for key in keys(text) {
            self.events.send(Event::Key(key)).expect("it runs");
        }
    }

    /// Waits until the screen shows that.
    #[track_caller]
    fn see(&mut self, text: &str) -> impl Future<Output = Seen> {
        let place = std::panic::Location::caller();
        async move {
            let found = self
                .seen
                .wait_for(|seen| seen.text.contains(text))
                .map(|seen| seen.expect("it runs").clone());
            let Ok(seen) = timeout(Duration::from_secs(30), found).await else {
                panic!(
                    "{place}: waited for {text:?}; the screen shows:\n{}",
                    self.seen.borrow().text
                );
            };
            seen
        }
    }

    fn stop(&self) {
        self.stop.cancel();
    }

    /// Frames and cells until now.
    fn drawn(&self) -> (usize, usize) {
        let seen = self.seen.borrow();
        (seen.frames, seen.cells)
    }
}

/// Runs the cockpit on that world beside `driver`; how it ended.
async fn play<F>(world: World, takes: Option<Duration>, driver: impl FnOnce(Rig) -> F) -> Ended
where
    F: Future<Output = ()>,
{
    play_at((100, 30), world, takes, driver).await
}

/// The same on a screen of so many columns and rows.
async fn play_at<F>(
    (columns, rows): (u16, u16),
    world: World,
    takes: Option<Duration>,
    driver: impl FnOnce(Rig) -> F,
) -> Ended
where
    F: Future<Output = ()>,
{
    START.with(|_| {});
    let (events, input) = mpsc::unbounded_channel();
    let input: Input = Box::pin(stream::unfold(input, |mut input| async move {
        input.recv().await.map(|event| (Ok(event), input))
    }));
    let (sender, worlds) = watch::channel(world.into());
    let (seen, screen) = watch::channel(Seen::default());
    let mut terminal = Terminal::new(Screen {
        inner: TestBackend::new(columns, rows),
        seen,
    })
    .expect("a terminal");
    let mut model = Model::new(fixture::options(), fixture::now());
    let hands = Arc::new(Hands {
        takes,
        screen: Some(screen.clone()),
        ..Hands::default()
    });
    let (stop, tty) = (CancellationToken::new(), Tty::default());
    let rig = Rig {
        events,
        worlds: Some(sender),
        seen: screen,
        stop: stop.clone(),
        hands: hands.clone(),
        tty: tty.clone(),
    };
    let ports = Ports {
        input,
        worlds,
        outside: Arc::new(Held(hands)),
        host: tty,
        stop,
        fps: FPS,
        clock,
    };
    let limit = Duration::from_hours(1);
    let (ended, ()) = tokio::join!(
        timeout(limit, run_loop(&mut terminal, ports, &mut model)),
        timeout(limit, driver(rig)).map(|d| d.unwrap())
    );
    ended.expect("it ends").expect("it can draw")
}

/// What waits for the first frame, such as the requests to the cluster, goes on right after it.
#[tokio::test(start_paused = true)]
async fn the_first_frame_is_told_once_when_it_is_drawn() {
    let ended = play(worlds::approval(), None, |mut rig| async move {
        rig.see("Apps").await;
        rig.press("?");
        rig.see("Keys").await;
        assert!(rig.drawn().0 > 1);
        assert_eq!(*rig.hands.first_frames.lock().unwrap(), [1]);
        rig.stop();
    });
    assert_eq!(ended.await, Ended::Stopped);
}

/// While nothing happens nothing is written: neither the clock, nor the Lease that the engine renews,
/// nor the requests that the watches send show.
#[tokio::test(start_paused = true)]
async fn a_cockpit_at_rest_draws_nothing() {
    // After so many seconds no age reaches its next step within a minute; the clock goes on from
    // one to the next.
    for (size, world, keys, seconds) in [
        ((60, 20), worlds::succeeded(), "", 200),
        ((80, 24), worlds::approval(), "3", 200),
        ((120, 36), worlds::approval(), "2jjj<enter>", 200),
        ((200, 60), worlds::approval(), "", 100),
        ((200, 60), worlds::approval(), "1z", 100),
    ] {
        // Nothing is under way in it, and there is no traffic.
        let mut world = World {
            hops: Arc::default(),
            hops_seen: 0,
            ..world
        };
        Arc::make_mut(&mut world.releases)
            .retain(|_, release| release.spec.app != "spring-cloud-c");
        let at = format!("{size:?} {keys:?}");
        play_at(size, world, None, |mut rig| async move {
            rig.see("Apps").await;
            rig.press(keys);
            rest(&rig, seconds).await;
            let (before, text) = (rig.drawn().1, rig.seen.borrow().text.clone());
            rest(&rig, 60).await;
            let after = rig.seen.borrow().text.clone();
            assert_eq!(rig.drawn().1, before, "{at}: {text}\n{after}");
            rig.stop();
        })
        .await;
    }
}

/// Lets seconds pass in which the cluster sends only signs of life.
async fn rest(rig: &Rig, seconds: i64) {
    for _ in 0..seconds {
        rig.worlds.as_ref().expect("kept").send_modify(|shown| {
            let world = shown.cluster_mut();
            world.revision += 1;
            world.asked.total += 1;
            world.asked.minute = 9 + u32::try_from(world.asked.total % 3).expect("small");
            if let Some(engine) = &mut world.engine {
                engine.renewed = Some(clock());
            }
        });
        sleep(Duration::from_secs(1)).await;
    }
}

/// Two seconds of a thousand keys and five hundred worlds each: no more frames than the cap, and not many fewer.
#[tokio::test(start_paused = true)]
async fn a_storm_draws_no_more_frames_than_the_cap() {
    let ended = play(fixture::world(), None, |mut rig| async move {
        rig.see("1 Apps").await;
        let (before, begun) = (rig.drawn().0, Instant::now());
        while begun.elapsed() < Duration::from_secs(2) {
            rig.press("jk");
            rig.worlds
                .as_ref()
                .expect("kept")
                .send_modify(|shown| shown.cluster_mut().revision += 1);
            sleep(Duration::from_millis(2)).await;
        }
        let frames = rig.drawn().0 - before;
        let most = FPS as usize * 2 + 1;
        assert!(
            (most / 2..=most).contains(&frames),
            "{frames} frames in two seconds, {most} at most"
        );
        rig.press("q");
    })
    .await;
    assert_eq!(ended, Ended::Quit);
}

/// A flood that is all there at once is taken in whole, and then drawn once.
#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_is_taken_whole_and_drawn_once() {
    play(fixture::world(), None, |mut rig| async move {
        rig.see("1 Apps").await;
        let before = rig.drawn().0;
        rig.press(&"jk".repeat(2_000));
        rig.press("?");
        let seen = rig.see("Keys").await;
        assert!(seen.frames - before <= 2, "{} frames", seen.frames - before);
        rig.stop.cancel();
    })
    .await;
}

/// Nothing under way, nobody at the keys: in ten minutes not one cell is drawn.
#[tokio::test(start_paused = true)]
async fn an_idle_cockpit_draws_nothing() {
    play(worlds::quiet(), None, |mut rig| async move {
        rig.see("succeeded").await;
        sleep(Duration::from_secs(5)).await;
        let (frames, cells) = rig.drawn();
        sleep(Duration::from_mins(10)).await;
        let (later, drawn) = rig.drawn();
        assert_eq!(
            drawn,
            cells,
            "cells were drawn though nothing changed:\n{}",
            rig.seen.borrow().text
        );
        assert!(
            later - frames <= 601,
            "{} looks in ten minutes",
            later - frames
        );
        rig.press("q");
    })
    .await;
}

/// The spinner turns four times a second while something is under way.
#[tokio::test(start_paused = true)]
async fn a_busy_cockpit_turns_its_spinner() {
    play(fixture::world(), None, |mut rig| async move {
        rig.see("batch 1/3").await;
        let mut signs = std::collections::BTreeSet::new();
        for _ in 0..8 {
            sleep(Duration::from_millis(250)).await;
            let text = rig.seen.borrow().text.clone();
            let at = text.find(" batch 1/3").expect("it is shown");
            signs.extend(text[..at].chars().next_back());
        }
        assert_eq!(signs.len(), 4, "{signs:?}");
        rig.press("q");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_key_is_seen_in_the_next_frame() {
    play(worlds::quiet(), None, |mut rig| async move {
        rig.see("succeeded").await;
        for (key, words) in [
            ("?", "Keys"),
            ("<esc>", "1 Apps"),
            ("4", "n new lane"),
            (":", "Do or go to"),
        ] {
            sleep(Duration::from_millis(700)).await;
            let (before, pressed) = (rig.drawn().0, Instant::now());
            rig.press(key);
            rig.seen
                .wait_for(|seen| seen.frames > before)
                .await
                .expect("it runs");
            assert!(
                rig.seen.borrow().text.contains(words),
                "{key}:\n{}",
                rig.seen.borrow().text
            );
            assert!(
                pressed.elapsed() <= Duration::from_secs(1) / FPS,
                "{key} took {:?}",
                pressed.elapsed()
            );
        }
        rig.stop.cancel();
    })
    .await;
}

/// A lost connection is told at once, and how old the facts are; the facts stay.
#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_shown_and_healed() {
    play(fixture::world(), None, |mut rig| async move {
        rig.see("● live").await;
        let worlds = rig.worlds.take().expect("kept");
        let why = Clean::from("connection refused");
        worlds.send_modify(|shown| {
            shown.cluster_mut().link = Link::Stale {
                since: clock(),
                trouble: LinkTrouble::Offline,
                why,
            }
        });
        let seen = rig.see("STALE").await;
        assert!(
            seen.text.contains("connection refused") && seen.text.contains("spring-cloud-a"),
            "{}",
            seen.text
        );
        rig.see("STALE for 20s").await;
        worlds.send_modify(|shown| shown.cluster_mut().link = Link::Live);
        let seen = rig.see("● live").await;
        assert!(!seen.text.contains("STALE"));
        // Whoever watched the cluster is gone without a word: what is shown is not current either.
        drop(worlds);
        rig.see("STALE").await;
        rig.press("q");
    })
    .await;
}

/// From the key to the cluster and back: asked, sent once, shown as sent, told when done.
#[tokio::test(start_paused = true)]
async fn a_wish_is_sent_once_and_its_end_is_told() {
    play(
        fixture::world(),
        Some(Duration::from_secs(2)),
        |mut rig| async move {
            rig.see("1 Apps").await;
            rig.press("3c");
            rig.see("Let batch 2 of 3 in prod proceed?").await;
            rig.press("prod<enter><enter>");
            rig.see("batch 2 sent").await;
            rig.see("the batch was let go").await;
            let done = rig.hands.done.lock().expect("no writer panics").clone();
            assert!(
                matches!(&done[..], [Intent::Release { name, .. }] if name == worlds::RELEASE),
                "{done:?}"
            );
            rig.press("q");
        },
    )
    .await;
}

/// Who closes the cockpit does not break off what was sent: it is waited for, but not for ever.
#[tokio::test(start_paused = true)]
async fn quitting_waits_for_a_wish_that_is_under_way_but_not_for_ever() {
    for (takes, finished) in [(Some(Duration::from_secs(2)), 1), (None, 0)] {
        let hands = Arc::new(Mutex::new(None));
        let kept = hands.clone();
        let begun = Instant::now();
        let ended = play(fixture::world(), takes, |mut rig| async move {
            *kept.lock().expect("no writer panics") = Some(rig.hands.clone());
            rig.see("1 Apps").await;
            rig.press("3cprod<enter>");
            rig.see("batch 2 sent").await;
            rig.press("q");
        })
        .await;
        assert_eq!(ended, Ended::Quit);
        let hands = hands.lock().expect("no writer panics").take().expect("set");
        assert_eq!(hands.finished.load(Ordering::SeqCst), finished);
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "it hung for {:?}",
            begun.elapsed()
        );
    }
}

/// A log is read as long as somebody looks at it.
#[tokio::test(start_paused = true)]
async fn a_log_is_followed_until_it_is_closed() {
    play(fixture::world(), None, |mut rig| async move {
        rig.see("1 Apps").await;
        rig.press("2jjj<enter>L");
        rig.see("log line 40").await;
        assert!(!rig.hands.dropped.load(Ordering::SeqCst));
        rig.press("<esc>");
        rig.see("1 Apps").await;
        sleep(Duration::from_millis(100)).await;
        assert!(
            rig.hands.dropped.load(Ordering::SeqCst),
            "nobody reads it and it is followed still"
        );
        assert_eq!(rig.hands.asked.load(Ordering::SeqCst), 1);
        rig.press("q");
    })
    .await;
}

/// Ctrl-Z gives the terminal back; afterwards every cell is drawn anew.
#[tokio::test(start_paused = true)]
async fn a_stop_and_a_repaint_draw_everything_anew() {
    play(worlds::quiet(), None, |mut rig| async move {
        rig.see("succeeded").await;
        for (keys, stops) in [("<ctrl-z>", 1), ("<ctrl-l>", 1)] {
            sleep(Duration::from_secs(1)).await;
            let before = rig.drawn();
            rig.press(keys);
            rig.seen
                .wait_for(|seen| seen.cells > before.1)
                .await
                .expect("it runs");
            assert!(
                rig.drawn().1 - before.1 > 400,
                "{keys}: only {} cells",
                rig.drawn().1 - before.1
            );
            assert_eq!(rig.tty.stops.load(Ordering::SeqCst), stops);
        }
        rig.press("1y");
        rig.see("copied").await;
        assert_eq!(
            *rig.tty.copied.lock().expect("no writer panics"),
            "spring-cloud-a"
        );
        rig.press("q");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_by_key_by_signal_and_with_its_terminal() {
    let quit = play(worlds::quiet(), None, |rig| async move { rig.press("q") }).await;
    let stopped = play(worlds::quiet(), None, |rig| async move { Rig::stop(&rig) }).await;
    let gone = play(worlds::quiet(), None, |rig| async move { drop(rig) }).await;
    assert_eq!(
        (quit, stopped, gone),
        (Ended::Quit, Ended::Stopped, Ended::NoInput)
    );
}
