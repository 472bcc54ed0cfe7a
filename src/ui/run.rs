//! The event loop: it turns messages into frames and starts effects. It waits for messages only, and
//! for the line to the terminal where that is slow.

use std::{collections::HashMap, fmt, io, process::ExitStatus, sync::Arc, time::Duration};

use crossterm::event::Event;
use futures::{
    Stream, StreamExt,
    future::{BoxFuture, FutureExt},
    stream::BoxStream,
};
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
    effect::{
        Answer, Effect, Fault, Foreground, ForegroundCommand, IntentOutcome, Query, Returned,
        ShownNamespace, Ticket,
    },
    model::{Model, Msg},
    update, view,
};
use crate::domain::{
    intent::{Intent, ProbeRequest},
    text::Clean,
    world::{Link, LinkTrouble, ShownWorlds},
};

mod pacer;
mod tick_pacer;
mod world_pacer;

pub use pacer::FrameCause;
use pacer::FramePacer;
use tick_pacer::TickPacer;
use world_pacer::WorldPacer;

/// A backend whose terminal may take frames slowly: what is drawn is kept until the line takes it.
pub trait PacedBackend: Backend {
    /// Says why the following frames are drawn: what a key changes is sent first.
    fn set_cause(&mut self, cause: FrameCause) {
        let _ = cause;
    }

    /// Whether the last frame changed anything that is shown.
    fn has_changed(&self) -> bool {
        true
    }

    /// Whether the line is free for what only time changes.
    fn is_at_rest(&self) -> bool {
        true
    }

    /// Completes when a piece can be sent, or when the line may have come to rest.
    fn wait_for_line(&mut self) -> impl Future<Output = ()> {
        std::future::pending()
    }

    /// Sends as much of what was drawn as the line takes at once.
    fn send_piece(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Waits until the terminal has answered what it was asked, so that nobody else reads the
    /// answer.
    fn await_answers(&mut self) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

/// Carries out the effects of the cockpit. Requests and answers are plain data; the cockpit holds
/// no API client.
pub trait EffectHandler: Send + Sync + 'static {
    /// Called once, when the first frame is drawn. What would compete with it for processors waits
    /// until then.
    fn after_first_frame(&self) {}

    /// Carries out an intent in a namespace. The work continues when the cockpit is closed.
    fn perform_intent(
        &self,
        namespace: String,
        intent: Intent,
    ) -> BoxFuture<'static, Result<IntentOutcome, Fault>>;

    /// Sends requests to the entry of a lane group in a namespace; their chains come back in
    /// [`IntentOutcome::probes`].
    fn send_probe(
        &self,
        namespace: String,
        request: ProbeRequest,
    ) -> BoxFuture<'static, Result<IntentOutcome, Fault>> {
        let _ = (namespace, request);
        let refused = Err(Fault::new("no request can be sent from here"));
        std::future::ready(refused).boxed()
    }

    /// Answers a query. The stream is dropped when its answers are no longer needed.
    fn run_query(&self, ask: Query) -> BoxStream<'static, Answer>;

    /// Prepares a program that gets the terminal.
    fn prepare_foreground(&self, task: Foreground) -> Result<ForegroundCommand, Fault> {
        let _ = task;
        Err(Fault::new("no program can be run here"))
    }

    /// Reads what came of it.
    fn finish_foreground(
        &self,
        command: &ForegroundCommand,
        status: io::Result<ExitStatus>,
    ) -> Result<Returned, Fault> {
        let _ = (command, status);
        Ok(Returned::default())
    }

    /// Retries the connection now.
    fn reconnect(&self) {}

    /// Fetches a whole trace of a lane group from the trace stores of that group. The hops found
    /// arrive with later worlds.
    fn fetch_trace(&self, namespace: &str, group: &str, trace: &str) {
        let _ = (namespace, group, trace);
    }

    /// Switches to another cluster; all later calls concern that one. Worlds carry its name.
    fn switch_cluster(&self, name: &str) {
        let _ = name;
    }

