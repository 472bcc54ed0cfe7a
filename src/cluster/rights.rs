//! Asks the cluster who we are and what we may do: one rules review per namespace and, where its
//! answer is incomplete (webhook authorizers do not list their rules), one access review for each
//! right that it does not show. Each cluster is asked about its own namespaces.

use std::{collections::BTreeSet, fmt, time::Duration};

use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{
        ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
    },
};
use kube::{Api, Client, api::PostParams};
use tokio::sync::{Notify, watch};

use super::clusters::Clusters;
use crate::{
    api::Environment,
    domain::{
        rights::{Right, Rights},
        text::Clean,
        world::{Key, World},
    },
};

/// How often rights are reviewed; they seldom change.
const EVERY: Duration = Duration::from_secs(60);
/// How soon to ask again when a cluster did not answer.
const AGAIN: Duration = Duration::from_secs(5);

/// Upper bound of namespaces to ask about.
const MOST: usize = 32;

/// How long another cluster has to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A context (`None`: home) and a namespace in it.
type Spot = (Option<String>, String);

/// Signals that a request was refused although it seemed permitted, so that rights are reviewed
/// again.
static REFUSED: Notify = Notify::const_new();

/// Notes that the server answered 403.
pub(super) fn refused() {
    REFUSED.notify_waiters();
}

/// Our user name on the server.
///
/// # Errors
///
/// When the server is older than 1.28, which cannot tell.
pub async fn who(client: &Client) -> kube::Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let answer = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    let user = answer
        .status
        .and_then(|s| s.user_info)
        .and_then(|u| u.username);
    Ok(user.unwrap_or_default())
}

/// Whether the server permits us a right in a namespace.
///
/// # Errors
///
/// When the server does not answer.
pub async fn may(client: &Client, right: Right, namespace: &str) -> kube::Result<bool> {
    let (verb, group, resource, sub) = right.parts();
    ask(client, verb, group, resource, sub, Some(namespace)).await
}

/// One access review, as `kubectl auth can-i`.
///
/// # Errors
///
/// When the server does not answer.
pub async fn ask(
    client: &Client,
    verb: &str,
    group: &str,
    resource: &str,
    subresource: &str,
    namespace: Option<&str>,
) -> kube::Result<bool> {
    let wanted = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    let attributes = ResourceAttributes {
        verb: wanted(verb),
        group: wanted(group),
        resource: wanted(resource),
        subresource: wanted(subresource),
        namespace: namespace.and_then(wanted),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        ..Default::default()
    };
    let review = SelfSubjectAccessReview {
        spec,
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|s| s.allowed))
}

/// A permission in RBAC terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// For example `create`.
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    /// For example `pods`.
    pub resource: String,
    /// For example `log`; empty for the resource itself.
    pub subresource: String,
}

impl From<Right> for Needed {
    fn from(right: Right) -> Self {
        let (verb, group, resource, sub) = right.parts();
        Self {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: sub.into(),
        }
    }
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        let slash = if self.subresource.is_empty() { "" } else { "/" };
        write!(
            f,
            "{} {}{dot}{}{slash}{}",
            self.verb, self.resource, self.group, self.subresource
        )
    }
}

/// Which of these rights we lack in a namespace.
async fn lacking(client: &Client, namespace: &str, rights: &[Right]) -> kube::Result<Vec<Right>> {
    let needed: Vec<Needed> = rights.iter().map(|r| Needed::from(*r)).collect();
    let lacking = lacking_of(client, namespace, &needed).await?;
    Ok(rights
        .iter()
        .copied()
        .filter(|r| lacking.contains(&Needed::from(*r)))
        .collect())
}

/// Which of these permissions we lack in a namespace.
///
/// # Errors
///
/// When the server does not answer.
pub async fn lacking_of(
    client: &Client,
    namespace: &str,
    needed: &[Needed],
) -> kube::Result<Vec<Needed>> {
    let spec = SelfSubjectRulesReviewSpec {
        namespace: Some(namespace.into()),
    };
    let review = SelfSubjectRulesReview {
        spec,
        ..SelfSubjectRulesReview::default()
    };
    let api: Api<SelfSubjectRulesReview> = Api::all(client.clone());
    let told = api
        .create(&PostParams::default(), &review)
        .await?
        .status
        .unwrap_or_default();
    let mut lacking = vec![];
    for need in needed
        .iter()
        .filter(|n| !told.resource_rules.iter().any(|rule| grants(rule, n)))
    {
        let Needed {
            verb,
            group,
            resource,
            subresource,
        } = need;
        if !told.incomplete
            || !ask(client, verb, group, resource, subresource, Some(namespace)).await?
        {
            lacking.push(need.clone());
        }
    }
    Ok(lacking)
}

