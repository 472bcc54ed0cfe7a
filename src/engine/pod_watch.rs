//! The watch of pods, of which a cluster has thousands: only what is read of them is decoded, and
//! less is kept.

use futures::{Stream, TryStreamExt};
use kube::{
    Api,
    runtime::watcher::{self, Event},
};
use reconcile::watch::resilient_watch;

use crate::{cluster::lean_pod::LeanPod, domain::observe::ObservedPod};

/// Watches pods.
pub(super) fn watch_pods(
    api: Api<LeanPod>,
) -> impl Stream<Item = watcher::Result<Event<ObservedPod>>> + Send {
    let keep = |LeanPod(pod)| ObservedPod::from(pod);
    resilient_watch(api, watcher::Config::default()).map_ok(move |event| match event {
        Event::Init => Event::Init,
        Event::InitApply(pod) => Event::InitApply(keep(pod)),
        Event::InitDone => Event::InitDone,
        Event::Apply(pod) => Event::Apply(keep(pod)),
        Event::Delete(pod) => Event::Delete(keep(pod)),
    })
}
