//! The gateways, each set as `docs/hops.md` tells people to.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use graylane::domain::hop_settings::{ENVOY_FIELDS, NGINX_FIELDS, TRAEFIK_ARGS};
use serde_json::{Value, json};

use super::peers::{find_program, report_skipped};

/// As docs/otlp.md tells people to.
const TRAEFIK_SPANS: [&str; 3] = [
    "--tracing.otlp.grpc.insecure=true",
    "--tracing.capturedRequestHeaders=x-mse-tag",
    "--tracing.safeQueryParams=group",
];

pub enum Gateway {
    Traefik,
    Envoy,
    Nginx,
}

/// Where it sends its spans, instead of writing an access log.
#[derive(Clone, Copy)]
pub enum Spans {
    Nowhere,
    Otlp(SocketAddr),
    /// Envoy only.
    Zipkin(SocketAddr),
}

/// Where it listens, and who is behind it.
pub struct Places {
    pub entry: SocketAddr,
    pub inside: SocketAddr,
    pub spans: Spans,
    pub pods: BTreeMap<&'static str, IpAddr>,
    /// Its files.
    pub dir: PathBuf,
}

impl Places {
    fn at(&self, pod: &str) -> String {
        format!("{}:20000", self.pods[pod])
    }
}

impl Gateway {
    const fn program(&self) -> &'static str {
        match self {
            Self::Traefik => "traefik",
            Self::Envoy => "envoy",
            Self::Nginx => "nginx",
        }
    }

    /// As which its spans come.
    pub const fn service_name(&self) -> &'static str {
        match self {
            Self::Envoy => "gw",
            Self::Traefik | Self::Nginx => self.program(),
        }
    }

    pub const fn format(&self) -> &'static str {
        self.program()
    }

    pub fn find(&self) -> Option<PathBuf> {
        find_program(self.program())
    }

    pub fn skipped(&self) {
        let what = format!("chains by what {} tells were NOT tried", self.program());
        report_skipped(&what, self.program());
    }

    /// Its environment: an SDK of OpenTelemetry sends every 5 seconds unless it is told otherwise.
    pub fn env(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "200".to_owned())])
    }

    /// Its arguments; its files are written.
    pub fn args(&self, places: &Places) -> Vec<String> {
        match self {
            Self::Traefik => traefik(places),
            Self::Envoy => envoy(places),
            Self::Nginx => nginx(places),
        }
    }
}

/// As for the header x-mse-tag.
fn filled(text: &str) -> String {
    text.replace("{header}", "x-mse-tag")
        .replace("{variable}", "x_mse_tag")
}

