//! Two people at the same gate at the same moment, in every order in which the server can hear them: one wins, the
//! other is told, and what was wished happens once.

use graylane::{
    api::{Approval, Decision, Lane, LaneSpec},
    cluster::perform::{Outcome, PerformError, perform_intent},
    domain::{
        intent::{ControlIntent, Intent, ReleaseIntent, SeenObject, TaskDecision},
        lanes::text,
    },
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{Fixture, NS, fixture, read_state, waiting};

type Told = Result<Outcome, PerformError>;

/// A request that stands at the server's door: where its leave is sent, and whence it says that it is done.
struct Knock(oneshot::Sender<()>, oneshot::Receiver<()>);

/// The same server, which hears a request only when it is let in.
fn behind_a_door(client: &Client) -> (Client, mpsc::UnboundedReceiver<Knock>) {
    let (door, knocks) = mpsc::unbounded_channel();
    let client = client.clone();
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (client, door) = (client.clone(), door.clone());
        async move {
            // Who may do what does not change meanwhile, nor what a release was frozen to.
            let fixed = [
                "authorization",
                "controllerrevisions",
                "graylane.dev/v1alpha1/namespaces/demo/apps/",
            ];
            if fixed.iter().any(|part| request.uri().path().contains(part)) {
                return client.send(request).await;
            }
            let ((leave, left), (done, is_done)) = (oneshot::channel(), oneshot::channel());
            let _ = door.send(Knock(leave, is_done));
            let _ = left.await;
            let answer = client.send(request).await;
            let _ = done.send(());
            answer
        }
    });
    (Client::new(service, "default"), knocks)
}

/// Two wishes at once. Whenever both stand at the door, `order` tells whether the second is let in; what it leaves
/// open is the first's. Answers what each was told, and how often both stood there.
async fn at_once(f: &Fixture, wishes: [(&str, Intent); 2], order: &[bool]) -> ([Told; 2], usize) {
    let mut doors = vec![];
    let mut told = vec![];
    for (by, intent) in wishes {
        let (client, door) = behind_a_door(&f.client);
        doors.push(door);
        let by = by.to_owned();
        told.push(tokio::spawn(async move {
            perform_intent(&client, NS, &by, intent).await
        }));
    }
    let mut both = 0;
    let mut stand = [doors[0].recv().await, doors[1].recv().await];
    while stand.iter().any(Option::is_some) {
        let next = match &stand {
            [Some(_), Some(_)] => {
                both += 1;
                usize::from(order.get(both - 1).copied().unwrap_or_default())
            }
            [first, _] => usize::from(first.is_none()),
        };
        if let Some(Knock(leave, done)) = stand[next].take() {
            let _ = leave.send(());
            let _ = done.await;
        }
        // Its next request, or none when it has ended.
        stand[next] = doors[next].recv().await;
    }
    let mut told = told.into_iter();
    let mut of = async || told.next().unwrap().await.unwrap();
    ([of().await, of().await], both)
}

