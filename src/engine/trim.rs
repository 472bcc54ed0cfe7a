//! Removes fields that nobody reads from watched objects, to save memory in clusters with ten
//! thousand pods.

use futures::{Stream, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::watcher::{self, Event},
};

use reconcile::watch::resilient_watch;

use crate::cluster::lean_pod::LeanPod;

/// Watches pods, of which only identity and status are read, not the spec.
pub(super) fn watch_pods(
    api: Api<LeanPod>,
) -> impl Stream<Item = watcher::Result<Event<Pod>>> + Send {
    let without_spec = |LeanPod(pod)| Pod { spec: None, ..pod };
    resilient_watch(api, watcher::Config::default()).map_ok(move |event| match event {
        Event::Init => Event::Init,
        Event::InitApply(pod) => Event::InitApply(without_spec(pod)),
        Event::InitDone => Event::InitDone,
        Event::Apply(pod) => Event::Apply(without_spec(pod)),
        Event::Delete(pod) => Event::Delete(without_spec(pod)),
    })
}
