//! `doctor --trace GROUP`: sends a tagged and an untagged request, shows which sources reported
//! them and whether with the tag, and prints the configuration lines that are missing.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube::Client;
use tokio::{sync::watch, time::Instant};

use super::super::world_watch::WorldWatch;
use crate::{
    api::{LaneGroup, LogFormat, ProbeSpec, gateway_api::LANE_GATEWAY},
    cluster::{
        doctor::{Finding, Level},
        trace,
    },
    domain::{
        hop::Hop,
        hop_logs::{self, HopLog, default_format},
        hop_settings::build_log_settings,
        lanes::build_lane_request,
        span::Source,
        text::format_count,
        world::World,
    },
    probe::{self, Via},
};

/// Spans arrive up to 5 seconds late, and a trace is joined after 6 seconds without a span.
const HOP_TIMEOUT: Duration = Duration::from_secs(15);
/// A trace is taken as complete after this time without a new hop.
const QUIET_TIMEOUT: Duration = Duration::from_secs(7);

/// Checks a lane group: its sources of hops, then two requests.
pub(super) async fn check_lane_group(
    client: &Client,
    live: &WorldWatch,
    group: &str,
    via: &Via,
) -> Vec<Finding> {
    let world = live.worlds.borrow().clone();
    let Some(found) = world.groups.get(group).cloned() else {
        return vec![new_finding(
            Level::Fail,
            "lane group",
            format!("there is no lane group {group:?}"),
            None,
        )];
    };
    let mut all = check_hop_sources(client, &world, &found).await;
    let path = found
        .spec
        .entry
        .routes
        .first()
        .map_or("/", |r| r.path.as_str());
    let plain = ProbeSpec {
        path: path.into(),
        count: 1,
        ..ProbeSpec::default()
    };
    let mut lanes: Vec<_> = world
        .lanes
        .values()
        .filter(|l| l.spec.group == group && l.spec.enabled)
        .collect();
    lanes.sort_by_key(|l| l.spec.priority);
    match lanes
        .iter()
        .find_map(|lane| build_lane_request(&lane.spec, plain.clone()))
    {
        Some(tagged) => {
            all.extend(check_request(live, &found, group, via, "tagged request", &tagged).await);
        }
        None => all.push(new_finding(
            Level::Warn,
            "tagged request",
            "for no enabled lane of the group can a matching request be made up".into(),
            Some("enable one (graylane lane enable), then look again".into()),
        )),
    }
    all.extend(check_request(live, &found, group, via, "untagged request", &plain).await);
    all
}

fn new_finding(level: Level, check: &str, found: String, remedy: Option<String>) -> Finding {
    Finding {
        check: check.into(),
        level,
        found,
        remedy,
    }
}

/// The logs that report the group's hops, and whether they can be read.
async fn check_hop_sources(client: &Client, world: &World, group: &LaneGroup) -> Vec<Finding> {
    let status = group.status.as_ref();
    let mut all = vec![];
    for told in status.map(|s| s.hops.as_slice()).unwrap_or_default() {
        let check = format!("{}, by the engine", told.source);
        all.push(match &told.problem {
            None => new_finding(
                Level::Ok,
                &check,
                format!("follows {}", format_count(told.pods, "pod")),
                None,
            ),
            Some(why) => new_finding(Level::Fail, &check, why.clone(), None),
        });
    }
    let one = Arc::new([(String::new(), Arc::new(group.clone()))].into());
    for log in hop_logs::logs_for_cockpit(
        &World {
            groups: one,
            ..world.clone()
        },
        &BTreeSet::new(),
    ) {
        let check = log.display_name();
        let health = trace::check_log(client, &log).await;
        all.push(match health.problem {
            None if matches!(log, HopLog::Store(_)) => {
                new_finding(Level::Ok, &check, "it answers".into(), None)
            }
            None => new_finding(
                Level::Ok,
                &check,
                format!("can read the logs of {}", format_count(health.pods, "pod")),
                None,
            ),
            Some(why) => new_finding(Level::Fail, &check, why.to_string(), None),
        });
    }
    if all.is_empty() {
        let words = "no source of hops is known: the Gateway's class is not one that graylane knows, and spec.hops \
        is empty";
        let lines = build_log_settings(None, LogFormat::Json, &group.spec.propagation.header);
        all.push(new_finding(
            Level::Fail,
            "sources of hops",
            words.into(),
            Some(config_snippet(lines.place, &lines.lines)),
        ));
    }
    all
}

fn config_snippet(place: &str, lines: &str) -> String {
    format!("write into {place}:\n{lines}")
}

/// Sends a request and reports which sources saw it.
async fn check_request(
    live: &WorldWatch,
    group: &LaneGroup,
    name: &str,
    via: &Via,
    check: &str,
    spec: &ProbeSpec,
) -> Vec<Finding> {
    let until = Instant::now() + HOP_TIMEOUT;
    let sent = match probe::send_probes(spec, name, &live.hop_feed(), via).await {
        Ok(probed) => probed.into_iter().next(),
        Err(why) => return vec![new_finding(Level::Fail, check, why.to_string(), None)],
    };
    let Some(sent) = sent.filter(|p| p.status.is_some()) else {
        return vec![new_finding(
            Level::Fail,
            check,
            format!("{} was not answered", spec.path),
            None,
        )];
    };
    let hops = collect_hops(&live.worlds, &sent.trace, group.spec.apps.len(), until).await;
    let words = format!(
        "{} was answered with {}",
        spec.path,
        sent.status.unwrap_or_default()
    );
    let mut all = vec![new_finding(Level::Ok, check, words, None)];
    all.extend(report_hops(group, &hops));
    all
}

