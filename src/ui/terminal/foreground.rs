//! Gives the terminal to another program and takes it back: an editor, or a shell in a pod.
//!
//! Meanwhile nothing here reads the keys, and Ctrl-C and Ctrl-Z are that program's.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    pin::Pin,
    process::{Command, ExitStatus},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use crossterm::event::Event;
use futures::{Stream, stream};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::sync::watch;

use super::{input::TerminalReader, suspend_events};

/// Another program has the terminal.
static LENT: AtomicBool = AtomicBool::new(false);

/// Whether another program has the terminal, so that Ctrl-C is not meant for us.
pub(super) fn is_lent() -> bool {
    LENT.load(Ordering::SeqCst)
}

/// Events of the terminal.
type BoxedInput = Pin<Box<dyn Stream<Item = io::Result<Event>> + Send>>;

/// The keys, which can be left to another program for a while.
#[derive(Clone)]
pub(super) struct SharedInput {
    open: Arc<Mutex<Option<BoxedInput>>>,
    /// Number of reports of the terminal's state, over all times that it was read.
    reports: watch::Sender<u64>,
}

impl SharedInput {
    pub(super) fn open() -> io::Result<Self> {
        let input = Self {
            open: Arc::default(),
            reports: watch::Sender::new(0),
        };
        input.reopen()?;
        Ok(input)
    }

    /// Number of state reports so far.
    pub(super) fn reports(&self) -> watch::Receiver<u64> {
        self.reports.subscribe()
    }

    /// Reads no more keys.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    /// Reads keys again; what was typed for the other program is not among them.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let keys = TerminalReader::start(self.reports.clone())?;
        *self.lock() = Some(Box::pin(stream::select(keys, suspend_events()?)));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<BoxedInput>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream for SharedInput {
    type Item = io::Result<Event>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.lock().as_mut() {
            Some(input) => input.as_mut().poll_next(cx),
            // The loop that polls is the one that lends the terminal, so here the terminal could not
            // be taken again.
            None => Poll::Ready(None),
        }
    }
}

/// Runs a program to its end. When it is stopped, as by Ctrl-Z, so is this process.
pub(super) fn run_to_end(command: &mut Command) -> io::Result<ExitStatus> {
    LENT.store(true, Ordering::SeqCst);
    let status = command.spawn().and_then(|child| wait_for_end(child.id()));
    LENT.store(false, Ordering::SeqCst);
    status
}

fn wait_for_end(id: u32) -> io::Result<ExitStatus> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    loop {
        let waited = match waitpid(pid, WaitOptions::UNTRACED) {
            Err(rustix::io::Errno::INTR) => continue,
            waited => waited?,
        };
        let Some((child, status)) = waited else {
            continue;
        };
        if status.stopped() {
            kill_process(rustix::process::getpid(), Signal::STOP)?;
            // This process goes on here when its shell lets it; the program does, too.
            let _ = kill_process(child, Signal::CONT);
            continue;
        }
        return Ok(ExitStatus::from_raw(status.as_raw()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_waited_for_and_tells_how_it_ended() {
        let run = |script: &str| run_to_end(Command::new("sh").args(["-c", script])).unwrap();
        assert!(run("exit 0").success());
        assert_eq!(run("exit 7").code(), Some(7));
        assert_eq!(run("kill -TERM $$").signal(), Some(15));
        assert!(!is_lent());
        assert!(run_to_end(&mut Command::new("/no/such/program")).is_err());
    }
}
