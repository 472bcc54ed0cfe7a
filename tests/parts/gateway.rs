//! The data plane over real sockets: objects in, requests through, hops out.

mod backend;
mod churn;
mod explained;
mod fuzz;
mod requests;
mod responses;
pub mod rig;
mod story;

use std::time::Duration;

use rig::{Rig, Upstream, get, read_answer, send};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_tagged_request_walks_the_gray_versions_and_falls_back_in_between() {
    let (a, a_gray, b) = (
        Upstream::start("A").await,
        Upstream::start("Agray").await,
        Upstream::start("B").await,
    );
    let mut rig = Rig::new();
    let asked_b = rig.service("b", &[(&b, None)]);
    rig.service("a", &[(&a, None)]);
    rig.service("a-gray", &[(&a_gray, Some("gray"))]);
    let entry = rig.lanes(&["a", "b"], &[("a", "gray")], "parameter group == gray");
    rig.apply();

    let answer = get(entry, "/A/x?group=gray", "").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.body.starts_with("Agray GET /x?group=gray"),
        "{}",
        answer.body
    );
    assert!(
        answer.body.contains("x-mse-tag: gray") && answer.body.contains("traceparent: 00-"),
        "{}",
        answer.body
    );
    let answer = get(entry, "/A/x", "x-mse-tag: gray\r\n").await;
    assert!(
        answer.body.starts_with("A GET /x") && !answer.body.contains("x-mse-tag"),
        "{}",
        answer.body
    );
    // B has no gray version: its baseline answers, and the tag stays on the request.
    let answer = get(asked_b, "/b", "x-mse-tag: gray\r\n").await;
    assert!(
        answer.body.starts_with("B GET /b") && answer.body.contains("x-mse-tag: gray"),
        "{}",
        answer.body
    );

    let hops = rig.hops(3).await;
    let seen: Vec<_> = hops
        .iter()
        .map(|h| {
            (
                h.app.as_str(),
                h.entry,
                h.tag.as_deref(),
                h.pod_tag.as_deref(),
            )
        })
        .collect();
    let want = [
        ("a", true, Some("gray"), Some("gray")),
        ("a", true, None, None),
        ("b", false, Some("gray"), None),
    ];
    assert_eq!(seen, want);
    assert!(
        hops.iter()
            .all(|h| h.status == 200 && h.error.is_none() && h.group.as_deref() == Some("demo"))
    );
    assert_eq!(
        hops[0].service, "a",
        "the Service that was asked, whoever answered"
    );
    rig.gateway.drain().await;
}

#[tokio::test]
async fn a_lane_with_nobody_behind_it_falls_back_unless_it_holds() {
    let a = Upstream::start("A").await;
    let a_gray = Upstream::start("Agray").await;
    let mut rig = Rig::new();
    rig.service("a", &[(&a, None)]);
    // The route is seen before the pods' endpoints.
    rig.service("a-gray", &[]);
    let entry = rig.lanes(&["a"], &[("a", "gray")], "parameter group == gray");
    rig.apply();
    let answer = get(entry, "/A/x?group=gray", "").await;
    assert!(
        answer.body.starts_with("A GET /x") && answer.body.contains("x-mse-tag: gray"),
        "{}",
        answer.body
    );
    rig.replace("a-gray", &[(&a_gray, Some("gray"))]);
    rig.apply();
    assert!(
        get(entry, "/A/x?group=gray", "")
            .await
            .body
            .starts_with("Agray GET")
    );
    // Not even the Service is seen.
    rig.forget("a-gray");
    rig.apply();
    assert!(
        get(entry, "/A/x?group=gray", "")
            .await
            .body
            .starts_with("A GET")
    );

    rig.hold();
    rig.apply();
    assert_eq!(get(entry, "/A/x?group=gray", "").await.status, 500);
    assert_eq!(get(entry, "/A/x", "").await.status, 200);
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let a = Upstream::start("A").await;
    let mut rig = Rig::new();
    let address = rig.service("a", &[(&a, None)]);
    rig.apply();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    for _ in 0..5 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read_answer(&mut stream).await.status, 200);
    }
    assert_eq!(a.connections(), 1);
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let a = Upstream::start("echo").await;
    let mut rig = Rig::new();
    let address = rig.service("a", &[(&a, None)]);
    rig.apply();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(
            b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n",
        )
        .await
        .unwrap();
    // The answer's first part comes before the request's second: nothing waits for the whole.
    read_until(&mut stream, "one").await;
    stream.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut stream, "two").await;
}

async fn read_until(stream: &mut tokio::net::TcpStream, wanted: &str) {
    let mut seen = vec![];
    let all = async {
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            seen.push(stream.read_u8().await.unwrap());
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all)
        .await
        .expect(wanted);
}