/// The hops of a trace. Waits until every app has reported, or nothing more arrives.
async fn collect_hops(
    worlds: &watch::Receiver<World>,
    trace: &str,
    apps: usize,
    until: Instant,
) -> Vec<Arc<Hop>> {
    let mut worlds = worlds.clone();
    let mut hops: Vec<Arc<Hop>> = vec![];
    let all_told = async {
        loop {
            hops = worlds.borrow_and_update().hops_of_trace(trace);
            if hops.len() >= apps {
                return;
            }
            let patience = if hops.is_empty() {
                HOP_TIMEOUT
            } else {
                QUIET_TIMEOUT
            };
            if !matches!(
                tokio::time::timeout(patience, worlds.changed()).await,
                Ok(Ok(()))
            ) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout_at(until, all_told).await;
    hops
}

/// Findings on the sources that reported the hops.
fn report_hops(group: &LaneGroup, hops: &[Arc<Hop>]) -> Vec<Finding> {
    let seen = group.status.as_ref().and_then(|s| s.gateway.as_ref());
    let controller = seen.and_then(|g| g.controller.as_deref());
    let said = group
        .spec
        .hops
        .iter()
        .find_map(|source| source.access_log.as_ref())
        .map(|log| log.format);
    let format = said
        .or_else(|| controller.and_then(default_format))
        .unwrap_or_default();
    let lines = build_log_settings(controller, format, &group.spec.propagation.header);
    let lines = || {
        Some(config_snippet(lines.place, &lines.lines)).filter(|_| controller != Some(LANE_GATEWAY))
    };
    if hops.is_empty() {
        let words = format!("no source reported it within {} s", HOP_TIMEOUT.as_secs());
        return vec![new_finding(Level::Fail, "reported by", words, lines())];
    }
    let mut all: Vec<Finding> = hops.iter().map(|hop| judge_hop(hop, &lines)).collect();
    let silent = |app: &&str| !hops.iter().any(|h| h.app == **app);
    let silent: Vec<&str> = group
        .spec
        .apps
        .iter()
        .map(|a| a.app.as_str())
        .filter(silent)
        .collect();
    if !silent.is_empty() {
        let words = format!(
            "no source reported a request to {}: were they called?",
            silent.join(", ")
        );
        let remedy = "services must pass traceparent on; where they call each other without a gateway in between, \
        spans are needed: graylane install --otlp, and docs/otlp.md";
        all.push(new_finding(
            Level::Warn,
            "  others",
            words,
            Some(remedy.into()),
        ));
    }
    all
}

fn judge_hop(hop: &Hop, lines: &dyn Fn() -> Option<String>) -> Finding {
    let source = hop
        .source
        .map_or("graylane's gateway", Source::display_name);
    let check = format!("  {}", hop.app);
    match &hop.tag {
        _ if hop.tag_unknown => {
            let words = format!("reported by {source}, which has reported no request's tag yet");
            new_finding(Level::Warn, &check, words, lines())
        }
        Some(tag) => new_finding(
            Level::Ok,
            &check,
            format!("reported by {source}, with the tag {tag}"),
            None,
        ),
        None => new_finding(
            Level::Ok,
            &check,
            format!("reported by {source}, without a tag"),
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{GatewaySeen, LaneApp, LaneGroupSpec, LaneGroupStatus};

    fn group() -> LaneGroup {
        let app = |name: &str| LaneApp {
            app: name.into(),
            service: None,
            port: 1,
        };
        let mut group = LaneGroup::new(
            "g",
            LaneGroupSpec {
                apps: ["a", "b"].map(app).into(),
                ..LaneGroupSpec::default()
            },
        );
        let controller = Some("traefik.io/gateway-controller".to_owned());
        let gateway = GatewaySeen {
            class: "traefik".into(),
            controller,
            features: None,
        };
        group.status = Some(LaneGroupStatus {
            gateway: Some(gateway),
            ..LaneGroupStatus::default()
        });
        group
    }

    fn hop(app: &str, tag: Option<&str>, tag_unknown: bool) -> Arc<Hop> {
        let (tag, source) = (tag.map(Into::into), Some(Source::Traefik));
        Arc::new(Hop {
            app: app.into(),
            tag,
            tag_unknown,
            source,
            ..Hop::default()
        })
    }

    #[test]
    fn what_is_missing_is_told_with_the_lines_that_bring_it() {
        let none = report_hops(&group(), &[]);
        assert!(
            none[0].level == Level::Fail && none[0].found.contains("no source reported"),
            "{none:?}"
        );
        assert!(
            none[0]
                .remedy
                .as_deref()
                .is_some_and(|r| r.contains("--accesslog.format=json")),
            "{none:?}"
        );
        let half = report_hops(&group(), &[hop("a", None, true)]);
        assert_eq!(
            half.iter().map(|f| f.level).collect::<Vec<_>>(),
            [Level::Warn, Level::Warn]
        );
        assert!(
            half[0]
                .remedy
                .as_deref()
                .is_some_and(|r| r.contains("names.x-mse-tag=keep")),
            "{half:?}"
        );
        assert!(half[1].found.contains("request to b"), "{half:?}");
        let well = report_hops(
            &group(),
            &[hop("a", Some("gray"), false), hop("b", None, false)],
        );
        assert!(
            well.iter()
                .all(|f| f.level == Level::Ok && f.remedy.is_none()),
            "{well:?}"
        );
        assert_eq!(
            well[0].found,
            "reported by Traefik's access log, with the tag gray"
        );
    }
}
