//! Stores of traces, asked as a lane group names them: what is sent to each, and what becomes of good answers and bad ones.
//! The stores are stand-ins that answer by the published schemas.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use graylane::{
    api::{HopSource, LaneGroup, LaneGroupSpec, TraceStore},
    cluster::trace_stores::{StoreError, TraceStoreClient},
    domain::span::{Source, Span, Tag},
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Method, path with query, body.
type Asked = Arc<Mutex<Vec<String>>>;

/// Answers by the first of these that a request's line and body hold; else with 404.
async fn store(answers: Vec<(&'static str, u16, &'static str, Vec<u8>)>) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, answers) = (Asked::default(), Arc::new(answers));
    let told = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answers, asked) = (answers.clone(), asked.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (answers, asked) = (answers.clone(), asked.clone());
                async move {
                    let line = format!("{} {}", request.method(), request.uri());
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let line = format!("{line} {}", String::from_utf8_lossy(&body));
                    let answer = answers.iter().find(|(part, ..)| line.contains(part));
                    asked.lock().unwrap().push(line);
                    let (status, kind, body) = answer
                        .map_or((404, "text/plain", vec![]), |(_, status, kind, body)| {
                            (*status, *kind, body.clone())
                        });
                    let answer = Response::builder()
                        .status(status)
                        .header("content-type", kind);
                    Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body))).unwrap())
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, told)
}

fn nobody() -> Client {
    let refuse = tower::service_fn(|_: Request<kube::client::Body>| async {
        Err::<Response<kube::client::Body>, _>(std::io::Error::other("there is no cluster"))
    });
    Client::new(refuse, "default")
}

fn open(source: HopSource) -> TraceStoreClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let group = LaneGroup::new("g", LaneGroupSpec::default());
    TraceStoreClient::from_source(&source, &group, &nobody())
        .unwrap()
        .unwrap()
}

fn at(url: &str) -> Option<TraceStore> {
    Some(TraceStore {
        url: Some(url.into()),
        ..TraceStore::default()
    })
}

async fn recent(store: &TraceStoreClient) -> Result<Vec<Span>, StoreError> {
    let (since, until) = (
        "2026-11-29T02:15:00Z".parse().unwrap(),
        "2026-11-29T02:16:00.5Z".parse().unwrap(),
    );
    store.recent_traces("gray", since, until, 20).await
}

fn otlp(spans: Value) -> Value {
    json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
}

fn span(trace: &str) -> Value {
    json!({"traceId": trace, "spanId": "b7ad6b7169203331", "kind": 3, "startTimeUnixNano": "1795919714000000000",
           "attributes": [{"key": "x-mse-tag", "value": {"stringValue": "gray"}}]})
}

#[tokio::test]
async fn tempo_is_searched_and_then_asked_for_whole_traces() {
    let found = json!({"traces": [{"traceID": "1234567890abcdef"}, {"traceID": "2"}]}).to_string();
    let trace = json!({"trace": otlp(json!([span("1234567890abcdef")]))}).to_string();
    let (url, asked) = store(vec![
        ("/api/search", 200, "application/json", found.into()),
        (
            "/api/v2/traces/00000000000000001234567890abcdef",
            200,
            "application/json",
            trace.into(),
        ),
    ])
    .await;
    let store = open(HopSource {
        tempo: at(&url),
        ..HopSource::default()
    });
    let spans = recent(&store).await.unwrap();
    assert_eq!(
        (spans.len(), spans[0].source, &spans[0].tag),
        (1, Source::Tempo, &Tag::Value("gray".into()))
    );
    let asked = asked.lock().unwrap().clone();
    assert!(
        asked[0].contains("start=1795918500&end=1795918561&limit=20"),
        "{asked:?}"
    );
    assert!(
        asked
            .iter()
            .any(|line| line.starts_with("GET /api/traces/00000000000000000000000000000002")),
        "the older path: {asked:?}"
    );
}

#[tokio::test]
async fn jaeger_is_asked_by_service_and_nothing_found_is_no_error() {
    let body =
        json!({"result": otlp(json!([span("0af7651916cd43dd8448eb211c80319c")]))}).to_string();
    let (url, asked) = store(vec![(
        "%22http%2Erequest%2Eheader%2Ex%2Dmse%2Dtag%22%3A%22%5B%5C%22gray%5C%22%5D%22",
        200,
        "application/json",
        body.into(),
    )])
    .await;
    let jaeger = TraceStore {
        url: Some(url),
        gateway_name: Some("gw.demo".into()),
        ..TraceStore::default()
    };
    let named = open(HopSource {
        jaeger: Some(jaeger.clone()),
        ..HopSource::default()
    });
    let spans = recent(&named).await.unwrap();
    assert_eq!(
        (spans.len(), spans[0].source),
        (1, Source::Jaeger),
        "an attribute that is an array is text there"
    );
    let first = asked.lock().unwrap()[0].clone();
    assert!(
        first.contains(
            "query.service_name=gw%2Edemo&query.start_time_min=2026%2D11%2D29T02%3A15%3A00Z"
        ),
        "{first}"
    );
    assert_eq!(
        named
            .fetch_trace("0af7651916cd43dd8448eb211c80319c")
            .await
            .unwrap(),
        []
    );
    let unnamed = open(HopSource {
        jaeger: Some(TraceStore {
            gateway_name: None,
            ..jaeger
        }),
        ..HopSource::default()
    });
    let why = recent(&unnamed).await.unwrap_err().to_string();
    assert!(why.contains("gatewayName"), "{why}");
}

