//! The Kubernetes API of the embedded cluster (pocket): one handler for the in-process client and
//! the listening socket.
//!
//! Rules: what is served behaves as in Kubernetes; what is not served is refused with a `Status`
//! that says so; a change is answered only when it is durable.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError};

mod addresses;
mod binding;
mod change;
mod convert;
mod create;
mod decode;
mod defaults;
mod delete;
mod error;
mod logs;
mod meta;
mod metadata;
mod node_ports;
mod patches;
mod path;
mod protobuf;
mod proxy;
mod quantity;
mod query;
mod read;
pub(crate) mod registry;
mod reply;
mod review;
mod scale;
mod schema;
mod seed;
mod selector;
mod strategy;
mod terminate;
mod tree;
mod typed;
mod typed_time;
pub(crate) mod types;
mod update;
mod user;
mod validate;
mod warn;
mod watch;

pub use error::{ApiError, FieldError};
pub use logs::{LogError, LogOptions, LogSource, LogStream};
pub use reply::{BoxError, ResponseBody, error_response as refuse};
pub use user::AccountLimits;

use error::Result;
use path::{ResourcePath, Target};
use query::Query;
use registry::{Definition, Registry, Resource};
use reply::View;
pub(crate) use reply::{Include, Reply, to_partial_metadata};
use user::User;

/// Larger request bodies are refused, as by a Kubernetes API server.
const BODY_LIMIT: usize = 3 << 20;

/// Handle to the API server; clones share one server.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    registry: registry::RegistryCache,
    logs: OnceLock<Arc<dyn LogSource>>,
    closing: CancellationToken,
    addresses: addresses::AddressAllocator,
    onward: proxy::ProxyClient,
    limits: AccountLimits,
}

/// What a server has beside Kubernetes' own.
#[derive(Clone, Copy, Debug, Default)]
pub struct ApiOptions {
    /// Namespaces of a new state directory, beside those of Kubernetes.
    pub namespaces: &'static [&'static str],
    /// What service accounts may not touch.
    pub limits: AccountLimits,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// A parsed request: what it addresses, its options and its body.
pub(crate) struct Call {
    pub(crate) user: User,
    pub(crate) resource: Arc<Resource>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) query: Query,
    pub(crate) view: View,
    /// Field manager of a write: `fieldManager`, or the user agent up to its first `/`.
    pub(crate) manager: String,
    pub(crate) method: Method,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

impl Call {
    fn name(&self) -> Result<&str> {
        self.name
            .as_deref()
            .ok_or_else(ApiError::method_not_allowed)
    }