/// Every order in which two wishes can be heard, each on a gate of its own: `gate` makes the n-th with its two
/// wishes, `look` judges what came of it. Answers how many orders there were.
async fn all_orders<T>(
    f: &Fixture,
    gate: impl AsyncFn(usize) -> (T, [(&'static str, Intent); 2]),
    look: impl AsyncFn(T, [Told; 2], &[bool]),
) -> usize {
    let mut left = vec![vec![]];
    let mut played = 0;
    while let Some(order) = left.pop() {
        let (about, wishes) = gate(played).await;
        let (told, both) = at_once(f, wishes, &order).await;
        look(about, told, &order).await;
        played += 1;
        // The same up to some point, and there the other one first.
        for at in order.len()..both {
            let mut other = order.clone();
            other.resize(at, false);
            other.push(true);
            left.push(other);
        }
    }
    played
}

/// The n-th release, at its gates.
async fn release(f: &Fixture, n: usize) -> String {
    let name = format!("a-{n}");
    f.create(
        "Release",
        &name,
        json!({"app": "a", "stage": "production", "requester": "ann"}),
    )
    .await;
    f.status(&name, waiting()).await;
    name
}

fn about(name: &str, seen: Option<SeenObject>, wish: impl Into<ReleaseIntent>) -> Intent {
    Intent::Release {
        name: name.into(),
        seen,
        wish: wish.into(),
        comment: None,
    }
}

fn moved_on(told: &Told, other: &str) -> bool {
    matches!(told, Err(PerformError::Stale { .. }))
        && told.as_ref().unwrap_err().to_string().contains(other)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_let_a_batch_go_one_does_and_the_other_is_told_by_whom() {
    let f = fixture().await;
    // As the cockpit asks, with what was looked at; and as the command line does, about the release as it is.
    for firm in [true, false] {
        let gate = async |n: usize| {
            let name = release(&f, n + if firm { 1 } else { 1000 }).await;
            let seen = f.release(&name).await;
            let seen = SeenObject {
                uid: seen.uid().unwrap().into(),
                version: None,
                state: firm.then(|| read_state(&seen)),
            };
            let allow = || {
                about(
                    &name,
                    Some(seen.clone()),
                    ControlIntent::Allow {
                        task: "prod".into(),
                        batch: 2,
                    },
                )
            };
            let wishes = [("ann", allow()), ("bob", allow())];
            (name, wishes)
        };
        let orders = all_orders(&f, gate, async |name: String, told, order: &[bool]| {
            let [ann, bob] = &told;
            assert!(ann.is_ok() != bob.is_ok(), "{order:?}: {told:?}");
            let (lost, winner) = if ann.is_ok() {
                (bob, "ann")
            } else {
                (ann, "bob")
            };
            assert!(
                moved_on(lost, &format!("let batch 2 of prod proceed by {winner}")),
                "{order:?}: {told:?}"
            );
            let control = f.release(&name).await.spec.control;
            assert_eq!(
                control.allow,
                [("prod".to_owned(), 2)].into(),
                "one batch further, {order:?}"
            );
            assert_eq!(control.last.unwrap().by, winner, "{order:?}");
        });
        assert!(orders.await >= 6, "both read, both write");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_who_lets_a_batch_go_and_one_who_rolls_back_nobody_is_overrun() {
    let f = fixture().await;
    let gate = async |n: usize| {
        let name = release(&f, n).await;
        let seen = f.release(&name).await;
        let seen = |state| {
            Some(SeenObject {
                uid: seen.uid().unwrap().into(),
                version: None,
                state,
            })
        };
        let now = read_state(&f.release(&name).await);
        let allow = about(
            &name,
            seen(Some(now)),
            ControlIntent::Allow {
                task: "prod".into(),
                batch: 2,
            },
        );
        let abort = about(&name, seen(None), ControlIntent::Abort);
        (name, [("ann", allow), ("bob", abort)])
    };
    let orders = all_orders(
        &f,
        gate,
        async |name: String, [ann, bob], order: &[bool]| {
            // To roll back must always be possible.
            bob.unwrap();
            let control = f.release(&name).await.spec.control;
            assert!(control.abort, "{order:?}");
            assert_eq!(
                control.allow.contains_key("prod"),
                ann.is_ok(),
                "{order:?}: {ann:?}"
            );
            assert!(
                ann.is_ok() || moved_on(&ann, "abort by bob"),
                "{order:?}: {ann:?}"
            );
        },
    );
    assert!(orders.await >= 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_who_approves_and_one_who_refuses_at_least_one_hears_of_the_other() {
    let f = fixture().await;
    for (second, n) in [(Decision::Refuse, 0), (Decision::Pass, 1000)] {
        let gate = async |i: usize| {
            let name = release(&f, i + n).await;
            let decide = |decision| {
                about(
                    &name,
                    None,
                    TaskDecision {
                        task: "gate".into(),
                        attempt: 1,
                        decision,
                        digest: None,
                    },
                )
            };
            let wishes = [("ann", decide(Decision::Pass)), ("bob", decide(second))];
            (name, wishes)
        };
        let orders = all_orders(
            &f,
            gate,
            async |name: String, [ann, bob], order: &[bool]| {
                let words = |told: &Told| {
                    told.as_ref()
                        .map_or_else(ToString::to_string, |o| o.message.clone())
                };
                let heard = [words(&ann).contains("bob"), words(&bob).contains("ann")];
                assert!(heard[0] || heard[1], "{order:?}: {ann:?} {bob:?}");
                if second == Decision::Refuse {
                    // Whoever knows that a no outweighs his yes does not think that it counts.
                    assert_eq!(
                        heard[0],
                        matches!(ann, Err(PerformError::Outrun { .. })),
                        "{order:?}: {ann:?}"
                    );
                }
                let approvals: Api<Approval> = Api::namespaced(f.client.clone(), NS);
                let all = approvals.list(&ListParams::default()).await.unwrap().items;
                assert_eq!(
                    all.iter().filter(|a| a.spec.release == name).count(),
                    2,
                    "both have spoken"
                );
            },
        );
        assert!(orders.await >= 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_comes_after_the_gate_has_opened_says_so() {
    let f = fixture().await;
    let name = release(&f, 1).await;
    let decide = |decision| {
        about(
            &name,
            None,
            TaskDecision {
                task: "gate".into(),
                attempt: 1,
                decision,
                digest: None,
            },
        )
    };
    let (late, mut door) = behind_a_door(&f.client);
    let intent = decide(Decision::Refuse);
    let bob = tokio::spawn(async move { perform_intent(&late, NS, "bob", intent).await });
    let mut request = 0;
    while let Some(Knock(leave, done)) = door.recv().await {
        // It still waits; before he writes it, she is heard and the engine has looked.
        if request == 1 {
            perform_intent(&f.client, NS, "ann", decide(Decision::Pass))
                .await
                .unwrap();
            let mut passed = waiting();
            passed["tasks"][0]["phase"] = json!("Succeeded");
            f.status(&name, passed).await;
        }
        request += 1;
        let _ = leave.send(());
        let _ = done.await;
    }
    let told = bob.await.unwrap().unwrap_err();
    assert!(matches!(told, PerformError::Outrun { .. }), "{told}");
    let told = told.to_string();
    assert!(
        told.contains("ann approved a moment before") && told.contains("graylane abort a-1"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_who_edits_a_lane_and_one_who_deletes_it_one_wins() {
    let f = fixture().await;
    let lanes: Api<Lane> = Api::namespaced(f.client.clone(), NS);
    let spec = |name: &str, value: &str| {
        let mut spec = LaneSpec {
            group: "g".into(),
            tag: name.into(),
            enabled: true,
            ..LaneSpec::default()
        };
        spec.rule.all =
            vec![text::parse_condition(&format!("parameter {name} == {value}")).unwrap()];
        spec
    };
    let gate = async |n: usize| {
        let name = format!("l{n}");
        let set = |seen, value: &str| Intent::SetLane {
            name: name.clone(),
            seen,
            spec: spec(&name, value),
        };
        f.wish("ann", set(None, "gray")).await.unwrap();
        let lane = lanes.get(&name).await.unwrap();
        let seen = Some(SeenObject {
            uid: lane.uid().unwrap().into(),
            version: lane.resource_version(),
            state: None,
        });
        let edit = set(seen.clone(), "red");
        let delete = Intent::DeleteLane {
            name: name.clone(),
            seen,
        };
        (name, [("ann", edit), ("bob", delete)])
    };
    let orders = all_orders(&f, gate, async |name: String, told, order: &[bool]| {
        let [ann, bob] = &told;
        assert!(ann.is_ok() != bob.is_ok(), "{order:?}: {told:?}");
        let is = lanes.get_opt(&name).await.unwrap();
        assert_eq!(is.is_some(), ann.is_ok(), "{order:?}: {told:?}");
        assert!(
            is.is_none_or(|l| l.spec.rule.all[0].values == ["red"]),
            "{order:?}"
        );
        assert!(
            moved_on(if ann.is_ok() { bob } else { ann }, &name),
            "{order:?}: {told:?}"
        );
        // Not one more lane in the group: the next ones are tried in the same world.
        if ann.is_ok() {
            f.wish("ann", Intent::DeleteLane { name, seen: None })
                .await
                .unwrap();
        }
    });
    assert!(orders.await >= 6);
}
