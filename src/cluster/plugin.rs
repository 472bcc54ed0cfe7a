//! Login plugins (client-go's `exec`). `graylane __credential CMD ARGS…` runs a plugin in its own
//! session, so that it has no terminal to draw on (not even through `/dev/tty`), and with a
//! timeout, because a plugin that waits for a person would block everything.

mod error;

use std::{
    ffi::OsString,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output, Stdio},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::config::AuthInfo;
use serde::Deserialize;
use serde_json::json;

pub(super) use error::{AnswerError, PluginError};

use super::{
    connect::{config::LoginPlugin, credentials, kubeconfig::Exec, pem},
    transport,
};
use crate::domain::text::Clean;

/// Name of the hidden subcommand.
pub const NAME: &str = "__credential";
/// How long a plugin may run.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the plugin, passing through its standard output and standard error.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let Some(program) = args.next() else {
        eprintln!("no command");
        return ExitCode::FAILURE;
    };
    // Fails only for the leader of a process group, which our child is not.
    let _ = rustix::process::setsid();
    let started = Command::new(&program).args(args).process_group(0).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(why) => {
            eprintln!("{}: {why}", program.to_string_lossy());
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                return status
                    .code()
                    .and_then(|c| u8::try_from(c).ok())
                    .map_or(ExitCode::FAILURE, ExitCode::from);
            }
            Ok(None) if began.elapsed() < PLUGIN_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(None) | Err(_) => {
                if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                    let _ =
                        rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                let _ = child.wait();
                eprintln!("no answer within {} s", PLUGIN_TIMEOUT.as_secs());
                return ExitCode::FAILURE;
            }
        }
    }
}