    /// Shows another namespace of the same cluster from now on, or all of them.
    fn switch_namespace(&self, namespace: &ShownNamespace) {
        let _ = namespace;
    }
}

/// Control of the terminal, apart from drawing.
pub trait TerminalControl {
    /// Copies text to the clipboard.
    fn copy_text(&mut self, text: &str) -> io::Result<()>;

    /// Gives the terminal to a program, waits for its end, and takes the terminal again.
    fn run_foreground(&mut self, command: &ForegroundCommand) -> io::Result<ExitStatus>;

    /// Restores the terminal, stops the process, and takes the terminal again on return.
    fn suspend(&mut self) -> io::Result<()>;
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The user quit.
    Quit,
    /// A signal, or a panic.
    Stopped,
    /// The terminal is gone.
    NoInput,
}

/// Errors that end the loop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Drawing failed.
    #[error("the terminal cannot be written: {0}")]
    Draw(String),
    /// A task panicked; its report was printed.
    #[error("a part of graylane failed; its report stands above")]
    Panicked,
}

/// Inputs and outputs of the loop.
pub struct Ports<I, H> {
    /// Terminal events.
    pub input: I,
    /// Current world.
    pub worlds: watch::Receiver<ShownWorlds>,
    /// Carries out the effects.
    pub outside: Arc<dyn EffectHandler>,
    /// Control of the terminal.
    pub host: H,
    /// Ends the loop.
    pub stop: CancellationToken,
    /// Maximum number of frames per second.
    pub fps: u32,
    /// Source of the current time.
    pub clock: fn() -> Timestamp,
}

/// Time that pending intents get to finish when the cockpit is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs until the user quits.
pub async fn run_loop<B, I, H>(
    terminal: &mut Terminal<B>,
    ports: Ports<I, H>,
    model: &mut Model,
) -> Result<Ended, RunError>
where
    B: PacedBackend,
    B::Error: fmt::Display,
    I: Stream<Item = io::Result<Event>> + Unpin,
    H: TerminalControl,
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
    let mut effects = RunningEffects {
        outside,
        out,
        performing: JoinSet::new(),
        asking: HashMap::new(),
    };
    let mut frames = FramePacer::new(fps);
    let mut pace = WorldPacer::new();
    let mut ticks = TickPacer::new(Instant::now());
    let mut watching = true;
    let mut first_frame = true;
    if let Ok(size) = terminal.size() {
        model.size = (size.width, size.height);
    }
    model.now = clock();
    worlds.mark_changed();
    let ended = loop {
        let tick = ticks.next_tick(model.is_busy());
        let is_at_rest = terminal.backend().is_at_rest();
        let msg = select! {
            biased;
            // The rate-limited branches come first: they cannot starve the others, nor be starved.
            cause = frames.wait_until_due(is_at_rest) => {
                pace.run_frame(cause, || draw_frame(terminal, model, cause))?;
                frames.mark_drawn(Instant::now());
                if std::mem::take(&mut first_frame) {
                    effects.outside.after_first_frame();
                }
                let has_changed = cause == FrameCause::Key || terminal.backend().has_changed();
                ticks.mark_drawn(Instant::now(), has_changed);
                continue;
            }
            () = terminal.backend_mut().wait_for_line() => {
                terminal.backend_mut().send_piece().map_err(|e| RunError::Draw(e.to_string()))?;
                continue;
            }
            () = stop.cancelled() => break Ended::Stopped,
            event = input.next() => match event {
                Some(Ok(event)) => Msg::Input(event),
                Some(Err(_)) | None => break Ended::NoInput,
            },
            changed = async {
                pace.wait_until_due().await;
                worlds.changed().await
            }, if watching => if changed.is_ok() {
                shown_message(worlds.borrow_and_update().clone())
            } else {
                // The watches ended: keep the last world, but mark it as stale.
                watching = false;
                let why = Clean::from("the watch of the cluster has ended");
                let link = Link::Stale { since: clock(), trouble: LinkTrouble::Offline, why };
                shown_message(mark_stale(worlds.borrow().clone(), &link))
            },
            Some(msg) = inbox.recv() => msg,
            () = sleep_until(tick) => {
                ticks.mark_ticked(Instant::now());
                Msg::Tick(clock())
            }
        };
        if !matches!(msg, Msg::Tick(_)) {
            model.now = clock();
            ticks.mark_event();
        }
        let cause = effects.cause_of(&msg);
        if matches!(msg, Msg::Input(_)) && frames.holds_time_frame(Instant::now()) {
            // What changed by itself must not count as the key's work.
            draw_frame(terminal, model, FrameCause::Time)?;
        }
        frames.want_frame(cause);
        let is_world = matches!(msg, Msg::World(_) | Msg::Worlds(_));
        let wishes = pace.run_update(is_world, || update(model, msg));
        // The first data are awaited like the answer to a key.
        if cause == FrameCause::Key || model.link == Link::Connecting {
            pace.hurry();
        }
        if apply_effects(wishes, terminal, &mut host, &mut effects).await? {
            break Ended::Quit;
        }
    };
    inbox.close();
    effects.finish_intents().await;
    Ok(ended)
}

