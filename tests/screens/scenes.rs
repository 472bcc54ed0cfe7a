//! Every screen that there is, by name: the fixed world in one of its turns, after some keys.

use std::sync::Arc;

use graylane::{
    domain::{
        describe::{ObjectEvent, describe_object},
        diff,
        edit::CheckedEdit,
        log::{LogEvent, LogLine},
        text::Clean,
        world::{Event, ObjectKey, World, Worlds},
    },
    ui::{
        Answer, Effect, Fault, IntentOutcome, Model, Msg, Query,
        effect::{
            ClusterChoice, Foreground, NamespaceChoice, ProbeOutcome, Returned, ShownNamespace,
        },
        fixture,
        model::Level,
        own_commands::OwnCommands,
        pane::Pane,
        update,
    },
};

use crate::{
    screen::{press, see},
    worlds,
};

/// What of the screen is kept.
#[derive(Clone, Copy, PartialEq)]
pub enum Part {
    /// All of it.
    Whole,
    /// All but the header.
    Panes,
    /// The two lines of the header.
    Header,
    /// What differs from the panes beneath, and the last line.
    Top,
}
/// A name, what of it is kept, and the model.
pub type Scene = (&'static str, Part, Model);

macro_rules! scenes {
    ($($name:ident $part:ident $model:expr;)*) => {
        /// All of them.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// One of them.
        pub fn scene(name: &str) -> Scene {
            match name {
                $(stringify!($name) => (stringify!($name), Part::$part, $model),)*
                _ => panic!("there is no scene {name}"),
            }
        }
    };
}

scenes! {
    cockpit Whole after("");
    cockpit_leaking Whole leaking("5");
    cockpit_failing Whole failing("3");
    pane_apps Panes zoomed(Pane::Apps);
    pane_environments Panes zoomed(Pane::Environments);
    pane_environments_trouble Panes after_in(worlds::locked(), "2z");
    pane_pods Panes after("2jjj<enter>z");
    pane_rollout Panes zoomed(Pane::Rollout);
    pane_rollout_of_c Panes after("j3z");
    pane_rollout_approval Panes after_in(worlds::approval(), "3z");
    pane_rollout_failed Panes after_in(worlds::failed(), "3z");
    pane_rollout_done Panes after_in(worlds::succeeded(), "j3z");
    pane_rollout_none Panes after("jj3z");
    pane_rollout_stateful Panes after_in(worlds::stateful(2), "3z");
    pane_lanes Panes zoomed(Pane::Lanes);
    pane_trace Panes zoomed(Pane::Trace);
    pane_trace_only_wrong Panes leaking("5zw<space>");
    pane_trace_leaking Panes leaking("5z");
    pane_trace_failing Panes failing("5z");
    pane_trace_each Panes after("5zv");
    pane_trace_each_failing Panes failing("5zv");
    pane_trace_group Panes failing("5z<enter>");
    pane_rollout_failing Panes failing("3z");
    pane_rollout_no_requests Panes after_in(World { hops: Default::default(), hops_seen: 0, ..fixture::world() }, "3z");
    pane_rollout_sampled Panes after_in(worlds::sampled(), "3z");
    marked Panes after("<space><space>");
    list_sorted Whole after_in(worlds::two_waiting(), "oO");
    list_scrolled Whole after(">>");
    list_pods_sorted Panes after("2jjj<enter>zoo");
    list_trace_sorted Panes after("5zvoooo");

    empty_workspace Whole after_in(worlds::empty(), "");
    not_installed Whole after_in(worlds::not_installed(), "");
    app_without_parts Whole after_in(worlds::without_parts(), "");
    connecting Whole Model::new(fixture::options(), fixture::now());
    no_connection Header after_in(worlds::stale(), "");
    no_credentials Header after_in(worlds::credentials_gone(), "");
    no_connection_yet Whole after_in(worlds::never_there(), "");
    throttled Header after_in(worlds::throttled(), "");
    forbidden Whole after_in(worlds::forbidden(), "");
    contexts_one_down Whole after_in(worlds::contexts(), "2jjj");
    contexts_choice Top choosing();
    contexts_switched Whole switched();
    namespaces_choice Top namespaces();
    all_namespaces Whole with_all("");
    all_namespaces_zoomed Panes with_all("z");
    all_namespaces_lanes Panes with_all("4j");
    all_namespaces_palette Top with_all(":app");
    all_namespaces_refused Whole showing(worlds::all_namespaces_refused(), "");
    question_pause_namespaces Top with_all("Ms");
    themes_choice Whole after("<ctrl-t><down>");
    namespaces_typed Top after(":ns pay");
    no_engine Header after_in(World { engine: None, ..fixture::world() }, "");
    read_only Whole after("R");
    not_permitted Panes after_in(worlds::viewer(), "3");
    not_permitted_tried Panes after_in(worlds::viewer(), "3a");
    nothing_released Header after_in(worlds::succeeded(), "jj");
    wish_under_way Whole under_way();
    notice_with_detail Panes failed_wish();

    question_approve Top after_in(worlds::approval(), "3a");
    question_refuse Top after_in(worlds::approval(), "3x");
    question_batch Top after("3c");
    question_batch_leaking Top leaking("3c");
    question_batch_failing Top failing("3c");
    question_batch_stateful Top after_in(worlds::stateful_held(), "3c");
    question_proceed Top after_in(worlds::proceed(), "3c");
    question_pause Top after("3s");
    question_resume Top after_in(worlds::held(), "3u");
    question_approve_marked Top after_in(worlds::two_approvals(), "Ma");
    question_abort_marked Top after("MA");
    question_retry Top after_in(worlds::failed(), "3r");
    question_skip Top after_in(worlds::proceed(), "3S");
    question_skip_half_way Top after_in(worlds::failed(), "3S");
    question_abort Top after("3A");
    question_abort_stateful Top after_in(worlds::stateful(2), "3A");
    question_stop_the_line Top after("!");
    question_start Top after("jjn<enter>");
    question_start_production Top after_in(worlds::straight_to_production(), "jjn<enter>");
    question_start_stateful Top after_in(worlds::stateful_mixed(), "jjn<enter>");
    question_apps Top after_in(worlds::templated(), "+pay cart<tab>gray/level=debug<enter>");
    question_start_values Top after_in(worlds::templated(), "n<enter>");
    question_lane_off Top after("4t");
    question_lane_on Top after("4jt");
    question_lane_delete Top after("4D");
    question_lane_save Top after("4e<tab><tab><ctrl-u>5<enter>");
    question_lock Top after("2bload test<enter>");
    question_unlock Top after_in(worlds::locked(), "2b");
    question_teardown Top after("2jjT");
    question_typed Top after("2jjTgray<tab><tab>");
    question_stale Top moved_on();

    question_own_command Top with_own_commands("3W");
    help_own_commands Top with_own_commands("2?");
    palette_own_commands Top with_own_commands(":{app}");
    palette_own_commands_pods Top with_own_commands("R2jjj<enter>:bug the pod");
    text_own_command Top own_output();

    form_start Top after("n");
    form_start_window Top after("<space><space><space>n");
    form_apps Top after_in(worlds::templated(), "+pay cart<tab>gray/level=debug");
    form_apps_wrong Top after_in(worlds::templated(), "+spring-cloud-a Pay<tab>levle=x");
    form_lane_new Top after("4n");
    form_lane_edit Top after("4e<tab><tab><ctrl-u>5<tab><tab><tab>header x-user in mia,noah");
    form_lane_wrong Top after("4e<ctrl-u><tab><tab><ctrl-u>x<tab>A<tab><ctrl-u>parameter");
    form_choice Top after("4e<tab><right>");
    form_probe Top after("P");
    form_lock Top after("2b");

    text_values Top after_in(worlds::templated(), "2jjv");
    text_template Top after_in(worlds::templated(), "d");
    palette_templates Top after_in(worlds::templated(), ":template");

    help Top after("4?");
    help_read_only Top after("R3?");
    help_not_permitted Top after_in(worlds::viewer(), "3?");
    help_filtered Top after("?&lane<enter>");
    help_searched Top after("?/lane<enter>nN");
    palette Top after(":");
    palette_found Top after(":prod<down>");
    palette_not_permitted Top after_in(worlds::viewer(), ":approve");
    palette_nothing Top after(":qqqq");
    filter_typing Panes after("/d-c");
    filter_kept Panes after("/d-c<enter>");
    filter_of_nothing Panes after("/zzz<enter>");

    text_logs_waiting Top after("2jjj<enter>L");
    text_logs Top logs();
    text_logs_search Top in_logs("/connection<enter>");
    text_logs_searching Top in_logs("/get");
    text_logs_cut Top in_logs("w<right>");
    text_logs_times Top in_logs("t&slow<enter>");
    text_logs_save Top in_logs("<ctrl-s>");
    text_logs_app Top logs_of_app("");
    text_logs_app_times Top logs_of_app("t/slow<enter>n");
    text_yaml_search Top searched_yaml();
    text_yaml Top yaml();
    text_description Top described();
    question_edit Top edited();
    palette_shell Top after("2jjj<enter>zt");
    palette_ports Top ports();
    palette_forwards Top forwards();
    text_yaml_failed Top yaml_failed();
    text_events Top after_in(evented(), "2jjjE");
    text_events_none Top after("j2E");
    text_task Top after("3<enter>");
    text_changes Top after_in(worlds::approval(), "3D");
    text_task_failed Top after_in(worlds::failed(), "3<enter>");
    text_chain Top after("5v<enter>");
    text_chain_leaking Top leaking("5vjj<enter>");
    text_chain_failing Top failing("5vw<enter>");
    text_notices Top noticed();
    text_probing Top after("p");
    text_probe Top probed();
    text_probe_traces Top probe_traces();
    text_probe_failed Top probe_failed();
    text_comparing Top after("5vj<enter>d");
    text_comparison Top compared(true);
    text_comparison_equal Top compared(false);
    text_comparison_left_out Top left_out("<enter>");
    form_leave_out Top left_out("");
    form_leave_out_wrong Top left_out(" ; $.items[");
    text_comparison_failed Top not_compared();
    text_comparison_header Top after_in(worlds::header_lane(), "5vd");
    not_compared_post Panes after_in(worlds::posted(), "5vd");
}

/// The fixed world, after these keys.
pub fn after(keys: &str) -> Model {
    after_in(fixture::world(), keys)
}

fn after_in(world: World, keys: &str) -> Model {
    let mut model = fixture::model_of(world);
    press(&mut model, keys);
    model
}

fn showing(worlds: Worlds, keys: &str) -> Model {
    let mut model = Model::new(fixture::options(), fixture::now());
    model.options.place = ShownNamespace::All.place_in(&model.options.place);
    model.size = (120, 36);
    update(&mut model, Msg::Worlds(Arc::new(worlds)));
    press(&mut model, keys);
    model
}

/// All namespaces at once.
pub fn with_all(keys: &str) -> Model {
    showing(worlds::all_namespaces(), keys)
}

/// The commands.toml that the documentation shows.
pub fn documented_commands() -> &'static str {
    let page = include_str!("../../docs/cockpit.md");
    let block = page.split("```toml\n").nth(1).expect("an example");
    block.split("```").next().expect("its end")
}

