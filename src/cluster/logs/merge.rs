//! Reads the logs of several pods to their ends, as one log in the order of time.

use futures::{Stream, StreamExt, future::join_all, stream, stream::BoxStream};

use super::{
    OpenLog,
    follow::{ChosenPod, find_pods, first_params},
};
use crate::domain::{
    log::{LogEvent, LogLine, LogRequest, MAX_STREAMS},
    world::World,
};

/// One log, and its first line that was not handed on yet.
struct Head {
    pod: ChosenPod,
    lines: BoxStream<'static, std::io::Result<String>>,
    first: Option<LogLine>,
}

impl Head {
    /// Reads the next line; returns why it could not be read.
    async fn advance(&mut self) -> Option<LogEvent> {
        match self.lines.next().await {
            Some(Ok(line)) => {
                let mut line = self.pod.parse_line(&line);
                // A line without a time follows the one before it.
                line.time = line.time.or(self.first.as_ref().and_then(|l| l.time));
                self.first = Some(line);
                None
            }
            Some(Err(why)) => {
                self.first = None;
                Some(self.pod.failed(&why.to_string()))
            }
            None => {
                self.first = None;
                None
            }
        }
    }
}

/// Reads the logs of the selection as they are now.
pub async fn read_logs(
    opener: &dyn OpenLog,
    world: &World,
    request: &LogRequest,
) -> impl Stream<Item = LogEvent> + Send + use<> {
    let mut pods = find_pods(world, request);
    let mut early = vec![];
    if pods.len() > MAX_STREAMS {
        early.push(LogEvent::LeftOut(pods.len() - MAX_STREAMS));
        pods.truncate(MAX_STREAMS);
    }
    let opened = join_all(pods.iter().map(|pod| {
        let params = first_params(request, pod.container.clone());
        opener.open_log(&pod.key, params)
    }))
    .await;
    let mut heads = vec![];
    for (pod, opened) in pods.into_iter().zip(opened) {
        match opened {
            Ok(lines) => {
                let mut head = Head {
                    pod,
                    lines,
                    first: None,
                };
                early.extend(head.advance().await);
                heads.push(head);
            }
            Err(why) => early.push(pod.refused(&why)),
        }
    }
    let lines = stream::unfold(heads, |mut heads| async move {
        let next = heads
            .iter_mut()
            .filter(|head| head.first.is_some())
            .min_by_key(|head| head.first.as_ref().and_then(|line| line.time))?;
        let line = next.first.clone()?;
        let failed = next.advance().await;
        let events = std::iter::once(LogEvent::Line(line)).chain(failed);
        Some((stream::iter(events.collect::<Vec<_>>()), heads))
    });
    stream::iter(early).chain(lines.flatten())
}
