//! The built-in resources, one row each.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SelfSubjectRulesReview};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event as NewEvent;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::patch::ListKeys;

use super::{ALL_VERBS, Definition, REVIEW_VERBS, Resource, ScalePaths};

/// A row of the table below.
#[derive(Debug)]
pub struct Builtin {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub kind: &'static str,
    pub namespaced: bool,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub status: bool,
    pub scale: bool,
    /// Whether `metadata.generation` counts changes of the spec.
    pub generation: bool,
    pub selectable_fields: &'static [&'static str],
    pub verbs: &'static [&'static str],
    pub storage: &'static str,
    /// Kubernetes' deprecation warning for users of this version; "" for none.
    pub deprecation: &'static str,
    /// Deserializes the object into its type and serializes it again, which drops unknown fields.
    pub typed: fn(Value) -> Result<Value, serde_json::Error>,
}

fn round_trip_typed<T: DeserializeOwned + Serialize>(
    value: Value,
) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(value)?)
}

const PLAIN: Builtin = Builtin {
    group: "",
    version: "v1",
    plural: "",
    singular: "",
    kind: "",
    namespaced: true,
    short_names: &[],
    categories: &[],
    status: false,
    scale: false,
    generation: false,
    selectable_fields: &[],
    verbs: ALL_VERBS,
    storage: "",
    deprecation: "",
    typed: round_trip_typed::<Value>,
};

const REVIEW: Builtin = Builtin {
    namespaced: false,
    verbs: REVIEW_VERBS,
    ..PLAIN
};