pub fn with_own_commands(keys: &str) -> Model {
    let mut model = fixture::model();
    let keymap = &model.options.keymap;
    let own = OwnCommands::parse("commands.toml", documented_commands(), keymap);
    model.options.own_commands = own.expect("the example of the documentation");
    press(&mut model, keys);
    model
}

fn own_output() -> Model {
    let mut model = with_own_commands("");
    let effects = press(&mut model, "B");
    let [Effect::Query(ticket, Query::RunCommand(_))] = &effects[..] else {
        panic!("{effects:?}")
    };
    let lines = ["xdg-open: no display: opened", "http://localhost:1 instead"];
    let lines = Answer::Lines(lines.map(Clean::from).to_vec());
    update(&mut model, Msg::Answer(*ticket, lines));
    let fault = Fault::new("it ended with exit status: 3");
    update(&mut model, Msg::Answer(*ticket, Answer::Failed(fault)));
    update(&mut model, Msg::Answer(*ticket, Answer::End));
    model
}

pub fn leaking(keys: &str) -> Model {
    after_in(
        fixture::with_hops(fixture::world(), fixture::leaking_hops()),
        keys,
    )
}

fn failing(keys: &str) -> Model {
    after_in(
        fixture::with_hops(fixture::world(), fixture::failing_hops()),
        keys,
    )
}

