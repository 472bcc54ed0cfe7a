//! A process that ends with this one.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Waits for the end of its input, then kills and, where there is a folder to remove, removes it.
const HOLDER: &str = r#"gone=$1; shift
"$@" </dev/null & pid=$!
cat >/dev/null
kill -9 $pid; wait $pid
[ -z "$gone" ] || rm -rf "$gone""#;

/// Dropped: killed.
pub struct Process(Option<Child>);

impl Process {
    pub fn none() -> Self {
        Self(None)
    }

    /// Its words go to `dir/NAME.log`; `gone` is a folder that ends with it.
    pub fn start(binaries: &Path, name: &str, args: &[String], dir: &Path, gone: &str) -> Self {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join(format!("{name}.log")))
            .unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", HOLDER, "holder", gone])
            .arg(binaries.join(name))
            .args(args);
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Self(Some(command.spawn().unwrap()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// Its last words, for failures.
pub fn told(dir: &Path, name: &str) -> String {
    let text = fs::read_to_string(dir.join(format!("{name}.log"))).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
