//! The loop: messages in, frames out, effects carried out by somebody else. It waits for nothing but messages.

use std::{collections::HashMap, fmt, io, sync::Arc, time::Duration};

use crossterm::event::Event;
use futures::{Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use jiff::Timestamp;
use ratatui::{Terminal, backend::Backend};
use tokio::{
    select,
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    effect::{Answer, Ask, Done, Effect, Fault, Ticket},
    model::{Model, Msg},
    update, view,
};
use crate::domain::{
    intent::Intent,
    text::Clean,
    world::{Link, Trouble, World},
};

/// Whoever carries out what the cockpit wishes. Plain data goes in, plain data comes out; the cockpit neither
/// knows nor holds a client.
pub trait Outside: Send + Sync + 'static {
    /// Carries a wish out (a probe is sent, its requests come back in [`Done::probes`]). It runs to its end even
    /// when the cockpit is closed meanwhile.
    fn perform(&self, intent: Intent) -> BoxFuture<'static, Result<Done, Fault>>;

    /// Reads something. Dropped when nobody reads the answer any more.
    fn ask(&self, ask: Ask) -> BoxStream<'static, Answer>;

    /// Tries the connection again now.
    fn reconnect(&self) {}

    /// Fetches a whole trace of a lane group from the stores that it names; what they tell comes with the next worlds.
    fn fetch_trace(&self, group: &str, trace: &str) {
        let _ = (group, trace);
    }

    /// Looks at another cluster from now on: what comes after this call is about that one. Worlds carry its name.
    fn switch(&self, name: &str) {
        let _ = name;
    }
}

/// The terminal apart from its cells.
pub trait Host {
    /// To the clipboard.
    fn copy(&mut self, text: &str) -> io::Result<()>;

    /// Gives the terminal back, stops the process, and takes the terminal again.
    fn suspend(&mut self) -> io::Result<()>;
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Somebody pressed the key.
    Quit,
    /// A signal, or a panic somewhere.
    Stopped,
    /// The terminal is gone.
    NoInput,
}

/// The loop cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nothing can be drawn.
    #[error("the terminal cannot be written: {0}")]
    Draw(String),
    /// A task of the cockpit panicked; its report is on the screen above.
    #[error("a part of graylane failed; its report stands above")]
    Panicked,
}

/// What the loop works with.
pub struct Ports<I, H> {
    /// Terminal events.
    pub input: I,
    /// The world.
    pub worlds: watch::Receiver<World>,
    /// Who carries wishes out.
    pub outside: Arc<dyn Outside>,
    /// The terminal apart from its cells.
    pub host: H,
    /// Ends the loop.
    pub stop: CancellationToken,
    /// Frames a second at most.
    pub fps: u32,
    /// The time.
    pub clock: fn() -> Timestamp,
}

/// The clock ticks so often while something is under way, for the spinner,
const BUSY: Duration = Duration::from_millis(250);
/// and so often while nothing is.
const IDLE: Duration = Duration::from_secs(1);
/// Wishes that were sent get this long to end when the cockpit is closed.
const PATIENCE: Duration = Duration::from_secs(3);

/// Dirty flag and frame cap in one: `due` is ready only when a frame is wanted and allowed.
struct Frames {
    wanted: bool,
    earliest: Instant,
    gap: Duration,
}

impl Frames {
    async fn due(&self) {
        if self.wanted {
            sleep_until(self.earliest).await
        } else {
            std::future::pending().await
        }
    }

    fn drawn(&mut self) {
        self.wanted = false;
        self.earliest = Instant::now() + self.gap;
    }
}

