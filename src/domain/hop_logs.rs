//! Finds the logs that report the hops of the lane groups, and the pods that write them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    lanes::GatewayFeatures,
    world::{LaneGroups, World},
};
use crate::api::{AccessLog, HopSource, LaneGroup, LaneMode, LogFormat, gateway_api::LANE_GATEWAY};

/// Source of hops: the logs of some pods, or a trace store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HopLog {
    /// Log of graylane's own gateway, in the embedded cluster (pocket).
    LaneGateway,
    /// Logs of engines, which follow gateways and write the spans that these report.
    Spans {
        /// Namespace of the engine's pods.
        namespace: String,
        /// Labels of the engine's pods.
        labels: BTreeMap<String, String>,
    },
    /// Access log of a gateway.
    Access(Box<GatewayLog>),
    /// Trace store, which has no log and is polled.
    Store(Box<GroupTraceStore>),
}

impl HopLog {
    /// Name for messages: `accessLog traefik of gw`.
    pub fn display_name(&self) -> String {
        match self {
            Self::LaneGateway => "graylane's own gateway".into(),
            Self::Spans { namespace, .. } => format!("the engine in {namespace}"),
            Self::Access(log) => log.display_name(),
            Self::Store(store) => store.store_kind().into(),
        }
    }
}

/// Trace store that a lane group names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupTraceStore {
    /// Name of the lane group.
    pub group: String,
    /// Hop source of the lane group that names the store.
    pub source: HopSource,
}

impl GroupTraceStore {
    /// Kind of the store as written in the lane group: `tempo`.
    pub fn store_kind(&self) -> &'static str {
        let source = &self.source;
        let named = [
            ("tempo", &source.tempo),
            ("jaeger", &source.jaeger),
            ("zipkin", &source.zipkin),
        ];
        named
            .into_iter()
            .find(|(_, store)| store.is_some())
            .map_or("skyWalking", |(word, _)| word)
    }
}

/// Access log of the pods of one Gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GatewayLog {
    /// Namespace of the lane groups and so of the Gateway.
    pub home: String,
    /// Name of the Gateway.
    pub gateway: String,
    /// Format and place of the log.
    pub log: AccessLog,
}

impl GatewayLog {
    fn new(home: &str, gateway: &str, log: &AccessLog) -> Self {
        Self {
            home: home.to_owned(),
            gateway: gateway.to_owned(),
            log: log.clone(),
        }
    }

    /// Name for the lane group's status: `accessLog traefik of gw`.
    pub fn display_name(&self) -> String {
        format!(
            "accessLog {} of {}",
            format_name(self.log.format),
            self.gateway
        )
    }

    /// Where its pods may be, the most likely place first: namespace (`None` for all) and labels.
    pub fn pod_selectors(&self) -> Vec<(Option<String>, BTreeMap<String, String>)> {
        let log = &self.log;
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        if !log.match_labels.is_empty() {
            let namespace = log.namespace.as_ref().unwrap_or(&self.home);
            return vec![(Some(namespace.clone()), log.match_labels.clone())];
        }
        // Gateways that are deployed per Gateway resource carry its name in a label (Gateway API,
        // GEP-1762); Envoy Gateway uses labels of its own, in its controller's namespace. Traefik
        // and Higress serve all Gateways with the pods of their chart.
        let made = labels(&[("gateway.networking.k8s.io/gateway-name", &self.gateway)]);
        let owned = labels(&[
            ("gateway.envoyproxy.io/owning-gateway-name", &self.gateway),
            ("gateway.envoyproxy.io/owning-gateway-namespace", &self.home),
        ]);
        let of_all = |name: &str, value: &str| (log.namespace.clone(), labels(&[(name, value)]));
        let mut places = match log.format {
            LogFormat::Traefik => vec![of_all("app.kubernetes.io/name", "traefik")],
            LogFormat::Envoy => vec![(log.namespace.clone(), owned)],
            LogFormat::Nginx | LogFormat::Json => vec![],
        };
        places.push((
            Some(log.namespace.clone().unwrap_or_else(|| self.home.clone())),
            made,
        ));
        if log.format == LogFormat::Envoy {
            places.push(of_all("app", "higress-gateway"));
        }
        places
    }
}

/// Name of the format as written in a lane group.
pub const fn format_name(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Traefik => "traefik",
        LogFormat::Envoy => "envoy",
        LogFormat::Nginx => "nginx",
        LogFormat::Json => "json",
    }
}

