//! kubectl and the cockpit agree on everything shown: at several moments of the story what kubectl says, field by
//! field and as it prints it, is what the watched world holds, what the panes draw and what `graylane get` prints.

mod facts;
mod printed;
mod shown;

use std::time::Duration;

use graylane::{
    cluster::{
        perform::{Outcome, PerformError, perform_intent},
        watch,
    },
    domain::{rights::Right, text::Clean, world::World},
    ui::{
        Effect, Fault, IntentOutcome, Model, Msg,
        options::{Options, RequestedOptions},
        update,
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Kubectl, LIMIT, is_there};
use crate::{
    screen::{press, see},
    support::demo::Demo,
};

/// All that the cockpit shows something of.
const KINDS: &str = "apps.graylane.dev,releases.graylane.dev,approvals.graylane.dev,lanegroups.graylane.dev,\
                     lanes.graylane.dev,deployments.apps,pods,httproutes.gateway.networking.k8s.io,leases,events";

fn cockpit() -> Model {
    Model::new(
        Options::resolve(&RequestedOptions::default(), |_| None),
        Timestamp::now(),
    )
}

struct Rig {
    demo: Demo,
    kubectl: Kubectl,
    worlds: tokio::sync::watch::Receiver<World>,
    model: Model,
    _stop: DropGuard,
}

impl Rig {
    async fn start() -> Self {
        let demo = Demo::start().await;
        let kubectl = Kubectl::of(demo.state());
        let stop = CancellationToken::new();
        let worlds = watch::spawn(demo.client.clone(), "demo", stop.clone());
        Self {
            demo,
            kubectl,
            worlds,
            model: cockpit(),
            _stop: stop.drop_guard(),
        }
    }

    /// What kubectl says now.
    async fn objects(&self) -> Vec<Value> {
        let text = self
            .kubectl
            .ok(&["-n", "demo", "get", KINDS, "-o", "json"])
            .await;
        let list: Value = serde_json::from_str(&text).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// They may see a change one after the other, but not go on seeing two different things.
    async fn agree(&mut self, moment: &str) {
        let end = tokio::time::Instant::now() + LIMIT;
        loop {
            let objects = self.objects().await;
            let world = self.worlds.borrow().clone();
            assert!(
                objects.len() > 40,
                "{moment}: kubectl has only {} objects",
                objects.len()
            );
            let mut differs = facts::differ(&objects, &world);
            if differs.is_empty() {
                let printed = printed::tables(&self.kubectl).await;
                differs = shown::differ(&mut self.model, &objects, &printed, world);
                differs.extend(printed::differ(&self.demo, &printed, &objects).await);
            }
            if differs.is_empty() {
                return;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "{moment}: they differ:\n{}",
                differs.join("\n")
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn pods(&self, environment: &str) -> Vec<String> {
        let world = self.worlds.borrow();
        world
            .pods_of("spring-cloud-a", environment)
            .map(|p| p.key.name.clone())
            .collect()
    }

    async fn may(&self) {
        let world = self.worlds.borrow().rights.clone();
        let asked = Right::HOME.map(async |right| {
            let (verb, group, resource, sub) = right.rbac_parts();
            let resource = if group.is_empty() {
                resource.to_owned()
            } else {
                format!("{resource}.{group}")
            };
            let sub = format!("--subresource={sub}");
            let said = self
                .kubectl
                .run(&["-n", "demo", "auth", "can-i", verb, &resource, &sub], "")
                .await;
            (
                right,
                String::from_utf8_lossy(&said.stdout).starts_with("yes"),
            )
        });
        for (right, said) in futures::future::join_all(asked).await {
            // Everything is permitted, but pods have no shells and ports here: the keys say so.
            if matches!(right, Right::Shell | Right::PortForward) {
                assert!(!said, "{right}");
                continue;
            }
            assert_eq!(
                said,
                world.explain_missing(right, &"demo".into()).is_none(),
                "{right}"
            );
        }
        let who = self
            .kubectl
            .ok(&[
                "auth",
                "whoami",
                "-o",
                "jsonpath={.status.userInfo.username}",
            ])
            .await;
        assert_eq!(world.who.as_deref(), Some(who.as_str()));
    }

    /// One may have been read a moment later.
    async fn logs(&self) {
        for pod in self.pods("prod").iter().take(1) {
            let kubectl = self.kubectl.ok(&["-n", "demo", "logs", pod]).await;
            let own = self.demo.ok(&["logs", &format!("demo/{pod}")]).await;
            assert!(
                !kubectl.is_empty() && own.starts_with(&kubectl),
                "{pod}: {kubectl}\n---\n{own}"
            );
        }
    }

    /// How a Deployment of production stands, in kubectl's own words and in the world.
    async fn status(&self, app: &str) -> (String, (u32, u32)) {
        let name = format!("deployment/{app}-prod");
        let told = self
            .kubectl
            .ok(&["-n", "demo", "rollout", "status", &name, "--watch=false"])
            .await;
        let world = self.worlds.borrow();
        let workload = world.workloads_of(app, "prod").next().unwrap();
        (told, (workload.updated, workload.replicas))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_and_the_cockpit_agree_through_the_story() {
    if !is_there() {
        return;
    }
    let mut rig = Rig::start().await;
    rig.agree("the baseline").await;
    rig.would_tell().await;
    rig.demo.set_pause("spring-cloud-a", "every").await;
    rig.may().await;
    rig.logs().await;

    let images = [
        "--image",
        "spring-cloud-a/backend=spring-cloud-a:v2",
        "--image",
        "spring-cloud-c/backend=spring-cloud-c:v2",
    ];
    let start = [
        "release",
        "start",
        "spring-cloud-a",
        "spring-cloud-c",
        "--stage",
        "production",
    ];
    let told = rig.demo.ok(&[&start[..], &images].concat()).await;
    let names: Vec<String> = told.lines().map(str::to_owned).collect();
    let (a, c) = (names[0].as_str(), names[1].as_str());
    for name in [a, c] {
        rig.demo.wait(name, Some("approve"), "Waiting").await;
    }
    for name in [a, c] {
        rig.demo.ok(&["approve", name]).await;
    }
    for name in [a, c] {
        rig.demo.wait(name, Some("proceed"), "Waiting").await;
        rig.demo.ok(&["proceed", name]).await;
    }
    for name in [a, c] {
        rig.demo.wait(name, Some("deploy-prod"), "Waiting").await;
    }
    rig.agree("gray is up, its lane open, a batch held").await;
    let (told, split) = rig.status("spring-cloud-a").await;
    assert_eq!(split, (1, 4));
    assert!(
        told.contains("1 out of 4 new replicas have been updated"),
        "{told}"
    );
    rig.other_hands(c).await;

    rig.two_cockpits().await;
    rig.demo.wait_batch(a, "deploy-prod", 2).await;
    rig.demo.wait(a, Some("deploy-prod"), "Waiting").await;
    assert_eq!(
        rig.demo.split("spring-cloud-a", "v2").await,
        (2, 2),
        "exactly one batch further"
    );
    rig.demo.ok(&["proceed", a]).await;
    for name in [a, c] {
        let phase = if name == a { "Succeeded" } else { "Aborted" };
        rig.demo.wait(name, None, phase).await;
    }
    rig.agree("production is done, gray is cleaned").await;
    let (told, split) = rig.status("spring-cloud-a").await;
    assert_eq!(split, (4, 4));
    assert!(told.contains("successfully rolled out"), "{told}");
    rig.demo.stop().await;
}

impl Rig {
    /// Had kubectl said anything else, it would have been told.
    async fn would_tell(&mut self) {
        let objects = self.objects().await;
        let printed = printed::tables(&self.kubectl).await;
        let world = self.worlds.borrow().clone();
        let mut drawn = objects.clone();
        for (kind, place, other) in [
            ("Pod", "/status/podIP", json!("10.9.9.9")),
            ("Pod", "/metadata/name", json!("stranger")),
            ("Deployment", "/status/readyReplicas", json!(9)),
            (
                "HTTPRoute",
                "/status/parents/0/conditions/0/status",
                json!("False"),
            ),
            ("Event", "/message", json!("something else")),
            ("Lease", "/spec/holderIdentity", json!("nobody")),
            (
                "App",
                "/status/environments/prod/images/backend",
                json!("other:v9"),
            ),
            ("LaneGroup", "/spec/entry/gateway", json!("other")),
            ("Lane", "/status/apps/0/served", json!("gray")),
            ("Release", "/status/tasks/0/phase", json!("Failed")),
        ] {
            let mut said = objects.clone();
            for objects in [&mut said, &mut drawn] {
                let mine = |o: &Value| {
                    kind != "Pod" || o["metadata"]["labels"]["graylane.dev/app"].is_string()
                };
                let mut all = objects.iter_mut().filter(|o| o["kind"] == kind && mine(o));
                let at = all
                    .find_map(|o| o.pointer_mut(place))
                    .unwrap_or_else(|| panic!("no {kind} has {place}"));
                *at = other.clone();
            }
            assert!(!facts::differ(&said, &world).is_empty(), "{kind} {place}");
        }
        let seen = shown::differ(&mut self.model, &drawn, &printed, world.clone()).join("\n");
        for part in [
            "stranger, it is not drawn",
            "/prod image: kubectl prints \"v9\"",
            "● is not drawn",
            "has Failed",
        ] {
            assert!(seen.contains(part), "{part}:\n{seen}");
        }
        let mut other = printed.clone();
        other
            .iter_mut()
            .flatten()
            .filter(|(head, _)| head != "NAME")
            .for_each(|(_, cell)| *cell = "other".into());
        let seen = shown::differ(&mut self.model, &objects, &other, world).join("\n");
        for part in [
            "READY",
            "STATUS",
            "IP",
            "RESTARTS",
            "PRIORITY",
            "ENABLED",
            "kubectl prints other, drawn is",
        ] {
            assert!(seen.contains(part), "{part}:\n{seen}");
        }
    }

    /// The same question in two cockpits, answered with yes in both at once: one lets the batch go, the other is told.
    async fn two_cockpits(&self) {
        let objects = self.objects().await;
        let tag = |pod: &Value| {
            facts::at(pod, "spec/containers/0/image")
                .as_str()
                .is_some_and(|i| i.ends_with(":v2"))
        };
        let mine =
            |o: &&Value| facts::at(o, "metadata/labels/graylane.dev~1app") == "spring-cloud-a";
        let prod = |o: &&Value| facts::at(o, "metadata/labels/graylane.dev~1environment") == "prod";
        let (new, old): (Vec<_>, Vec<_>) = facts::of_kind(&objects, "Pod")
            .filter(mine)
            .filter(prod)
            .partition(|p| tag(p));
        let deployment = facts::of_kind(&objects, "Deployment")
            .filter(mine)
            .find(prod)
            .unwrap();
        let (new, old, wanted) = (new.len(), old.len(), facts::at(deployment, "spec/replicas"));
        let question = format!("{new} new ready, {old} old, {wanted} wanted");

        let mut seats = vec![];
        for by in ["ann", "bob"] {
            let mut model = cockpit();
            update(&mut model, Msg::Tick(Timestamp::now()));
            see(
                &mut model,
                World {
                    me: Some(Clean::from(by)),
                    ..self.worlds.borrow().clone()
                },
            );
            press(&mut model, "1gc");
            let drawn = shown::lines(&mut model).join("\n");
            assert!(
                drawn.contains(&question),
                "kubectl has {question}:\n{drawn}"
            );
            let effects = press(&mut model, "prod<enter>");
            let [Effect::Perform(ticket, _, intent)] = effects.as_slice() else {
                panic!("{effects:?}")
            };
            let (ticket, intent) = (*ticket, intent.clone());
            seats.push((by, model, ticket, intent));
        }
        let wish =
            |at: usize| perform_intent(&self.demo.client, "demo", seats[at].0, seats[at].3.clone());
        let told = tokio::join!(wish(0), wish(1));
        assert!(told.0.is_ok() != told.1.is_ok(), "{told:?}");
        for ((by, mut model, ticket, _), told) in seats.into_iter().zip([told.0, told.1]) {
            let moved_on = matches!(told, Err(PerformError::Stale { .. }));
            let words = if told.is_ok() {
                "let batch 2 of deploy-prod proceed"
            } else {
                "has changed since you looked"
            };
            assert!(told.is_ok() || moved_on, "{told:?}");
            let done = |done: Outcome| IntentOutcome {
                text: done.message.as_str().into(),
                ..IntentOutcome::default()
            };
            let fault = |why: PerformError| Fault {
                moved_on,
                ..Fault::new(&why.to_string())
            };
            update(
                &mut model,
                Msg::Settled(ticket, told.map(done).map_err(fault)),
            );
            let drawn = shown::lines(&mut model).join("\n");
            assert!(drawn.contains(words), "{by}:\n{drawn}");
        }
    }

    /// Between batches other hands are kept off, and one that changes the image all the same is seen before the next.
    async fn other_hands(&self, release: &str) {
        let rollout = async |verb: &str| {
            self.kubectl
                .refused(
                    &[
                        "-n",
                        "demo",
                        "rollout",
                        verb,
                        "deployment/spring-cloud-c-prod",
                    ],
                    "",
                )
                .await
        };
        let told = rollout("undo").await;
        assert!(
            told.contains("cannot rollback a paused deployment"),
            "{told}"
        );
        let told = rollout("restart").await;
        assert!(told.contains("can't restart paused deployment"), "{told}");
        let path = "jsonpath={.spec.template.spec.containers[0].name}";
        let container = self
            .kubectl
            .ok(&[
                "-n",
                "demo",
                "get",
                "deployment",
                "spring-cloud-c-prod",
                "-o",
                path,
            ])
            .await;
        let image = format!("{container}=spring-cloud-c:v1");
        self.kubectl
            .ok(&[
                "-n",
                "demo",
                "set",
                "image",
                "deployment/spring-cloud-c-prod",
                &image,
            ])
            .await;
        self.demo.run(&["proceed", release]).await;
        let stopped = |w: &World| {
            let status = w.releases[release].status.clone().unwrap_or_default();
            let told = status
                .tasks
                .iter()
                .find(|t| t.name == "deploy-prod")
                .and_then(|t| t.message.clone());
            told.is_some_and(|m| {
                m.contains("spec.template was changed") && m.contains("by kubectl-set")
            })
        };
        let mut worlds = self.worlds.clone();
        let seen = tokio::time::timeout(LIMIT, worlds.wait_for(stopped))
            .await
            .is_ok();
        assert!(
            seen,
            "{}",
            self.demo.ok(&["release", "show", release]).await
        );
        self.demo.ok(&["abort", release]).await;
    }
}
