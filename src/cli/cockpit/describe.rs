//! Reads objects and their events, and describes them.

use jiff::Timestamp;
use kube::{
    Api,
    api::{DynamicObject, ListParams},
};
use serde_json::Value;

use super::cluster_session::ActiveCluster;
use crate::{
    api::{NamespaceRef, ObjectRef, label},
    cluster::{error, yaml},
    domain::describe::{DescribedLine, ObjectEvent, describe_object},
    ui::{Answer, Fault, effect::DescribeTarget},
};

/// Describes the objects one after the other; one that cannot be read says so.
pub(super) async fn describe_target(target: DescribeTarget, here: ActiveCluster) -> Vec<Answer> {
    let mut answers = vec![];
    for object in &target.objects {
        answers.push(match describe_one(object, &here).await {
            Ok(lines) => Answer::Described(lines),
            Err(why) => Answer::Failed(Fault::new(&format!("{}: {why}", object.title()))),
        });
    }
    answers.extend(describe_services(&target, &here).await);
    answers.push(Answer::End);
    answers
}

/// An object cannot be described.
#[derive(Debug, thiserror::Error)]
enum DescribeError {
    /// The server refused, or did not answer.
    #[error("{}", error::describe_error(.0))]
    Api(Box<kube::Error>),
    /// The server has no such kind.
    #[error("this cluster has no {0}")]
    NoKind(String),
}

async fn describe_one(
    object: &ObjectRef,
    here: &ActiveCluster,
) -> Result<Vec<DescribedLine>, DescribeError> {
    let told = |e| DescribeError::Api(Box::new(e));
    let NamespaceRef {
        cluster,
        name: namespace,
    } = &object.key.namespace;
    let client = here.clusters.client_for(cluster);
    let api = yaml::api_by_resource(&client, &object.resource_word(), namespace)
        .await
        .map_err(told)?
        .ok_or_else(|| DescribeError::NoKind(object.resource_word()))?;
    let value = to_value(&api.get(&object.key.name).await.map_err(told)?);
    // Without the right to read events the rest is worth showing.
    let events = yaml::list_events(&client, object).await.unwrap_or_default();
    let events: Vec<ObjectEvent> = events.into_iter().map(to_object_event).collect();
    Ok(describe_object(&value, &events, Timestamp::now()))
}

/// Services that belong to the App's environment.
async fn describe_services(target: &DescribeTarget, here: &ActiveCluster) -> Vec<Answer> {
    let Some((app, environment)) = &target.services_of else {
        return vec![];
    };
    let Some(object) = target.objects.first() else {
        return vec![];
    };
    let NamespaceRef {
        cluster,
        name: namespace,
    } = &object.key.namespace;
    let client = here.clusters.client_for(cluster);
    let selector = format!("{}={app},{}={environment}", label::APP, label::ENVIRONMENT);
    let params = ListParams::default().labels(&selector);
    let api: Option<Api<DynamicObject>> = yaml::api_by_resource(&client, "services", namespace)
        .await
        .ok()
        .flatten();
    let Some(Ok(found)) = (match api {
        Some(api) => Some(api.list(&params).await),
        None => None,
    }) else {
        return vec![];
    };
    let described = found.items.iter().map(|service| {
        let mut value = to_value(service);
        // Objects of a list do not say their kind.
        value["kind"] = "Service".into();
        Answer::Described(describe_object(&value, &[], Timestamp::now()))
    });
    described.collect()
}

fn to_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn to_object_event(event: k8s_openapi::api::core::v1::Event) -> ObjectEvent {
    let time = event.last_timestamp.or(event.first_timestamp).map(|t| t.0);
    ObjectEvent {
        time: time.or(event.event_time.map(|t| t.0)),
        warning: event.type_.as_deref() == Some("Warning"),
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
        count: event.count.unwrap_or(1),
    }
}
