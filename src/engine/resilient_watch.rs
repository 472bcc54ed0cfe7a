//! A resilient watch: after an error it pauses a little and starts again with a list.
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

use crate::cluster::watch::backoff::WatchBackoff;

/// Maximum pause after an error.
const MAX_PAUSE: Duration = Duration::from_secs(5);

type EventStream<K> = BoxStream<'static, watcher::Result<Event<K>>>;

struct Watch<K> {
    /// `None` after an error.
    events: Option<EventStream<K>>,
    pauses: WatchBackoff,
    broken: bool,
}

/// Endless stream of the events of these objects.
pub(super) fn resilient_watch<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    restart_after_errors(move || watcher(api.clone(), config.clone()).boxed())
}

fn restart_after_errors<K: Send + 'static>(
    begin: impl Fn() -> EventStream<K> + Send,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send {
    let watch = Watch {
        events: None,
        pauses: WatchBackoff::with_max(MAX_PAUSE),
        broken: false,
    };
    stream::unfold((watch, begin), |(mut watch, begin)| async move {
        loop {
            if std::mem::take(&mut watch.broken) {
                tokio::time::sleep(watch.pauses.next_pause()).await;
            }
            let Some(event) = watch.events.get_or_insert_with(&begin).next().await else {
                (watch.events, watch.broken) = (None, true);
                continue;
            };
            match &event {
                Ok(Event::InitDone) => watch.pauses.note_listed(),
                Ok(_) => {}
                Err(_) => (watch.events, watch.broken) = (None, true),
            }
            return Some((event, (watch, begin)));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use kube::core::Status;
    use tokio::time::Instant;

    use super::*;
    use crate::cluster::watch::backoff::{FIRST_PAUSE, HEALTHY_AFTER};

    fn refused() -> watcher::Error {
        let status = Status::failure("too old resource version", "Expired").with_code(410);
        watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(status)))
    }

    /// How often a watch was started and how long the pauses took, until `breaks` errors.
    async fn after(breaks: usize, lists: bool, lives: Duration) -> (u32, Duration) {
        let (begun, count) = (Arc::new(AtomicU32::new(0)), Instant::now());
        let seen = Arc::clone(&begun);
        let events = restart_after_errors::<()>(move || {
            seen.fetch_add(1, Ordering::Relaxed);
            let whole = [Ok(Event::Init), Ok(Event::InitDone)];
            let broken = async move {
                tokio::time::sleep(lives).await;
                Err(refused())
            };
            stream::iter(whole.into_iter().filter(move |_| lists))
                .chain(stream::once(broken))
                .boxed()
        });
        let broken = events
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
