//! Who makes a request: pocket's one user, who may do everything that is served, or a service
//! account that this user impersonates. Pocket has no roles: in its own namespace an account may do
//! whatever no part of the cluster, and nothing that uses it ([`AccountLimits`]), depends on.

use http::{HeaderMap, Method, StatusCode};

use super::{
    error::{ApiError, Result},
    path::ResourcePath,
    query::Query,
    registry::{REVIEW_VERBS, Resource},
};

/// Name of the one user.
const OWNER: &str = "you";

/// What no service account may touch, because the program that uses this cluster depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountLimits {
    /// API groups whose objects are closed to accounts.
    pub closed_groups: &'static [&'static str],
    /// Subresources of these groups that are open all the same, each with its resource in the
    /// plural: `("deployments", "finalizers")`.
    pub open_subresources: &'static [(&'static str, &'static str)],
}

/// Namespace and name of the account that a user name stands for.
fn parse_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?
        .split_once(':')
        .filter(|(namespace, name)| {
            !namespace.is_empty() && !name.is_empty() && !name.contains(':')
        })
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Owner,
    Account { namespace: String, name: String },
}

impl User {
    /// The user that a request is made as. Impersonating anybody but a service account is refused,
    /// because an answer for the one user would be wrong.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self> {
        let mut asked = headers
            .keys()
            .filter(|name| name.as_str().starts_with("impersonate-"))
            .peekable();
        if asked.peek().is_none() {
            return Ok(Self::Owner);
        }
        let text = |name: &http::HeaderName| {
            headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
        };
        for name in asked {
            let whom = text(name);
            let kind = match name.as_str() {
                "impersonate-user" if parse_account(whom).is_some() => continue,
                "impersonate-user" => "users",
                "impersonate-group" => "groups",
                "impersonate-uid" => "uids",
                _ => "userextras",
            };
            let message = format!(
                "{kind} {whom:?} is forbidden: User {OWNER:?} cannot impersonate resource {kind:?} in API group \"\" at \
                 the cluster scope: pocket has one user, and service accounts"
            );
            let mut error = ApiError::new(StatusCode::FORBIDDEN, "Forbidden", message);
            error.details = serde_json::json!({"name": whom, "kind": kind});
            return Err(error);
        }
        let whom = headers
            .get("impersonate-user")
            .and_then(|v| v.to_str().ok())
            .and_then(parse_account);
        Ok(whom.map_or(Self::Owner, |(namespace, name)| Self::Account {
            namespace: namespace.into(),
            name: name.into(),
        }))
    }

    /// Name as in reviews.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Owner => OWNER.to_owned(),
            Self::Account { namespace, name } => {
                format!("system:serviceaccount:{namespace}:{name}")
            }
        }
    }

    /// Groups as in reviews.
    pub(super) fn groups(&self) -> Vec<String> {
        let all = "system:authenticated".to_owned();
        match self {
            Self::Owner => vec![all],
            Self::Account { namespace, .. } => {
                vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                    all,
                ]
            }
        }
    }

    /// Whether the user may access a resource, or a subresource of it, in a namespace.
    pub(super) fn is_allowed(
        &self,
        resource: &Resource,
        subresource: &str,
        namespace: Option<&str>,
        limits: AccountLimits,
    ) -> bool {
        let Self::Account { namespace: own, .. } = self else {
            return true;
        };
        let is_own = match (resource.group.as_str(), resource.plural.as_str()) {
            (group, plural) if limits.closed_groups.contains(&group) => {
                limits.open_subresources.contains(&(plural, subresource))
            }
            ("coordination.k8s.io", _) | ("apps", "controllerrevisions") => false,
            ("", "serviceaccounts") => subresource.is_empty(),
            _ => true,
        };
        resource.verbs == REVIEW_VERBS || resource.namespaced && namespace == Some(own) && is_own
    }

    /// Refuses a request that the user may not make.
    pub(super) fn check_allowed(
        &self,
        method: &Method,
        query: &Query,
        resource: &Resource,
        at: &ResourcePath,
        limits: AccountLimits,
    ) -> Result<()> {
        let subresource = at.subresource.as_deref().unwrap_or_default();
        if self.is_allowed(resource, subresource, at.namespace.as_deref(), limits) {
            return Ok(());
        }
        let verb = match (method, &at.name) {
            (&Method::GET, _) if query.has_flag("watch") => "watch",
            (&Method::GET, Some(_)) => "get",
            (&Method::GET, None) => "list",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, Some(_)) => "delete",
            _ => "deletecollection",
        };
        let whole = if subresource.is_empty() {
            at.plural.clone()
        } else {
            format!("{}/{subresource}", at.plural)
        };
        let place = match &at.namespace {
            Some(namespace) => format!("in the namespace {namespace:?}"),
            None => "at the cluster scope".to_owned(),
        };
        let (name, group) = (at.name.as_deref().unwrap_or_default(), &at.group);
        let why = format!(
            "User {:?} cannot {verb} resource {whole:?} in API group {group:?} {place}",
            self.name()
        );
        Err(ApiError::forbidden(resource, name, &why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_accounts() {
        assert_eq!(
            parse_account("system:serviceaccount:demo:deployer"),
            Some(("demo", "deployer"))
        );
        for other in [
            "you",
            "system:serviceaccount:",
            "system:serviceaccount:a:",
            "system:serviceaccount::b",
            "system:serviceaccount:a:b:c",
        ] {
            assert_eq!(parse_account(other), None, "{other}");
        }
    }
}