fn write(places: &Places, name: &str, text: &str) -> String {
    let file = places.dir.join(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn traefik(places: &Places) -> Vec<String> {
    let service = |pods: &[&str]| {
        let servers: Vec<Value> = pods
            .iter()
            .map(|p| json!({"url": format!("http://{}", places.at(p))}))
            .collect();
        json!({"loadBalancer": {"servers": servers}})
    };
    let router = |rule: &str, at: &str, service: &str, priority: u8, with: &[&str]| json!({"rule": rule, "entryPoints": [at], "service": service, "priority": priority, "middlewares": with});
    let colour = |tag: &str| json!({"headers": {"customRequestHeaders": {"x-mse-tag": tag}}});
    let dynamic = json!({"http": {
        "middlewares": {"gray": colour("gray"), "none": colour("")},
        "routers": {
            "a-gray": router("Query(`group`, `gray`)", "entry", "a-gray", 2, &["gray"]),
            "a-base": router("PathPrefix(`/`)", "entry", "a-base", 1, &["none"]),
            "b": router("Host(`spring-cloud-b`)", "inside", "b", 1, &[]),
            "c-gray": router("Host(`spring-cloud-c`) && Header(`x-mse-tag`, `gray`)", "inside", "c-gray", 2, &[]),
            "c-base": router("Host(`spring-cloud-c`)", "inside", "c-base", 1, &[]),
        },
        "services": {
            "a-gray": service(&["a-gray"]), "a-base": service(&["a-base"]), "b": service(&["b-passes", "b-drops"]),
            "c-gray": service(&["c-gray"]), "c-base": service(&["c-base"]),
        },
    }});
    let file = write(places, "dynamic.yaml", &dynamic.to_string());
    let mut args = vec![
        format!("--providers.file.filename={file}"),
        format!("--entrypoints.entry.address={}", places.entry),
        format!("--entrypoints.inside.address={}", places.inside),
    ];
    let rest = [
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.nocolor",
    ];
    args.extend(rest.map(Into::into));
    if let Spans::Otlp(endpoint) = places.spans {
        args.push(format!("--tracing.otlp.grpc.endpoint={endpoint}"));
        args.extend(TRAEFIK_SPANS.map(Into::into));
    } else {
        args.extend(TRAEFIK_ARGS.map(filled));
    }
    args
}

fn envoy(places: &Places) -> Vec<String> {
    let endpoint = |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        json!({"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}})
    };
    let cluster = |name: &str, addresses: &[String]| {
        let endpoints: Vec<Value> = addresses.iter().map(|a| endpoint(a)).collect();
        json!({"name": name, "type": "STATIC", "connect_timeout": "3s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}})
    };
    let of = |name: &str, pods: &[&str]| {
        cluster(name, &pods.iter().map(|p| places.at(p)).collect::<Vec<_>>())
    };
    let to = |cluster: &str| json!({"cluster": cluster});
    let tag = json!([{"name": "x-mse-tag", "string_match": {"exact": "gray"}}]);
    let coloured = json!([{"header": {"key": "x-mse-tag", "value": "gray"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]);
    let asked = json!([{"name": "group", "string_match": {"exact": "gray"}}]);
    let entry = json!([{"name": "entry", "domains": ["*"], "routes": [
        {"match": {"prefix": "/", "query_parameters": asked}, "route": to("a-gray"), "request_headers_to_add": coloured},
        {"match": {"prefix": "/"}, "route": to("a-base"), "request_headers_to_remove": ["x-mse-tag"]},
    ]}]);
    let inside = json!([
        {"name": "b", "domains": ["spring-cloud-b"], "routes": [{"match": {"prefix": "/"}, "route": to("b")}]},
        {"name": "c", "domains": ["spring-cloud-c"], "routes": [
            {"match": {"prefix": "/", "headers": tag}, "route": to("c-gray")},
            {"match": {"prefix": "/"}, "route": to("c-base")},
        ]},
    ]);
    let typed = |kind: &str, mut value: Value| {
        value["@type"] = format!("type.googleapis.com/envoy.{kind}").into();
        value
    };
    let log = typed(
        "extensions.access_loggers.stream.v3.StdoutAccessLog",
        json!({"log_format": {"json_format": ENVOY_FIELDS
        .iter().map(|(k, v)| (filled(k), json!(filled(v)))).collect::<serde_json::Map<_, _>>()}}),
    );
    let otlp = json!({"service_name": "gw", "grpc_service": {"envoy_grpc": {"cluster_name": "hops"}, "timeout": "1s"}});
    let zipkin = json!({"collector_cluster": "hops", "collector_endpoint": "/api/v2/spans",
        "collector_endpoint_version": "HTTP_JSON", "trace_id_128bit": true,
        "trace_context_option": "USE_B3_WITH_W3C_PROPAGATION"});
    let (tracer, kind, config) = match places.spans {
        Spans::Zipkin(_) => ("zipkin", "ZipkinConfig", zipkin),
        Spans::Otlp(_) | Spans::Nowhere => ("opentelemetry", "OpenTelemetryConfig", otlp),
    };
    let (tracer, config) = (
        format!("envoy.tracers.{tracer}"),
        typed(&format!("config.trace.v3.{kind}"), config),
    );
    let log = json!([{"name": "log", "typed_config": log}]);
    let log = if matches!(places.spans, Spans::Nowhere) {
        log
    } else {
        json!([])
    };
    let custom = json!([{"tag": "x-mse-tag", "request_header": {"name": "x-mse-tag", "default_value": "-"}}]);
    let listener = |name: &str, at: &SocketAddr, hosts: &Value| {
        let manager = typed(
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            json!({
                "stat_prefix": name,
                "access_log": log,
                "tracing": {"random_sampling": {"value": 100}, "spawn_upstream_span": true, "custom_tags": custom,
                    "provider": {"name": tracer, "typed_config": config}},
                "http_filters": [{"name": "envoy.filters.http.router",
                    "typed_config": typed("extensions.filters.http.router.v3.Router", json!({}))}],
                "route_config": {"name": name, "virtual_hosts": hosts},
            }),
        );
        json!({"name": name, "address": {"socket_address": {"address": at.ip(), "port_value": at.port()}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]})
    };
    let receives = match places.spans {
        Spans::Nowhere => "127.0.0.1:9".to_owned(),
        Spans::Otlp(at) | Spans::Zipkin(at) => at.to_string(),
    };
    let mut hops = cluster("hops", &[receives]);
    let version = if matches!(places.spans, Spans::Zipkin(_)) {
        "http_protocol_options"
    } else {
        "http2_protocol_options"
    };
    hops["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
        typed("extensions.upstreams.http.v3.HttpProtocolOptions", json!({"explicit_http_config": {version: {}}}))});
    let config = json!({"static_resources": {
        "listeners": [listener("entry", &places.entry, &entry), listener("inside", &places.inside, &inside)],
        "clusters": [of("a-gray", &["a-gray"]), of("a-base", &["a-base"]), of("b", &["b-passes", "b-drops"]),
            of("c-gray", &["c-gray"]), of("c-base", &["c-base"]), hops],
    }});
    let file = write(places, "envoy.json", &config.to_string());
    [
        "-c",
        &file,
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
    ]
    .map(Into::into)
    .into()
}

fn nginx(places: &Places) -> Vec<String> {
    let dir = places.dir.display();
    // The tag that the request is sent on with: nginx's own variable is the header as it came.
    let fields = NGINX_FIELDS.iter().copied().chain([("tag", "$lane_tag")]);
    let log: Vec<String> = fields
        .map(|(key, value)| format!("\"{}\":\"{}\"", filled(key), filled(value)))
        .collect();
    let (entry, inside) = (places.entry, places.inside);
    let at = |pod: &str| places.at(pod);
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};"));
    let text = format!(
        "daemon off; pid {dir}/pid; error_log stderr; worker_processes 1; master_process off;\n\
         events {{}}\n\
         http {{\n\
           {}\n\
           log_format lanes escape=json '{{{}}}';\n\
           access_log /dev/stdout lanes;\n\
           map $arg_group $lane {{ gray gray; default ''; }}\n\
           map $lane $a {{ gray {}; default {}; }}\n\
           map $http_x_mse_tag $c {{ gray {}; default {}; }}\n\
           upstream b {{ server {}; server {}; }}\n\
           server {{ listen {entry}; set $lane_tag $lane;\n\
             location / {{ proxy_set_header x-mse-tag $lane_tag; proxy_pass http://$a; }} }}\n\
           server {{ listen {inside}; server_name spring-cloud-b; set $lane_tag $http_x_mse_tag;\n\
             location / {{ proxy_pass http://b; }} }}\n\
           server {{ listen {inside}; server_name spring-cloud-c; set $lane_tag $http_x_mse_tag;\n\
             location / {{ proxy_pass http://$c; }} }}\n\
         }}\n",
        temporary.join("\n"),
        log.join(","),
        at("a-gray"),
        at("a-base"),
        at("c-gray"),
        at("c-base"),
        at("b-passes"),
        at("b-drops"),
    );
    let file = write(places, "nginx.conf", &text);
    vec!["-p".into(), dir.to_string(), "-c".into(), file]
}
