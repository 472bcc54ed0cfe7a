//! The story of the design in a real terminal, by keys alone: what to press next is read off the screen.

use std::{path::Path, sync::Arc};

use crate::support::pty::Pty;
use futures::{future::BoxFuture, stream::BoxStream};
use graylane::{
    domain::intent::Intent,
    ui::{
        Answer, EffectHandler, Fault, IntentOutcome, Options, Query, fixture, terminal::run_cockpit,
    },
};
use tokio_util::sync::CancellationToken;

const ENTER: &str = "\r";
const ESC: &str = "\x1b";
const TAB: &str = "\t";
const CLEAR: &str = "\x15";
/// Ctrl-Y
const YES: &str = "\x19";

fn demo(state: &Path) -> Pty {
    demo_with(state, "vi", &[])
}

fn demo_with(state: &Path, editor: &str, options: &[&str]) -> Pty {
    let program = Path::new(env!("CARGO_BIN_EXE_graylane"));
    let state = state.to_str().unwrap();
    let env = [
        ("GRAYLANE_USER", "captain"),
        ("XDG_CONFIG_HOME", state),
        ("COLORTERM", "truecolor"),
        ("VISUAL", editor),
    ];
    let args = [&["--state", state, "demo"], options].concat();
    Pty::start(program, &args, &env, 36, 120)
}

/// The line of the Apps pane that speaks of an app.
fn row(screen: &str, app: &str) -> String {
    let left = screen
        .lines()
        .map(|l| l.chars().take(48).collect::<String>());
    left.into_iter()
        .find(|l| l.starts_with('│') && l.contains(app))
        .unwrap_or_default()
}

/// Answers the question on the screen; production asks for its name.
fn confirm(pty: &mut Pty, title: &str) {
    let screen = pty.wait(title, |s| s.contains(title) && s.contains("No, leave it"));
    if screen.contains("to confirm") {
        pty.press("prod");
        pty.see(" Enter does it");
        pty.press(ENTER);
    } else {
        pty.press(YES);
    }
    pty.wait(&format!("the end of {title:?}"), |s| !s.contains(title));
}

/// Selects an app of the Apps pane, where those that wait come first, by the palette.
fn select(pty: &mut Pty, app: &str) {
    pty.press(":");
    pty.see("Do or go to");
    pty.press(&format!("app {app}"));
    pty.press(ENTER);
    pty.wait(&format!("the cursor on {app}"), |s| {
        row(s, app).contains('▌')
    });
}

