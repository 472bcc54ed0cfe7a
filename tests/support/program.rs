//! The program as a process of its own, on a state folder of the test's.

use std::{path::Path, process::Output, process::Stdio, time::Duration};

use graylane::cluster::{
    agent::Agent,
    connect::{ClusterSource, connect},
};
use kube::Client;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// Nothing takes this long, also on a slow machine under load.
pub const LIMIT: Duration = Duration::from_mins(4);

/// What it does for that person; ends with the test.
pub fn command(state: &Path, person: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graylane"));
    command
        .arg("--state")
        .arg(state)
        .env("GRAYLANE_USER", person)
        .env("XDG_CONFIG_HOME", state);
    command
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// One that serves a pocket (`pocket serve`, `demo`), as soon as it says that it is ready.
pub async fn serving(command: &mut Command, state: &Path) -> (Child, Client) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = async {
        while lines
            .next_line()
            .await
            .unwrap()
            .expect("it goes on until it is ready")
            != "ready"
        {}
    };
    tokio::time::timeout(LIMIT, ready)
        .await
        .expect("ready in time");
    (
        child,
        connect(&ClusterSource::State(state.into()), None, Agent::Cli)
            .await
            .unwrap()
            .client,
    )
}

/// Until it has ended.
pub async fn run(mut command: Command, args: &[&str]) -> Output {
    tokio::time::timeout(LIMIT, command.args(args).output())
        .await
        .unwrap_or_else(|_| panic!("{args:?} hangs"))
        .unwrap()
}

/// What it said when all went well.
pub async fn ok(command: Command, args: &[&str]) -> String {
    let output = run(command, args).await;
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What is found as soon as it is there; looks so often that no instant of a story is missed.
pub async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"))
}