pub static ALL: &[Builtin] = &[
    Builtin {
        plural: "configmaps",
        singular: "configmap",
        kind: "ConfigMap",
        short_names: &["cm"],
        storage: "configmaps",
        typed: round_trip_typed::<ConfigMap>,
        ..PLAIN
    },
    Builtin {
        plural: "endpoints",
        singular: "endpoints",
        kind: "Endpoints",
        short_names: &["ep"],
        storage: "endpoints",
        deprecation: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        typed: round_trip_typed::<Endpoints>,
        ..PLAIN
    },
    Builtin {
        plural: "events",
        singular: "event",
        kind: "Event",
        short_names: &["ev"],
        selectable_fields: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        storage: "events",
        typed: round_trip_typed::<Event>,
        ..PLAIN
    },
    Builtin {
        plural: "namespaces",
        singular: "namespace",
        kind: "Namespace",
        namespaced: false,
        short_names: &["ns"],
        status: true,
        selectable_fields: &["status.phase"],
        storage: "namespaces",
        typed: round_trip_typed::<Namespace>,
        ..PLAIN
    },
    Builtin {
        plural: "nodes",
        singular: "node",
        kind: "Node",
        namespaced: false,
        short_names: &["no"],
        status: true,
        selectable_fields: &["spec.unschedulable"],
        storage: "nodes",
        typed: round_trip_typed::<Node>,
        ..PLAIN
    },
    Builtin {
        plural: "pods",
        singular: "pod",
        kind: "Pod",
        short_names: &["po"],
        categories: &["all"],
        status: true,
        generation: true,
        selectable_fields: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        storage: "pods",
        typed: round_trip_typed::<Pod>,
        ..PLAIN
    },
    Builtin {
        plural: "secrets",
        singular: "secret",
        kind: "Secret",
        selectable_fields: &["type"],
        storage: "secrets",
        typed: round_trip_typed::<Secret>,
        ..PLAIN
    },
    Builtin {
        plural: "serviceaccounts",
        singular: "serviceaccount",
        kind: "ServiceAccount",
        short_names: &["sa"],
        storage: "serviceaccounts",
        typed: round_trip_typed::<ServiceAccount>,
        ..PLAIN
    },
    Builtin {
        plural: "services",
        singular: "service",
        kind: "Service",
        short_names: &["svc"],
        categories: &["all"],
        status: true,
        selectable_fields: &["spec.clusterIP", "spec.type"],
        storage: "services",
        typed: round_trip_typed::<Service>,
        ..PLAIN
    },
    Builtin {
        group: "apps",
        plural: "controllerrevisions",
        singular: "controllerrevision",
        kind: "ControllerRevision",
        storage: "controllerrevisions.apps",
        typed: round_trip_typed::<ControllerRevision>,
        ..PLAIN
    },
    Builtin {
        group: "apps",
        plural: "deployments",
        singular: "deployment",
        kind: "Deployment",
        short_names: &["deploy"],
        categories: &["all"],
        status: true,
        scale: true,
        generation: true,
        storage: "deployments.apps",
        typed: round_trip_typed::<Deployment>,
        ..PLAIN
    },
    Builtin {
        group: "apps",
        plural: "replicasets",
        singular: "replicaset",
        kind: "ReplicaSet",
        short_names: &["rs"],
        categories: &["all"],
        status: true,
        scale: true,
        generation: true,
        selectable_fields: &["status.replicas"],
        storage: "replicasets.apps",
        typed: round_trip_typed::<ReplicaSet>,
        ..PLAIN
    },
    Builtin {
        group: "apps",
        plural: "statefulsets",
        singular: "statefulset",
        kind: "StatefulSet",
        short_names: &["sts"],
        categories: &["all"],
        status: true,
        scale: true,
        generation: true,
        storage: "statefulsets.apps",
        typed: round_trip_typed::<StatefulSet>,
        ..PLAIN
    },
    Builtin {
        group: "authentication.k8s.io",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        kind: "SelfSubjectReview",
        typed: round_trip_typed::<SelfSubjectReview>,
        ..REVIEW
    },
    Builtin {
        group: "authorization.k8s.io",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        kind: "SelfSubjectAccessReview",
        typed: round_trip_typed::<SelfSubjectAccessReview>,
        ..REVIEW
    },
    Builtin {
        group: "authorization.k8s.io",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        kind: "SelfSubjectRulesReview",
        typed: round_trip_typed::<SelfSubjectRulesReview>,
        ..REVIEW
    },
    Builtin {
        group: "events.k8s.io",
        plural: "events",
        singular: "event",
        kind: "Event",
        short_names: &["ev"],
        selectable_fields: &["reason", "type"],
        storage: "events",
        typed: round_trip_typed::<NewEvent>,
        ..PLAIN
    },
    Builtin {
        group: "batch",
        plural: "jobs",
        singular: "job",
        kind: "Job",
        categories: &["all"],
        status: true,
        generation: true,
        selectable_fields: &["status.successful"],
        storage: "jobs.batch",
        typed: round_trip_typed::<Job>,
        ..PLAIN
    },
    Builtin {
        group: "coordination.k8s.io",
        plural: "leases",
        singular: "lease",
        kind: "Lease",
        storage: "leases.coordination.k8s.io",
        typed: round_trip_typed::<Lease>,
        ..PLAIN
    },
    Builtin {
        group: "discovery.k8s.io",
        plural: "endpointslices",
        singular: "endpointslice",
        kind: "EndpointSlice",
        generation: true,
        storage: "endpointslices.discovery.k8s.io",
        typed: round_trip_typed::<EndpointSlice>,
        ..PLAIN
    },
    Builtin {
        group: "apiextensions.k8s.io",
        plural: "customresourcedefinitions",
        singular: "customresourcedefinition",
        kind: "CustomResourceDefinition",
        namespaced: false,
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        status: true,
        generation: true,
        storage: super::CRDS,
        typed: round_trip_typed::<CustomResourceDefinition>,
        ..PLAIN
    },
];

fn to_owned_strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

impl Builtin {
    pub fn to_resource(&'static self) -> Resource {
        Resource {
            group: self.group.into(),
            version: self.version.into(),
            plural: self.plural.into(),
            singular: self.singular.into(),
            kind: self.kind.into(),
            list_kind: format!("{}List", self.kind),
            namespaced: self.namespaced,
            short_names: to_owned_strings(self.short_names),
            categories: to_owned_strings(self.categories),
            verbs: self.verbs,
            status: self.status,
            scale: self.scale.then(|| ScalePaths {
                spec: "spec.replicas".into(),
                status: "status.replicas".into(),
                selector: None,
            }),
            selectable_fields: to_owned_strings(self.selectable_fields),
            storage: self.storage.into(),
            lists: ListKeys::for_builtin_kind(self.group, self.kind),
            deprecation: Some(self.deprecation)
                .filter(|d| !d.is_empty())
                .map(str::to_owned),
            definition: Definition::Builtin(self),
        }
    }
}
