//! A world whose names and words were written by somebody who means ill, or who simply writes Chinese.

use std::{collections::BTreeMap, sync::Arc};

use graylane::{
    domain::{
        text::Clean,
        world::{Link, LinkTrouble, ObjectKey, Pod, World, pods_by_key},
    },
    ui::fixture,
};

/// What is hung on every name and word: wide, combined, joined, invisible, turning round, moving the cursor.
pub const EVIL: [&str; 9] = [
    "灰度发布",
    "e\u{301}\u{301}\u{308}",
    "\u{1b}[31;5mred\u{1b}]0;pwn\u{7}",
    "\u{202e}drawkcab\u{2066}",
    "👩\u{200d}👩\u{200d}👧⚠\u{fe0f}",
    "\u{200b}\u{feff}\u{ad}",
    "a\nb\r\nc\td\u{2028}",
    "﷽𝕏ﬀ\u{0e33}",
    "\u{9b}31m\u{90}q\u{9c}",
];

/// All Apps with their releases, lanes, pods and requests under such names; many of them very long.
pub fn world() -> World {
    let mut world = fixture::with_hops(fixture::world(), fixture::leaking_hops());
    let n = std::cell::Cell::new(0_usize);
    let evil = |text: &str| {
        n.set(n.get() + 1);
        let long = if n.get().is_multiple_of(7) {
            "x灰".repeat(200)
        } else {
            String::new()
        };
        format!(
            "{}{text}{}{long}",
            EVIL[(n.get() + 4) % EVIL.len()],
            EVIL[n.get() % EVIL.len()]
        )
    };
    let names: BTreeMap<String, String> = world
        .apps
        .keys()
        .map(|name| (name.clone(), evil(name)))
        .collect();
    let named = |name: &String| names.get(name).unwrap_or(name).clone();

    let mut apps = BTreeMap::new();
    for (name, app) in world.apps.iter() {
        let mut app = (**app).clone();
        app.metadata.name = Some(named(name));
        let status = app.status.as_mut().expect("it has run");
        for found in status.environments.values_mut() {
            found.message = Some(evil("message"));
            found.version = Some(evil("version"));
            found.images.values_mut().for_each(|i| *i = evil(i));
        }
        apps.insert(named(name), Arc::new(app));
    }
    let mut releases = BTreeMap::new();
    for (name, release) in world.releases.iter() {
        let mut release = (**release).clone();
        release.spec.app = named(&release.spec.app);
        release.spec.comment = Some(evil("comment"));
        release.spec.requester = evil("mia");
        let status = release.status.as_mut().expect("it has begun");
        for task in &mut status.tasks {
            task.message = Some(evil("message"));
            task.new_images.values_mut().for_each(|i| *i = evil(i));
        }
        for entry in &mut status.history {
            (entry.by, entry.action, entry.message) =
                (evil(&entry.by), evil("did"), Some(evil("so")));
        }
        releases.insert(evil(name), Arc::new(release));
    }
    let mut lanes = BTreeMap::new();
    for (name, lane) in world.lanes.iter() {
        let mut lane = (**lane).clone();
        lane.spec.tag = evil(&lane.spec.tag);
        for condition in &mut lane.spec.rule.all {
            condition.values.iter_mut().for_each(|v| *v = evil(v));
        }
        for app in &mut lane.status.as_mut().expect("it is known").apps {
            (app.app, app.reason) = (named(&app.app), evil("reason"));
        }
        lanes.insert(evil(name), Arc::new(lane));
    }
    for group in Arc::make_mut(&mut world.groups).values_mut() {
        Arc::make_mut(group)
            .spec
            .apps
            .iter_mut()
            .for_each(|a| a.app = named(&a.app));
    }
    let pods = world.pods.values().map(|pod| {
        let mut pod = Pod::clone(pod);
        pod.key.name = evil(&pod.key.name);
        pod.app = pod.app.as_ref().map(named);
        pod.state = Clean::from(evil("Running"));
        pod.message = Some(Clean::from(evil("message")));
        pod
    });
    let pods = pods_by_key(pods);
    let workloads = world.deployments.values().map(|w| {
        let mut w = w.clone();
        w.app = w.app.as_ref().map(named);
        w.message = Some(Clean::from(evil("message")));
        (w.key.clone(), w)
    });
    let workloads = workloads.collect();
    let hops = world.hops.iter().map(|hop| {
        let mut hop = (**hop).clone();
        hop.app = named(&hop.app);
        hop.path = evil(&hop.path);
        hop.error = Some(evil("error"));
        Arc::new(hop)
    });
    let hops = hops.collect();
    let events = world.events.iter().map(|event| {
        let mut event = event.clone();
        event.message = Clean::from(evil("message"));
        event.object = ObjectKey {
            name: evil(&event.object.name),
            ..event.object
        };
        event
    });
    let events = events.collect();
    World {
        link: Link::Stale {
            since: fixture::now(),
            trouble: LinkTrouble::Offline,
            why: Clean::from(evil("why")),
        },
        apps: Arc::new(apps),
        releases: Arc::new(releases),
        lanes: Arc::new(lanes),
        pods: Arc::new(pods),
        deployments: Arc::new(workloads),
        hops: Arc::new(hops),
        events: Arc::new(events),
        ..world
    }
}