/// Credentials from a plugin.
pub(super) struct PluginCredentials {
    pub(super) auth: AuthInfo,
    /// When they expire, if the plugin says so.
    pub(super) until: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExecCredential {
    api_version: String,
    kind: String,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<Timestamp>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Runs the plugin once.
pub(super) fn run_plugin(login: &LoginPlugin) -> Result<PluginCredentials, PluginError> {
    let exec = &login.exec;
    let program =
        find_executable(&exec.command, std::env::var_os("PATH").as_deref()).ok_or_else(|| {
            PluginError::NotFound {
                command: exec.command.clone(),
                hint: Clean::lines_from(exec.install_hint.trim()),
            }
        })?;
    let mut command = match transport::detach_program() {
        Some(own) => {
            let mut command = Command::new(own);
            command.arg(NAME).arg(&program);
            command
        }
        None => Command::new(&program),
    };
    let mut spec = json!({"interactive": false});
    if let Some(cluster) = &login.cluster {
        spec["cluster"] = cluster.clone();
    }
    let info = json!({"kind": "ExecCredential", "apiVersion": exec.api_version, "spec": spec});
    command
        .args(&exec.args)
        .envs(exec.env.iter().map(|v| (&v.name, &v.value)));
    command
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stdin(Stdio::null());
    let out = command.output().map_err(PluginError::Run)?;
    if !out.status.success() {
        return Err(PluginError::Failed(last_words(&out)));
    }
    Ok(read_answer(exec, &out.stdout)?)
}

/// Finds the executable of a command as a shell does: a name in `$PATH`, a path as it is.
fn find_executable(command: &str, path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    let can_run = |file: &Path| {
        std::fs::metadata(file)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if command.contains('/') {
        return Some(PathBuf::from(command)).filter(|file| can_run(file));
    }
    std::env::split_paths(path?)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(command))
        .find(|f| can_run(f))
}

/// The last lines of the plugin's standard error, without its arguments, which may hold secrets.
fn last_words(out: &Output) -> Clean {
    let said = String::from_utf8_lossy(&out.stderr);
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    Clean::from(if last.is_empty() {
        out.status.to_string()
    } else {
        last
    })
}

fn read_answer(exec: &Exec, bytes: &[u8]) -> Result<PluginCredentials, AnswerError> {
    let text = std::str::from_utf8(bytes).map_err(|_| AnswerError::NoText)?;
    let value = kube_yaml::first_document(text).map_err(|_| AnswerError::NoYaml)?;
    let answer: ExecCredential =
        serde_json::from_value(value).map_err(|_| AnswerError::NoCredential)?;
    if answer.kind != "ExecCredential" || answer.api_version != exec.api_version {
        return Err(AnswerError::ApiVersion(exec.api_version.clone()));
    }
    let status = answer.status.ok_or(AnswerError::NoStatus)?;
    let given = |text: Option<String>| text.filter(|t| !t.is_empty());
    let mut auth = AuthInfo::default();
    let (certificate, key) = (
        given(status.client_certificate_data),
        given(status.client_key_data),
    );
    let has_certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let (certificate, key) = pem::encode_identity(certificate.as_bytes(), key.as_bytes())?;
            auth.client_certificate_data = Some(certificate);
            auth.client_key_data = Some(key.into());
            true
        }
        (None, None) => false,
        _ => return Err(AnswerError::HalfIdentity),
    };
    match given(status.token) {
        Some(token) => {
            credentials::check_token(&token)?;
            auth.token = Some(token.into());
        }
        None if !has_certificate => return Err(AnswerError::Empty),
        None => {}
    }
    Ok(PluginCredentials {
        auth,
        until: status.expiration_timestamp,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "client.authentication.k8s.io/v1";

    fn login(command: &str, rest: serde_json::Value) -> LoginPlugin {
        let mut exec =
            json!({"apiVersion": VERSION, "command": command, "interactiveMode": "Never"});
        for (name, value) in rest.as_object().into_iter().flatten() {
            exec[name] = value.clone();
        }
        LoginPlugin {
            exec: serde_json::from_value(exec).unwrap(),
            cluster: Some(json!({"server": "https://k"})),
        }
    }

    fn plugin(dir: &Path, script: &str) -> String {
        let file = dir.join("plugin");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file.display().to_string()
    }

    #[test]
    fn a_plugin_that_is_not_there_is_told_with_its_hint_without_escapes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("text");
        std::fs::write(&file, "no program").unwrap();
        for command in [
            "no-such-login-helper",
            "/no/such/helper",
            file.to_str().unwrap(),
            "/tmp",
            "..",
        ] {
            let told = run_plugin(&login(
                command,
                json!({"installHint": "Get it \u{1b}[31mthere\nand there\n"}),
            ))
            .err()
            .unwrap()
            .to_string();
            assert!(
                told.contains(command) && told.ends_with("Get it there\nand there"),
                "{told:?}"
            );
        }
        assert!(
            !run_plugin(&login("no-such-login-helper", json!({})))
                .err()
                .unwrap()
                .to_string()
                .contains('\n')
        );
    }

    #[test]
    fn a_plugin_runs_once_and_is_told_of_the_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let answer = json!({"kind": "ExecCredential", "apiVersion": VERSION,
            "status": {"token": "t", "expirationTimestamp": "2200-01-01T00:00:00Z"}});
        let script = format!(
            "echo \"$1 $WORD $KUBERNETES_EXEC_INFO\" >>{}/runs\necho '{answer}'",
            dir.path().display()
        );
        let command = plugin(dir.path(), &script);
        let given = run_plugin(&login(
            &command,
            json!({"args": ["one"], "env": [{"name": "WORD", "value": "w"}]}),
        ))
        .unwrap();
        assert_eq!(serde_json::to_value(&given.auth).unwrap()["token"], "t");
        assert_eq!(given.until, Some("2200-01-01T00:00:00Z".parse().unwrap()));
        let runs = std::fs::read_to_string(dir.path().join("runs")).unwrap();
        assert_eq!(runs.lines().count(), 1, "{runs}");
        let info: serde_json::Value =
            serde_json::from_str(runs.trim().strip_prefix("one w ").unwrap()).unwrap();
        assert_eq!(
            info["spec"],
            json!({"interactive": false, "cluster": {"server": "https://k"}})
        );
        let failing = plugin(dir.path(), "echo one >&2; echo log in, please >&2; exit 3");
        let told = run_plugin(&login(&failing, json!({})))
            .err()
            .unwrap()
            .to_string();
        assert_eq!(told, "the login plugin says: one; log in, please");
    }

    #[test]
    fn an_answer_is_read_as_client_go_reads_it() {
        let exec = login("x", json!({})).exec;
        let head = format!("kind: ExecCredential\napiVersion: {VERSION}\n");
        let read = |text: &str| read_answer(&exec, text.as_bytes());
        assert!(
            read(&format!("{head}status: {{token: t}}"))
                .unwrap()
                .until
                .is_none()
        );
        let wrong = [
            String::new(),
            "{".into(),
            "[]".into(),
            head.clone(),
            format!("kind: ExecCredential\napiVersion: {VERSION}beta1\nstatus: {{token: t}}"),
            format!("apiVersion: {VERSION}\nstatus: {{token: t}}"),
            format!("{head}status: {{}}"),
            format!("{head}status: {{token: ''}}"),
            format!("{head}status: {{token: 1}}"),
            format!("{head}status: {{token: \"sesame\\n\"}}"),
            format!("{head}status: {{token: t, expirationTimestamp: sesame}}"),
            format!("{head}status: {{clientCertificateData: sesame}}"),
            format!("{head}status: {{clientCertificateData: sesame, clientKeyData: sesame}}"),
        ];
        for text in wrong {
            let told = read(&text).err().unwrap_or_else(|| panic!("taken: {text}"));
            assert!(!told.to_string().contains("sesame"), "{told}");
        }
        assert!(read_answer(&exec, &[0xFF]).is_err());
    }
}