fn zoomed(pane: Pane) -> Model {
    after(&format!("{}z", pane as usize + 1))
}

fn tickets(effects: &[Effect]) -> Vec<graylane::ui::Ticket> {
    effects
        .iter()
        .filter_map(|e| {
            if let Effect::Perform(t, ..) | Effect::Probe(t, ..) | Effect::Query(t, _) = e {
                Some(*t)
            } else {
                None
            }
        })
        .collect()
}

/// A batch was let go: what was sent stands there until it is answered.
fn under_way() -> Model {
    let mut model = after("3c");
    assert_eq!(tickets(&press(&mut model, "prod<enter>")).len(), 1);
    model
}

fn failed_wish() -> Model {
    let mut model = after("3c");
    let ticket = tickets(&press(&mut model, "prod<enter>"))[0];
    let fault = Fault {
        text: Clean::from(
            "release spring-cloud-a-production-7 has moved on: batch 2 was let go by noah",
        ),
        detail: vec![Clean::from(
            "409 Conflict: resourceVersion 4711 is not 4730",
        )],
        moved_on: true,
    };
    update(&mut model, Msg::Settled(ticket, Err(fault)));
    model
}

/// Somebody else let the batch go while the question stood there.
fn moved_on() -> Model {
    let mut model = after("3c");
    see(
        &mut model,
        worlds::with_release(|release| {
            let status = release.status.as_mut().expect("it has begun");
            status.tasks[4].batches[1].phase = graylane::api::BatchPhase::Surging;
        }),
    );
    model
}