/// Format that a gateway's controller writes by default; `None` when it is unknown.
pub fn default_format(controller: &str) -> Option<LogFormat> {
    Some(match controller {
        "traefik.io/gateway-controller" => LogFormat::Traefik,
        "gateway.envoyproxy.io/gatewayclass-controller"
        | "istio.io/gateway-controller"
        | "higress.io/gateway-controller" => LogFormat::Envoy,
        "gateway.nginx.org/nginx-gateway-controller" => LogFormat::Nginx,
        _ => return None,
    })
}

/// Access logs of a group's Gateways: as configured in the group, or else by the class of its
/// Gateway.
pub fn list_access_logs(home: &str, group: &LaneGroup) -> Vec<GatewayLog> {
    let said: Vec<AccessLog> = group
        .spec
        .hops
        .iter()
        .filter_map(|source| source.access_log.clone())
        .collect();
    let usual =
        || GatewayFeatures::from_group(group).and_then(|means| default_format(means.controller()));
    let usual = usual()
        .filter(|_| group.spec.hops.is_empty())
        .map(|format| AccessLog {
            format,
            ..AccessLog::default()
        });
    let mut gateways = vec![group.spec.entry.gateway.clone()];
    if group.spec.mode == LaneMode::Gateway {
        gateways.push(super::routes::internal_gateway_name(group));
    }
    let of = |log: &AccessLog| {
        gateways
            .iter()
            .map(|g| GatewayLog::new(home, g, log))
            .collect::<Vec<_>>()
    };
    said.iter().chain(&usual).flat_map(of).collect()
}

/// Logs that a cockpit follows. For gateways that an engine follows, it reads the engine's log
/// instead, unless that log is in `silent`, which means that no engine writes it now.
pub fn logs_for_cockpit(world: &World, silent: &BTreeSet<HopLog>) -> BTreeSet<HopLog> {
    let mut logs = BTreeSet::new();
    for (name, group) in world.groups.iter() {
        let stores = group
            .spec
            .hops
            .iter()
            .filter(|source| source.access_log.is_none());
        logs.extend(stores.map(|source| {
            HopLog::Store(Box::new(GroupTraceStore {
                group: name.clone(),
                source: source.clone(),
            }))
        }));
        let status = group.status.as_ref();
        let controller = status
            .and_then(|s| s.gateway.as_ref())
            .and_then(|g| g.controller.as_deref());
        // An engine that writes routes also writes whose Gateway takes them. Until then no request
        // takes a lane, and asking a cluster without graylane's own gateway for its log is in vain.
        if controller == Some(LANE_GATEWAY) {
            logs.insert(HopLog::LaneGateway);
        }
        let of_engine = status.and_then(|s| s.span_log.clone());
        let of_engine = of_engine.map(|log| HopLog::Spans {
            namespace: log.namespace,
            labels: log.match_labels,
        });
        let written = of_engine.as_ref().is_some_and(|log| !silent.contains(log));
        logs.extend(of_engine);
        if !written {
            logs.extend(
                list_access_logs(&world.namespace, group)
                    .into_iter()
                    .map(|log| HopLog::Access(Box::new(log))),
            );
        }
    }
    logs
}

/// Whether the hops of a lane group are told by spans alone: by an OTLP receiver or trace stores,
/// and by no gateway's log. They are known seconds after the request.
pub fn are_hops_from_spans(home: &str, group: &LaneGroup) -> bool {
    let own_gateway = group
        .status
        .as_ref()
        .and_then(|s| s.gateway.as_ref())
        .is_some_and(|g| g.controller.as_deref() == Some(LANE_GATEWAY));
    let stores = group.spec.hops.iter().any(|h| h.access_log.is_none());
    let span_log = group.status.as_ref().is_some_and(|s| s.span_log.is_some());
    (stores || span_log) && !own_gateway && list_access_logs(home, group).is_empty()
}

