//! The sample services speak the public sample's words, over real sockets.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::ports::free;
use graylane::sample::{Config, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

struct Running {
    port: u16,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<color_eyre::Result<()>>,
}

async fn start(which: &str, vars: &[(&str, String)]) -> Running {
    let port = free().port();
    let mut vars: HashMap<String, String> = vars
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.clone()))
        .collect();
    vars.insert("PORT".into(), port.to_string());
    vars.entry("LAMEDUCK_MS".into())
        .or_insert_with(|| "0".into());
    let config = Arc::new(Config::from_env(which, &|name| vars.get(name).cloned()).unwrap());
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(config, stop.clone()));
    for _ in 0..6000 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
        {
            return Running { port, stop, task };
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{which} does not listen");
}

async fn get(port: u16, path: &str, headers: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

fn next(letter: &str, port: u16) -> [(String, String); 2] {
    let name = |what| format!("SPRING_CLOUD_{letter}_SERVICE_{what}");
    [
        (name("HOST"), "127.0.0.1".into()),
        (name("PORT"), port.to_string()),
    ]
}

#[tokio::test]
async fn the_chain_is_told_as_the_public_sample_tells_it() {
    let c = start("c", &[("SERVICE_TAG", "gray".into())]).await;
    let c_vars = next("C", c.port);
    let c_vars: Vec<(&str, String)> = c_vars
        .iter()
        .map(|(k, v)| (k.as_str(), v.clone()))
        .collect();
    let b = start("b", &c_vars).await;
    let b_vars = next("B", b.port);
    let mut vars: Vec<(&str, String)> = b_vars
        .iter()
        .map(|(k, v)| (k.as_str(), v.clone()))
        .collect();
    vars.extend(c_vars.clone());
    vars.push(("SERVICE_TAG", "gray".into()));
    let a = start("a", &vars).await;
    let (status, body) = get(a.port, "/a", "").await;
    assert_eq!(
        (status, body.as_str()),
        (
            200,
            "Agray[127.0.0.1][config=base] -> B[127.0.0.1] -> Cgray[127.0.0.1]"
        )
    );
    let (_, body) = get(a.port, "/a2bc", "").await;
    assert_eq!(
        body,
        "Agray[127.0.0.1][config=base] -> Cgray[127.0.0.1]\nAgray[127.0.0.1][config=base] -> B[127.0.0.1] -> Cgray[127.0.0.1]"
    );
    assert_eq!(get(a.port, "/nothing", "").await.0, 404);
    assert_eq!(
        get(b.port, "/set-traffic-attribute?exceptionRation=100", "")
            .await
            .0,
        200
    );
    assert_eq!(get(a.port, "/a", "").await.0, 500);
}

#[tokio::test]
async fn a_missing_next_service_says_what_to_do() {
    let b = start("b", &[]).await;
    let (status, body) = get(b.port, "/b", "").await;
    assert_eq!(status, 503);
    assert!(
        body.contains("SPRING_CLOUD_C_SERVICE_HOST")
            && body.contains("Create the Service spring-cloud-c"),
        "{body}"
    );
    let down = start("c", &[("HEALTH", "down".into())]).await;
    assert_eq!(get(down.port, "/health", "").await.0, 503);
    assert_eq!(get(b.port, "/health", "").await.0, 200);
}

/// A next service that tells the headers it got.
async fn mirror() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![];
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                head.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.write_all(&head).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn the_tag_travels_unless_the_service_is_guilty() {
    let port = mirror().await;
    let vars = next("C", port);
    let mut vars: Vec<(&str, String)> = vars.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let headers = "x-mse-tag: gray\r\nbaggage: k=v\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let good = start("b", &vars).await;
    let (_, body) = get(good.port, "/b", headers).await;
    for part in [
        "x-mse-tag: gray",
        "baggage: k=v",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c",
    ] {
        assert!(body.contains(part), "{part} in {body}");
    }
    vars.push(("DROP_TAG", "1".into()));
    let guilty = start("b", &vars).await;
    let (_, body) = get(guilty.port, "/b", headers).await;
    assert!(
        !body.contains("x-mse-tag") && !body.contains("baggage") && body.contains("traceparent"),
        "{body}"
    );
}

#[tokio::test]
async fn the_end_waits_for_requests_in_flight() {
    // The answer takes longer than the lame-duck time, within which the request surely gets in.
    let c = start("c", &[("LAMEDUCK_MS", "2000".into())]).await;
    assert_eq!(
        get(c.port, "/set-traffic-attribute?rt=2600&slowRation=100", "")
            .await
            .0,
        200
    );
    let port = c.port;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .unwrap();
    stream
        .write_all(b"GET /c HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    c.stop.cancel();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("C[127.0.0.1]"),
        "{answer}"
    );
    c.task.await.unwrap().unwrap();
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
    );
}
