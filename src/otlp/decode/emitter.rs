//! Which pod reports a span, by the attributes of its resource or of the span itself.

use std::{borrow::Cow, net::IpAddr};

use super::{Value, text::clean_non_empty};
use crate::domain::span::Emitter;

/// Attributes that say who reports a span.
#[derive(Clone, Debug, Default)]
pub struct EmitterAttributes<'a> {
    service: Option<Cow<'a, str>>,
    namespace: Option<Cow<'a, str>>,
    pod: Option<Cow<'a, str>>,
    uid: Option<Cow<'a, str>>,
    address: Option<Cow<'a, str>>,
    node: Option<Cow<'a, str>>,
    instance: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
}

impl<'a> EmitterAttributes<'a> {
    /// Whether an attribute of that name is one of these.
    pub fn is_key(key: &str) -> bool {
        let mut none = Self::default();
        none.slot_for(key).is_some()
    }

    /// Reads an attribute if it is one of these.
    pub fn take_attribute(&mut self, key: &str, value: &Value<'a>) {
        if let (Some(place), Value::Text(text)) = (self.slot_for(key), value)
            && !matches!(&**text, "" | "-")
        {
            *place = Some(text.clone());
        }
    }

    fn slot_for(&mut self, key: &str) -> Option<&mut Option<Cow<'a, str>>> {
        Some(match key {
            "service.name" => &mut self.service,
            "k8s.namespace.name" => &mut self.namespace,
            "k8s.pod.name" => &mut self.pod,
            "k8s.pod.uid" => &mut self.uid,
            "k8s.pod.ip" => &mut self.address,
            "node_id" => &mut self.node,
            "service.instance.id" => &mut self.instance,
            "host.name" => &mut self.host,
            _ => return None,
        })
    }

    /// The emitter that these attributes describe.
    pub fn to_emitter(&self) -> Emitter {
        let node = self
            .node
            .as_deref()
            .map(IstioNode::from_node_id)
            .unwrap_or_default();
        let instance = self
            .instance
            .as_deref()
            .map(ServiceInstance::from_instance_id)
            .unwrap_or_default();
        let pick =
            |all: &[Option<&str>]| all.iter().flatten().find_map(|text| clean_non_empty(text));
        let pod = self.pod.as_deref().or(node.pod).or(instance.pod);
        // The host may be a node, so it comes last, and only when no pod is named.
        let host = self.host.as_deref().filter(|_| pod.is_none());
        Emitter {
            service: self
                .service
                .as_deref()
                .and_then(clean_non_empty)
                .unwrap_or_default(),
            namespace: pick(&[
                self.namespace.as_deref(),
                node.namespace,
                instance.namespace,
            ]),
            pod: pick(&[pod, host]),
            uid: pick(&[self.uid.as_deref(), instance.uid]),
            address: pick(&[self.address.as_deref(), node.address]),
        }
    }
}

/// Istio's proxy id: `sidecar~10.0.1.5~POD.NAMESPACE~NAMESPACE.svc.cluster.local`.
#[derive(Default)]
struct IstioNode<'t> {
    address: Option<&'t str>,
    pod: Option<&'t str>,
    namespace: Option<&'t str>,
}

impl<'t> IstioNode<'t> {
    fn from_node_id(text: &'t str) -> Self {
        let mut parts = text.split('~').skip(1);
        let address = parts.next().filter(|part| part.parse::<IpAddr>().is_ok());
        // A pod's name may contain dots, a namespace's may not.
        let (pod, namespace) = parts.next().and_then(|part| part.rsplit_once('.')).unzip();
        Self {
            address,
            pod,
            namespace,
        }
    }
}

/// `service.instance.id`: `NAMESPACE.POD.CONTAINER` from the OpenTelemetry operator, or the pod's
/// uid from Istio. SDKs set a random uuid, which matches no pod and so says nothing.
#[derive(Default)]
struct ServiceInstance<'t> {
    uid: Option<&'t str>,
    namespace: Option<&'t str>,
    pod: Option<&'t str>,
}

impl<'t> ServiceInstance<'t> {
    fn from_instance_id(text: &'t str) -> Self {
        if text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            return Self {
                uid: Some(text),
                ..Self::default()
            };
        }
        let label =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if text.parse::<IpAddr>().is_ok() || !text.chars().all(label) {
            return Self::default();
        }
        let parts = text
            .split_once('.')
            .and_then(|(ns, rest)| Some((ns, rest.rsplit_once('.')?.0)));
        let (namespace, pod) = parts.unzip();
        Self {
            uid: None,
            namespace,
            pod,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitter(attributes: &[(&str, &str)]) -> Emitter {
        let mut own = EmitterAttributes::default();
        for (key, value) in attributes {
            assert!(EmitterAttributes::is_key(key), "{key}");
            own.take_attribute(key, &Value::from(*value));
        }
        own.to_emitter()
    }

    fn by(namespace: &str, pod: &str, uid: &str, address: &str) -> Emitter {
        let some = |t: &str| (!t.is_empty()).then(|| t.to_owned());
        let (namespace, pod, uid, address) = (some(namespace), some(pod), some(uid), some(address));
        Emitter {
            service: String::new(),
            namespace,
            pod,
            uid,
            address,
        }
    }

    #[test]
    fn a_pod_is_known_by_each_of_its_names() {
        let uid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        for (attributes, expected) in [
            (
                &[("k8s.pod.ip", "10.0.0.1"), ("k8s.pod.uid", "u")][..],
                by("", "", "u", "10.0.0.1"),
            ),
            (
                &[
                    ("k8s.pod.name", "a-1"),
                    ("k8s.namespace.name", "demo"),
                    ("host.name", "n1"),
                ],
                by("demo", "a-1", "", ""),
            ),
            (
                &[(
                    "node_id",
                    "sidecar~10.0.1.5~a.b-1.demo~demo.svc.cluster.local",
                )],
                by("demo", "a.b-1", "", "10.0.1.5"),
            ),
            (&[("node_id", "")], by("", "", "", "")),
            (&[("node_id", "gw-1")], by("", "", "", "")),
            (
                &[("service.instance.id", "demo.a-1.app")],
                by("demo", "a-1", "", ""),
            ),
            (&[("service.instance.id", uid)], by("", "", uid, "")),
            (&[("service.instance.id", "10.0.0.1")], by("", "", "", "")),
            (&[("service.instance.id", "a-1:8080")], by("", "", "", "")),
            (&[("host.name", "a-1")], by("", "a-1", "", "")),
            (
                &[("k8s.pod.name", "-"), ("host.name", "a\u{1b}[0m-1")],
                by("", "a-1", "", ""),
            ),
        ] {
            assert_eq!(emitter(attributes), expected, "{attributes:?}");
        }
        assert!(!EmitterAttributes::is_key("http.method"));
    }
}