fn shown_message(shown: ShownWorlds) -> Msg {
    match shown {
        ShownWorlds::One(world) => Msg::World(Arc::from(world)),
        ShownWorlds::All(worlds) => Msg::Worlds(Arc::from(worlds)),
    }
}

/// The same worlds, out of date.
fn mark_stale(mut shown: ShownWorlds, link: &Link) -> ShownWorlds {
    shown.cluster_mut().link = link.clone();
    if let ShownWorlds::All(worlds) = &mut shown {
        for world in worlds.by_namespace.values_mut() {
            Arc::make_mut(world).link = link.clone();
        }
    }
    shown
}

/// Carries out what an update asks for; returns whether to quit.
async fn apply_effects<B, H>(
    wishes: Vec<Effect>,
    terminal: &mut Terminal<B>,
    host: &mut H,
    effects: &mut RunningEffects,
) -> Result<bool, RunError>
where
    B: PacedBackend,
    B::Error: fmt::Display,
    H: TerminalControl,
{
    let failed = |e: &dyn fmt::Display| RunError::Draw(e.to_string());
    for wish in wishes {
        match wish {
            Effect::Quit => return Ok(true),
            Effect::Repaint => terminal.clear().map_err(|e| failed(&e))?,
            Effect::Reconnect => effects.outside.reconnect(),
            Effect::SwitchCluster(name) => effects.outside.switch_cluster(&name),
            Effect::SwitchNamespace(name) => effects.outside.switch_namespace(&name),
            Effect::FetchTrace {
                namespace,
                group,
                trace,
            } => effects.outside.fetch_trace(&namespace, &group, &trace),
            Effect::Copy(text) => host.copy_text(&text).map_err(|e| failed(&e))?,
            Effect::Suspend => {
                terminal.backend_mut().await_answers().await;
                host.suspend().map_err(|e| failed(&e))?;
                terminal.clear().map_err(|e| failed(&e))?;
            }
            Effect::Foreground(ticket, task) => {
                terminal.backend_mut().await_answers().await;
                let returned = effects.run_foreground(host, task);
                terminal.clear().map_err(|e| failed(&e))?;
                effects.send(Msg::Returned(ticket, returned));
            }
            Effect::Perform(ticket, namespace, intent) => {
                let work = effects.outside.perform_intent(namespace, intent);
                effects.start_work(ticket, work);
            }
            Effect::Probe(ticket, namespace, request) => {
                let work = effects.outside.send_probe(namespace, request);
                effects.start_work(ticket, work);
            }
            Effect::Query(ticket, ask) => effects.start_query(ticket, ask),
            Effect::CancelQuery(ticket) => effects.cancel_query(ticket),
        }
    }
    Ok(false)
}