/// The contexts of kubectl's files.
fn choosing() -> Model {
    let mut model = after("");
    let ticket = tickets(&press(&mut model, "C"))[0];
    let choice = |name: &str, server: &str, namespace: &str, current| ClusterChoice {
        name: name.into(),
        place: format!("context {name}"),
        server: Clean::from(server),
        namespace: Clean::from(namespace),
        current,
        chosen: None,
    };
    let home = fixture::options().place;
    let choices = vec![
        ClusterChoice {
            name: home.clone(),
            place: home,
            ..choice("", "where it started", "demo", false)
        },
        choice(
            "arn:aws:eks:eu-west-1:123456789012:cluster/prod-eu",
            "https://A1.eks.amazonaws.com",
            "shop",
            false,
        ),
        choice("staging", "https://staging.example:6443", "shop", true),
    ];
    update(&mut model, Msg::Answer(ticket, Answer::Choices(choices)));
    model
}

/// The namespaces that one may see.
pub fn namespaces() -> Model {
    let mut model = after("");
    let ticket = tickets(&press(&mut model, "<ctrl-n>"))[0];
    let choice = |name: &str, apps, waiting: &[&str]| NamespaceChoice {
        name: Clean::from(name),
        apps,
        waiting: waiting.iter().map(|words| Clean::from(*words)).collect(),
    };
    let waiting = ["cart-3 FAILED", "cart-ui-1 approve?", "pay-9 batch 2/3?"];
    let choices = vec![
        choice("shop", 14, &waiting),
        choice("demo", 3, &["spring-cloud-a-production-7 batch 2/3?"]),
        choice("payments", 1, &[]),
        choice("kube-system", 0, &[]),
    ];
    update(&mut model, Msg::Answer(ticket, Answer::Namespaces(choices)));
    model
}

/// Another one is looked at: what was seen and asked of the old one is gone.
fn switched() -> Model {
    let mut chosen = choosing();
    let effects = press(&mut chosen, "stag<enter>");
    assert!(
        matches!(&effects[..], [.., Effect::SwitchCluster(name)] if name == "staging"),
        "{effects:?}"
    );
    // The last words of the old one come too late.
    let late = World {
        cluster_name: Clean::from(&*fixture::options().place),
        ..fixture::world()
    };
    update(&mut chosen, Msg::World(late.into()));
    chosen
}

fn lines(model: &mut Model, effects: &[Effect], lines: &[&str]) {
    let lines = lines.iter().map(|l| Clean::from(*l)).collect();
    update(
        model,
        Msg::Answer(tickets(effects)[0], Answer::Lines(lines)),
    );
}