fn grants(rule: &ResourceRule, needed: &Needed) -> bool {
    let Needed {
        verb,
        group,
        resource,
        subresource: sub,
    } = needed;
    let has = |list: &[String], wanted: &str| list.iter().any(|x| x == "*" || x == wanted);
    let whole = if sub.is_empty() {
        resource.clone()
    } else {
        format!("{resource}/{sub}")
    };
    let any_sub = format!("*/{sub}");
    has(&rule.verbs, verb)
        && has(rule.api_groups.as_deref().unwrap_or_default(), group)
        && rule.resources.iter().flatten().any(|r| *r == whole || r == "*" || (!sub.is_empty() && *r == any_sub))
        // A rule for some names only does not cover the others.
        && rule.resource_names.as_ref().is_none_or(Vec::is_empty)
}

/// Reports our rights at the start, every minute, after a refusal, and when a namespace comes into
/// use.
pub(super) async fn keep<F: Future<Output = bool>>(
    clusters: Clusters,
    mut worlds: watch::Receiver<World>,
    tell: impl Fn(Rights) -> F,
) {
    let mut known: Option<Rights> = None;
    loop {
        let (home, places) = {
            let world = worlds.borrow_and_update();
            (world.namespace.clone(), namespaces(&clusters, &world))
        };
        let mut again = EVERY;
        match all(&clusters, &home, &places).await {
            Ok((rights, whole)) => {
                again = if whole { EVERY } else { AGAIN };
                if known.as_ref() != Some(&rights) {
                    known = Some(rights.clone());
                    if !tell(rights).await {
                        return;
                    }
                }
            }
            Err(why) => tracing::debug!(%why, "rights are not known"),
        }
        let more = async {
            let mut apps = worlds.borrow().apps.clone();
            loop {
                if worlds.changed().await.is_err() {
                    return std::future::pending().await;
                }
                let world = worlds.borrow_and_update();
                if !std::sync::Arc::ptr_eq(&world.apps, &apps) {
                    apps = world.apps.clone();
                    if !namespaces(&clusters, &world).is_subset(&places) {
                        return;
                    }
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(again) => {}
            () = REFUSED.notified() => {}
            () = more => {}
        }
    }
}

/// The namespaces of the environments besides ours, each with its context (`None`: home).
fn namespaces(clusters: &Clusters, world: &World) -> BTreeSet<Spot> {
    let environments = world.apps.values().flat_map(|a| &a.spec.environments);
    let spot = |e: &Environment| {
        (
            clusters.canonical(e.context.as_deref()).map(str::to_owned),
            e.namespace.clone(),
        )
    };
    environments
        .map(spot)
        .filter(|(context, name)| context.is_some() || *name != world.namespace)
        .collect()
}

/// Reviews our rights; the second value is true when every cluster has answered.
async fn all(
    clusters: &Clusters,
    home: &str,
    places: &BTreeSet<Spot>,
) -> kube::Result<(Rights, bool)> {
    let client = clusters.home();
    let who = who(client)
        .await
        .ok()
        .map(|name| Clean::from_untrusted(&name));
    let found = lacking(client, home, &Right::HOME).await?;
    let mut all: BTreeSet<_> = found
        .into_iter()
        .map(|right| (home.to_owned(), right))
        .collect();
    // Bounded, because a workspace of a thousand namespaces must not cause a thousand reviews a
    // minute.
    let away = places.iter().take(MOST).map(async |(context, namespace)| {
        let client = clusters.of(context.as_deref());
        let place = Key::of(context.as_deref(), namespace, "").namespace;
        match (
            tokio::time::timeout(ANSWER, lacking(&client, namespace, &Right::AWAY)).await,
            context,
        ) {
            (Ok(Ok(found)), _) => Ok(Some(
                found
                    .into_iter()
                    .map(|right| (place.clone(), right))
                    .collect::<Vec<_>>(),
            )),
            (Ok(Err(why)), None) => Err(why),
            // When one cluster does not answer, the rights in the others are still known.
            _ => Ok(None),
        }
    });
    let mut whole = true;
    for found in futures::future::join_all(away).await {
        let found = found?;
        whole &= found.is_some();
        all.extend(found.into_iter().flatten());
    }
    Ok((Rights { who, lacking: all }, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> ResourceRule {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        ResourceRule {
            api_groups: Some(owned(groups)),
            resources: Some(owned(resources)),
            verbs: owned(verbs),
            resource_names: None,
        }
    }

    #[test]
    fn a_rule_grants_what_rbac_would() {
        assert!(grants(
            &rule(&["graylane.dev"], &["approvals"], &["create"]),
            &Right::Approve.into()
        ));
        assert!(grants(&rule(&["*"], &["*"], &["*"]), &Right::Logs.into()));
        assert!(grants(
            &rule(&[""], &["pods/log"], &["get"]),
            &Right::Logs.into()
        ));
        assert!(
            !grants(&rule(&[""], &["pods"], &["get"]), &Right::Logs.into()),
            "a subresource is a right of its own"
        );
        assert!(!grants(
            &rule(&["apps"], &["approvals"], &["create"]),
            &Right::Approve.into()
        ));
        let mut named = rule(&["graylane.dev"], &["releases"], &["patch"]);
        named.resource_names = Some(vec!["a-1".into()]);
        assert!(!grants(&named, &Right::Steer.into()));
    }
}
