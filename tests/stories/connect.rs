//! Between the cockpit and a cluster: each kind of trouble is told as what it is, nothing is blanked, one watch's trouble
//! is not the others', and all of it ends by itself.

mod another;
mod authority;
mod door;
mod outage;
mod pipe;
mod rollout;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use crate::support::{program, pty::Pty};
use authority::Authority;
use door::{Door, Play};
use graylane::{
    api::App,
    cluster::{
        agent::Agent,
        connect::{ClusterSource, Connected, prepare_client},
        watch,
    },
    domain::world::{Link, LinkTrouble, World},
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

const LIMIT: Duration = Duration::from_mins(1);

/// A cockpit's view through the door.
struct View {
    connected: Connected,
    worlds: tokio::sync::watch::Receiver<World>,
    _stop: DropGuard,
}

impl View {
    fn of(file: PathBuf) -> Self {
        Self::at(&ClusterSource::Kubectl {
            kubeconfig: Some(file),
            context: None,
        })
    }

    fn at(source: &ClusterSource) -> Self {
        let connected = prepare_client(source, None, Agent::Cockpit).unwrap();
        let stop = CancellationToken::new();
        let worlds = watch::spawn(
            connected.clusters.clone(),
            connected.namespace.clone(),
            stop.clone(),
        );
        Self {
            connected,
            worlds,
            _stop: stop.drop_guard(),
        }
    }

    /// The first world of which `fact` holds.
    async fn until(&mut self, what: &str, fact: impl Fn(&World) -> bool) -> World {
        let found = tokio::time::timeout(LIMIT, self.worlds.wait_for(|w| fact(w))).await;
        let found = found.map(|found| found.expect("the hub lives").clone());
        found.unwrap_or_else(|_| {
            let w = self.worlds.borrow();
            panic!("never: {what}; {:?} {:?} {:?}", w.link, w.gaps, w.asked)
        })
    }

    async fn lost(&mut self, kind: LinkTrouble) -> World {
        self.until(&format!("{kind:?}"), |w| {
            w.link
                .stale_since()
                .is_some_and(|(_, trouble, _)| trouble == kind)
        })
        .await
    }

    async fn live(&mut self) -> World {
        self.until("live with the app", |w| {
            w.link == Link::Live && w.apps.contains_key("a")
        })
        .await
    }

    /// As the key.
    fn retry(&self) {
        self.connected.clusters.meter().retry_now();
    }
}

async fn add_app(door: &Door, name: &str) {
    let app = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "App", "metadata": {"name": name},
        "spec": {"manifests": [], "environments": []}});
    let apps: Api<App> = Api::namespaced(door.behind.clone(), "demo");
    apps.create(
        &PostParams::default(),
        &serde_json::from_value(app).unwrap(),
    )
    .await
    .unwrap();
}

