//! Raw responses of a backend: whole ones pass, over HTTP/1.1, HTTP/1.0 and HTTP/2; nothing that is not whole does so as
//! if it were (RFC 9112 §6.3, §8).

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    backend,
    rig::{Rig, read_head},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// This status and content.
    Whole(u16, &'static str),
    /// A status, then an end that nobody takes for the content's.
    Cut,
}
use Want::{Cut, Whole};

const BAD: Want = Whole(502, "");

const ANSWERS: &[(&str, &[u8], Want)] = &[
    ("/plain", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Whole(200, "hello")),
    ("/chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Whole(200, "hello")),
    ("/both", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Whole(200, "hello")),
    ("/both10", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Whole(200, "hello")),
    ("/both0", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Whole(200, "hello")),
    ("/te2", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", BAD),
    ("/gzip", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", BAD),
    ("/gziponly", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello<close>", BAD),
    ("/identity", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello<close>", BAD),
    ("/te10", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n<close>", BAD),
    ("/clcl", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Whole(200, "hello")),
    ("/cllist", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", Whole(200, "hello")),
    ("/clcl2", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", BAD),
    ("/clbad", b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", BAD),
    ("/short", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc<close>", Cut),
    ("/shortreset", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc<reset>", Cut),
    ("/shortchunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabc<close>", Cut),
    ("/nolastchunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n<close>", Cut),
    ("/badchunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n", Cut),
    ("/close", b"HTTP/1.1 200 OK\r\n\r\nhello<close>", Whole(200, "hello")),
    ("/http10", b"HTTP/1.0 200 OK\r\n\r\nhello<close>", Whole(200, "hello")),
    ("/http10reset", b"HTTP/1.0 200 OK\r\n\r\nhello<reset>", Cut),
    ("/http10ka", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", Whole(200, "ok")),
    ("/204", b"HTTP/1.1 204 No Content\r\n\r\n", Whole(204, "")),
    ("/204length", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", Whole(204, "")),
    ("/304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n", Whole(304, "")),
    ("/205", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", Whole(205, "")),
    ("/hints", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Whole(200, "hello")),
    // Informational answers end here, whichever and how many (RFC 9110 §15.2 lets what is not understood go).
    ("/continue", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Whole(200, "hello")),
    ("/processing", b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", Whole(204, "")),
    ("/only100", b"HTTP/1.1 100 Continue\r\n\r\n<close>", BAD),
    ("/trailers", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n", Whole(200, "hello")),
    ("/noreason", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", Whole(200, "ok")),
    ("/101", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", BAD),
    ("/nothing", b"<close>", BAD),
    ("/half", b"HTTP/1.1 200 OK\r\nContent-Le<close>", BAD),
    ("/noise", b"noise noise noise\r\n\r\n", BAD),
    ("/connection", b"HTTP/1.1 200 OK\r\nConnection: close, X-Secret, Content-Type, Content-Length\r\nX-Secret: s\r\nContent-Type: text/plain\r\nKeep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nhello", Whole(200, "hello")),
];

type Fields = &'static [(&'static str, &'static str)];

/// What a head says of content that does not come, and of the connection: over HTTP/1.1, and over HTTP/2.
const HEADS: &[(&str, &str, &[u8], Fields, Fields)] = &[
    ("GET", "/304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n", LENGTH, LENGTH),
    ("HEAD", "/304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n", LENGTH, LENGTH),
    ("GET", "/304none", b"HTTP/1.1 304 Not Modified\r\n\r\n", &[], &[]),
    ("GET", "/304chunked", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", &[], &[]),
    ("HEAD", "/head", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", LENGTH, LENGTH),
    ("HEAD", "/headchunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &[], &[]),
    ("HEAD", "/head404", b"HTTP/1.1 404 Not Found\r\nContent-Length: 1234\r\n\r\n", LENGTH, LENGTH),
    ("GET", "/204", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", &[], &[]),
    ("HEAD", "/204", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", &[], &[]),
    ("GET", "/205", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", ZERO, ZERO),
    (
        "GET",
        "/426",
        b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade, x-own\r\nx-own: 1\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
        &[("connection", "upgrade"), ("content-length", "0"), ("upgrade", "websocket")],
        ZERO,
    ),
    (
        "GET",
        "/426two",
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: http/3.0\r\nUpgrade: irc/6.9\r\nContent-Length: 0\r\n\r\n",
        &[("connection", "upgrade"), ("content-length", "0"), ("upgrade", "http/3.0"), ("upgrade", "irc/6.9")],
        ZERO,
    ),
    ("GET", "/426none", b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", ZERO, ZERO),
    // What the backend's own connection could become is nothing that the caller's could (RFC 9110 §7.8).
    ("GET", "/offer", b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2,h2c\r\nContent-Length: 0\r\n\r\n", ZERO, ZERO),
];
const LENGTH: Fields = &[("content-length", "1234")];
const ZERO: Fields = &[("content-length", "0")];

/// Of these, in order.
fn told<'a>(head: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    const TOLD: [&str; 4] = [
        "connection",
        "content-length",
        "transfer-encoding",
        "upgrade",
    ];
    let mut told: Vec<_> = head.filter(|(name, _)| TOLD.contains(name)).collect();
    told.sort_unstable();
    told
}

#[tokio::test]
async fn a_head_keeps_what_it_says_of_content_that_does_not_come() {
    let answers: Vec<(&'static str, &'static [u8])> = HEADS
        .iter()
        .map(|(_, path, bytes, ..)| (*path, *bytes))
        .collect();
    let (pod, _seen) = backend::start("pod", answers.leak()).await;
    let mut rig = Rig::new();
    let to = rig.service("raw", &[(&pod, None)]);
    rig.apply();
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Empty<Bytes>>();
    let mut wrong = vec![];
    for (method, path, _, over1, over2) in HEADS {
        // The second answer shows that the first one ended where its head says.
        let mut stream = TcpStream::connect(to).await.unwrap();
        let ask = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        stream
            .write_all(format!("{ask}{ask}").as_bytes())
            .await
            .unwrap();
        for nth in 1..=2 {
            let head = read_head(&mut stream).await;
            let got = told(head.lines().filter_map(|l| l.split_once(": ")));
            if got != *over1 {
                wrong.push(format!("{method} {path}, answer {nth}: {head}"));
            }
        }
        let request = http::Request::builder()
            .method(*method)
            .uri(format!("http://{to}{path}"));
        let answer = client
            .request(request.body(Empty::new()).unwrap())
            .await
            .unwrap();
        let (parts, body) = answer.into_parts();
        let content = body.collect().await.map(|b| b.to_bytes().len());
        let got = told(
            parts
                .headers
                .iter()
                .map(|(n, v)| (n.as_str(), v.to_str().unwrap())),
        );
        if got != *over2 || !matches!(content, Ok(0)) {
            wrong.push(format!("{method} {path} over HTTP/2: {got:?} {content:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a caller of HTTP/1 makes of it, with the head.
async fn http1(to: SocketAddr, path: &str, version: &str) -> (Want, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!(
        "GET {path} HTTP/{version}\r\nHost: h\r\nConnection: close\r\nTE: trailers\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = vec![];
    let end = stream.read_to_end(&mut all).await;
    let text = String::from_utf8(all).unwrap();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return (Cut, text);
    };
    let head = head.to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: "))
        .map(|n| n.parse::<usize>().unwrap());
    let whole = if status == 204 || status == 304 {
        body.is_empty().then(String::new)
    } else if head.contains("transfer-encoding: chunked") {
        dechunked(body)
    } else if let Some(length) = length {
        (body.len() == length).then(|| body.to_owned())
    } else {
        end.is_ok().then(|| body.to_owned())
    };
    let body = whole.map(|b| if status == 502 { "" } else { &*b.leak() });
    (body.map_or(Cut, |body| Whole(status, body)), head)
}

fn dechunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return after.ends_with("\r\n").then_some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}

async fn http2(
    client: &Client<HttpConnector, Empty<Bytes>>,
    to: SocketAddr,
    path: &str,
) -> (Want, http::HeaderMap) {
    let answer = client
        .get(format!("http://{to}{path}").parse().unwrap())
        .await
        .unwrap();
    let (parts, body) = answer.into_parts();
    let want = match body.collect().await {
        Ok(all) => {
            let text = String::from_utf8(all.to_bytes().to_vec()).unwrap();
            Whole(
                parts.status.as_u16(),
                if parts.status == 502 { "" } else { text.leak() },
            )
        }
        Err(_) => Cut,
    };
    (want, parts.headers)
}

#[tokio::test]
async fn what_is_not_whole_is_never_passed_on_as_if_it_were() {
    let answers: Vec<(&'static str, &'static [u8])> = ANSWERS
        .iter()
        .map(|(path, bytes, _)| (*path, *bytes))
        .collect();
    let (pod, seen) = backend::start("pod", answers.leak()).await;
    let mut rig = Rig::new();
    let to = rig.service("raw", &[(&pod, None)]);
    rig.apply();
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let mut wrong = vec![];
    for (path, _, want) in ANSWERS {
        for version in ["1.1", "1.0"] {
            let (got, head) = http1(to, path, version).await;
            let one_way =
                !(head.contains("content-length: ") && head.contains("transfer-encoding: "));
            if got != *want
                || head.contains("x-secret")
                || head.contains("keep-alive: ")
                || !one_way
            {
                wrong.push(format!("{path} over HTTP/{version}: {got:?} {head}"));
            }
        }
        let (got, head) = http2(&client, to, path).await;
        if got != *want {
            wrong.push(format!("{path} over HTTP/2: {got:?} {head:?}"));
        }
        // What came behind it is nobody's answer.
        let (got, head) = http1(to, "/plain", "1.1").await;
        if got != Whole(200, "hello") {
            wrong.push(format!("after {path}: {got:?} {head}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!seen.lock().unwrap().is_empty());
    // To HEAD a length is told, and no content.
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream
        .write_all(b"HEAD /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert!(
        all.contains("content-length: ") && all.ends_with("\r\n\r\n"),
        "{all}"
    );
    // Trailers reach whoever says so.
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream
        .write_all(
            b"GET /trailers HTTP/1.1\r\nHost: h\r\nConnection: close, TE\r\nTE: trailers\r\n\r\n",
        )
        .await
        .unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert!(
        all.to_lowercase().contains("0\r\nx-sum: 42\r\n\r\n"),
        "{all}"
    );
}
