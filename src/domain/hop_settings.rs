//! Settings that each gateway needs so that its access log reports hops: the exact lines that
//! `docs/hops.md` and `graylane doctor --trace` print. They are tested with the real gateways in
//! `tests/stories/hops.rs`.

use crate::api::LogFormat;

/// Envoy's fields and command operators (Envoy docs, "Access logging"); `{header}` is the tag
/// header.
pub const ENVOY_FIELDS: [(&str, &str); 13] = [
    ("start_time", "%START_TIME%"),
    ("duration", "%DURATION%"),
    ("trace_id", "%TRACE_ID%"),
    ("traceparent", "%REQ(traceparent)%"),
    ("x-request-id", "%REQ(x-request-id)%"),
    ("{header}", "%REQ({header})%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("peer", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("route_name", "%ROUTE_NAME%"),
];

/// nginx's fields and variables (`ngx_http_core_module`, `ngx_http_upstream_module`); `{variable}`
/// is the tag header as a variable.
pub const NGINX_FIELDS: [(&str, &str); 10] = [
    ("msec", "$msec"),
    ("request_time", "$request_time"),
    ("http_traceparent", "$http_traceparent"),
    ("request_id", "$request_id"),
    ("http_{variable}", "$http_{variable}"),
    ("upstream_addr", "$upstream_addr"),
    ("remote_addr", "$remote_addr"),
    ("status", "$status"),
    ("request_method", "$request_method"),
    ("request_uri", "$request_uri"),
];

/// Traefik's arguments (Traefik docs, "Access Logs", "Tracing"). Tracing adds trace ids to the log;
/// a sample rate of 0 exports no trace.
pub const TRAEFIK_ARGS: [&str; 5] = [
    "--accesslog.format=json",
    "--accesslog.fields.headers.names.{header}=keep",
    "--accesslog.fields.headers.names.traceparent=keep",
    "--tracing.otlp.http=true",
    "--tracing.samplerate=0.0",
];

/// Where to change something, and the lines to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Where the lines go, for people.
    pub place: &'static str,
    /// Lines to write.
    pub lines: String,
}

/// Settings for a gateway, by the controller of its class (`None` if unknown) and the format of its
/// log.
pub fn build_log_settings(
    controller: Option<&str>,
    format: LogFormat,
    header: &str,
) -> LogSettings {
    let filled = |text: &str| text.replace("{header}", &header.to_lowercase());
    let fields = |indent: &str, between: &str| {
        let line = |(key, value): &(&str, &str)| {
            format!("{indent}{}{between}\"{}\"", filled(key), filled(value))
        };
        ENVOY_FIELDS.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    let envoy_json = || {
        let all: Vec<String> = ENVOY_FIELDS
            .iter()
            .map(|(k, v)| format!("\"{}\":\"{}\"", filled(k), filled(v)))
            .collect();
        format!("{{{}}}", all.join(","))
    };
    match (format, controller) {
        (LogFormat::Traefik, _) => LogSettings {
            place: "Traefik's arguments (Helm chart: additionalArguments)",
            lines: TRAEFIK_ARGS.map(|arg| format!("- {}", filled(arg))).join("\n"),
        },
        (LogFormat::Envoy, Some("gateway.envoyproxy.io/gatewayclass-controller")) => LogSettings {
            place: "the EnvoyProxy that the GatewayClass's parametersRef names",
            lines: format!(
                "spec:\n  telemetry:\n    accessLog:\n      settings:\n      - sinks: [{{type: File, file: {{path: \
                 /dev/stdout}}}}]\n        format:\n          type: JSON\n          json:\n{}",
                fields("            ", ": ")
            ),
        },
        (LogFormat::Envoy, Some("higress.io/gateway-controller")) => LogSettings {
            place: "the key `mesh` of ConfigMap higress-config in namespace higress-system",
            lines: format!("accessLogFile: /dev/stdout\naccessLogEncoding: JSON\naccessLogFormat: '{}'", envoy_json()),
        },
        (LogFormat::Envoy, _) => LogSettings {
            place: "Istio's meshConfig",
            lines: format!(
                "meshConfig:\n  accessLogFile: /dev/stdout\n  accessLogEncoding: JSON\n  accessLogFormat: '{}'",
                envoy_json()
            ),
        },
        (LogFormat::Nginx, _) => LogSettings {
            place: "nginx's http block (ingress-nginx: log-format-upstream; NGINX Gateway Fabric: NginxProxy \
                    spec.logging.accessLog.format). nginx logs headers as they came: at an entry that colours log the \
                    variable that is sent on, as \"tag\"",
            lines: format!("log_format lanes escape=json '{}';\naccess_log /dev/stdout lanes;", nginx_json_format(header)),
        },
        (LogFormat::Json, _) => LogSettings {
            place: "the lane group, to say what the fields of the gateway's JSON log are called",
            lines:
                "spec:\n  hops:\n  - accessLog:\n      format: json\n      matchLabels: {app: GATEWAY}\n      fields: \
                    {start: FIELD, duration: FIELD, durationUnit: ms, traceparent: FIELD, tag: FIELD, upstream: FIELD, \
                    peer: FIELD, status: FIELD, method: FIELD, path: FIELD}"
                    .into(),
        },
    }
}

fn nginx_json_format(header: &str) -> String {
    let variable = header.to_lowercase().replace('-', "_");
    let filled = |text: &str| text.replace("{variable}", &variable);
    let all: Vec<String> = NGINX_FIELDS
        .iter()
        .map(|(k, v)| format!("\"{}\":\"{}\"", filled(k), filled(v)))
        .collect();
    format!("{{{}}}", all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_name_the_groups_own_header() {
        for (controller, format) in [
            (None, LogFormat::Traefik),
            (
                Some("gateway.envoyproxy.io/gatewayclass-controller"),
                LogFormat::Envoy,
            ),
            (Some("istio.io/gateway-controller"), LogFormat::Envoy),
            (Some("higress.io/gateway-controller"), LogFormat::Envoy),
        ] {
            let told = build_log_settings(controller, format, "X-Lane").lines;
            assert!(
                told.contains("x-lane") && !told.contains('{') | told.contains("start_time"),
                "{told}"
            );
            assert!(!told.contains("{header}"), "{told}");
        }
        assert!(
            build_log_settings(None, LogFormat::Nginx, "X-Lane")
                .lines
                .contains(r#""http_x_lane":"$http_x_lane""#)
        );
        assert!(
            build_log_settings(None, LogFormat::Json, "X-Lane")
                .lines
                .contains("durationUnit")
        );
    }
}
