//! Spans of `tracing` as an exporter gets them, and as they arrive at a server.

mod server;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
};

use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use tracing_subscriber::layer::SubscriberExt;

use super::{exporter::without_queries, *};
use server::Server;

/// Keeps what it is given; each batch waits for a word when there is a gate.
#[derive(Clone, Debug, Default)]
struct Recorder {
    batches: Arc<Mutex<Vec<Vec<SpanData>>>>,
    gate: Option<Arc<Mutex<Receiver<()>>>>,
}

impl SpanExporter for Recorder {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        if let Some(gate) = &self.gate {
            // An error means that the gate is open for good.
            let _ = gate.lock().unwrap().recv();
        }
        self.batches.lock().unwrap().push(batch);
        Ok(())
    }
}

impl Recorder {
    fn spans(&self) -> Vec<SpanData> {
        self.batches.lock().unwrap().concat()
    }
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    let look_up = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        let value = found.map(|(_, value)| (*value).to_owned());
        let endpoint = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
        value.or_else(|| endpoint.then(|| "http://127.0.0.1:1".to_owned()))
    };
    Settings::from_variables(&look_up).0.unwrap()
}

/// Runs `emit` with its spans exported, and waits until all are.
fn export_to(exporter: impl SpanExporter + 'static, settings: &Settings, emit: impl FnOnce()) {
    let export = SpanExport::with_exporter(settings, exporter);
    let subscriber = tracing_subscriber::registry().with(export.layer());
    tracing::subscriber::with_default(subscriber, emit);
}

/// The spans that are exported of what `emit` does.
fn exported(settings: &Settings, emit: impl FnOnce()) -> Vec<SpanData> {
    let recorder = Recorder::default();
    let exporter = QuietExporter::new(recorder.clone(), String::new());
    export_to(exporter, settings, emit);
    recorder.spans()
}

fn attributes(span: &SpanData) -> HashMap<&str, String> {
    let pairs = span.attributes.iter();
    pairs
        .map(|pair| (pair.key.as_str(), pair.value.to_string()))
        .collect()
}

#[test]
fn a_span_has_its_name_parent_times_and_fields() {
    let spans = exported(&settings(&[]), || {
        let reconcile = tracing::info_span!("reconcile_release", release = "a-1", steps = 2);
        reconcile.in_scope(|| {
            let patch = tracing::debug_span!("patch", namespace = tracing::field::Empty);
            patch.record("namespace", "shop");
        });
    });
    let [patch, reconcile] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(
        (&*patch.name, &*reconcile.name),
        ("patch", "reconcile_release")
    );
    assert_eq!(patch.parent_span_id, reconcile.span_context.span_id());
    assert_eq!(reconcile.parent_span_id, SpanId::INVALID);
    assert_eq!(
        patch.span_context.trace_id(),
        reconcile.span_context.trace_id()
    );
    assert!(reconcile.start_time <= patch.start_time && patch.end_time <= reconcile.end_time);
    let told = attributes(reconcile);
    assert_eq!((&*told["release"], &*told["steps"]), ("a-1", "2"));
    assert_eq!(told["target"], module_path!());
    assert!(
        told.contains_key("busy_ns") && told.contains_key("idle_ns"),
        "{told:?}"
    );
    assert!(
        !told
            .keys()
            .any(|key| key.starts_with("thread") || key.starts_with("code"))
    );
    assert_eq!(attributes(patch)["namespace"], "shop");
}

#[test]
fn warnings_are_events_and_errors_make_a_span_fail() {
    let spans = exported(&settings(&[]), || {
        tracing::info_span!("warned").in_scope(|| {
            tracing::info!("not an event");
            tracing::warn!(why = "late", "the server answers slowly");
        });
        tracing::info_span!("failed").in_scope(|| tracing::error!("no answer"));
    });
    let [warned, failed] = &spans[..] else {
        panic!("{spans:?}");
    };
    let names: Vec<&str> = warned.events.iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["the server answers slowly"]);
    assert_eq!(warned.status, Status::Unset);
    assert_eq!(failed.status, Status::error(""));
    assert_eq!(failed.events.len(), 1);
}