#[tokio::test]
async fn a_switched_connection_goes_through() {
    let a = Upstream::start("A").await;
    let mut rig = Rig::new();
    let address = rig.service("a", &[(&a, None)]);
    rig.apply();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    stream.write_all(b"ping").await.unwrap();
    read_until(&mut stream, "ping").await;
    drop(stream);
    let hops = rig.hops(1).await;
    assert_eq!((hops[0].status, hops[0].pod.as_deref()), (101, Some("A")));
}

/// A WebSocket to the Service at an address; none when there is no place for it.
async fn websocket(to: std::net::SocketAddr) -> Option<tokio::net::TcpStream> {
    let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let head =
        "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    if &status != b"HTTP/1.1 101" {
        assert_eq!(&status, b"HTTP/1.1 503");
        return None;
    }
    read_until(&mut stream, "\r\n\r\n").await;
    Some(stream)
}

#[tokio::test]
async fn a_silent_tunnel_ends_when_its_service_says_so() {
    let a = Upstream::start("A").await;
    let mut rig = Rig::new();
    let address = rig.service("a", &[(&a, None)]);
    rig.annotate("a", "graylane.dev/tunnel-idle", "200ms");
    rig.apply();
    let mut stream = websocket(address).await.unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut rest = vec![];
    let end = tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut rest));
    end.await.expect("an end").unwrap();
    assert_eq!(rest, b"ping");
    let hops = rig.hops(1).await;
    assert_eq!(
        hops[0].error.as_deref(),
        Some("nothing came for 200ms: the gateway ended it")
    );
    a.closed().await;
}

#[tokio::test]
async fn tunnels_are_counted_and_leave_room_for_requests() {
    let a = Upstream::start("A").await;
    let limits = graylane::gateway::Limits {
        tunnels: 0.0,
        ..Default::default()
    };
    let mut rig = Rig::with_limits(limits);
    let address = rig.service("a", &[(&a, None)]);
    rig.apply();
    let mut open = vec![];
    while let Some(stream) = websocket(address).await {
        open.push(stream);
        assert!(open.len() <= 16, "no bound");
    }
    assert_eq!(open.len(), 16, "all of them, for these are this user's own");
    assert_eq!(get(address, "/x", "").await.status, 200);
    open.pop();
    // A place is free again when the tunnel has ended on both sides.
    rig.hops(3).await;
    let mut again = websocket(address).await;
    for _ in 0..6000 {
        if again.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        again = websocket(address).await;
    }
    assert!(again.is_some());
}

#[tokio::test]
async fn h2c_comes_in() {
    let a = Upstream::start("A").await;
    let mut rig = Rig::new();
    let address = rig.service("a", &[(&a, None)]);
    rig.apply();
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<http_body_util::Empty<bytes::Bytes>>();
    let answer = client
        .get(format!("http://{address}/x").parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, http::Version::HTTP_2)
    );
}

