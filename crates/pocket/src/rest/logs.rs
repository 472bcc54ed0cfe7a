//! `pods/NAME/log`: the kubelet has the logs, this module requests them.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use serde_json::Value;

use super::error::{ApiError, Result};
use super::reply::{BoxError, Reply};
use super::{ApiServer, Call};
use crate::clock;

/// Which part of a container's log is requested.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// One of the pod's containers; chosen here if the client named none.
    pub container: String,
    pub follow: bool,
    pub tail_lines: Option<u64>,
    pub since: Option<Timestamp>,
    pub timestamps: bool,
    /// Read the log of the previous run instead of the current one.
    pub previous: bool,
    pub limit_bytes: Option<u64>,
}

pub type LogStream = BoxStream<'static, std::io::Result<Bytes>>;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The container has not started yet, or has no previous run: an error in the client's request.
    #[error("{0}")]
    NotAvailable(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Provider of container logs.
pub trait LogSource: Send + Sync {
    /// Opens a log of `pod`. A followed stream ends when the container does.
    fn open_log(
        &self,
        pod: Arc<Value>,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<LogStream, LogError>>;
}

impl ApiServer {
    pub(super) async fn stream_logs(&self, call: &Call) -> Result<Reply> {
        let name = call.name()?;
        let pod = self
            .find_stored(&call.resource, &call.store_key(name))?
            .value;
        let Some(source) = self.inner.logs.get() else {
            return Err(ApiError::not_served("logs before its kubelet has started"));
        };
        let query = &call.query;
        let since_seconds: Option<i64> = query.parse_number("sinceSeconds")?;
        let since_time: Option<Timestamp> = query.parse_number("sinceTime")?;
        let since = match (since_seconds, since_time) {
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_request(
                    "at most one of `sinceTime` or `sinceSeconds` may be specified",
                ));
            }
            (Some(seconds), None) => clock::now()
                .checked_sub(jiff::SignedDuration::from_secs(seconds))
                .ok(),
            (None, time) => time,
        };
        let options = LogOptions {
            container: choose_container(&pod, name, query.get("container"))?,
            follow: query.has_flag("follow"),
            tail_lines: query.parse_number("tailLines")?,
            since,
            timestamps: query.has_flag("timestamps"),
            previous: query.has_flag("previous"),
            limit_bytes: query.parse_number("limitBytes")?,
        };
        let stream = source
            .open_log(pod, options)
            .await
            .map_err(|error| match error {
                LogError::NotAvailable(why) => ApiError::bad_request(why),
                LogError::Io(error) => ApiError::internal(format!("log of pod {name}: {error}")),
            })?;
        let closing = self.closing().clone();
        Ok(Reply::Stream {
            content_type: "text/plain; charset=utf-8",
            stream: stream
                .map(|chunk| chunk.map_err(BoxError::from))
                .take_until(async move { closing.cancelled().await })
                .boxed(),
        })
    }
}

fn choose_container(pod: &Value, name: &str, asked: Option<&str>) -> Result<String> {
    let spec = &pod["spec"];
    let names = |list: &str| -> Vec<String> {
        let list = spec[list].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .filter_map(|c| c["name"].as_str().map(str::to_owned))
            .collect()
    };
    let (containers, init) = (names("containers"), names("initContainers"));
    match asked {
        Some(asked) if containers.iter().chain(&init).any(|c| c == asked) => Ok(asked.to_owned()),
        Some(asked) => Err(ApiError::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        ))),
        None => match containers.as_slice() {
            [only] => Ok(only.clone()),
            many => Err(ApiError::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                many.join(" ")
            ))),
        },
    }
}