fn draw_frame<B: PacedBackend>(
    terminal: &mut Terminal<B>,
    model: &mut Model,
    cause: FrameCause,
) -> Result<(), RunError>
where
    B::Error: fmt::Display,
{
    terminal.backend_mut().set_cause(cause);
    let drawn = terminal.draw(|frame| {
        let area = frame.area();
        // The terminal may have resized before its event arrives.
        model.size = (area.width, area.height);
        if let Some(cursor) = view(model, area, frame.buffer_mut()) {
            frame.set_cursor_position(cursor);
        }
    });
    drawn.map(drop).map_err(|e| RunError::Draw(e.to_string()))
}

/// Effects in progress.
struct RunningEffects {
    outside: Arc<dyn EffectHandler>,
    out: mpsc::Sender<Msg>,
    performing: JoinSet<()>,
    asking: HashMap<Ticket, AskedQuery>,
}

/// A query in progress.
struct AskedQuery {
    task: AbortHandle,
    /// Part of its answer was shown already.
    is_answered: bool,
}

impl RunningEffects {
    /// Why a message is drawn: a person waits for the outcome of an intent and for the beginning of
    /// an answer, and for nothing else but the effect of a key.
    fn cause_of(&mut self, msg: &Msg) -> FrameCause {
        match msg {
            Msg::Input(_) | Msg::Settled(..) | Msg::Resumed | Msg::Returned(..) => FrameCause::Key,
            Msg::Answer(ticket, _) => {
                let is_first = self
                    .asking
                    .get_mut(ticket)
                    .is_some_and(|asked| !std::mem::replace(&mut asked.is_answered, true));
                if is_first {
                    FrameCause::Key
                } else {
                    FrameCause::Time
                }
            }
            Msg::World(_) | Msg::Worlds(_) | Msg::Tick(_) => FrameCause::Time,
        }
    }

    /// Does what is answered by `Msg::Settled`.
    fn start_work(
        &mut self,
        ticket: Ticket,
        work: BoxFuture<'static, Result<IntentOutcome, Fault>>,
    ) {
        let out = self.out.clone();
        self.performing.spawn(async move {
            let outcome = work.await;
            // After the cockpit has closed there is no receiver; the work was still done.
            let _ = out.send(Msg::Settled(ticket, outcome)).await;
        });
        while self.performing.try_join_next().is_some() {}
    }

    /// Runs a program in the terminal; nothing else is drawn or typed meanwhile.
    fn run_foreground<H: TerminalControl>(
        &self,
        host: &mut H,
        task: Foreground,
    ) -> Result<Returned, Fault> {
        let command = self.outside.prepare_foreground(task)?;
        let status = host.run_foreground(&command);
        self.outside.finish_foreground(&command, status)
    }

    /// Sends a message to the loop, which is not reading now.
    fn send(&self, msg: Msg) {
        let out = self.out.clone();
        tokio::spawn(async move { out.send(msg).await });
    }

    fn start_query(&mut self, ticket: Ticket, ask: Query) {
        let (mut answers, out) = (self.outside.run_query(ask), self.out.clone());
        let task = tokio::spawn(async move {
            while let Some(answer) = answers.next().await {
                if out.send(Msg::Answer(ticket, answer)).await.is_err() {
                    return;
                }
            }
            let _ = out.send(Msg::Answer(ticket, Answer::End)).await;
        });
        // Forget queries that have ended.
        self.asking.retain(|_, asked| !asked.task.is_finished());
        let asked = AskedQuery {
            task: task.abort_handle(),
            is_answered: false,
        };
        self.asking.insert(ticket, asked);
    }

    fn cancel_query(&mut self, ticket: Ticket) {
        if let Some(asked) = self.asking.remove(&ticket) {
            asked.task.abort();
        }
    }

    async fn finish_intents(mut self) {
        for asked in self.asking.values() {
            asked.task.abort();
        }
        let all = async { while self.performing.join_next().await.is_some() {} };
        let _ = timeout(CLOSE_TIMEOUT, all).await;
    }
}
