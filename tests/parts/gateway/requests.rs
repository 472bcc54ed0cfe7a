//! Raw requests, each with the right answer by RFC 9110, 9112 and Gateway API, and what the pod is to see of it.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    backend::{self, Got, Seen},
    rig::{Rig, Upstream},
};

/// The entry `/raw` to a backend that tells back, with filters that set and remove a header.
async fn rig(answers: &'static [(&'static str, &'static [u8])]) -> (Rig, SocketAddr, Seen) {
    let (pod, seen) = backend::start("secretpod", answers).await;
    let mut rig = Rig::new();
    let port = rig.service("raw", &[(&pod, None)]).port();
    let entry = rig.lanes(&["raw"], &[], "parameter group == gray");
    rig.route(json!({
        "parentRefs": [{"name": "edge"}],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/raw"}}],
            "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier":
                {"set": [{"name": "X-Route-Set", "value": "yes-set"}, {"name": "X-Forwarded-Proto", "value": "https"}],
                 "remove": ["x-drop"]}}],
            "backendRefs": [{"name": "raw", "port": port}]}],
    }));
    rig.apply();
    (rig, entry, seen)
}

/// Sends bytes and reads until so many answers are whole, or the connection ends. Answers the statuses, the last body,
/// and whether it ended.
pub async fn ask(to: SocketAddr, bytes: &[u8], most: usize) -> (Vec<u16>, String, bool) {
    answers(TcpStream::connect(to).await.unwrap(), bytes, most).await
}