/// Lines of a log, each with a time.
fn log_lines(model: &mut Model, effects: &[Effect], lines: &[(&str, i64, &str)]) {
    let pods: Vec<Arc<ObjectKey>> = model.world.pods.keys().cloned().collect();
    let event = |(pod, second, text): &(&str, i64, &str)| {
        let key = pods.iter().find(|key| key.name.contains(pod));
        let time = fixture::now().checked_add(jiff::SignedDuration::from_secs(*second));
        LogEvent::Line(LogLine {
            pod: Arc::clone(key.expect("such a pod")),
            container: None,
            time: time.ok(),
            text: Clean::from(*text),
        })
    };
    let answer = Answer::Log(lines.iter().map(event).collect());
    update(model, Msg::Answer(tickets(effects)[0], answer));
}

fn logs() -> Model {
    logs_after("2jjj<enter>")
}

/// The log that these keys lead to, with 60 lines of one pod.
fn logs_after(keys: &str) -> Model {
    let mut model = after(keys);
    let effects = press(&mut model, "L");
    assert!(matches!(
        &effects[..],
        [Effect::Query(_, Query::Logs { .. })]
    ));
    let all: Vec<String> = (0..60)
        .map(|n| match n {
            57 => "21:03:12 WARN slow answer of spring-cloud-b: 812 ms".into(),
            58 => "21:03:13 ERROR \u{1b}[31mspring-cloud-c: connection reset\u{1b}[0m after 灰度发布 and a line that is much too long for any terminal that this is drawn on, to be cut".into(),
            n => format!("21:02:{n:02} INFO GET /a 200 {}ms", 8 + n % 5),
        })
        .collect();
    let all: Vec<(&str, i64, &str)> = all
        .iter()
        .zip(0..)
        .map(|(l, n)| ("a-prod", n, l.as_str()))
        .collect();
    log_lines(&mut model, &effects, &all);
    model
}

/// After these keys in the log.
fn in_logs(keys: &str) -> Model {
    let mut model = logs();
    press(&mut model, keys);
    model
}

/// Logs of all pods of an App, after these keys.
fn logs_of_app(keys: &str) -> Model {
    let mut model = after("");
    let effects = press(&mut model, "L");
    let names: Vec<String> = model
        .world
        .pods
        .keys()
        .map(|key| key.name.clone())
        .collect();
    let own = names.iter().filter(|name| name.contains("spring-cloud-a"));
    let lines: Vec<(&str, i64, &str)> = own
        .zip(0..)
        .flat_map(|(name, n)| {
            [
                (name.as_str(), n, "GET /a 200 in 8 ms"),
                (
                    name.as_str(),
                    n + 3,
                    "WARN slow answer of spring-cloud-b: 812 ms",
                ),
            ]
        })
        .collect();
    log_lines(&mut model, &effects, &lines);
    let gone = model.world.pods.keys().next().expect("a pod").clone();
    let answer = Answer::Log(vec![LogEvent::Gone(gone), LogEvent::LeftOut(3)]);
    update(&mut model, Msg::Answer(tickets(&effects)[0], answer));
    press(&mut model, keys);
    model
}

fn yaml() -> Model {
    let mut model = after("4");
    let effects = press(&mut model, "Y");
    let text = "apiVersion: graylane.dev/v1alpha1\nkind: Lane\nmetadata:\n  name: gray\n  labels:\n    \"a b\": x\nspec:\n  \
                group: mse-demo\n  match:\n    all:\n    - key: group\n      type: parameter\n      op: ==\n      values:\n      - gray";
    lines(&mut model, &effects, &text.lines().collect::<Vec<_>>());
    model
}

/// A pod that restarts, in words.
fn described() -> Model {
    let mut model = after("2jjj<enter>");
    let effects = press(&mut model, "i");
    let pod = serde_json::json!({
        "kind": "Pod",
        "metadata": {"name": "spring-cloud-a-prod-6f8b7d-m4d9q", "namespace": "demo", "labels": {"app": "a"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "spring-cloud-a-prod-6f8b7d"}],
            "creationTimestamp": "2026-11-23T20:53:20Z"},
        "spec": {"containers": [{"name": "app", "image": "registry.demo/a:1.4.2",
            "resources": {"limits": {"memory": "64Mi"}}}]},
        "status": {"phase": "Running", "podIP": "10.0.0.7",
            "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
            "containerStatuses": [{"name": "app", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]},
    });
    let event = ObjectEvent {
        warning: true,
        reason: "BackOff".into(),
        message: "Back-off restarting failed container app".into(),
        count: 4,
        ..ObjectEvent::default()
    };
    let lines = describe_object(&pod, &[event], fixture::now());
    update(
        &mut model,
        Msg::Answer(tickets(&effects)[0], Answer::Described(lines)),
    );
    model
}