    /// "" for cluster-scoped resources.
    fn namespace_or_none(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

impl ApiServer {
    /// Opens the state directory `dir` and takes its lock. Must be called within a tokio runtime.
    pub fn open(dir: &Path) -> Result<ApiServer, StoreError> {
        Self::open_with(dir, ApiOptions::default())
    }

    /// Like [`Self::open`], with more than Kubernetes' own.
    pub fn open_with(dir: &Path, options: ApiOptions) -> Result<ApiServer, StoreError> {
        let seed = seed::seed_objects(options.namespaces);
        let store = Store::open_with(&dir.join("store.redb"), seed)?;
        let server = ApiServer {
            inner: Arc::new(Inner {
                store,
                registry: registry::RegistryCache::default(),
                logs: OnceLock::new(),
                closing: CancellationToken::new(),
                addresses: addresses::AddressAllocator::default(),
                onward: proxy::build_client(),
                limits: options.limits,
            }),
        };
        terminate::start_terminator(&server);
        Ok(server)
    }

    /// A client whose requests never leave this process.
    pub fn client(&self) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move { Ok::<_, BoxError>(server.handle_request(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Sets the source of container logs; only the first one counts.
    pub fn set_log_source(&self, source: Arc<dyn LogSource>) {
        if self.inner.logs.set(source).is_err() {
            tracing::warn!("a log source is already set");
        }
    }

    /// Ends all watches, finishes accepted writes and releases the lock of the state directory.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.store.close().await;
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.inner.registry.get(&self.inner.store)
    }

    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.inner.closing
    }

    /// Answers one request. Never fails: a refusal is an answer too.
    pub async fn handle_request<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let body = match http_body_util::Limited::new(body, BODY_LIMIT)
            .collect()
            .await
        {
            Ok(collected) => collected.to_bytes(),
            Err(error) => {
                let too_large = error.is::<http_body_util::LengthLimitError>();
                let error = if too_large {
                    ApiError::new(
                        http::StatusCode::PAYLOAD_TOO_LARGE,
                        "RequestEntityTooLarge",
                        format!("Request entity too large: limit is {BODY_LIMIT}"),
                    )
                } else {
                    ApiError::bad_request(format!("the request's body broke off: {error}"))
                };
                return reply::error_response(&error);
            }
        };
        // Sent with every answer, including refusals.
        let mut warnings = Vec::new();
        let mut response = match self.route_request(&parts, body, &mut warnings).await {
            Ok(reply) => reply.into_response(),
            Err(error) => {
                tracing::debug!(method = %parts.method, uri = %parts.uri, code = %error.code, message = %error.message, "refused");
                reply::error_response(&error)
            }
        };
        reply::add_warnings(&mut response, &warnings);
        response
    }

    #[tracing::instrument(level = "trace", skip_all, fields(method = %parts.method, path = parts.uri.path()))]
    async fn route_request(
        &self,
        parts: &http::request::Parts,
        body: Bytes,
        warnings: &mut Vec<String>,
    ) -> Result<Reply> {
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let accept = header_text(parts, http::header::ACCEPT);
        let user = User::from_headers(&parts.headers)?;
        let target = path::parse_path(parts.uri.path()).ok_or_else(ApiError::no_such_path)?;
        let at = match target {
            Target::Resource(at) => at,
            Target::Other(segments) => {
                if parts.method != Method::GET {
                    return Err(ApiError::method_not_allowed());
                }
                let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
                return crate::discovery::answer_request(&self.registry(), &segments, accept);
            }
        };
        let resource = self.find_resource(&at)?;
        user.check_allowed(&parts.method, &query, &resource, &at, self.inner.limits)?;
        check_served(&resource, &parts.method, &at, warnings)?;
        let ResourcePath {
            namespace,
            name,
            subresource,
            ..
        } = at;
        let call = Call {
            user,
            view: View::from_accept(accept, &query)?,
            resource,
            namespace,
            name,
            manager: field_manager(parts, &query),
            query,
            method: parts.method.clone(),
            content_type: header_text(parts, http::header::CONTENT_TYPE)
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase(),
            body,
        };
        if call.resource.namespaced && call.namespace.is_none() && call.name.is_some() {
            return Err(ApiError::no_such_path());
        }
        match subresource {
            None => self.route_object_request(&parts.method, call).await,
            Some(subresource) => self.route_subresource(parts, &subresource, call).await,
        }
    }

    fn find_resource(&self, at: &ResourcePath) -> Result<Arc<Resource>> {
        let resource = self
            .registry()
            .find_resource(&at.group, &at.version, &at.plural)
            .cloned()
            .ok_or_else(ApiError::no_such_path)?;
        if at.namespace.is_some() && !resource.namespaced {
            return Err(ApiError::no_such_path());
        }
        Ok(resource)
    }

    async fn route_subresource(
        &self,
        parts: &http::request::Parts,
        subresource: &str,
        call: Call,
    ) -> Result<Reply> {
        match subresource {
            "status" if call.resource.status => match parts.method {
                Method::GET => self.get_object(&call),
                Method::PUT => self.update_object(&call, Some("status")).await,
                Method::PATCH => self.patch_object(&call, Some("status")).await,
                _ => Err(ApiError::method_not_allowed()),
            },
            "scale" if call.resource.scale.is_some() => match parts.method {
                Method::GET => self.get_scale(&call),
                Method::PUT => self.update_scale(&call).await,
                Method::PATCH => self.patch_scale(&call).await,
                _ => Err(ApiError::method_not_allowed()),
            },
            "log" if call.resource.is_kind("", "Pod") => match parts.method {
                Method::GET => self.stream_logs(&call).await,
                _ => Err(ApiError::method_not_allowed()),
            },
            "binding" if call.resource.is_kind("", "Pod") => match parts.method {
                Method::POST => self.bind_pod(&call).await,
                _ => Err(ApiError::method_not_allowed()),
            },
            "finalize" if call.resource.is_kind("", "Namespace") => match parts.method {
                Method::PUT => self.update_object(&call, Some("finalize")).await,
                _ => Err(ApiError::method_not_allowed()),
            },
            sub if sub == "proxy" || sub.starts_with("proxy/") => {
                if !call.resource.is_kind("", "Pod") && !call.resource.is_kind("", "Service") {
                    return Err(ApiError::no_such_path());
                }
                self.proxy_request(parts, call).await
            }
            other => Err(refuse_subresource(other, &call.resource)),
        }
    }

    async fn route_object_request(&self, method: &Method, call: Call) -> Result<Reply> {
        if call.resource.verbs == registry::REVIEW_VERBS {
            return match (method, &call.name) {
                (&Method::POST, None) => self.answer_review(&call),
                _ => Err(ApiError::method_not_allowed()),
            };
        }
        match (method, &call.name) {
            (&Method::GET, None) if call.query.has_flag("watch") => self.watch_objects(&call),
            (&Method::GET, None) => self.list_objects(&call),
            // The deprecated form of a watch on one object; a field selector does the same.
            (&Method::GET, Some(_)) if call.query.has_flag("watch") => Err(ApiError::not_served(
                "watches on an object's own path; use fieldSelector=metadata.name=NAME",
            )),
            (&Method::GET, Some(_)) => self.get_object(&call),
            // A namespaced object can be created only through the path of its namespace.
            (&Method::POST, None) if call.resource.namespaced && call.namespace.is_none() => {
                Err(ApiError::method_not_allowed())
            }
            (&Method::POST, None) => self.create_object(&call).await,
            (&Method::PUT, Some(_)) => self.update_object(&call, None).await,
            (&Method::PATCH, Some(_)) => self.patch_object(&call, None).await,
            (&Method::DELETE, Some(_)) => self.delete_object(&call).await,
            // As in Kubernetes, namespaces are deleted one by one.
            (&Method::DELETE, None) if call.resource.is_kind("", "Namespace") => {
                Err(ApiError::method_not_allowed())
            }
            (&Method::DELETE, None) => self.delete_collection(&call).await,
            _ => Err(ApiError::method_not_allowed()),
        }
    }
}

fn header_text(parts: &http::request::Parts, name: http::HeaderName) -> &str {
    let value = parts.headers.get(name).and_then(|v| v.to_str().ok());
    value.unwrap_or_default()
}

/// The field manager of a write, which the user agent names unless the query does.
fn field_manager(parts: &http::request::Parts, query: &Query) -> String {
    let agent = header_text(parts, http::header::USER_AGENT);
    let manager = query
        .get("fieldManager")
        .unwrap_or_else(|| agent.split('/').next().unwrap_or_default());
    if manager.is_empty() {
        "unknown".to_owned()
    } else {
        manager.to_owned()
    }
}

/// Refuses what is known and not served, apart from reads; adds the warnings of the resource.
fn check_served(
    resource: &Resource,
    method: &Method,
    at: &ResourcePath,
    warnings: &mut Vec<String>,
) -> Result<()> {
    warnings.extend(resource.deprecation.clone());
    if resource.is_unserved() {
        let what = resource.qualified_name();
        // There are no such objects, so a read can be answered.
        if *method != Method::GET || at.subresource.is_some() || resource.verbs.is_empty() {
            return Err(ApiError::not_served(&what));
        }
        warnings.push(format!(
            "pocket does not serve {what}: there are none, and none can be made"
        ));
    }
    Ok(())
}

fn refuse_subresource(subresource: &str, resource: &Resource) -> ApiError {
    let known = matches!(
        subresource,
        "exec" | "attach" | "portforward" | "eviction" | "token" | "ephemeralcontainers" | "resize"
    );
    if known {
        let what = format!(
            "the {subresource} subresource of {}",
            resource.qualified_name()
        );
        return ApiError::not_served(&what);
    }
    ApiError::no_such_path()
}