#[tokio::test]
async fn a_refused_connection_is_tried_elsewhere_and_told_when_all_refuse() {
    let (gone, here) = (
        Upstream::refusing("gone").await,
        Upstream::start("here").await,
    );
    let mut rig = Rig::new();
    let both = rig.service("a", &[(&gone, None), (&here, None)]);
    let none = rig.service("b", &[(&gone, None)]);
    let empty = rig.service("c", &[]);
    rig.apply();
    for _ in 0..6 {
        let answer = send(
            both,
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        )
        .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body.ends_with("hi"), "{}", answer.body);
    }
    let answer = get(none, "/", "").await;
    assert_eq!(answer.status, 502);
    assert!(
        answer.body.contains("Service ns/b:") && answer.body.contains("pod gone"),
        "{}",
        answer.body
    );
    assert!(answer.body.contains("refused"), "{}", answer.body);
    let answer = get(empty, "/", "").await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.body.contains("Service ns/c:") && answer.body.contains("no ready endpoint"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_kept_connection_that_the_pod_closed_costs_no_request() {
    let a = Upstream::start("A").await;
    let mut rig = Rig::new();
    let address = rig.service("a", &[(&a, None)]);
    rig.apply();
    // `/last` answers and closes without saying so.
    for _ in 0..20 {
        assert_eq!(get(address, "/last", "").await.status, 200);
        assert_eq!(get(address, "/x", "").await.status, 200);
    }
    assert!(a.connections() > 1);
}

#[tokio::test]
async fn a_body_is_never_sent_twice() {
    let a = Upstream::start("A").await;
    let mut rig = Rig::new();
    let address = rig.service("a", &[(&a, None)]);
    rig.apply();
    let answer = send(
        address,
        "POST /drop HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
    )
    .await;
    assert_eq!(answer.status, 502, "{}", answer.body);
    assert_eq!(a.requests(), 1);
}

#[tokio::test]
async fn slow_answers_end_in_time_with_words() {
    let a = Upstream::start("A").await;
    let mut rig = Rig::new();
    let address = rig.service("a", &[(&a, None)]);
    rig.route(serde_json::json!({
        "parentRefs": [{"group": "", "kind": "Service", "name": "a"}],
        "rules": [
            {"matches": [{"path": {"type": "Exact", "value": "/never"}}], "timeouts": {"backendRequest": "50ms"},
             "backendRefs": [{"name": "a", "port": address.port()}]},
            {"matches": [{"path": {"value": "/nev"}}], "backendRefs": [{"name": "a", "port": address.port()}]},
            {"timeouts": {"request": "50ms"}, "backendRefs": [{"name": "a", "port": address.port()}]},
        ],
    }));
    rig.apply();
    let answer = get(address, "/never", "").await;
    assert_eq!(answer.status, 504);
    assert!(
        answer.body.contains("pod A") && answer.body.contains("50ms"),
        "{}",
        answer.body
    );
    let answer = get(address, "/never/x", "").await;
    assert_eq!(answer.status, 504, "{}", answer.body);
}

#[tokio::test]
async fn rules_rewrite_modify_weigh_and_match_by_precedence() {
    let (a, b) = (Upstream::start("A").await, Upstream::start("B").await);
    let mut rig = Rig::new();
    let address = rig.service("a", &[(&a, None)]);
    let to = |name: &str, port: u16| serde_json::json!({"name": name, "port": port});
    let b_port = rig.service("b", &[(&b, None)]).port();
    rig.route(serde_json::json!({
        "parentRefs": [{"group": "", "kind": "Service", "name": "a"}],
        "rules": [
            {"backendRefs": [to("a", address.port())]},
            {"matches": [{"path": {"value": "/p"}}], "backendRefs": [to("b", b_port)],
             "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/q"}}},
                {"type": "RequestHeaderModifier", "requestHeaderModifier":
                    {"set": [{"name": "x-set", "value": "1"}], "remove": ["x-gone"]}},
                {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "x-back", "value": "2"}]}}]},
            {"matches": [{"method": "PUT", "queryParams": [{"name": "k", "value": "v w"}]}], "backendRefs": [to("b", b_port)]},
            {"matches": [{"path": {"value": "/weigh"}}], "backendRefs": [
                {"name": "a", "port": address.port(), "weight": 1}, {"name": "b", "port": b_port, "weight": 3}]},
            {"matches": [{"path": {"value": "/broken"}}], "filters": [{"type": "RequestMirror"}], "backendRefs": [to("b", b_port)]},
            {"matches": [{"path": {"value": "/missing"}}], "backendRefs": [to("nobody", 1)]},
        ],
    }));
    let verdicts = format!("{:?}", rig.apply().verdicts);
    assert!(
        verdicts.contains("the filter RequestMirror is not served")
            && verdicts.contains("no Service ns/nobody"),
        "{verdicts}"
    );
    let answer = get(address, "/p/x", "x-gone: 1\r\nx-set: 0\r\n").await;
    assert!(answer.body.starts_with("B GET /q/x"), "{}", answer.body);
    assert!(
        answer.body.contains("x-set: 1") && !answer.body.contains("x-gone"),
        "{}",
        answer.body
    );
    assert!(answer.head.contains("x-back: 2"), "{}", answer.head);
    assert!(get(address, "/pq", "").await.body.starts_with("A GET /pq"));
    let put = |query| {
        format!(
            "PUT /z?{query} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
    };
    assert!(send(address, &put("k=v+w")).await.body.starts_with('B'));
    assert!(send(address, &put("k=v")).await.body.starts_with('A'));
    let mut to_b = 0;
    for _ in 0..100 {
        to_b += usize::from(get(address, "/weigh", "").await.body.starts_with('B'));
    }
    assert!((50..100).contains(&to_b), "{to_b} of 100");
    assert_eq!(
        (
            get(address, "/broken", "").await.status,
            get(address, "/missing", "").await.status
        ),
        (500, 500)
    );
}

