//! Logs of containers as lines. Overlong lines are cut, so that they cannot fill the memory.

use std::sync::Arc;

use futures::{
    AsyncBufRead, AsyncBufReadExt, FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::LogParams};

use super::clusters::Clusters;
use crate::domain::world::ObjectKey;

mod follow;
mod merge;

pub use follow::follow_logs;
pub use merge::read_logs;

/// Bytes of a line that are kept.
pub const LINE_MAX: usize = 16 * 1024;

/// Lines of a log as they are, each with what went wrong.
pub type RawLines = BoxStream<'static, std::io::Result<String>>;

/// Opens logs of pods.
pub trait OpenLog: Send + Sync + 'static {
    /// Opens the log of a pod.
    fn open_log(
        &self,
        pod: &ObjectKey,
        params: LogParams,
    ) -> BoxFuture<'static, Result<RawLines, kube::Error>>;
}

impl OpenLog for Clusters {
    fn open_log(
        &self,
        pod: &ObjectKey,
        params: LogParams,
    ) -> BoxFuture<'static, Result<RawLines, kube::Error>> {
        let namespace = &pod.namespace;
        let (client, namespace) = (
            self.client_for(&namespace.cluster),
            Arc::clone(&namespace.name),
        );
        let name = pod.name.clone();
        async move {
            let lines = stream_raw_lines(&client, &namespace, &name, &params).await?;
            Ok(lines.boxed())
        }
        .boxed()
    }
}

/// Streams a log as raw lines, cut at [`LINE_MAX`] bytes, with invalid UTF-8 replaced.
#[tracing::instrument(level = "debug", skip_all, fields(namespace, pod))]
pub async fn stream_raw_lines(
    client: &Client,
    namespace: &str,
    pod: &str,
    params: &LogParams,
) -> Result<impl Stream<Item = std::io::Result<String>> + Send + use<>, kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    Ok(split_lines(Box::pin(pods.log_stream(pod, params).await?)))
}

/// Splits bytes into lines, cutting long ones and replacing invalid UTF-8.
pub(super) fn split_lines<R: AsyncBufRead + Unpin + Send>(
    reader: R,
) -> impl Stream<Item = std::io::Result<String>> + Send {
    stream::try_unfold(reader, |mut reader| async move {
        let mut line = Vec::new();
        let mut any = false;
        loop {
            let buffer = reader.fill_buf().await?;
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = buffer.iter().position(|b| *b == b'\n');
            let (part, used) = end.map_or((buffer, buffer.len()), |i| (&buffer[..i], i + 1));
            let room = LINE_MAX.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            reader.consume_unpin(used);
            if end.is_some() {
                break;
            }
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        Ok(any.then_some((text, reader)))
    })
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    async fn read_all(bytes: &[u8]) -> Vec<String> {
        split_lines(futures::io::BufReader::with_capacity(7, bytes))
            .try_collect()
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn lines_end_at_newlines_and_the_last_needs_none() {
        assert_eq!(
            read_all(b"one\n\ntwo words\nlast").await,
            ["one", "", "two words", "last"]
        );
        assert!(read_all(b"").await.is_empty());
    }

    #[tokio::test]
    async fn garbage_is_cut_and_replaced_and_what_follows_is_read() {
        let mut bytes = vec![b'x'; LINE_MAX * 3];
        bytes.extend_from_slice(b"\n\xff\xfe\nok\n");
        let read = read_all(&bytes).await;
        assert_eq!(
            read.iter().map(String::len).collect::<Vec<_>>(),
            [LINE_MAX, 6, 2]
        );
        assert_eq!(read[2], "ok");
    }
}
