//! Builds a chain from what the services report themselves, where no hops are reported.

use super::{Chain, ChainStep, Verdict, expectation::expected_side, text::Link};
use crate::{
    api::Served,
    domain::{
        signals::Version,
        world::{Pod, World},
    },
};

/// Builds a chain from one reported line. Services do not report the tag that they received, so
/// every step gets the tag of the request; a lost tag shows as a leak.
pub fn from_links(links: &[Link], group: &str, tag: Option<&str>, world: &World) -> Chain {
    let steps: Vec<ChainStep> = links
        .iter()
        .enumerate()
        .map(|(depth, link)| build_step(depth, link, group, tag, world))
        .collect();
    let worst = steps.iter().map(|s| s.verdict).max().unwrap_or_default();
    let (tag, group) = (tag.map(str::to_owned), Some(group.to_owned()));
    Chain {
        tag,
        group,
        steps,
        worst,
        ..Chain::default()
    }
}

fn build_step(
    depth: usize,
    link: &Link,
    group: &str,
    tag: Option<&str>,
    world: &World,
) -> ChainStep {
    let at = |p: &&Pod| p.address.as_deref() == Some(&*link.address);
    let pods = world.pods.values().map(|p| &**p);
    let pod = pods.filter(at).min_by_key(|p| p.terminating);
    let app = pod
        .and_then(|p| p.app.clone())
        .unwrap_or_else(|| app_for_letter(link.letter, group, world));
    let served = if link.tag.is_some() {
        Served::Gray
    } else {
        Served::Base
    };
    let promise = expected_side(Some(group), &app, tag, world);
    let who = format!("{}{}", link.letter, link.tag.as_deref().unwrap_or_default());
    let (verdict, cause) = match (served, promise.served) {
        (Served::Gray, _) if link.tag.as_deref() != tag => (
            Verdict::LeakUp,
            Some(format!(
                "{who} answered a request of {}",
                tag.unwrap_or("no lane")
            )),
        ),
        (Served::Gray, _) => (Verdict::Ok, None),
        (Served::Base, Served::Gray) => {
            let why = "its rule is missing, or a service before it lost the tag";
            (
                Verdict::LeakDown,
                Some(format!("{who} answered though {}: {why}", promise.reason)),
            )
        }
        (Served::Base, Served::Base) if tag.is_some() && promise.strict => (
            Verdict::LeakDown,
            Some(format!(
                "the lane is strict, and fell back: {}",
                promise.reason
            )),
        ),
        (Served::Base, Served::Base) if tag.is_some() => (Verdict::FellBack, Some(promise.reason)),
        (Served::Base, Served::Base) => (Verdict::Ok, None),
    };
    let version = match (&link.tag, pod) {
        (Some(tag), _) => Version::Lane(tag.to_string()),
        (None, pod) => Version::Base {
            environment: pod.and_then(|p| p.environment.clone()),
            hash: pod.and_then(|p| p.hash.clone()),
        },
    };
    ChainStep {
        depth,
        app,
        served: Some(served),
        tag: tag.map(str::to_owned),
        pod_tag: link.tag.as_deref().map(str::to_owned),
        pod: pod.map(|p| p.key.name.clone()),
        address: Some(link.address.to_string()),
        version,
        verdict,
        cause,
        ..ChainStep::default()
    }
}

/// App of the group whose name ends with the letter (`spring-cloud-a`), or else the letter itself.
fn app_for_letter(letter: char, group: &str, world: &World) -> String {
    let end = format!("-{}", letter.to_ascii_lowercase());
    let apps = world
        .groups
        .get(group)
        .map(|g| g.spec.apps.as_slice())
        .unwrap_or_default();
    let found = apps
        .iter()
        .map(|a| a.app.as_str())
        .find(|a| a.ends_with(&end) || a.eq_ignore_ascii_case(&end[1..]));
    found.map_or_else(|| letter.to_string(), str::to_owned)
}