#[test]
fn the_story_by_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut pty = demo(dir.path());
    pty.wait("a baseline that serves", |s| {
        s.contains("traffic right") && s.contains("nothing is being released")
    });
    assert!(pty.alternate() && !pty.reports_mouse());

    // 1: A and C in one window, of images that are there.
    select(&mut pty, "spring-cloud-a");
    pty.press(" ");
    select(&mut pty, "spring-cloud-c");
    pty.press(" ");
    pty.see("2 marked");
    pty.press("n");
    pty.see("Release 2 apps in one window");
    for image in ["spring-cloud-a:v2", "spring-cloud-c:v2"] {
        pty.press(TAB);
        pty.press(CLEAR);
        pty.press(image);
        pty.see(image);
    }
    pty.press(ENTER);
    let command = "graylane release start spring-cloud-a spring-cloud-c --stage production";
    pty.wait("the question with its command", |s| {
        s.contains("Start production of 2 apps in one window?") && s.contains(command)
    });
    pty.press(ENTER);
    pty.wait("No to be the default", |s| {
        !s.contains("Start production of")
    });
    pty.see("Release 2 apps in one window");
    pty.press(ENTER);
    confirm(&mut pty, "Start production of 2 apps in one window?");
    for app in ["spring-cloud-a", "spring-cloud-c"] {
        pty.wait("an approval", |s| row(s, app).contains("approve?"));
        select(&mut pty, app);
        pty.press("a");
        confirm(&mut pty, &format!("Approve {app}-1?"));
    }

    // 2, 3: gray of A and C; the lane's chains are seen live, and a probe compares.
    for app in ["spring-cloud-a", "spring-cloud-c"] {
        pty.wait("gray to be verified", |s| row(s, app).contains("proceed?"));
    }
    pty.see("A● → B○ → C●");
    pty.press("p");
    let probe = pty.wait("both probes", |s| {
        s.contains("verdict") && s.matches("✓ ok").count() == 2
    });
    for chain in ["● A gray", "○ B base", "● C gray", "○ A base", "○ C base"] {
        assert!(probe.contains(chain), "{chain} in\n{probe}");
    }
    assert!(
        probe.contains("Agray[127.") && probe.contains("-> Cgray[127."),
        "{probe}"
    );
    pty.press(ESC);
    pty.wait("the panes", |s| !s.contains("Probe of"));

    // The same request on gray and on base: the bodies tell of the versions that answered.
    pty.press("5d");
    let told = pty.wait("both answers", |s| s.contains("From base to gray:"));
    for part in [
        "GET /A/a?group=gray",
        "line 1: A[127.",
        "-> Agray[127.",
        "--diff --group",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    pty.press(ESC);
    pty.wait("the panes", |s| !s.contains("From base to gray:"));

    // 4: production by batches, held after the first one; paused and resumed there.
    for app in ["spring-cloud-a", "spring-cloud-c"] {
        select(&mut pty, app);
        pty.see(&format!("3 Rollout {app}-1"));
        pty.press("c");
        confirm(&mut pty, &format!("Let {app}-1 go on after proceed?"));
        pty.wait("the first batch", |s| row(s, app).contains("batch 2/3?"));
        pty.see("1 new ready, 3 old");
        if app == "spring-cloud-a" {
            pty.press("s");
            confirm(&mut pty, "Pause spring-cloud-a-1?");
            pty.wait("the pause", |s| row(s, app).contains("paused"));
            pty.press("u");
            confirm(&mut pty, "Resume spring-cloud-a-1?");
            pty.wait("it to hold again", |s| row(s, app).contains("batch 2/3?"));
        }
        pty.press("c");
        confirm(&mut pty, "Let batch 2 of 3 in prod proceed?");
        pty.see(&format!("3 Rollout {app}-1"));
        pty.wait("its end", |s| {
            s.contains("✓ succeeded") && s.contains("3 of 3 batches")
        });
    }

    // 5: gray is gone, its environment is kept.
    pty.see("nothing is being released");
    pty.wait("gray cleaned", |s| {
        s.lines()
            .any(|l| l.contains("– gray") && l.contains("cleaned"))
    });
    pty.see("A○ → B○ → C○");
    pty.press("q");
    assert!(pty.ended());
    pty.given_back();

    // Quit, start again: everything is as it was.
    let mut pty = demo(dir.path());
    pty.wait("what was there", |s| {
        s.contains("traffic right") && s.contains("3 Rollout spring-cloud-a-1")
    });
    pty.wait("the new version", |s| {
        s.lines()
            .any(|l| l.contains("● prod") && l.contains("4/4") && l.contains(" v2"))
    });
    rustix::process::kill_process(pty.pid(), rustix::process::Signal::TERM).unwrap();
    pty.ended();
    pty.given_back();
}

/// The terminal is given back on each way out: told to go, hung up, and broken.
#[test]
fn the_terminal_is_given_back() {
    for (way, key) in [
        ("SIGTERM", ""),
        ("SIGHUP", ""),
        ("a panic", "Y"),
        ("quitting", "q"),
    ] {
        let mut pty = fixed_world();
        assert!(pty.alternate() && pty.reports_mouse(), "{way}");
        match way {
            "SIGTERM" => {
                rustix::process::kill_process(pty.pid(), rustix::process::Signal::TERM).unwrap();
            }
            "SIGHUP" => {
                rustix::process::kill_process(pty.pid(), rustix::process::Signal::HUP).unwrap();
            }
            _ => pty.press(key),
        }
        assert_eq!(pty.ended(), way != "a panic", "{way}");
        pty.given_back();
        assert!(!pty.reports_mouse(), "{way}");
        if way == "a panic" {
            pty.see("the outside is broken");
        }
    }
}