#[test]
fn only_own_spans_up_to_the_level_are_exported() {
    let emit = || {
        let _foreign = tracing::info_span!(target: "hyper::client", "foreign").entered();
        let _similar = tracing::info_span!(target: "graylane_other", "similar").entered();
        let _own = tracing::debug_span!(target: "pocket::rest", "own").entered();
        let _fine = tracing::trace_span!("fine").entered();
    };
    let names = |level| {
        let spans = exported(&settings(&[("GRAYLANE_SPAN_LEVEL", level)]), emit);
        let names = spans.iter().map(|span| span.name.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("debug"), ["own"]);
    assert_eq!(names("trace"), ["fine", "own"]);
    assert!(names("info").is_empty());
}

#[test]
fn queries_never_leave() {
    let table = [
        (
            "GET http://shop/cart?group=gray failed",
            Some("GET http://shop/cart failed"),
        ),
        ("(https://a:1/?token=x)", Some("(https://a:1/)")),
        ("/api/search?q=%7Ba%7D&n=1: late", Some("/api/search late")),
        ("really? yes/no", None),
        ("/api/v1/pods", None),
    ];
    for (text, clean) in table {
        assert_eq!(without_queries(text).as_deref(), clean, "{text}");
    }
    let spans = exported(&settings(&[]), || {
        tracing::info_span!("probe", path = "/cart?a=secret").in_scope(|| {
            tracing::warn!(url = "http://c/?a=secret", "no answer of /x?a=secret");
        });
    });
    assert!(!format!("{spans:?}").contains("secret"), "{spans:?}");
}

#[test]
fn a_trace_is_exported_whole_or_not_at_all() {
    let ratio = [
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
    ];
    let emit = || {
        for _ in 0..400 {
            tracing::info_span!("parent").in_scope(|| drop(tracing::info_span!("child")));
        }
    };
    let mut of_trace: HashMap<_, usize> = HashMap::new();
    for span in exported(&settings(&ratio), emit) {
        *of_trace.entry(span.span_context.trace_id()).or_default() += 1;
    }
    assert!(of_trace.values().all(|spans| *spans == 2), "{of_trace:?}");
    // The chance of more or fewer is below 1e-20.
    assert!((100..300).contains(&of_trace.len()), "{}", of_trace.len());
    let off = settings(&[("OTEL_TRACES_SAMPLER", "always_off")]);
    assert!(exported(&off, emit).is_empty());
}

#[test]
fn batches_are_bounded_and_an_exporter_that_hangs_costs_spans_but_no_time() {
    let (open, gate) = channel();
    let recorder = Recorder {
        gate: Some(Arc::new(Mutex::new(gate))),
        ..Recorder::default()
    };
    export_to(recorder.clone(), &settings(&[]), || {
        for _ in 0..10_000 {
            drop(tracing::info_span!("one"));
        }
        // Nothing was exported so far, and yet it comes here.
        assert!(recorder.batches.lock().unwrap().is_empty());
        drop(open);
    });
    let sizes: Vec<usize> = recorder
        .batches
        .lock()
        .unwrap()
        .iter()
        .map(Vec::len)
        .collect();
    assert!(sizes.iter().all(|size| *size <= 512), "{sizes:?}");
    // The queue and the batch that hung.
    let kept = sizes.iter().sum::<usize>();
    assert!((2048..=2048 + 512).contains(&kept), "{sizes:?}");
}

#[test]
fn spans_arrive_at_a_server_which_is_asked_again_when_it_is_busy() {
    let server = Server::start(&[503, 429, 200]);
    let endpoint = server.url();
    let settings = settings(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "tenant=a%20b"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "600000"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=web"),
        ("OTEL_SERVICE_NAME", "engine"),
    ]);
    let export = SpanExport::start(&settings).unwrap();
    let subscriber = tracing_subscriber::registry().with(export.layer());
    tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("reconcile_release", release = "a-1")
            .in_scope(|| tracing::error!("no"));
    });
    // Its batch is sent within seconds; the end of the program would wait for two only.
    let requests = server.wait_for_requests();
    for request in &requests {
        assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
        assert_eq!(request.headers["tenant"], "a b");
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        assert_eq!(request.body, requests[0].body, "the same batch");
    }
    let sent = requests[2].decode();
    let [of_resource] = &sent.resource_spans[..] else {
        panic!("{sent:?}");
    };
    let resource = of_resource.resource.as_ref().unwrap();
    let told = server::texts(&resource.attributes);
    assert_eq!((&*told["service.name"], &*told["team"]), ("engine", "web"));
    assert_eq!(told["telemetry.sdk.language"], "rust");
    let span = &of_resource.scope_spans[0].spans[0];
    assert_eq!(span.name, "reconcile_release");
    assert_eq!(server::texts(&span.attributes)["release"], "a-1");
    assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
    assert!(span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano);
    assert_eq!(span.status.as_ref().unwrap().code, 2, "error");
    assert_eq!(span.events[0].name, "no");
}

#[test]
fn the_end_does_not_wait_for_a_server_that_never_answers() {
    // Accepts connections, and nothing else.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let settings = settings(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        // Who waited for the answer would never come to an end.
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "86400000"),
    ]);
    let export = SpanExport::start(&settings).unwrap();
    let subscriber = tracing_subscriber::registry().with(export.layer());
    tracing::subscriber::with_default(subscriber, || drop(tracing::info_span!("last")));
    drop(export);
}

#[test]
fn the_own_crates_are_those_of_the_workspace() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let entries = std::fs::read_dir(crates).unwrap();
    let mut found: HashSet<String> = entries
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_string_lossy()
                .replace('-', "_")
        })
        .collect();
    found.insert("graylane".to_owned());
    assert_eq!(found, OWN_CRATES.map(str::to_owned).into());
}