/// Logs that an engine follows if it writes spans.
pub fn logs_for_engine(namespace: &str, groups: &LaneGroups) -> BTreeSet<HopLog> {
    groups
        .values()
        .flat_map(|group| list_access_logs(namespace, group))
        .map(|log| HopLog::Access(Box::new(log)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::{Entry, GatewaySeen, LaneGroupSpec, LaneGroupStatus, SpanLog};

    fn group(controller: &str, hops: Vec<HopSource>, span_log: Option<SpanLog>) -> LaneGroup {
        let entry = Entry {
            gateway: "gw".into(),
            ..Entry::default()
        };
        let spec = LaneGroupSpec {
            entry,
            hops,
            mode: LaneMode::Gateway,
            ..LaneGroupSpec::default()
        };
        let mut group = LaneGroup::new("g", spec);
        let seen = GatewaySeen {
            class: "c".into(),
            controller: Some(controller.into()),
            features: None,
        };
        group.status = Some(LaneGroupStatus {
            gateway: Some(seen),
            span_log,
            ..LaneGroupStatus::default()
        });
        group
    }

    fn followed(group: LaneGroup) -> Vec<String> {
        let groups = Arc::new(BTreeMap::from([("g".to_owned(), Arc::new(group))]));
        let world = World {
            namespace: "demo".into(),
            groups,
            ..World::default()
        };
        logs_for_cockpit(&world, &BTreeSet::new())
            .iter()
            .map(HopLog::display_name)
            .collect()
    }

    #[test]
    fn the_class_says_which_log_and_the_group_may_say_otherwise() {
        let usual = |controller: &str| followed(group(controller, vec![], None));
        assert_eq!(usual(LANE_GATEWAY), ["graylane's own gateway"]);
        for (controller, format) in [
            ("traefik.io/gateway-controller", "traefik"),
            ("istio.io/gateway-controller", "envoy"),
            ("gateway.nginx.org/nginx-gateway-controller", "nginx"),
        ] {
            let both = [
                format!("accessLog {format} of gw"),
                format!("accessLog {format} of gw-internal"),
            ];
            assert_eq!(
                usual(controller),
                both,
                "the entry and what stands between the services"
            );
        }
        assert!(usual("example.com/unknown").is_empty());
        let json = AccessLog {
            format: LogFormat::Json,
            ..AccessLog::default()
        };
        let said = HopSource {
            access_log: Some(json),
            ..HopSource::default()
        };
        assert_eq!(
            followed(group("example.com/unknown", vec![said.clone()], None)).len(),
            2
        );
        let store = HopSource {
            tempo: Some(crate::api::TraceStore::default()),
            ..HopSource::default()
        };
        assert_eq!(
            followed(group("traefik.io/gateway-controller", vec![store], None)),
            ["tempo"],
            "said to be elsewhere"
        );
        let engine = SpanLog {
            namespace: "graylane-system".into(),
            match_labels: BTreeMap::new(),
        };
        let log = HopLog::Spans {
            namespace: engine.namespace.clone(),
            labels: BTreeMap::new(),
        };
        let gone = group(
            "traefik.io/gateway-controller",
            vec![],
            Some(engine.clone()),
        );
        let world = World {
            groups: Arc::new([("g".into(), Arc::new(gone))].into()),
            ..World::default()
        };
        assert_eq!(
            logs_for_cockpit(&world, &BTreeSet::from([log])).len(),
            3,
            "no engine is there: the gateway itself"
        );
        let through = group("traefik.io/gateway-controller", vec![said], Some(engine));
        assert_eq!(
            followed(through),
            ["the engine in graylane-system"],
            "one stream for all cockpits"
        );
    }

    #[test]
    fn hops_come_late_where_spans_alone_tell_them() {
        let store = || HopSource {
            tempo: Some(crate::api::TraceStore::default()),
            ..HopSource::default()
        };
        let log = || HopSource {
            access_log: Some(AccessLog::default()),
            ..HopSource::default()
        };
        let span_log = || {
            Some(SpanLog {
                namespace: "graylane-system".into(),
                match_labels: BTreeMap::new(),
            })
        };
        let table = [
            ("example.com/other", vec![store()], None, true),
            ("example.com/other", vec![], span_log(), true),
            ("example.com/other", vec![], None, false),
            ("example.com/other", vec![store(), log()], span_log(), false),
            ("traefik.io/gateway-controller", vec![], span_log(), false),
            ("traefik.io/gateway-controller", vec![store()], None, true),
            (LANE_GATEWAY, vec![store()], span_log(), false),
        ];
        for (controller, hops, span_log, late) in table {
            let words = format!("{controller} {hops:?} {span_log:?}");
            let group = group(controller, hops, span_log);
            assert_eq!(are_hops_from_spans("demo", &group), late, "{words}");
        }
    }

    #[test]
    fn pods_are_looked_for_by_the_labels_of_their_makers_or_as_the_group_says() {
        let of = |log: &AccessLog| GatewayLog::new("demo", "gw", log).pod_selectors();
        let usual = of(&AccessLog {
            format: LogFormat::Envoy,
            ..AccessLog::default()
        });
        assert_eq!(
            usual[0].0, None,
            "Envoy Gateway runs them in its own namespace"
        );
        assert_eq!(
            usual[0].1["gateway.envoyproxy.io/owning-gateway-name"],
            "gw"
        );
        assert_eq!((usual[1].0.as_deref(), usual.len()), (Some("demo"), 3));
        let labels = BTreeMap::from([("app".to_owned(), "edge".to_owned())]);
        let said = AccessLog {
            match_labels: labels.clone(),
            ..AccessLog::default()
        };
        assert_eq!(of(&said), [(Some("demo".to_owned()), labels)]);
    }
}