/// A lane was edited as text, and the server would take it.
fn edited() -> Model {
    let mut model = after("4");
    let before = Arc::new(
        serde_json::json!({"kind": "Lane", "metadata": {"name": "gray", "namespace": "demo"},
        "spec": {"group": "mse-demo", "tag": "gray", "priority": 10}}),
    );
    let read = tickets(&press(&mut model, "<ctrl-e>"))[0];
    let effects = update(
        &mut model,
        Msg::Answer(read, Answer::Editable(before.clone())),
    );
    let [Effect::Foreground(editor, Foreground::Edit { text, .. })] = &effects[..] else {
        panic!("{effects:?}");
    };
    let path = "/tmp/graylane-1-0-lanes-gray.yaml".to_owned();
    let returned = Returned {
        file: Some((path.clone(), text.replace("priority: 10", "priority: 5"))),
        words: None,
    };
    let effects = update(&mut model, Msg::Returned(*editor, Ok(returned)));
    let mut after = (*before).clone();
    after["spec"]["priority"] = 5.into();
    let checked = CheckedEdit {
        before,
        after: Arc::new(after),
        alarms: vec![],
        path,
    };
    update(
        &mut model,
        Msg::Answer(tickets(&effects)[0], Answer::EditChecked(checked)),
    );
    model
}

fn ports() -> Model {
    let mut model = after("2jjj<enter>z");
    let ticket = tickets(&press(&mut model, "f"))[0];
    let ports = vec![("app http".into(), 8080), ("app metrics".into(), 9090)];
    update(&mut model, Msg::Answer(ticket, Answer::Ports(ports)));
    model
}

/// One port is forwarded, another one not yet.
fn forwards() -> Model {
    let mut model = ports();
    let ticket = tickets(&press(&mut model, "<enter>"))[0];
    update(&mut model, Msg::Answer(ticket, Answer::Forwarding(40001)));
    let ticket = tickets(&press(&mut model, "f"))[0];
    let ports = vec![("app metrics".into(), 9090)];
    update(&mut model, Msg::Answer(ticket, Answer::Ports(ports)));
    press(&mut model, "<enter>F");
    model
}

fn searched_yaml() -> Model {
    let mut model = yaml();
    press(&mut model, "/group<enter>n");
    model
}

fn yaml_failed() -> Model {
    let mut model = after("4");
    let ticket = tickets(&press(&mut model, "Y"))[0];
    let fault = Fault {
        text: Clean::from("lane gray cannot be read: 403 Forbidden"),
        detail: vec![Clean::from(
            "kubectl auth can-i get lanes -n demo tells who may",
        )],
        moved_on: false,
    };
    update(&mut model, Msg::Answer(ticket, Answer::Failed(fault)));
    model
}

fn evented() -> World {
    let mut world = fixture::world();
    let pod = world
        .pods
        .keys()
        .find(|k| k.name.contains("a-prod"))
        .expect("a pod");
    let pod = ObjectKey::clone(pod);
    let event = |seconds: i64, object: ObjectKey, reason: &str, message: &str, count| Event {
        time: fixture::now()
            .checked_sub(jiff::SignedDuration::from_secs(seconds))
            .ok(),
        warning: reason == "Unhealthy",
        kind: Clean::from("Pod"),
        object,
        reason: Clean::from(reason),
        message: Clean::from(message),
        count,
    };
    let mut all = (*world.events).clone();
    all.push(event(
        12,
        pod.clone(),
        "Unhealthy",
        "Readiness probe failed: HTTP probe failed with statuscode: 503",
        3,
    ));
    all.push(event(9, pod, "Started", "Started container app", 1));
    world.events = all.into();
    world
}

fn noticed() -> Model {
    let mut model = failed_wish();
    model.add_notice(
        Level::Good,
        "release spring-cloud-b-production-2 started",
        vec![],
    );
    press(&mut model, "N");
    model
}

