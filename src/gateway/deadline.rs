//! Deadlines that are seldom reached, such as those of idle connections: a timer that is moved only
//! when it fires. Registering a timer for each request takes a lock, and often wakes the thread
//! that waits for the earliest one.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Instant as StdInstant,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for deadlines that follow each other.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    /// Fires at a deadline of now or before.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Ready once it is `at`.
    pub(super) fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }
}

/// A timer of one HTTP/1 connection for hyper, which makes a new sleep for the head of each request.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionTimer(Arc<Mutex<Deadline>>);

impl hyper::rt::Timer for ConnectionTimer {
    fn sleep(&self, duration: std::time::Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: StdInstant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(ConnectionSleep {
            at: deadline.into(),
            timer: self.clone(),
        })
    }

    fn now(&self) -> StdInstant {
        Instant::now().into_std()
    }
}

struct ConnectionSleep {
    at: Instant,
    timer: ConnectionTimer,
}

impl Future for ConnectionSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut deadline = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.poll_until(self.at, cx)
    }
}

impl hyper::rt::Sleep for ConnectionSleep {}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_met_whether_the_one_before_was_later_or_earlier() {
        let start = Instant::now();
        let mut deadline = Deadline::default();
        for seconds in [60, 5, 90, 90, 1] {
            let (set, at) = (Instant::now(), Duration::from_secs(seconds));
            let mut begun = std::pin::pin!(poll_fn(|cx| deadline.poll_until(set + at, cx)));
            // Given up at once, as when a response comes.
            assert!(futures::poll!(begun.as_mut()).is_pending());
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for seconds in [30, 5, 90] {
            let (set, at) = (Instant::now(), Duration::from_secs(seconds));
            poll_fn(|cx| deadline.poll_until(set + at, cx)).await;
            assert!(set.elapsed() >= at && set.elapsed() < at + Duration::from_millis(5));
        }
    }
}