/// The same over a connection that is there.
pub async fn answers(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    bytes: &[u8],
    most: usize,
) -> (Vec<u16>, String, bool) {
    let _ = stream.write_all(bytes).await;
    let mut statuses = vec![];
    let mut last = String::new();
    let mut all: Vec<u8> = vec![];
    let read = async {
        loop {
            while let Some((status, body, end)) = whole(&all) {
                all.drain(..end);
                statuses.push(status);
                last = body;
                if statuses.len() == most {
                    return false;
                }
            }
            let mut part = [0; 4096];
            match stream.read(&mut part).await {
                Ok(0) | Err(_) => return true,
                Ok(n) => all.extend_from_slice(&part[..n]),
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_mins(1), read)
        .await
        .expect("an answer or the end");
    (statuses, last, ended)
}

/// The first answer in these bytes, if it is whole; 1xx are passed over.
fn whole(bytes: &[u8]) -> Option<(u16, String, usize)> {
    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
    let status: u16 = head.split(' ').nth(1)?.trim().get(..3)?.parse().ok()?;
    if (100..200).contains(&status) {
        let (status, body, end) = whole(&bytes[at..])?;
        return Some((status, body, at + end));
    }
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: "))
        .map_or(0, |n| n.parse().unwrap());
    let body = bytes.get(at..at + length)?;
    Some((
        status,
        String::from_utf8_lossy(body).into_owned(),
        at + length,
    ))
}

struct Case {
    name: &'static str,
    bytes: &'static [u8],
    /// The statuses, in order.
    want: &'static [u16],
    /// The last answer ends the connection.
    ends: bool,
    /// What the pod sees of the last request.
    seen: fn(&Got) -> bool,
}

const fn refused(name: &'static str, bytes: &'static [u8], want: &'static [u16]) -> Case {
    Case {
        name,
        bytes,
        want,
        ends: true,
        seen: |_| false,
    }
}

const fn passed(name: &'static str, bytes: &'static [u8], seen: fn(&Got) -> bool) -> Case {
    Case {
        name,
        bytes,
        want: &[200],
        ends: false,
        seen,
    }
}

fn line(got: &Got, line: &str) -> bool {
    got.line == line
}

fn body(got: &Got, body: &str) -> bool {
    got.body == body.as_bytes() && got.wrong.is_none()
}

const CASES: &[Case] = &[
    // The host: RFC 9112 §3.2, §3.2.2; RFC 9110 §4.2.1, §4.2.4, §7.4.
    refused("no host", b"GET /raw/x HTTP/1.1\r\n\r\n", &[400]),
    refused("two hosts", b"GET /raw/x HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", &[400]),
    refused("two same hosts", b"GET /raw/x HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n", &[400]),
    refused("empty host", b"GET /raw/x HTTP/1.1\r\nHost:\r\n\r\n", &[400]),
    refused("bad host", b"GET /raw/x HTTP/1.1\r\nHost: a b<>@\r\n\r\n", &[400]),
    refused("host with a path", b"GET /raw/x HTTP/1.1\r\nHost: a/b\r\n\r\n", &[400]),
    refused("host with a user", b"GET /raw/x HTTP/1.1\r\nHost: u@a\r\n\r\n", &[400]),
    refused("host with a wrong port", b"GET /raw/x HTTP/1.1\r\nHost: a:99999\r\n\r\n", &[400]),
    refused("hosts in a list", b"GET /raw/x HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n", &[400]),
    passed("host with a port", b"GET /raw/x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", |g| g.all("host") == ["[::1]:80"]),
    passed("1.0 without host", b"GET /raw/x HTTP/1.0\r\n\r\n", |g| g.all("host")[0].starts_with("127.")),
    refused("1.0 with two hosts", b"GET /raw/x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", &[400]),
    passed("absolute", b"GET http://real.example:81/raw/x HTTP/1.1\r\nHost: fake.example\r\n\r\n", |g| {
        g.all("host") == ["real.example:81"] && line(g, "GET /raw/x HTTP/1.1")
            && g.all("x-forwarded-host") == ["real.example:81"]
    }),
    refused("absolute, no host", b"GET http://real.example/raw/x HTTP/1.1\r\n\r\n", &[400]),
    refused("absolute, user", b"GET http://u:p@real.example/raw/x HTTP/1.1\r\nHost: fake.example\r\n\r\n", &[400]),
    refused("absolute, https", b"GET https://real.example/raw/x HTTP/1.1\r\nHost: fake.example\r\n\r\n", &[421]),
    refused("absolute, ftp", b"GET ftp://real.example/raw/x HTTP/1.1\r\nHost: fake.example\r\n\r\n", &[400]),
    // Framing: RFC 9112 §6.
    Case {
        name: "length and chunked: chunked counts, and the connection ends",
        bytes: b"POST /raw/x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /raw/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
        want: &[200],
        ends: true,
        seen: |g| line(g, "POST /raw/x HTTP/1.1") && body(g, ""),
    },
    Case {
        name: "chunked and length: the same",
        bytes: b"POST /raw/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /raw/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
        want: &[200],
        ends: true,
        seen: |g| line(g, "POST /raw/x HTTP/1.1") && body(g, "abc"),
    },
    refused("chunked, then identity", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", &[400]),
    refused("xchunked", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("gzip, chunked", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", &[501]),
    refused("chunked twice", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    refused("chunked in 1.0", b"POST /raw/x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", &[400]),
    passed("the same length twice", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", |g| {
        body(g, "abc") && g.all("content-length") == ["3"]
    }),
    refused("two lengths", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", &[400]),
    refused("lengths in a list", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc", &[400]),
    refused("length +3", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", &[400]),
    refused("length -1", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", &[400]),
    passed("chunk extension", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n", |g| body(g, "abc")),
    passed("trailers", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, x-route-set, x-mse-tag\r\nTE: trailers\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\nX-Route-Set: evil\r\nx-mse-tag: evil\r\n\r\n", |g| {
        body(g, "abc") && g.trailers.len() == 1 && g.trailers[0].eq_ignore_ascii_case("x-sum: 9")
    }),
    refused("bad chunk", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n", &[400]),
    refused("bad chunk size", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", &[400]),
    refused("huge chunk size", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc", &[400]),
    passed("a GET with content of unknown length", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", |g| body(g, "abc")),
    passed("a GET with content", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", |g| body(g, "abc")),
    refused("an unknown expectation", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 200-maybe\r\nContent-Length: 0\r\n\r\n", &[417]),
    passed("100-continue", b"POST /raw/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", |g| {
        body(g, "abc") && g.all("expect").is_empty()
    }),
    // The head: RFC 9112 §2.2, §3, §5.
    refused("space before the colon", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nX-A : b\r\n\r\n", &[400]),
    refused("folded line", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nX-A: b\r\n c\r\n\r\n", &[400]),
    refused("NUL", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nX-A: a\x00b\r\n\r\n", &[400]),
    passed("lines that end in LF", b"GET /raw/x HTTP/1.1\nHost: a\n\n", |g| g.all("host") == ["a"]),
    passed("empty lines first", b"\r\n\r\nGET /raw/x HTTP/1.1\r\nHost: h\r\n\r\n", |g| line(g, "GET /raw/x HTTP/1.1")),
    refused("HTTP/2.0 on a line", b"GET /raw/x HTTP/2.0\r\nHost: h\r\n\r\n", &[505]),
    refused("HTTP/3.0 on a line, after an empty one", b"\r\nGET /raw/x HTTP/3.0\r\nHost: h\r\n\r\n", &[505]),
    refused("HTTP/1.10", b"GET /raw/x HTTP/1.10\r\nHost: h\r\n\r\n", &[400]),
    refused("UTF-8 in the target", b"GET /raw/caf\xc3\xa9 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &[400]),
    refused("UTF-8 in the query", b"GET /raw/x?q=caf\xc3\xa9 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &[400]),
    refused("Latin-1 in the target", b"GET /raw/caf\xe9 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &[400]),
    passed("UTF-8 in %XX", b"GET /raw/caf%c3%a9 HTTP/1.1\r\nHost: h\r\n\r\n", |g| line(g, "GET /raw/caf%c3%a9 HTTP/1.1")),
    refused("HTTP/0.9", b"GET /raw/x\r\n", &[400]),
    refused("space in the target", b"GET /raw/a b HTTP/1.1\r\nHost: h\r\n\r\n", &[400]),
    passed("fragment: it goes no further", b"GET /raw/x?a=1#frag HTTP/1.1\r\nHost: h\r\n\r\n", |g| line(g, "GET /raw/x?a=1 HTTP/1.1")),
    refused(
        "characters that no target has",
        b"GET /raw/x?a=\"b\"&c={d}|e HTTP/1.1\r\nHost: h\r\n\r\n",
        &[400],
    ),
    // Methods: RFC 9110 §9.
    Case { name: "asterisk: no route is for it", bytes: b"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", want: &[404], ends: true, seen: |_| false },
    refused("asterisk for GET", b"GET * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &[400]),
    refused("CONNECT", b"CONNECT a:1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &[501]),
    passed("TRACE", b"TRACE /raw/x HTTP/1.1\r\nHost: h\r\n\r\n", |g| line(g, "TRACE /raw/x HTTP/1.1")),
    passed("Max-Forwards counts down", b"TRACE /raw/x HTTP/1.1\r\nHost: h\r\nMax-Forwards: 3\r\n\r\n", |g| g.all("max-forwards") == ["2"]),
    passed("Max-Forwards of another method", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n", |g| g.all("max-forwards") == ["0"]),
    refused("Max-Forwards: as far as TRACE goes", b"TRACE /raw/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nMax-Forwards: 0\r\n\r\n", &[501]),
    refused("Max-Forwards: no number", b"OPTIONS /raw/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nMax-Forwards: x\r\n\r\n", &[400]),
    passed("PROPFIND", b"PROPFIND /raw/x HTTP/1.1\r\nHost: h\r\n\r\n", |g| line(g, "PROPFIND /raw/x HTTP/1.1")),
    passed("get: methods have case", b"get /raw/x HTTP/1.1\r\nHost: h\r\n\r\n", |g| line(g, "get /raw/x HTTP/1.1")),
    Case {
        name: "pipelined",
        bytes: b"GET /raw/1 HTTP/1.1\r\nHost: h\r\n\r\nGET /raw/2 HTTP/1.1\r\nHost: h\r\n\r\n",
        want: &[200, 200],
        ends: false,
        seen: |g| line(g, "GET /raw/2 HTTP/1.1"),
    },
    // Dot segments: RFC 3986 §5.2.4, §6.2.2.
    passed("dot segments", b"GET /x/../raw/./a HTTP/1.1\r\nHost: h\r\n\r\n", |g| line(g, "GET /raw/a HTTP/1.1")),
    passed("encoded dots", b"GET /raw/%2e%2E/raw/%2e/a?q=/../ HTTP/1.1\r\nHost: h\r\n\r\n", |g| line(g, "GET /raw/a?q=/../ HTTP/1.1")),
    Case { name: "out of the route", bytes: b"GET /raw/../x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", want: &[404], ends: true, seen: |_| false },
    refused("above the root", b"GET /raw/../../etc HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &[400]),
    refused("dots beside an encoded slash", b"GET /raw/..%2fx HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &[400]),
    refused("dots with parameters", b"GET /raw/..;/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &[400]),
    refused("dots beside a backslash", b"GET /raw/..\\x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &[400]),
    // The way: RFC 9110 §7.6.3.
    passed("Via", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nVia: 1.0 fred\r\nVia: 1.1 p.example (x)\r\n\r\n", |g| {
        g.all("via") == ["1.0 fred, 1.1 p.example (x), 1.1 graylane"]
    }),
    passed("Via of HTTP/1.0, named by the connection", b"GET /raw/x HTTP/1.0\r\nHost: h\r\nConnection: via, keep-alive\r\nVia: 1.1 x\r\n\r\n", |g| {
        g.all("via") == ["1.0 graylane"]
    }),
    // The connection: RFC 9110 §7.6.1, §7.8.
    passed("connection names what the route sets", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nConnection: x-route-set, x-forwarded-for, traceparent, host\r\n\r\n", |g| {
        g.all("x-route-set") == ["yes-set"] && g.all("x-forwarded-for") == ["127.0.0.1"]
            && g.all("traceparent").len() == 1 && g.all("host") == ["h"] && g.all("connection").is_empty()
    }),
    passed("connection names what the client sends", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nX-Drop: 1\r\n\r\n", |g| {
        g.all("x-mine").is_empty() && g.all("x-drop").is_empty()
    }),
    passed("a route's own X-Forwarded-Proto counts", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: ftp\r\n\r\n", |g| {
        g.all("x-forwarded-proto") == ["https"]
    }),
    passed("the way before the entry is the caller's own word", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nForwarded: for=6.6.6.6;host=evil\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n", |g| {
        ["forwarded", "x-forwarded-port", "x-forwarded-prefix", "x-real-ip"].iter().all(|n| g.all(n).is_empty())
            && g.all("x-forwarded-for") == ["127.0.0.1"]
    }),
    passed("look-alikes", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nx_mse_tag: gray\r\nX_Route_Set: evil\r\nx_forwarded_for: 6.6.6.6\r\nx_drop: 1\r\nx_mine: 1\r\n\r\n", |g| {
        ["x_mse_tag", "x_route_set", "x_forwarded_for", "x_drop"].iter().all(|n| g.all(n).is_empty())
            && g.all("x_mine") == ["1"]
    }),
    passed("h2c is not switched to", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", |g| {
        g.all("upgrade").is_empty() && g.all("http2-settings").is_empty() && g.all("connection").is_empty()
    }),
    passed("cookies on two lines", b"GET /raw/x HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n", |g| g.all("cookie") == ["a=1; b=2"]),
];

#[tokio::test]
async fn each_request_has_its_right_answer() {
    let (rig, entry, seen) = rig(&[]).await;
    let mut wrong = vec![];
    for case in CASES {
        seen.lock().unwrap().clear();
        let most = if case.ends {
            usize::MAX
        } else {
            case.want.len()
        };
        let (statuses, body, ended) = ask(entry, case.bytes, most).await;
        let got = seen.lock().unwrap().clone();
        let seen = match case.want.last() {
            Some(200) => got.len() == case.want.len() && got.last().is_some_and(case.seen),
            // What was begun and broke off may have reached the pod; a whole request must not.
            _ => got.iter().all(|g| g.wrong.is_some()),
        };
        if statuses != case.want || ended != case.ends || !seen {
            wrong.push(format!(
                "{}: {statuses:?}, ended {ended}: {body} {got:?}",
                case.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(rig);
}

#[tokio::test]
async fn a_callers_fault_is_the_callers_in_the_hop_too() {
    let (rig, entry, seen) = rig(&[("/raw/slow", b"")]).await;
    let bad = b"POST /raw/bad HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n";
    assert_eq!(ask(entry, bad, 1).await.0, [400]);
    // It goes in the middle of its content, of a chunk, and while it waits: by an end, or broken off.
    let gone = [
        (
            &b"POST /raw/gone1 HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc"[..],
            Going::SendsNoMore,
        ),
        (
            b"POST /raw/gone2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            Going::SendsNoMore,
        ),
        (
            b"GET /raw/slow?closed HTTP/1.1\r\nHost: h\r\n\r\n",
            Going::Closes,
        ),
        (
            b"GET /raw/slow?reset HTTP/1.1\r\nHost: h\r\n\r\n",
            Going::Resets,
        ),
        (
            b"GET /raw/slow?later HTTP/1.1\r\nHost: h\r\n\r\n",
            Going::ClosesLater,
        ),
        (
            b"PUT /raw/slow?put HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
            Going::Closes,
        ),
        (b"GET /raw/slow?old HTTP/1.0\r\n\r\n", Going::Closes),
    ];
    for (begun, going) in gone {
        let mut stream = TcpStream::connect(entry).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let came = |what: &str| seen.lock().unwrap().iter().any(|g| g.line.contains(what));
        match going {
            Going::SendsNoMore => {
                stream.shutdown().await.unwrap();
                let mut rest = vec![];
                let _ = stream.read_to_end(&mut rest).await;
            }
            Going::Closes => {}
            Going::Resets => {
                // A reset takes with it what is unread.
                until(|| came("?reset")).await;
                stream.set_zero_linger().unwrap();
            }
            Going::ClosesLater => {
                stream.shutdown().await.unwrap();
                until(|| came("?later")).await;
            }
        }
    }
    let hops = rig.hops(1 + gone.len()).await;
    let mut told: Vec<(&str, u16)> = hops.iter().map(|h| (h.path.as_str(), h.status)).collect();
    told.sort_unstable();
    let slow =
        ["?closed", "?later", "?old", "?put", "?reset"].map(|query| format!("/raw/slow{query}"));
    let gone = ["/raw/gone1", "/raw/gone2"]
        .into_iter()
        .chain(slow.iter().map(String::as_str))
        .map(|path| (path, 499));
    assert_eq!(
        told,
        [("/raw/bad", 400)]
            .into_iter()
            .chain(gone)
            .collect::<Vec<_>>()
    );
    assert!(
        hops.iter()
            .all(|h| h.error.as_deref().is_some_and(|e| e.contains("the caller"))),
        "{hops:?}"
    );
}

/// How a caller goes away.
#[derive(Clone, Copy)]
enum Going {
    SendsNoMore,
    Closes,
    Resets,
    ClosesLater,
}

async fn until(fact: impl Fn() -> bool) {
    let wait = async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait)
        .await
        .expect("the fact");
}

/// Who sends no more may go on reading (as `nc -N` does): it gets its answers, and then the end.
#[tokio::test]
async fn who_sends_no_more_gets_its_answers() {
    let (rig, entry, _seen) = rig(&[]).await;
    for (bytes, want) in [
        (&b"GET /raw/x HTTP/1.1\r\nHost: h\r\n\r\n"[..], &[200][..]),
        (b"GET /raw/x HTTP/1.0\r\n\r\n", &[200]),
        (b"GET /raw/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &[200]),
        (b"GET /nope HTTP/1.1\r\nHost: h\r\n\r\n", &[404]),
        (b"POST /raw/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", &[200]),
        (b"POST /raw/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", &[200]),
        (b"GET /raw/1 HTTP/1.1\r\nHost: h\r\n\r\nGET /raw/2 HTTP/1.1\r\nHost: h\r\n\r\n", &[200, 200]),
        (b"GET /raw/1 HTTP/1.1\r\nHost: h\r\n\r\nGET /ra", &[200]),
    ] {
        let mut stream = TcpStream::connect(entry).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let (statuses, body, ended) = answers(stream, b"", usize::MAX).await;
        assert_eq!((statuses.as_slice(), ended), (want, true), "{}: {body}", bytes.escape_ascii());
    }
    assert!(rig.hops(8).await.iter().all(|h| h.status == 200));
}

#[tokio::test]
async fn who_sends_no_more_may_wait_for_long() {
    let pod = Upstream::start("pod").await;
    let mut rig = Rig::new();
    let to = rig.service("a", &[(&pod, None)]);
    rig.apply();
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    pod.seen("/wait").await;
    // Longer than the gateway needs to find out who has gone: another one, who has, is known by then.
    let mut other = TcpStream::connect(to).await.unwrap();
    other
        .write_all(b"GET /never HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    pod.seen("/never").await;
    drop(other);
    assert_eq!(rig.hops(1).await[0].status, 499);
    let releasing = async {
        loop {
            pod.release();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (statuses, ..) = tokio::select! {
        got = answers(stream, b"", usize::MAX) => got,
        () = releasing => unreachable!(),
    };
    assert_eq!(statuses, [200]);
}

/// A path may be as long as the head; its hop keeps the beginning.
#[tokio::test]
async fn a_long_path_goes_through_up_to_the_limit_of_a_head() {
    let (rig, entry, seen) = rig(&[]).await;
    for (length, want) in [(8_000, 200), (60_000, 200), (66_000, 431)] {
        seen.lock().unwrap().clear();
        let path = format!("/raw/{}", "p".repeat(length));
        let (statuses, body, _) = ask(
            entry,
            format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes(),
            1,
        )
        .await;
        assert_eq!(statuses, [want], "{length}: {body}");
        let came = seen.lock().unwrap().first().map(|g| g.line.len());
        assert_eq!(
            came,
            (want == 200).then_some("GET  HTTP/1.1".len() + path.len()),
            "{length}"
        );
    }
    let hops = rig.hops(2).await;
    assert!(
        hops.iter()
            .all(|h| h.path.starts_with("/raw/ppp") && h.path.len() < 4096),
        "{:?}",
        hops[0].path.len()
    );
}

#[tokio::test]
async fn a_stranger_is_told_nothing_of_what_stands_behind_the_entry() {
    let (pod, _seen) =
        backend::start("secretpod", &[("/drop", b"<close>"), ("/flood", FLOOD)]).await;
    let mut rig = Rig::new();
    let asked = rig.service("raw", &[(&pod, None)]);
    let none = rig.service("none", &[]);
    let entry = rig.lanes(&["raw"], &[], "parameter group == gray");
    let to = |path: &str, port: u16, name: &str| json!({"matches": [{"path": {"value": path}}], "backendRefs": [{"name": name, "port": port}]});
    rig.route(json!({"parentRefs": [{"name": "edge"}], "rules": [
        to("/drop", asked.port(), "raw"), to("/flood", asked.port(), "raw"), to("/none", none.port(), "none"),
        to("/missing", 1, "nobody")]}));
    rig.apply();
    for (path, status) in [
        ("/drop", 502),
        ("/flood", 502),
        ("/none", 503),
        ("/missing", 500),
        ("/nope", 404),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let (statuses, body, _) = ask(entry, request.as_bytes(), 1).await;
        assert_eq!(statuses, [status], "{path}: {body}");
        for secret in [
            "secretpod",
            "127.0.0.1",
            "Service",
            "HTTPRoute",
            "Gateway",
            "nobody",
            "ns/",
            "edge",
        ] {
            assert!(!body.contains(secret), "{path}: {body}");
        }
    }
    let hops = rig.hops(3).await;
    let errors: Vec<&str> = hops.iter().filter_map(|h| h.error.as_deref()).collect();
    assert!(errors[0].contains("pod secretpod"), "{errors:?}");
    assert!(
        errors[1].contains("more than 32 informational"),
        "{errors:?}"
    );
    // Whoever asks inside is told.
    let (_, body, _) = ask(
        asked,
        b"GET /drop HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        1,
    )
    .await;
    assert!(body.contains("pod secretpod"), "{body}");
}

/// One informational answer after the other, and an end that nobody gets to see.
const FLOOD: &[u8] = {
    const ONE: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    const ALL: [u8; ONE.len() * 64] = {
        let mut all = [0; ONE.len() * 64];
        let mut i = 0;
        while i < all.len() {
            all[i] = ONE[i % ONE.len()];
            i += 1;
        }
        all
    };
    &ALL
};
