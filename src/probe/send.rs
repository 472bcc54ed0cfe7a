//! Sends one request of a probe, with its own trace id.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use uuid::Uuid;

use super::{ProbeError, to_printable};
use crate::{
    cluster::proxy::Proxy,
    domain::{diff, request::RequestParts, text::Clean},
};

/// Bytes of a body that are read.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Characters that users type and that a request line must not contain.
const ENCODED_CHARACTERS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The response to a probe.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) trace: String,
    /// The entry responded in some way.
    pub(super) reached: bool,
    pub(super) status: Option<u16>,
    pub(super) latency: Duration,
    pub(super) body: Clean,
    /// The response as received, for comparing; `None` if there was none or it broke off.
    pub(super) raw: Option<diff::Answer>,
    /// The body was longer than what was read.
    pub(super) cut: bool,
    pub(super) error: Option<String>,
}

/// The connection to the entry.
pub(super) enum EntryConnection {
    /// An HTTP client and the base URL `http://HOST:PORT`.
    Direct(reqwest::Client, String),
    Proxy(Proxy),
}

/// The parts of a body as they arrive.
type Body = BoxStream<'static, Result<Bytes, BodyError>>;

/// Why a body breaks off.
#[derive(Debug, thiserror::Error)]
enum BodyError {
    #[error("{}", format_error_chain(.0))]
    Direct(reqwest::Error),
    #[error(transparent)]
    Proxy(kube::Error),
}

/// Why no response begins.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("{}", format_error_chain(.0))]
    Direct(reqwest::Error),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// In the words of the way through the API server.
    #[error("{0}")]
    Proxy(String),
}

/// Status, and the headers that are compared.
struct ResponseHead {
    status: u16,
    headers: BTreeMap<diff::Header, String>,
}

impl ResponseHead {
    fn from_response(status: StatusCode, all: &HeaderMap) -> Self {
        let values = |header: diff::Header| {
            let lines = all
                .get_all(header.name())
                .iter()
                .map(|v| String::from_utf8_lossy(v.as_bytes()));
            Some((
                header,
                lines
                    .reduce(|a, b| format!("{a}, {b}").into())?
                    .into_owned(),
            ))
        };
        Self {
            status: status.as_u16(),
            headers: diff::Header::ALL.into_iter().filter_map(values).collect(),
        }
    }
}

impl EntryConnection {
    pub(super) fn connect_directly(to: &str) -> Result<Self, ProbeError> {
        // Fails if a provider is installed; it is the same one everywhere.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Entries are called without TLS, so no system certificates are loaded: a container may
        // have none.
        let built = reqwest::Client::builder()
            .tls_certs_only([])
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build();
        let client = built
            .map_err(|e| ProbeError::Http(format!("no HTTP client: {}", format_error_chain(&e))))?;
        Ok(Self::Direct(client, format!("http://{to}")))
    }

    /// Sends a request; returns the head and the body as it arrives.
    async fn send(&self, request: Request<()>) -> Result<(ResponseHead, Body), SendError> {
        match self {
            Self::Direct(client, base) => {
                let (parts, ()) = request.into_parts();
                let sent = client
                    .request(parts.method, format!("{base}{}", parts.uri))
                    .headers(parts.headers)
                    .send();
                let response = sent.await.map_err(SendError::Direct)?;
                let head = ResponseHead::from_response(response.status(), response.headers());
                Ok((
                    head,
                    response.bytes_stream().map_err(BodyError::Direct).boxed(),
                ))
            }
            Self::Proxy(proxy) => {
                let sent = tokio::time::timeout(TIMEOUT, proxy.send(request)).await;
                let sent = sent.map_err(|_| SendError::Timeout)?;
                let response = sent.map_err(|why| SendError::Proxy(why.to_string()))?;
                let head = ResponseHead::from_response(response.status(), response.headers());
                let body = response
                    .into_body()
                    .into_data_stream()
                    .map_err(BodyError::Proxy);
                Ok((head, body.boxed()))
            }
        }
    }
}

pub(super) struct ProbeSender {
    way: EntryConnection,
    method: Method,
    /// Path and query.
    uri: Uri,
    headers: HeaderMap,
}