async fn open() -> (Door, View) {
    let door = Door::open().await;
    add_app(&door, "a").await;
    let mut view = View::of(door.kubeconfig("door", "", "{token: one}"));
    view.live().await;
    (door, view)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_make_the_world_stale_and_it_comes_back() {
    let (door, mut view) = open().await;
    door.cut(true);
    let world = view.lost(LinkTrouble::Offline).await;
    assert!(world.apps.contains_key("a"), "what was known stays");
    add_app(&door, "b").await;
    door.calm();
    view.until("live with what happened meanwhile", |w| {
        w.link == Link::Live && w.apps.contains_key("b")
    })
    .await;
    // And again, without anybody being kept out: nobody need notice, but nothing may be missed.
    door.cut(false);
    let apps: Api<App> = Api::namespaced(door.behind.clone(), "demo");
    apps.delete("b", &DeleteParams::default()).await.unwrap();
    view.until("live without it", |w| {
        w.link == Link::Live && !w.apps.contains_key("b")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_offline() {
    let (door, mut view) = open().await;
    door.play("/", Play::Hang);
    view.retry();
    let world = view.lost(LinkTrouble::Offline).await;
    let (_, _, why) = world.link.stale_since().unwrap();
    assert!(why.contains("has not answered"), "{why:?}");
    door.calm();
    view.live().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_refused_are_read_anew() {
    let (door, mut view) = open().await;
    door.token("two");
    door.cut(false);
    let world = view.lost(LinkTrouble::Unauthorized).await;
    assert!(world.apps.contains_key("a"), "what was known stays");
    assert!(world.gaps.is_empty(), "{:?}", world.gaps);
    // Somebody logs in outside.
    door.kubeconfig("door", "", "{token: two}");
    view.retry();
    view.live().await;
    // A token in a file, as a pod's: it is read again when it is refused.
    let token = door.dir.path().join("token");
    std::fs::write(&token, "two").unwrap();
    let mut filed = View::of(door.kubeconfig(
        "filed",
        "",
        &format!("{{tokenFile: '{}'}}", token.display()),
    ));
    filed.live().await;
    std::fs::write(&token, "three").unwrap();
    door.token("three");
    door.cut(false);
    filed.retry();
    // Two requests at least, the second one with what the file says now.
    add_app(&door, "b").await;
    filed
        .until("live with b", |w| {
            w.link == Link::Live && w.apps.contains_key("b")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_a_gap_of_its_own() {
    let door = Door::open().await;
    add_app(&door, "a").await;
    door.play("/pods", Play::Say(403));
    let mut view = View::of(door.kubeconfig("door", "", "{token: one}"));
    let world = view
        .until("live with a gap", |w| {
            w.link == Link::Live && w.gaps.len() == 1 && w.apps.len() == 1
        })
        .await;
    let gap = &world.gaps[0];
    assert_eq!(
        (gap.trouble, gap.describe_gap().as_str()),
        (LinkTrouble::Forbidden, "not permitted: list pods in demo")
    );
    assert!(gap.why.contains("the door says 403"), "{gap:?}");
    add_app(&door, "b").await;
    view.until("the others live", |w| {
        w.apps.len() == 2 && w.link == Link::Live
    })
    .await;
    door.calm();
    view.retry();
    view.until("no gap", |w| w.gaps.is_empty() && w.link == Link::Live)
        .await;
    // Who may list and not watch has a gap as well, and no cockpit that is live and stale by turns.
    door.play("/pods?&watch=true", Play::Say(403));
    door.cut(false);
    view.until("a gap again", |w| w.gaps.len() == 1 && w.link == Link::Live)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_peace_gets_it_and_is_counted() {
    let (door, mut view) = open().await;
    let before = view.connected.clusters.meter().request_stats();
    assert!(
        before.total >= 10 && before.minute > 0 && before.throttled == 0,
        "{before:?}"
    );
    door.play("/", Play::Say(429));
    door.cut(false);
    view.retry();
    let world = view.lost(LinkTrouble::Throttled).await;
    assert!(world.asked.throttled > 0, "{:?}", world.asked);
    door.calm();
    let world = view.live().await;
    assert!(world.asked.throttled > 0);
    // A wish in such a moment is carried out a little later.
    door.play("/api/v1/namespaces/demo", Play::Say(429));
    let client = view.connected.client.clone();
    let asked = tokio::spawn(async move {
        let all: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client);
        all.get("demo").await.map(drop)
    });
    while !door.asked().iter().any(|p| p == "/api/v1/namespaces/demo") {
        tokio::task::yield_now().await;
    }
    door.calm();
    asked.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_or_fails_is_told_and_read_anew() {
    let (door, mut view) = open().await;
    // Once: nobody need know.
    door.play("watch=true", Play::Say(410));
    door.cut(false);
    let world = view.lost(LinkTrouble::Expired).await;
    assert!(world.apps.contains_key("a"));
    door.calm();
    view.live().await;
    door.play("/", Play::Say(500));
    door.cut(false);
    let world = view.lost(LinkTrouble::Failing).await;
    assert!(world.apps.contains_key("a"));
    door.calm();
    view.live().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_and_watches_want_bookmarks_in_the_namespaces_in_use_only() {
    let (door, _view) = open().await;
    let asked = door.asked();
    let lists: Vec<&String> = asked.iter().filter(|p| p.contains("limit=")).collect();
    assert!(
        lists.len() >= 10 && lists.iter().all(|p| p.contains("limit=500")),
        "{lists:?}"
    );
    let watches: Vec<&String> = asked.iter().filter(|p| p.contains("watch=true")).collect();
    assert!(
        watches
            .iter()
            .all(|p| p.contains("allowWatchBookmarks=true")),
        "{watches:?}"
    );
    let wide = lists
        .iter()
        .chain(&watches)
        .filter(|p| !p.contains("/namespaces/"))
        .collect::<Vec<_>>();
    assert!(
        wide.is_empty(),
        "nothing is asked of the whole cluster: {wide:?}"
    );
}

/// A login plugin that makes noise wherever it can. It logs in while the file `logged-in` is there.
fn plugin(dir: &Path) -> String {
    let file = dir.join("plugin");
    let text = format!(
        "#!/bin/sh\necho 'NOISE of a plugin' >&2\n(echo 'SCRIBBLE of a plugin' >/dev/tty) 2>/dev/null && touch {0}/scribbled\n\
         echo run >>{0}/runs\n\
         test -e {0}/logged-in || {{ echo 'please run: cloud sso login' >&2; exit 7; }}\n\
         echo '{{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": {{\"token\": \"'$(cat {0}/logged-in)'\"}}}}'\n",
        dir.display()
    );
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!(
        "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: '{}', interactiveMode: IfAvailable}}}}",
        file.display()
    )
}

#[test]
fn the_first_frame_waits_for_no_answer() {
    // It takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    door::write_kubeconfig(&file, "silent", &server, "", "{}");
    let env = [
        ("XDG_CONFIG_HOME", dir.path().to_str().unwrap()),
        ("GRAYLANE_USER", "mia"),
    ];
    let args = [
        "--kubeconfig",
        file.to_str().unwrap(),
        "--context",
        "silent",
    ];
    let mut pty = Pty::start(
        Path::new(env!("CARGO_BIN_EXE_graylane")),
        &args,
        &env,
        36,
        120,
    );
    pty.wait("the panes", |s| {
        s.contains("context silent") && s.contains("Apps")
    });
    assert!(pty.alternate());
    pty.press("q");
    pty.given_back();

    // What can never be looked at ends it, in words on the screen that was there before.
    let state = dir.path().to_str().unwrap();
    door::write_kubeconfig(&file, "dead", "http://127.0.0.1:1", "", "{}");
    let pty = Pty::start(
        Path::new(env!("CARGO_BIN_EXE_graylane")),
        &["--state", state],
        &env,
        36,
        120,
    );
    pty.wait("what to do", |s| {
        s.contains("no pocket runs in") && s.contains("graylane demo")
    });
    pty.given_back();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_plugin_never_draws_over_the_screen_and_its_words_are_told() {
    let began = std::time::Instant::now();
    let door = Door::open().await;
    add_app(&door, "a-very-own-name").await;
    let (dir, user) = (door.dir.path().to_owned(), plugin(door.dir.path()));
    let file = door.kubeconfig("door", "", &user);
    std::fs::write(dir.join("logged-in"), "one").unwrap();
    door.token("one");
    let args = ["--kubeconfig", file.to_str().unwrap(), "--context", "door"];
    let env = [
        ("XDG_CONFIG_HOME", dir.to_str().unwrap()),
        ("GRAYLANE_USER", "mia"),
    ];
    let mut pty = Pty::start(
        Path::new(env!("CARGO_BIN_EXE_graylane")),
        &args,
        &env,
        36,
        120,
    );
    let quiet = |screen: &str| assert!(!screen.contains("SCRIBBLE"), "{screen}");
    let screen = tokio::task::block_in_place(|| {
        pty.wait("the app, live", |s| {
            s.contains("a-very-own-name") && s.contains("live")
        })
    });
    quiet(&screen);
    assert!(!screen.contains("NOISE"), "{screen}");
    // The login ends on both sides.
    std::fs::remove_file(dir.join("logged-in")).unwrap();
    door.token("two");
    door.cut(false);
    let screen = tokio::task::block_in_place(|| {
        pty.wait("what to do", |s| {
            s.contains("CREDENTIALS GONE")
                && s.contains("the login plugin says")
                && s.contains("Ctrl-r")
        })
    });
    quiet(&screen);
    assert!(
        screen.contains("a-very-own-name") && screen.contains("STALE"),
        "{screen}"
    );
    pty.press("N");
    let screen = tokio::task::block_in_place(|| pty.see("please run: cloud sso login"));
    quiet(&screen);
    pty.press("\x1b");
    // Until then what follows would be read as Alt and that key.
    let shut = |s: &str| !s.contains("please run: cloud sso login");
    tokio::task::block_in_place(|| pty.wait("the notices to be gone", shut));
    // Somebody logs in outside, and presses the key.
    std::fs::write(dir.join("logged-in"), "two").unwrap();
    pty.press("\x12");
    let screen = tokio::task::block_in_place(|| {
        pty.wait("live again", |s| s.contains("live") && !s.contains("STALE"))
    });
    quiet(&screen);
    assert!(!dir.join("scribbled").exists(), "the plugin had a terminal");
    let runs = std::fs::read_to_string(dir.join("runs"))
        .unwrap()
        .lines()
        .count();
    // One more run each 5 s is as it shall be.
    let usual = usize::try_from(began.elapsed().as_secs() / 5).unwrap();
    assert!(runs < 12 + usual, "no storm of plugins: {runs}");
    pty.press("q");
    tokio::task::block_in_place(|| pty.given_back());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_tells_what_the_plugin_said_and_ends() {
    let door = Door::open().await;
    let file = door.kubeconfig("door", "", &plugin(door.dir.path()));
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_graylane"));
    command.args([
        "--kubeconfig",
        file.to_str().unwrap(),
        "--context",
        "door",
        "get",
        "apps",
    ]);
    command
        .env("XDG_CONFIG_HOME", door.dir.path())
        .stdin(Stdio::null());
    let out = tokio::time::timeout(LIMIT, command.output())
        .await
        .unwrap()
        .unwrap();
    let told = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        told.contains("no valid credentials for door")
            && told.contains("please run: cloud sso login"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_that_has_expired_is_told_and_its_successor_is_read() {
    let authority = Authority::new();
    let door = Door::with(authority.acceptor()).await;
    add_app(&door, "a").await;
    let place = |name: &str| door.dir.path().join(name);
    std::fs::write(place("ca.pem"), &authority.1).unwrap();
    let login = |until| {
        let (certificate, key) = authority.sign("mia", until, false);
        std::fs::write(place("me.pem"), certificate).unwrap();
        std::fs::write(place("me.key"), key).unwrap();
    };
    login(2200);
    let cluster = format!(", certificate-authority: '{}'", place("ca.pem").display());
    // Relative, as kubectl writes it: relative to the file.
    let file = door.kubeconfig(
        "door",
        &cluster,
        "{client-certificate: me.pem, client-key: me.key}",
    );
    let mut view = View::of(file);
    view.live().await;
    login(2001);
    let mut late = View::of(place("door.yaml"));
    let world = late.lost(LinkTrouble::Unauthorized).await;
    assert!(
        world
            .link
            .stale_since()
            .unwrap()
            .2
            .to_lowercase()
            .contains("expired"),
        "{:?}",
        world.link
    );
    login(2200);
    late.retry();
    late.live().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pocket_that_ends_and_comes_again_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let serve = async || {
        program::serving(
            program::command(&state, "ann").args(["pocket", "serve"]),
            &state,
        )
        .await
        .0
    };
    let mut first = serve().await;
    let mut view = View::at(&ClusterSource::State(state.clone()));
    view.until("live", |w| {
        w.link == Link::Live
            || w.link
                .stale_since()
                .is_some_and(|(_, t, _)| t == LinkTrouble::Missing)
    })
    .await;
    graylane::cluster::install::apply_definitions(&view.connected.client)
        .await
        .unwrap();
    view.until("live", |w| w.link == Link::Live).await;
    first.kill().await.unwrap();
    view.lost(LinkTrouble::Offline).await;
    // It comes with another address and another certificate, as after a reboot with other pockets about.
    std::fs::remove_file(state.join("identity.json")).unwrap();
    let mut second = serve().await;
    view.until("live again", |w| w.link == Link::Live).await;
    second.kill().await.unwrap();
}
