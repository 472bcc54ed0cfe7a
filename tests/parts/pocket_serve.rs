//! `graylane pocket serve`: one process holds a state folder, others come in by its kubeconfig, the end is clean.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

const LIMIT: Duration = Duration::from_secs(60);

fn command(state: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graylane"));
    command.arg("--state").arg(state).args(args).env("XDG_CONFIG_HOME", state).env_remove("KUBECONFIG");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn serve(state: &Path) -> Child {
    let mut serve = command(state, &["pocket", "serve"]);
    let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Nobody reads what it says beside: it goes on.
    drop(child.stderr.take());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await.expect("in time").unwrap();
    assert_eq!(line.as_deref(), Some("ready"));
    child
}

async fn run(state: &Path, args: &[&str]) -> (i32, String, String) {
    let output = tokio::time::timeout(LIMIT, command(state, args).output()).await.expect("in time").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

async fn end(child: &mut Child, signal: rustix::process::Signal) -> std::process::ExitStatus {
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
    tokio::time::timeout(LIMIT, child.wait()).await.expect("ends in time").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_is_there_after_a_clean_end_and_after_a_kill() {
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("state");
    let mut first = serve(&state).await;
    let (code, _, told) = run(&state, &["pocket", "serve"]).await;
    assert_eq!(code, 1);
    assert!(told.contains("runs in") && told.contains("already"), "{told}");

    let file = base.path().join("ns.yaml");
    std::fs::write(&file, "apiVersion: v1\nkind: Namespace\nmetadata: {name: kept}\n").unwrap();
    let apply = ["apply", "-f", file.to_str().unwrap()];
    let (code, out, told) = run(&state, &apply).await;
    assert_eq!((code, out.as_str()), (0, "namespace/kept created\n"), "{told}");
    let (_, kubeconfig, _) = run(&state, &["pocket", "kubeconfig"]).await;
    assert!(kubeconfig.contains("certificate-authority-data"), "{kubeconfig}");
    assert!(end(&mut first, rustix::process::Signal::TERM).await.success());
    let (code, _, told) = run(&state, &["pocket", "kubeconfig"]).await;
    assert!(code == 1 && told.contains("no pocket runs in"), "{told}");

    let mut second = serve(&state).await;
    let (code, _, told) = run(&state, &["logs", "graylane-system/lane-gateway"]).await;
    assert_eq!(code, 0, "{told}");
    assert!(!end(&mut second, rustix::process::Signal::KILL).await.success());
    let mut third = serve(&state).await;
    let again = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kept, labels: {seen: 'yes'}}\n";
    std::fs::write(&file, again).unwrap();
    let (_, out, told) = run(&state, &apply).await;
    assert_eq!(out, "namespace/kept configured\n", "{told}");
    let (code, _, told) = run(&state, &["--context", "x", "pocket", "serve"]).await;
    assert!(code == 2, "{told}");
    assert!(end(&mut third, rustix::process::Signal::INT).await.success());
    assert!(std::fs::read_dir(state.join("logs")).unwrap().count() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_built_from_folders_with_or_without_a_running_pocket() {
    let base = tempfile::tempdir().unwrap();
    let (state, context) = (base.path().join("state"), base.path().join("context"));
    std::fs::create_dir(&context).unwrap();
    let build = ["pocket", "build", context.to_str().unwrap(), "--tag", "web:v1"];
    let (code, _, told) = run(&state, &build).await;
    assert!(code == 1 && told.contains("image.yaml"), "{told}");
    std::fs::write(context.join("image.yaml"), "entrypoint: [/bin/true]\n").unwrap();
    let (code, out, told) = run(&state, &build).await;
    assert!(code == 0 && out.starts_with("web:v1 sha256:"), "{told}");
    let (_, out, _) = run(&state, &["pocket", "images"]).await;
    assert!(out.contains("web:v1") && out.contains("/bin/true"), "{out}");
}

/// A full disk, played by a limit on the size of files: what was acknowledged stays, what was not is refused with the
/// file's name, and all goes on when there is space again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_loses_nothing() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let base = tempfile::tempdir().unwrap();
    let state = base.path().join("state");
    // What the limit does besides the error is to send XFSZ.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_graylane"), "--state"]);
    shell.arg(&state).args(["pocket", "serve"]).env("XDG_CONFIG_HOME", &state).env_remove("KUBECONFIG");
    let mut server = shell.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let ready = tokio::time::timeout(LIMIT, lines.next_line()).await.expect("in time").unwrap();
    assert_eq!(ready.as_deref(), Some("ready"));
    let pid = Pid::from_raw(server.id().unwrap().try_into().unwrap());
    let most = getrlimit(Resource::Fsize);
    let limit = |bytes| prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: most.maximum }).unwrap();
    let config_map = |name: String| {
        let file = base.path().join(format!("{name}.yaml"));
        let data = "x".repeat(400_000);
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{d: {data}}}\n"
        );
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    limit(Some(std::fs::metadata(state.join("store.redb")).unwrap().len()));
    let mut kept = vec![];
    let refused = loop {
        let name = format!("c-{}", kept.len());
        let (code, _, told) = run(&state, &["apply", "-f", &config_map(name.clone())]).await;
        if code != 0 {
            break told;
        }
        kept.push(name);
        assert!(kept.len() < 100, "never full");
    };
    assert!(refused.contains("could not be written") && refused.contains("store.redb"), "{refused}");
    limit(most.current);
    let last = format!("c-{}", kept.len());
    let (code, out, told) = run(&state, &["apply", "-f", &config_map(last.clone())]).await;
    assert_eq!((code, out), (0, format!("configmap/{last} created\n")), "{told}");
    kept.push(last);
    assert!(end(&mut server, rustix::process::Signal::KILL).await.code().is_none());
    let _again = serve(&state).await;
    for name in kept {
        let (code, out, told) = run(&state, &["apply", "-f", &config_map(name.clone())]).await;
        assert_eq!((code, out), (0, format!("configmap/{name} unchanged\n")), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_used_is_told_by_its_path() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let state = base.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("store.redb"), vec![7; 9000]).unwrap();
    for (dir, words) in
        [(&file, "Not a directory"), (&file.join("below"), "Not a directory"), (&state, "store.redb: damaged")]
    {
        let (code, _, told) = run(dir, &["pocket", "serve"]).await;
        assert!(code == 1 && told.contains(&dir.display().to_string()) && told.contains(words), "{told}");
        assert!(!told.contains("panicked"), "{told}");
    }
    assert_eq!(std::fs::read(state.join("store.redb")).unwrap(), vec![7; 9000], "nothing is overwritten");
}