/// An editor gets the terminal with its keys, and gives it back; what it changed is asked about.
#[test]
fn an_editor_gets_the_terminal_and_gives_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let editor = dir.path().join("editor");
    let script =
        "printf 'which priority? '; read n; sed -i \"s/priority: .*/priority: $n/\" \"$2\"\n";
    std::fs::write(&editor, script).unwrap();
    // It has an argument of its own, as `code --wait` has.
    let editor = format!("sh {} --wait", editor.display());
    let mut pty = demo_with(dir.path(), &editor, &["--mouse"]);
    pty.see("gray #10");
    pty.press("4");
    pty.press("\x05");
    pty.see("which priority?");
    assert!(!pty.alternate() && !pty.reports_mouse());
    // Were the cockpit still reading, it would take some of these keys.
    pty.press("77q\x7f\r");
    let question = pty.wait("the question with the difference", |s| {
        s.contains("Save lane gray?") && s.contains("+   priority: 77")
    });
    assert!(pty.alternate() && pty.reports_mouse(), "{question}");
    // No is the default, and the text is not lost.
    pty.press(ENTER);
    pty.see("the text is kept in");
    pty.press("\x05");
    pty.see("which priority?");
    pty.press("77\r");
    pty.see("Save lane gray?");
    pty.press(YES);
    pty.see("lane gray was saved");
    pty.see("#77");
    pty.press("q");
    assert!(pty.ended());
    pty.given_back();
}

/// A cockpit on a world that stands still, when it is shown: the first frame comes before any world,
/// and keys find nothing selected in it.
fn fixed_world() -> Pty {
    let me = std::env::current_exe().unwrap();
    let args = [
        "--exact",
        "terminal::a_cockpit_whose_outside_panics",
        "--ignored",
        "--nocapture",
    ];
    let pty = Pty::start(&me, &args, &[], 36, 120);
    pty.see("3 Rollout spring-cloud-a-production-7");
    pty
}

/// A terminal that becomes too small says so, and shows everything again when it has room.
#[test]
fn a_terminal_too_small_says_so() {
    let mut pty = fixed_world();
    pty.resize(12, 50);
    pty.see("needs 60x20, has 50x12");
    pty.resize(20, 60);
    pty.wait("one pane and the trace", |s| {
        s.contains("1 Apps  2 Environments") && s.contains("5 Trace")
    });
    pty.resize(36, 120);
    pty.wait("all panes", |s| {
        s.contains("3 Rollout spring-cloud-a") && s.contains("4 Lanes")
    });
    pty.press("q");
    assert!(pty.ended());
}

/// The mouse is asked for where it is wanted and not after; a click in a real terminal arrives.
#[test]
fn a_click_reaches_what_is_shown() {
    let mut pty = fixed_world();
    let screen = pty.see("│ spring-cloud-b");
    assert!(pty.reports_mouse());
    let lines = || screen.lines().enumerate();
    let (y, _) = lines()
        .find(|(_, l)| l.contains("│ spring-cloud-b"))
        .unwrap();
    pty.click(10, y);
    pty.wait("the cursor on B", |s| {
        row(s, "spring-cloud-b").contains('▌')
    });
    pty.press("q");
    assert!(pty.ended());
    pty.given_back();
    assert!(!pty.reports_mouse());
}

struct Broken;

impl EffectHandler for Broken {
    fn perform_intent(
        &self,
        _: String,
        _: Intent,
    ) -> BoxFuture<'static, Result<IntentOutcome, Fault>> {
        panic!("the outside is broken");
    }

    fn run_query(&self, _: Query) -> BoxStream<'static, Answer> {
        panic!("the outside is broken");
    }
}

/// Not a test of its own: what the two above run in a terminal.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in the terminal of another test"]
async fn a_cockpit_whose_outside_panics() {
    let (_worlds, seen) = tokio::sync::watch::channel(fixture::world().into());
    let options = Options {
        mouse: true,
        ..fixture::options()
    };
    run_cockpit(options, seen, Arc::new(Broken), CancellationToken::new())
        .await
        .unwrap();
}
