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
    api::{ClusterName, NamespaceRef},
    domain::{
        rights::{Right, Rights},
        text::Clean,
        world::World,
    },
};

/// How often rights are reviewed; they seldom change.
const REFRESH_INTERVAL: Duration = Duration::from_mins(1);
/// How soon to ask again when a cluster did not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Upper bound of namespaces to ask about.
const MAX_NAMESPACES: usize = 32;

/// How long another cluster has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Signals that a request was refused although it seemed permitted, so that rights are reviewed
/// again.
static REFUSED: Notify = Notify::const_new();

/// Notes that the server answered 403.
pub(super) fn note_refusal() {
    REFUSED.notify_waiters();
}

/// Our user name on the server.
///
/// # Errors
///
/// When the server is older than 1.28, which cannot tell.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn current_user(client: &Client) -> kube::Result<String> {
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
pub async fn has_right(client: &Client, right: Right, namespace: &str) -> kube::Result<bool> {
    let (verb, group, resource, sub) = right.rbac_parts();
    review_access(client, verb, group, resource, sub, Some(namespace)).await
}

/// One access review, as `kubectl auth can-i`.
///
/// # Errors
///
/// When the server does not answer.
#[tracing::instrument(level = "debug", skip_all, fields(verb, resource, namespace))]
pub async fn review_access(
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
pub struct Permission {
    /// For example `create`.
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    /// For example `pods`.
    pub resource: String,
    /// For example `log`; empty for the resource itself.
    pub subresource: String,
}

impl From<Right> for Permission {
    fn from(right: Right) -> Self {
        let (verb, group, resource, sub) = right.rbac_parts();
        Self {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: sub.into(),
        }
    }
}

impl fmt::Display for Permission {
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
#[tracing::instrument(level = "debug", skip_all, fields(namespace))]
async fn missing_rights(
    client: &Client,
    namespace: &str,
    rights: &[Right],
) -> kube::Result<Vec<Right>> {
    let needed: Vec<Permission> = rights.iter().map(|r| Permission::from(*r)).collect();
    let lacking = missing_permissions(client, namespace, &needed).await?;
    Ok(rights
        .iter()
        .copied()
        .filter(|r| lacking.contains(&Permission::from(*r)))
        .collect())
}

/// Which of these permissions we lack in a namespace.
///
/// # Errors
///
/// When the server does not answer.
pub async fn missing_permissions(
    client: &Client,
    namespace: &str,
    needed: &[Permission],
) -> kube::Result<Vec<Permission>> {
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
        .filter(|n| !told.resource_rules.iter().any(|rule| rule_grants(rule, n)))
    {
        let Permission {
            verb,
            group,
            resource,
            subresource,
        } = need;
        if !told.incomplete
            || !review_access(client, verb, group, resource, subresource, Some(namespace)).await?
        {
            lacking.push(need.clone());
        }
    }
    Ok(lacking)
}

fn rule_grants(rule: &ResourceRule, needed: &Permission) -> bool {
    let Permission {
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
pub(super) async fn watch_rights<F: Future<Output = bool>>(
    clusters: Clusters,
    mut worlds: watch::Receiver<World>,
    tell: impl Fn(Rights) -> F,
) {
    let mut known: Option<Rights> = None;
    loop {
        let (home, places) = {
            let world = worlds.borrow_and_update();
            (
                world.namespace.clone(),
                environment_namespaces(&clusters, &world),
            )
        };
        let mut again = REFRESH_INTERVAL;
        match review_rights(&clusters, &home, &places).await {
            Ok((rights, whole)) => {
                again = if whole {
                    REFRESH_INTERVAL
                } else {
                    RETRY_INTERVAL
                };
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
                    if !environment_namespaces(&clusters, &world).is_subset(&places) {
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

/// Reports once who we are, and no rights: none of them counts as missing then.
pub(super) async fn tell_user<F: Future<Output = bool>>(
    clusters: Clusters,
    tell: impl Fn(Rights) -> F,
) {
    if let Ok(name) = current_user(clusters.home_client()).await {
        let who = Some(Clean::from_untrusted(&name));
        tell(Rights {
            who,
            ..Rights::default()
        })
        .await;
    }
}

/// The namespaces of the environments besides ours.
fn environment_namespaces(clusters: &Clusters, world: &World) -> BTreeSet<NamespaceRef> {
    let environments = world.apps.values().flat_map(|a| &a.spec.environments);
    let home = NamespaceRef::at_home(world.namespace.as_str());
    environments
        .map(|e| clusters.namespace_of(e))
        .filter(|namespace| *namespace != home)
        .collect()
}

/// Reviews our rights; the second value is true when every cluster has answered.
async fn review_rights(
    clusters: &Clusters,
    home: &str,
    places: &BTreeSet<NamespaceRef>,
) -> kube::Result<(Rights, bool)> {
    let client = clusters.home_client();
    let who = current_user(client)
        .await
        .ok()
        .map(|name| Clean::from_untrusted(&name));
    let found = missing_rights(client, home, &Right::HOME).await?;
    let mut all: BTreeSet<_> = found
        .into_iter()
        .map(|right| (NamespaceRef::at_home(home), right))
        .collect();
    // Bounded, because a workspace of a thousand namespaces must not cause a thousand reviews a
    // minute.
    let away = places.iter().take(MAX_NAMESPACES).map(async |namespace| {
        let client = clusters.client_for(&namespace.cluster);
        match (
            tokio::time::timeout(
                ANSWER_TIMEOUT,
                missing_rights(&client, &namespace.name, &Right::ENVIRONMENT),
            )
            .await,
            &namespace.cluster,
        ) {
            (Ok(Ok(found)), _) => Ok(Some(
                found
                    .into_iter()
                    .map(|right| (namespace.clone(), right))
                    .collect::<Vec<_>>(),
            )),
            (Ok(Err(why)), ClusterName::Home) => Err(why),
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
        assert!(rule_grants(
            &rule(&["graylane.dev"], &["approvals"], &["create"]),
            &Right::Approve.into()
        ));
        assert!(rule_grants(
            &rule(&["*"], &["*"], &["*"]),
            &Right::Logs.into()
        ));
        assert!(rule_grants(
            &rule(&[""], &["pods/log"], &["get"]),
            &Right::Logs.into()
        ));
        assert!(
            !rule_grants(&rule(&[""], &["pods"], &["get"]), &Right::Logs.into()),
            "a subresource is a right of its own"
        );
        assert!(!rule_grants(
            &rule(&["apps"], &["approvals"], &["create"]),
            &Right::Approve.into()
        ));
        let mut named = rule(&["graylane.dev"], &["releases"], &["patch"]);
        named.resource_names = Some(vec!["a-1".into()]);
        assert!(!rule_grants(&named, &Right::Steer.into()));
    }
}