/// Runs until somebody quits.
pub async fn run<B, I, H>(
    terminal: &mut Terminal<B>,
    ports: Ports<I, H>,
    model: &mut Model,
) -> Result<Ended, RunError>
where
    B: Backend,
    B::Error: fmt::Display,
    I: Stream<Item = io::Result<Event>> + Unpin,
    H: Host,
{
    let Ports {
        mut input,
        mut worlds,
        outside,
        mut host,
        stop,
        fps,
        clock,
    } = ports;
    let (out, mut inbox) = mpsc::channel(256);
    let mut effects = Effects {
        outside,
        out,
        performing: JoinSet::new(),
        asking: HashMap::new(),
    };
    let gap = Duration::from_secs(1) / fps.max(1);
    let mut frames = Frames {
        wanted: true,
        earliest: Instant::now(),
        gap,
    };
    let mut ticked = Instant::now();
    let mut watching = true;
    if let Ok(size) = terminal.size() {
        model.size = (size.width, size.height);
    }
    model.now = clock();
    worlds.mark_changed();
    let ended = loop {
        let tick = ticked + if model.is_busy() { BUSY } else { IDLE };
        let msg = select! {
            biased;
            // The one branch with a rate cap comes first: it can neither starve the rest nor be starved.
            () = frames.due() => {
                draw(terminal, model)?;
                frames.drawn();
                continue;
            }
            () = stop.cancelled() => break Ended::Stopped,
            event = input.next() => match event {
                Some(Ok(event)) => Msg::Input(event),
                Some(Err(_)) | None => break Ended::NoInput,
            },
            changed = worlds.changed(), if watching => match changed {
                Ok(()) => Msg::World(Arc::new(worlds.borrow_and_update().clone())),
                // Nobody watches the cluster any more: what is known stays, and is not passed off as current.
                Err(_) => {
                    watching = false;
                    let why = Clean::from("nobody watches the cluster any more");
                    let link = Link::Stale { since: clock(), trouble: Trouble::Offline, why };
                    Msg::World(Arc::new(World { link, ..(*model.world).clone() }))
                }
            },
            Some(msg) = inbox.recv() => msg,
            () = sleep_until(tick) => {
                ticked = Instant::now();
                Msg::Tick(clock())
            }
        };
        if !matches!(msg, Msg::Tick(_)) {
            model.now = clock();
        }
        frames.wanted = true;
        let mut wishes = update(model, msg).into_iter();
        let quit = loop {
            match wishes.next() {
                None => break false,
                Some(Effect::Quit) => break true,
                Some(Effect::Repaint) => terminal
                    .clear()
                    .map_err(|e| RunError::Draw(e.to_string()))?,
                Some(Effect::Reconnect) => effects.outside.reconnect(),
                Some(Effect::Switch(name)) => effects.outside.switch(&name),
                Some(Effect::FetchTrace { group, trace }) => {
                    effects.outside.fetch_trace(&group, &trace)
                }
                Some(Effect::Copy(text)) => host
                    .copy(&text)
                    .map_err(|e| RunError::Draw(e.to_string()))?,
                Some(Effect::Suspend) => {
                    host.suspend().map_err(|e| RunError::Draw(e.to_string()))?;
                    terminal
                        .clear()
                        .map_err(|e| RunError::Draw(e.to_string()))?;
                }
                Some(Effect::Perform(ticket, intent)) => effects.perform(ticket, intent),
                Some(Effect::Ask(ticket, ask)) => effects.ask(ticket, ask),
                Some(Effect::Drop(ticket)) => effects.drop(ticket),
            }
        };
        if quit {
            break Ended::Quit;
        }
    };
    inbox.close();
    effects.finish().await;
    Ok(ended)
}

fn draw<B: Backend>(terminal: &mut Terminal<B>, model: &mut Model) -> Result<(), RunError>
where
    B::Error: fmt::Display,
{
    let drawn = terminal.draw(|frame| {
        let area = frame.area();
        // The terminal may have a new size before its event has come.
        model.size = (area.width, area.height);
        if let Some(cursor) = view(model, area, frame.buffer_mut()) {
            frame.set_cursor_position(cursor);
        }
    });
    drawn.map(drop).map_err(|e| RunError::Draw(e.to_string()))
}

/// What is under way outside.
struct Effects {
    outside: Arc<dyn Outside>,
    out: mpsc::Sender<Msg>,
    performing: JoinSet<()>,
    asking: HashMap<Ticket, AbortHandle>,
}

impl Effects {
    fn perform(&mut self, ticket: Ticket, intent: Intent) {
        let (work, out) = (self.outside.perform(intent), self.out.clone());
        self.performing.spawn(async move {
            let outcome = work.await;
            // Nobody listens any more when the cockpit is closed: the wish was carried out all the same.
            let _ = out.send(Msg::Settled(ticket, outcome)).await;
        });
        while self.performing.try_join_next().is_some() {}
    }

    fn ask(&mut self, ticket: Ticket, ask: Ask) {
        let (mut answers, out) = (self.outside.ask(ask), self.out.clone());
        let task = tokio::spawn(async move {
            while let Some(answer) = answers.next().await {
                if out.send(Msg::Answer(ticket, answer)).await.is_err() {
                    return;
                }
            }
            let _ = out.send(Msg::Answer(ticket, Answer::End)).await;
        });
        // What has ended by itself needs no place here.
        self.asking.retain(|_, task| !task.is_finished());
        self.asking.insert(ticket, task.abort_handle());
    }

    fn drop(&mut self, ticket: Ticket) {
        if let Some(task) = self.asking.remove(&ticket) {
            task.abort();
        }
    }

    async fn finish(mut self) {
        for task in self.asking.values() {
            task.abort();
        }
        let all = async { while self.performing.join_next().await.is_some() {} };
        let _ = timeout(PATIENCE, all).await;
    }
}
