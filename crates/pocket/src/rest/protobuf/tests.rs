use base64::Engine as _;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// As sent by `kubectl create deployment two --image=tick:v1 --replicas=3 --port=80`.
const DEPLOYMENT: &str = "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErkBCh8KA3R3bxIAGgAiACoAMgA4AEIAWgoKA2FwcBIDdHdvEocBCAMSDAoKCgNh\
    cHASA3R3bxptChwKABIAGgAiACoAMgA4AEIAWgoKA2FwcBIDdHdvEk0SLwoEdGljaxIHdGljazp2MSoAMgoKABAAGFAiACoAQgBq\
    AHIAgAEAiAEAkAEAogEAGgAyAEIASgBSAFgAYABoAIIBAIoBAJoBAMIBACICCgAoADgAGgwIABAAGAAgACgAOAAaACIA";

fn deployment() -> Vec<u8> {
    base64::engine::general_purpose::STANDARD
        .decode(DEPLOYMENT)
        .unwrap()
}

#[test]
fn what_kubectl_sends_is_what_it_means() {
    let meta = json!({"labels": {"app": "two"}});
    let container = json!({"name": "tick", "image": "tick:v1", "ports": [{"containerPort": 80}]});
    assert_eq!(
        decode_object(&deployment()).unwrap(),
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "two", "labels": {"app": "two"}},
            "spec": {
                "replicas": 3,
                "selector": {"matchLabels": {"app": "two"}},
                "template": {"metadata": meta, "spec": {"containers": [container]}},
            },
        })
    );
}

/// Encodes a field of a message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [
        &[number << 3 | 2, u8::try_from(bytes.len()).unwrap()],
        bytes,
    ]
    .concat()
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let kind = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC, &field(1, &kind), &field(2, raw)].concat()
}

#[test]
fn the_types_of_their_own() {
    // A Secret's data are bytes, an Event's times are numbers, and an explicit zero is kept.
    let entry = [field(1, b"p"), field(2, b"w")].concat();
    let secret = decode_object(&body("v1", "Secret", &field(2, &entry))).unwrap();
    assert_eq!(secret["data"], json!({"p": "dw=="}));
    let micro = [8, 60, 16, 0xe8, 7];
    let event = decode_object(&body("events.k8s.io/v1", "Event", &field(2, &micro))).unwrap();
    assert_eq!(event["eventTime"], "1970-01-01T00:01:00.000001Z");
    let options = decode_object(&body("apps/v1", "DeleteOptions", &[8, 0])).unwrap();
    assert_eq!(options["gracePeriodSeconds"], 0);
    // An inline field, a Quantity, a port by name.
    let source = field(2, &field(2, &field(2, &field(1, b"1Mi"))));
    let volume = [field(1, b"v"), source].concat();
    let pod = decode_object(&body("v1", "Pod", &field(2, &field(1, &volume)))).unwrap();
    assert_eq!(
        pod["spec"]["volumes"],
        json!([{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}])
    );
    let target = [vec![8, 1], field(3, b"http")].concat();
    let port = [vec![24, 80], field(4, &target)].concat();
    let service = decode_object(&body("v1", "Service", &field(2, &field(1, &port)))).unwrap();
    assert_eq!(
        service["spec"]["ports"],
        json!([{"port": 80, "targetPort": "http"}])
    );
}

#[test]
fn refusals() {
    assert_eq!(decode_object(b"{}"), Err(Error::Magic));
    let told = decode_object(&body("autoscaling/v2", "HorizontalPodAutoscaler", &[]))
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("HorizontalPodAutoscaler of autoscaling/v2") && told.contains("send JSON"),
        "{told}"
    );
    let whole = deployment();
    assert_eq!(decode_object(&whole[..whole.len() - 9]), Err(Error::Short));
}

proptest! {
    #[test]
    fn nothing_panics(at in 0_usize..280, byte: u8, junk: Vec<u8>) {
        let mut bytes = deployment();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = decode_object(&bytes);
        let _ = decode_object(&body("v1", "Pod", &junk[..junk.len().min(100)]));
    }
}