/// Both probes are back: the tagged one leaked.
pub fn probed() -> Model {
    let mut model = leaking("");
    let tickets = tickets(&press(&mut model, "p"));
    let chain = |tagged: bool| {
        let of = |c: &&std::sync::Arc<graylane::domain::chain::Chain>| {
            c.tag.is_some() == tagged && (c.worst.is_bad() == tagged)
        };
        (**model.facts.chains.iter().find(of).expect("such a chain")).clone()
    };
    let probe = |tagged: bool| ProbeOutcome {
        path: if tagged { "/A/a?group=gray" } else { "/A/a" }.into(),
        trace: chain(tagged).trace,
        status: Some(200),
        latency_ms: 13.4,
        lane: tagged.then(|| "gray".into()),
        chains: vec![chain(tagged)],
        passed: !tagged,
        verdict: if tagged { "leak down" } else { "ok" }.into(),
        problems: if tagged {
            vec!["spring-cloud-c answered by base, expected gray".into()]
        } else {
            vec![]
        },
        body: Clean::lines_from(
            "A 1.5.0 [127.64.16.10] -> B 1.1.0 [127.64.16.34] -> C 2.0.1 [127.64.16.54]\n",
        ),
        ..ProbeOutcome::default()
    };
    let answers = [probe(true), probe(false)];
    for (ticket, answer) in tickets.into_iter().zip(answers) {
        update(
            &mut model,
            Msg::Settled(
                ticket,
                Ok(IntentOutcome {
                    probes: vec![answer],
                    ..IntentOutcome::default()
                }),
            ),
        );
    }
    model
}

/// The traces of both, in full.
fn probe_traces() -> Model {
    let mut model = probed();
    press(&mut model, "<enter>");
    model
}

/// What may differ is named, and these keys follow.
fn left_out(keys: &str) -> Model {
    let mut model = compared(true);
    press(&mut model, &format!("i$.price; cache-control{keys}"));
    model
}

/// A chain's request was answered again, by gray otherwise or not.
pub fn compared(otherwise: bool) -> Model {
    let mut model = after("5v");
    let ticket = tickets(&press(&mut model, "d"))[0];
    let answer = |body: &str| diff::Answer {
        status: 200,
        headers: [(diff::Header::ContentType, "application/json".into())].into(),
        body: body.to_owned().into(),
        ..diff::Answer::default()
    };
    let old = answer(r#"{"price": 12, "items": [{"id": 7}], "note": "灰度"}"#);
    let mut new = old.clone();
    if otherwise {
        new = answer(r#"{"price": 12.5, "items": [{"id": 7}, {"id": 8}], "kept": true}"#);
        new.headers
            .insert(diff::Header::CacheControl, "no-store".into());
    }
    let cells = |ms: &str, lane: &str, chain: &str| ["200", ms, lane, "ok", chain].map(Into::into);
    let cells = diff::Sides {
        base: cells(
            "13.4",
            "",
            "spring-cloud-a=base[127.64.16.14] -> spring-cloud-b=base[127.64.16.34]",
        ),
        gray: cells(
            "9.1",
            "gray",
            "spring-cloud-a=gray[127.64.16.10] -> spring-cloud-b=base[127.64.16.34]",
        ),
    };
    let pair = diff::AnswerPair {
        cells,
        answers: diff::Sides {
            base: old,
            gray: new,
        },
    };
    update(
        &mut model,
        Msg::Answer(ticket, Answer::Compared(Box::new(pair))),
    );
    update(&mut model, Msg::Answer(ticket, Answer::End));
    model
}

fn not_compared() -> Model {
    let mut model = after("5v");
    let ticket = tickets(&press(&mut model, "d"))[0];
    let fault =
        Fault::new("gray and base were not compared: gray: the answer broke off: timed out");
    update(&mut model, Msg::Answer(ticket, Answer::Failed(fault)));
    model
}

fn probe_failed() -> Model {
    let mut model = after("");
    for ticket in tickets(&press(&mut model, "p")) {
        let fault = Fault {
            text: Clean::from("127.64.0.1:8080 refuses: is the gateway up?"),
            detail: vec![Clean::from("connection refused (os error 111)")],
            moved_on: false,
        };
        update(&mut model, Msg::Settled(ticket, Err(fault)));
    }
    model
}