impl ProbeSender {
    pub(super) fn new(
        way: EntryConnection,
        host: Option<&str>,
        request: &RequestParts,
        written: &str,
    ) -> Result<Self, ProbeError> {
        let wrong = |e: &dyn std::fmt::Display| ProbeError::Http(format!("probe {written:?}: {e}"));
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name: HeaderName = name.parse().map_err(|e| wrong(&e))?;
            if [
                header::CONTENT_LENGTH,
                header::TRANSFER_ENCODING,
                header::UPGRADE,
            ]
            .contains(&name)
            {
                return Err(wrong(&format!(
                    "a probe sends no content and switches nothing: leave {name} out"
                )));
            }
            headers.append(name, HeaderValue::from_str(value).map_err(|e| wrong(&e))?);
        }
        if request.path.starts_with('*') {
            return Err(wrong(&"a probe asks for a path, not for *"));
        }
        if let Some(authority) = request.authority() {
            // The authority goes to the entry and takes precedence over Host.
            if !request.origin.starts_with("http://") {
                return Err(wrong(
                    &"a probe speaks http: write http://HOST/PATH or only the path",
                ));
            }
            headers.insert(
                header::HOST,
                HeaderValue::from_str(authority).map_err(|e| wrong(&e))?,
            );
        } else if let (Some(host), false) = (host, headers.contains_key(header::HOST)) {
            // `*.example.com` matches any host below it.
            let host = host
                .strip_prefix('*')
                .map_or(host.to_owned(), |rest| format!("probe{rest}"));
            headers.insert(
                header::HOST,
                HeaderValue::from_str(&host).map_err(|e| wrong(&e))?,
            );
        }
        let uri = encode_uri(request).map_err(|e| wrong(&e))?;
        Ok(Self {
            way,
            method: request.method.parse().map_err(|e| wrong(&e))?,
            uri,
            headers,
        })
    }

    /// Describes which of these headers the request's own Connection header lets a gateway remove.
    pub(super) fn describe_stripped_header(&self, names: &[HeaderName]) -> Option<String> {
        let lines = self
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|v| v.to_str().ok());
        let mut said = lines.flat_map(|v| v.split(',').map(str::trim));
        let name =
            said.find_map(|word| names.iter().find(|n| n.as_str().eq_ignore_ascii_case(word)))?;
        Some(format!(
            "the probe's own Connection header names {name}, so a gateway may take it away: leave it out"
        ))
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
            raw: None,
            cut: false,
            error: None,
        };
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        if let Ok(value) = HeaderValue::from_str(&format!("00-{trace}-{span}-01")) {
            request.headers_mut().insert("traceparent", value);
        }
        *request.uri_mut() = self.uri.clone();
        match self.way.send(request).await {
            Err(why) => answer.error = Some(why.to_string()),
            Ok((head, body)) => {
                answer.reached = true;
                answer.status = Some(head.status);
                let bytes = read_body(body, &mut answer).await;
                answer.body = to_printable(&bytes);
                let (status, headers, cut, latency) =
                    (head.status, head.headers, answer.cut, start.elapsed());
                let raw = diff::Answer {
                    status,
                    headers,
                    body: bytes.into(),
                    cut,
                    latency,
                };
                answer.raw = answer.error.is_none().then_some(raw);
            }
        }
        answer.latency = start.elapsed();
        answer
    }
}

fn encode_uri(request: &RequestParts) -> Result<Uri, http::uri::InvalidUri> {
    let query = if request.query.is_empty() {
        String::new()
    } else {
        format!("?{}", request.query)
    };
    let path = format!("{}{query}", request.path);
    utf8_percent_encode(&path, ENCODED_CHARACTERS)
        .to_string()
        .parse()
}

/// Reads as much of a body as is shown.
async fn read_body(
    mut body: impl Stream<Item = Result<Bytes, BodyError>> + Unpin,
    answer: &mut Answer,
) -> Vec<u8> {
    let mut bytes = vec![];
    while let Some(part) = body.next().await {
        match part {
            Ok(part) => bytes.extend_from_slice(&part),
            Err(why) => {
                answer.error = Some(format!("the answer broke off: {why}"));
                break;
            }
        }
        if bytes.len() > MAX_BODY_BYTES {
            bytes.truncate(MAX_BODY_BYTES);
            answer.cut = true;
            break;
        }
    }
    bytes
}

fn format_error_chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
