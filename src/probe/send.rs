//! One request of a probe, with a trace of its own.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use uuid::Uuid;

use super::{ProbeError, shown};
use crate::domain::{request::RequestParts, text::Clean};

/// More of a body is not read.
pub(super) const MOST_BYTES: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) trace: String,
    /// The entry gave an answer of any kind.
    pub(super) reached: bool,
    pub(super) status: Option<u16>,
    pub(super) latency: Duration,
    pub(super) body: Clean,
    /// There was more of it.
    pub(super) cut: bool,
    pub(super) error: Option<String>,
}

pub(super) struct Sender {
    client: reqwest::Client,
    method: Method,
    url: String,
    headers: HeaderMap,
}

impl Sender {
    pub(super) fn new(
        to: SocketAddr,
        host: Option<&str>,
        request: &RequestParts,
        written: &str,
    ) -> Result<Self, ProbeError> {
        // Whoever was first stays; it is the same provider everywhere.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = |e: &dyn std::fmt::Display| ProbeError::Http(format!("probe {written:?}: {e}"));
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|e| wrong(&e))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name: HeaderName = name.parse().map_err(|e| wrong(&e))?;
            headers.append(name, HeaderValue::from_str(value).map_err(|e| wrong(&e))?);
        }
        if let (Some(host), false) = (host, headers.contains_key(header::HOST)) {
            // `*.example.com` takes any host below it.
            let host = host.strip_prefix('*').map_or(host.to_owned(), |rest| format!("probe{rest}"));
            headers.insert(header::HOST, HeaderValue::from_str(&host).map_err(|e| wrong(&e))?);
        }
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        let url = format!("http://{to}{}{query}", request.path);
        Ok(Self { client, method: request.method.parse().map_err(|e| wrong(&e))?, url, headers })
    }

    pub(super) async fn send(&self) -> Answer {
        let trace = Uuid::new_v4().simple().to_string();
        let span = &Uuid::new_v4().simple().to_string()[..16];
        let start = Instant::now();
        let mut answer = Answer {
            trace: trace.clone(),
            reached: false,
            status: None,
            latency: Duration::ZERO,
            body: Clean::default(),
            cut: false,
            error: None,
        };
        let request = self.client.request(self.method.clone(), &self.url).headers(self.headers.clone());
        let sent = request.header("traceparent", format!("00-{trace}-{span}-01")).send().await;
        match sent {
            Err(e) => answer.error = Some(words(&e)),
            Ok(response) => {
                answer.reached = true;
                answer.status = Some(response.status().as_u16());
                let mut bytes = vec![];
                let mut parts = response.bytes_stream();
                while let Some(part) = parts.next().await {
                    match part {
                        Ok(part) => bytes.extend_from_slice(&part),
                        Err(e) => {
                            answer.error = Some(format!("the answer broke off: {}", words(&e)));
                            break;
                        }
                    }
                    if bytes.len() > MOST_BYTES {
                        bytes.truncate(MOST_BYTES);
                        answer.cut = true;
                        break;
                    }
                }
                answer.body = shown(&bytes);
            }
        }
        answer.latency = start.elapsed();
        answer
    }
}

fn words(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
