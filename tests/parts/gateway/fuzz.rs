//! Any bytes at the gateway's entry: no panic, no waiting, and what reaches the pod is always one well-formed request
//! with the gateway's own word on host, tag and framing.
//!
//! `GRAYLANE_FUZZ_CASES` says how many connections are tried; the long run is a million.

use std::{net::SocketAddr, time::Duration};

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use super::{
    backend::{self, Got},
    rig::Rig,
};
use graylane::domain::request::{parse_host, remove_dot_segments};

const PIECES: &[&[u8]] = &[
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"OPTIONS ",
    b"CONNECT ",
    b"get ",
    b"/A",
    b"/A/x",
    b"/A/../B",
    b"/A/%2e%2e/%2f",
    b"*",
    b"http://h:1/A",
    b"https://h/A",
    b"http://u@h/A",
    b"?group=gray",
    b"?a=\"{|}",
    b"#f",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/2.0\r\n",
    b" HTTP/1.1\n",
    b"Host: h\r\n",
    b"Host: \r\n",
    b"Host: a b\r\n",
    b"Connection: close, x-mse-tag, host\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: Upgrade\r\n",
    b"Upgrade: h2c\r\n",
    b"Upgrade: websocket\r\n",
    b"x-mse-tag: evil\r\n",
    b"X_MSE_TAG: evil\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: +1\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Trailer: x-mse-tag, x-sum\r\n",
    b"Expect: 100-continue\r\n",
    b"Expect: y\r\n",
    b"Cookie: a=\"1; b\r\n",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
    b"X-A: caf\xe9\r\n",
    b"X-A: a\x00b\r\n",
    b" folded\r\n",
    b"X-A : b\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nx-mse-tag: evil\r\n\r\n",
    b"3;e=1\r\nabc\r\n",
    b"ffffffffffffffff\r\n",
    b"abc",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"GET /A/1 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /A HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /A/p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
];

/// Ends what is well-formed up to here.
const LAST: &[u8] = b"GET /A/last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..24),
    ];
    const HEADS: &[&[u8]] = &[
        b"",
        b"GET /A HTTP/1.1\r\nHost: h\r\n",
        b"POST /A HTTP/1.1\r\nHost: h\r\n",
    ];
    let head = prop::sample::select(HEADS);
    (
        head,
        prop::collection::vec(piece, 0..10),
        any::<prop::sample::Index>(),
        prop::option::weighted(0.2, any::<u8>()),
    )
        .prop_map(|(head, pieces, at, other)| {
            let mut bytes = [head, &pieces.concat()].concat();
            if let (Some(other), false) = (other, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = other;
            }
            bytes
        })
}

/// What is wrong with a request that reached the pod.
fn wrong(got: &Got) -> Option<&'static str> {
    let words: Vec<&str> = got.line.split(' ').collect();
    let [_, target, "HTTP/1.1"] = words[..] else {
        return Some("the request line");
    };
    let path = target.split('?').next().unwrap_or_default();
    let lane = graylane::domain::request::parse_request(&format!("GET {target}"), &[], &[])
        .is_ok_and(|r| {
            graylane::domain::request::RequestView::parameter(&r, "group").as_deref()
                == Some("gray")
        });
    let tag: &[&str] = if lane { &["gray"] } else { &[] };
    let tests = [
        (
            "the path",
            path.starts_with('/') && remove_dot_segments(path).ok().as_deref() == Some(path),
        ),
        (
            "the host",
            matches!(got.all("host")[..], [host] if parse_host(host).is_some()),
        ),
        (
            "the tag",
            got.all("x-mse-tag") == tag && got.all("x_mse_tag").is_empty(),
        ),
        (
            "the tag in a trailer",
            !got.trailers
                .iter()
                .any(|t| t.to_lowercase().starts_with("x-mse-tag")),
        ),
        (
            "the framing",
            got.all("content-length").len() + got.all("transfer-encoding").len() <= 1,
        ),
        ("the trace", got.all("traceparent").len() == 1),
        (
            "the connection",
            got.all("connection").iter().all(|c| *c == "upgrade"),
        ),
        (
            "the upgrade",
            got.all("upgrade").iter().all(|c| *c == "websocket"),
        ),
        (
            "hop-by-hop fields",
            got.all("expect").is_empty() && got.all("te").is_empty(),
        ),
        (
            "the way",
            got.all("x-forwarded-for") == ["127.0.0.1"]
                && matches!(
                    got.all("via")[..],
                    ["1.0 graylane" | "1.1 graylane" | "2 graylane"]
                ),
        ),
    ];
    tests.iter().find(|(_, good)| !good).map(|(what, _)| *what)
}

/// Connections that are open at the same time.
const SIDE_BY_SIDE: u32 = 200;

/// One connection that sends these bytes and something well-formed behind them, until its end. Whoever still waits for
/// more when all others have ended (`quiet`) gets its end from us.
async fn connection(
    rig: &Rig,
    entry: SocketAddr,
    bytes: &[u8],
    quiet: &CancellationToken,
) -> Result<(), TestCaseError> {
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let served = tokio::spawn(rig.gateway.serve(theirs, entry));
    // It may be refused and closed before all is sent.
    let _ = ours.write_all(&[bytes, LAST].concat()).await;
    let mut answer = vec![];
    let rest = async {
        if quiet
            .run_until_cancelled(ours.read_to_end(&mut answer))
            .await
            .is_none()
        {
            let _ = ours.shutdown().await;
            let _ = ours.read_to_end(&mut answer).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_mins(1), rest).await;
    prop_assert!(ended.is_ok(), "no end: {}", bytes.escape_ascii());
    drop(ours);
    let ended = tokio::time::timeout(Duration::from_mins(1), served).await;
    prop_assert!(
        matches!(ended, Ok(Ok(()))),
        "{:?}: {}",
        ended,
        bytes.escape_ascii()
    );
    Ok(())
}

/// Waits until all have ended, or for a moment none has.
async fn all_or_quiet(mut ended: watch::Receiver<usize>, all: usize) {
    while *ended.borrow_and_update() < all {
        if !matches!(
            tokio::time::timeout(Duration::from_millis(50), ended.changed()).await,
            Ok(Ok(()))
        ) {
            return;
        }
    }
}

#[test]
fn any_bytes_are_answered_and_nothing_ill_formed_gets_through() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (pod, seen) = runtime.block_on(backend::start("pod", &[]));
    let mut rig = Rig::new();
    rig.service("a", &[(&pod, None)]);
    let entry = rig.lanes(&["a"], &[], "parameter group == gray");
    runtime.block_on(async { rig.apply() });
    crate::fuzz::any("raw HTTP", 400, SIDE_BY_SIDE, &bytes(), |all| {
        runtime.block_on(async {
            let (ended, watched) = watch::channel(0);
            let quiet = CancellationToken::new();
            let connections = all.iter().map(async |bytes| {
                let done = connection(&rig, entry, bytes, &quiet).await;
                ended.send_modify(|n| *n += 1);
                done
            });
            let patience = async {
                all_or_quiet(watched, all.len()).await;
                quiet.cancel();
            };
            let (done, ()) = tokio::join!(futures::future::join_all(connections), patience);
            rig.forget_hops();
            // Content that broke off on the caller's side breaks off at the pod.
            for got in seen.lock().unwrap().drain(..) {
                let what = wrong(&got);
                prop_assert!(what.is_none(), "{what:?}: {got:?}");
            }
            done.into_iter().collect()
        })
    });
}
