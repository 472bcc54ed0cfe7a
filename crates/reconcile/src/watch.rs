//! Watches that go on: after an error one pauses a little and starts again with a list.
//!
//! `kube`'s watcher continues from the last version it has seen. If the server reports with an HTTP
//! status that it no longer knows this version, the watcher asks for it for ever. A watch without
//! events never counts as recovered, and occasional disconnects make its pauses longer each time.

use std::{fmt::Debug, time::Duration};

use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use kube::{
    Api, Resource,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::backoff::{BackoffRange, jitter};

/// Pause after the first failure.
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause of [`resilient_watch`].
pub const MAX_PAUSE: Duration = Duration::from_secs(5);
/// A watch that lived this long after its list was healthy.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(10);

type EventStream<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// Pauses of a broken watch. A row of failures ends with a watch that stays healthy for a while
/// after its list: one that gets a list but no changes breaks right after it, and would otherwise
/// list everything again and again.
#[derive(Debug)]
struct Pauses {
    range: BackoffRange,
    failures: u32,
    listed: Option<Instant>,
}

impl Pauses {
    fn was_healthy(&self) -> bool {
        self.listed.is_some_and(|at| at.elapsed() >= HEALTHY_AFTER)
    }

    fn next(&mut self) -> Duration {
        if self.was_healthy() {
            self.failures = 0;
        }
        self.listed = None;
        let pause = self.range.pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        jitter(pause)
    }
}

/// A watch that starts again with a list after an error. The pauses are the caller's, who may know
/// when the server is back; [`resilient_watch`] pauses by itself.
pub struct RestartingWatch<K> {
    begin: Box<dyn Fn() -> EventStream<K> + Send>,
    /// `None` after an error.
    events: Option<EventStream<K>>,
    pauses: Pauses,
}

impl<K> RestartingWatch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// A watch of these objects whose pauses are not longer than `max_pause`.
    pub fn new(api: Api<K>, config: watcher::Config, max_pause: Duration) -> Self {
        Self::from_starts(max_pause, move || {
            watcher(api.clone(), config.clone()).boxed()
        })
    }
}

impl<K: Send + 'static> RestartingWatch<K> {
    fn from_starts(
        max_pause: Duration,
        begin: impl Fn() -> EventStream<K> + Send + 'static,
    ) -> Self {
        Self {
            begin: Box::new(begin),
            events: None,
            pauses: Pauses {
                range: BackoffRange {
                    first: FIRST_PAUSE,
                    max: max_pause,
                },
                failures: 0,
                listed: None,
            },
        }
    }

    /// The next event. After an error the next call starts again with a list.
    pub async fn next_event(&mut self) -> watcher::Result<Event<K>> {
        loop {
            let Some(event) = self.events.get_or_insert_with(&self.begin).next().await else {
                self.events = None;
                sleep(self.next_pause()).await;
                continue;
            };
            match &event {
                Ok(Event::InitDone) => self.pauses.listed = Some(Instant::now()),
                Ok(_) => {}
                Err(_) => self.events = None,
            }
            return event;
        }
    }

    /// How long to wait after an error.
    pub fn next_pause(&mut self) -> Duration {
        self.pauses.next()
    }

    /// Whether the watch has lived for a while since its list.
    pub fn was_healthy(&self) -> bool {
        self.pauses.was_healthy()
    }
}

/// Endless stream of the events of these objects.
pub fn resilient_watch<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    pause_after_errors(RestartingWatch::new(api, config, MAX_PAUSE))
}

fn pause_after_errors<K: Send + 'static>(
    watch: RestartingWatch<K>,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send {
    stream::unfold((watch, false), |(mut watch, is_broken)| async move {
        if is_broken {
            let pause = watch.next_pause();
            sleep(pause).await;
        }
        let event = watch.next_event().await;
        let is_broken = event.is_err();
        Some((event, (watch, is_broken)))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use kube::core::Status;

    use super::*;

    fn refused() -> watcher::Error {
        let status = Status::failure("too old resource version", "Expired").with_code(410);
        watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(status)))
    }

    /// How often a watch was started and how long the pauses took, until `breaks` errors.
    async fn after(breaks: usize, lists: bool, lives: Duration) -> (u32, Duration) {
        let (begun, count) = (Arc::new(AtomicU32::new(0)), Instant::now());
        let seen = Arc::clone(&begun);
        let watch = RestartingWatch::<()>::from_starts(MAX_PAUSE, move || {
            seen.fetch_add(1, Ordering::Relaxed);
            let whole = [Ok(Event::Init), Ok(Event::InitDone)];
            let broken = async move {
                sleep(lives).await;
                Err(refused())
            };
            stream::iter(whole.into_iter().filter(move |_| lists))
                .chain(stream::once(broken))
                .boxed()
        });
        let broken = pause_after_errors(watch)
            .filter(|e| std::future::ready(e.is_err()))
            .take(breaks);
        assert_eq!(broken.count().await, breaks);
        (begun.load(Ordering::Relaxed), count.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn after_each_break_it_begins_anew() {
        let (begun, took) = after(20, true, HEALTHY_AFTER).await;
        assert_eq!(begun, 20);
        assert!(
            took < 20 * (HEALTHY_AFTER + FIRST_PAUSE * 2),
            "one that was well begins soon: {took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_away_or_shows_only_lists_is_asked_less_often_but_never_seldom() {
        for lists in [false, true] {
            let (begun, took) = after(20, lists, Duration::ZERO).await;
            assert_eq!(begun, 20);
            assert!(
                took > 12 * MAX_PAUSE && took < 20 * MAX_PAUSE * 5 / 4,
                "{took:?}"
            );
        }
    }
}