#[tokio::test]
async fn headers_tell_the_way_and_stop_where_they_must() {
    let a = Upstream::start("A").await;
    let mut rig = Rig::new();
    let service = rig.service("a", &[(&a, None)]);
    let entry = rig.lanes(&["a"], &[], "parameter group == gray");
    rig.apply();
    // Whoever names the tag among the fields of its connection takes nothing away.
    let named = get(entry, "/A/x?group=gray", "connection: close, x-mse-tag\r\n").await;
    assert!(named.body.contains("x-mse-tag: gray"), "{}", named.body);
    let headers = "x-forwarded-for: 6.6.6.6\r\nx-forwarded-proto: https\r\nte: trailers\r\nx-hop: 1\r\nconnection: x-hop\r\n";
    let request = format!("GET {{}} HTTP/1.1\r\nhost: shop:80\r\n{headers}\r\n");
    let mut stream = tokio::net::TcpStream::connect(entry).await.unwrap();
    stream
        .write_all(request.replace("{}", "/A/").as_bytes())
        .await
        .unwrap();
    let body = read_answer(&mut stream).await.body;
    assert!(
        body.contains("x-forwarded-for: 127.0.0.1") && !body.contains("6.6.6.6"),
        "a client's own is not believed: {body}"
    );
    assert!(
        body.contains("x-forwarded-proto: http\n") && body.contains("x-forwarded-host: shop:80"),
        "{body}"
    );
    assert!(!body.contains("x-hop") && !body.contains("te: "), "{body}");
    let body = get(
        service,
        "/",
        "x-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: https\r\n",
    )
    .await
    .body;
    assert!(
        body.contains("x-forwarded-for: 10.0.0.1, 127.0.0.1")
            && body.contains("x-forwarded-proto: https"),
        "{body}"
    );
}

#[tokio::test]
async fn too_much_is_refused() {
    let a = Upstream::start("A").await;
    let mut rig = Rig::with_limits(graylane::gateway::Limits {
        head: 16 * 1024,
        body: 1000,
        ..Default::default()
    });
    let address = rig.service("a", &[(&a, None)]);
    rig.apply();
    let many = "x-y: 1\r\n".repeat(200);
    assert_eq!(get(address, "/", &many).await.status, 431);
    let long = format!("x-y: {}\r\n", "z".repeat(20_000));
    assert_eq!(get(address, "/", &long).await.status, 431);
    let body = format!(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2000\r\n\r\n{}",
        "z".repeat(2000)
    );
    assert_eq!(send(address, &body).await.status, 413);
    let chunked = format!(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n",
        "z".repeat(2000)
    );
    assert_eq!(send(address, &chunked).await.status, 413);
    assert_eq!(get(address, "/", "").await.status, 200);
}

#[tokio::test]
async fn an_endpoint_that_goes_finishes_its_requests_and_gets_no_new_ones() {
    let (old, new) = (Upstream::start("old").await, Upstream::start("new").await);
    let mut rig = Rig::new();
    let address = rig.service("a", &[(&old, None)]);
    rig.apply();
    let in_flight = tokio::spawn(async move { get(address, "/wait", "").await });
    old.seen("/wait").await;
    rig.replace("a", &[(&new, None)]);
    rig.apply();
    for _ in 0..5 {
        assert!(get(address, "/x", "").await.body.starts_with("new"));
    }
    old.release();
    let answer = in_flight.await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with("old"));
    old.closed().await;
}

#[tokio::test]
async fn a_drain_answers_what_is_in_flight_and_takes_nothing_new() {
    let a = Upstream::start("A").await;
    let mut rig = Rig::new();
    let address = rig.service("a", &[(&a, None)]);
    rig.apply();
    let in_flight = tokio::spawn(async move { get(address, "/wait", "").await });
    a.seen("/wait").await;
    let drained = tokio::spawn(rig.gateway.drain());
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), refused)
        .await
        .expect("no new connections");
    a.release();
    assert_eq!(in_flight.await.unwrap().status, 200);
    tokio::time::timeout(Duration::from_mins(1), drained)
        .await
        .expect("drained")
        .unwrap();
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let taken = std::net::TcpListener::bind(crate::ports::free()).unwrap();
    let address = taken.local_addr().unwrap();
    let mut rig = Rig::new();
    rig.service_at("a", &[], address);
    let failed = rig.apply().failed;
    assert!(
        failed[&address].contains(&address.to_string()),
        "{failed:?}"
    );
    drop(taken);
    assert!(rig.apply().failed.is_empty(), "it is tried again");
    assert_eq!(get(address, "/", "").await.status, 503);
}

#[tokio::test]
async fn a_port_that_is_no_http_goes_through_as_it_is() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"hello first").await.unwrap();
    });
    let mut rig = Rig::new();
    let (gone, here) = (Upstream::refusing("gone").await, Upstream::at("here", at));
    let address = rig.service_of("db", "tcp-db", &[(&gone, None), (&here, None)]);
    rig.apply();
    let mut said = String::new();
    tokio::net::TcpStream::connect(address)
        .await
        .unwrap()
        .read_to_string(&mut said)
        .await
        .unwrap();
    assert_eq!(said, "hello first");
    assert!(!rig.has_hops());
}