#[tokio::test]
async fn zipkin_answers_below_a_path_of_its_own() {
    let one = json!({"traceId": "1", "id": "2", "kind": "CLIENT", "timestamp": 1_795_919_714_000_000_u64, "tags": {"x-mse-tag": "gray"}});
    let (url, asked) = store(vec![
        (
            "/zipkin/api/v2/traces",
            200,
            "application/json",
            json!([[one]]).to_string().into(),
        ),
        (
            "/zipkin/api/v2/trace/",
            200,
            "application/json",
            json!([one]).to_string().into(),
        ),
    ])
    .await;
    let zipkin = TraceStore {
        url: Some(format!("{url}/")),
        base_path: Some("/zipkin/".into()),
        ..TraceStore::default()
    };
    let store = open(HopSource {
        zipkin: Some(zipkin),
        ..HopSource::default()
    });
    let spans = recent(&store).await.unwrap();
    assert_eq!(
        (spans.len(), spans[0].source),
        (1, Source::Zipkin),
        "once, though two names were asked for"
    );
    assert_eq!(store.fetch_trace("1").await.unwrap(), spans);
    let asked = asked.lock().unwrap().clone();
    assert!(
        asked[1].contains(
            "annotationQuery=x%2Dmse%2Dtag%3Dgray&endTs=1795918560500&lookback=60500&limit=20"
        ),
        "{asked:?}"
    );
}

#[tokio::test]
async fn skywalking_is_asked_for_its_zone_first() {
    let told = json!({"traceId": "a.b.1", "segmentId": "s", "spanId": 0, "parentSpanId": -1, "startTime": 1_795_919_714_000_i64,
        "endTime": 1_795_919_714_005_i64, "type": "Entry", "tags": [{"key": "x-mse-tag", "value": "gray"}]});
    let data = |value: Value| json!({"data": value}).to_string().into_bytes();
    let (url, asked) = store(vec![
        (
            "getTimeInfo",
            200,
            "application/json",
            data(json!({"time": {"timezone": "+0800"}})),
        ),
        (
            "queryBasicTraces",
            200,
            "application/json",
            data(json!({"found": {"traces": [{"traceIds": ["a.b.1"]}]}})),
        ),
        (
            "queryTrace",
            200,
            "application/json",
            data(json!({"trace": {"spans": [told]}})),
        ),
    ])
    .await;
    let tag_attribute = Some("x-mse-tag".to_owned());
    let sky = TraceStore {
        url: Some(url),
        tag_attribute,
        ..TraceStore::default()
    };
    let store = open(HopSource {
        sky_walking: Some(sky),
        ..HopSource::default()
    });
    let spans = recent(&store).await.unwrap();
    assert_eq!(
        (spans.len(), spans[0].trace.as_str(), &spans[0].tag),
        (1, "a.b.1", &Tag::Value("gray".into()))
    );
    let asked = asked.lock().unwrap().clone();
    assert!(
        asked[1].contains(r#""start":"2026-11-29 101500""#),
        "{asked:?}"
    );
    assert!(
        asked[2].contains(r#""variables":{"id":"a.b.1"}"#),
        "{asked:?}"
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_with_what_to_do() {
    let tempo = |url: &str| {
        open(HopSource {
            tempo: at(url),
            ..HopSource::default()
        })
    };
    let (url, _) = store(vec![
        ("/api/search", 200, "application/json", vec![b' '; 17 << 20]),
        (
            "/api/v2/traces/0000000000000000000000000000000a",
            500,
            "text/plain",
            b"no \x1b[31mspace".to_vec(),
        ),
        (
            "/api/v2/traces/0000000000000000000000000000000b",
            200,
            "text/html",
            b"<html>".to_vec(),
        ),
        (
            "/api/v2/traces/0000000000000000000000000000000c",
            302,
            "text/html",
            vec![],
        ),
    ])
    .await;
    let why = |told: Result<Vec<Span>, StoreError>| told.unwrap_err().to_string();
    assert!(why(recent(&tempo(&url)).await).contains("16 MiB"));
    let refused = why(tempo(&url).fetch_trace("a").await);
    assert!(
        refused.contains("500") && refused.contains("no space"),
        "{refused}"
    );
    assert!(why(tempo(&url).fetch_trace("b").await).contains("is no Tempo"));
    assert!(why(tempo(&url).fetch_trace("c").await).contains("302"));
    assert!(
        why(recent(&tempo("http://127.0.0.1:1")).await)
            .contains("check url or service in spec.hops")
    );
    assert_eq!(
        tempo(&url).fetch_trace("../../x").await.unwrap(),
        [],
        "what is no id is not asked for"
    );
    assert!(
        why(open(HopSource {
            tempo: Some(TraceStore {
                service: Some("observability/tempo:3200".into()),
                ..TraceStore::default()
            }),
            ..HopSource::default()
        })
        .fetch_trace("a")
        .await)
        .contains("there is no cluster")
    );

    let group = LaneGroup::new("g", LaneGroupSpec::default());
    for wrong in [
        TraceStore::default(),
        TraceStore {
            url: Some("tempo:3200".into()),
            ..TraceStore::default()
        },
        TraceStore {
            service: Some("tempo".into()),
            ..TraceStore::default()
        },
        TraceStore {
            url: Some("http://t".into()),
            service: Some("a/b:1".into()),
            ..TraceStore::default()
        },
    ] {
        let source = HopSource {
            tempo: Some(wrong),
            ..HopSource::default()
        };
        let why = TraceStoreClient::from_source(&source, &group, &nobody())
            .err()
            .unwrap()
            .to_string();
        assert!(why.starts_with("Tempo in spec.hops:"), "{why}");
    }
    assert!(
        TraceStoreClient::from_source(&HopSource::default(), &group, &nobody())
            .unwrap()
            .is_none()
    );
}
