//! Prepares what gets the terminal for a while, an editor or a shell in a pod, and reads what came
//! of it.

use std::{
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use crate::{
    api::{ClusterName, NamespaceRef},
    cluster::connect::ClusterSource,
    domain::{
        command_line::CommandLine,
        kubectl::{KubectlPlace, exec_command},
        text::Clean,
        world::ObjectKey,
    },
    ui::{
        Fault,
        effect::{ForegroundCommand, Returned},
        own_commands::PreparedCommand,
    },
};

/// Runs the person's own editor: `$VISUAL`, else `$EDITOR`, else vi. Each may have arguments.
const EDITOR_SCRIPT: &str = r#"exec ${VISUAL:-${EDITOR:-vi}} "$1""#;

/// Runs a command, given as arguments, and waits where it failed, so that what it said can be read.
const RUN_AND_WAIT: &str = r#""$@"
code=$?
case $code in 1|126|127) printf '\nended with code %s; Enter goes back ' "$code"; read -r _;; esac
exit "$code""#;

/// Writes a text for an editor to a new file that only this user can read.
pub(super) fn prepare_editor(name: &str, text: &str) -> Result<ForegroundCommand, Fault> {
    let failed = |why: io::Error| Fault::new(&format!("the text for the editor: {why}"));
    let path = write_draft(&std::env::temp_dir(), name, text).map_err(failed)?;
    let path = path.display().to_string();
    Ok(ForegroundCommand {
        name: "the editor".into(),
        program: "sh".into(),
        args: vec!["-c".into(), EDITOR_SCRIPT.into(), "sh".into(), path.clone()],
        shown: None,
        file: Some(path),
    })
}

/// A file of this name, with a number where there is one already.
fn write_draft(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let own = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let name: String = name.chars().map(|c| if own(c) { c } else { '-' }).collect();
    for number in 0..100 {
        let path = folder.join(format!("graylane-{}-{number}-{name}", std::process::id()));
        let opened = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match opened {
            Ok(mut file) => return file.write_all(text.as_bytes()).map(|()| path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Where kubectl finds a pod, or why it cannot.
pub(super) fn kubectl_place(
    source: Option<&ClusterSource>,
    pod: &ObjectKey,
    what: &str,
) -> Result<KubectlPlace, Fault> {
    let NamespaceRef { cluster, name } = pod.namespace.clone();
    let place = |kubeconfig: Option<String>, cluster: ClusterName| KubectlPlace {
        kubeconfig,
        namespace: NamespaceRef::new(cluster, name),
    };
    let place = match (source, cluster) {
        (
            Some(ClusterSource::Kubectl {
                kubeconfig,
                context: own,
            }),
            cluster,
        ) => {
            let kubeconfig = kubeconfig.as_ref().map(|path| path.display().to_string());
            let own = || ClusterName::from(own.as_deref());
            place(kubeconfig, if cluster.is_home() { own() } else { cluster })
        }
        (_, cluster @ ClusterName::Context(_)) => place(None, cluster),
        (Some(ClusterSource::InCluster), ClusterName::Home) => place(None, ClusterName::Home),
        (Some(ClusterSource::State(_)) | None, ClusterName::Home) => {
            return Err(Fault::new(&format!(
                "the embedded cluster has no {what}: its pods are processes of this machine, at their own addresses"
            )));
        }
    };
    if !is_installed("kubectl") {
        return Err(Fault::new(&format!(
            "a {what} needs kubectl, which is not in PATH: install it (kubernetes.io/docs/tasks/tools)"
        )));
    }
    Ok(place)
}

fn is_installed(program: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_program = |file: PathBuf| {
        file.metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path).any(|folder| is_program(folder.join(program)))
}

/// A shell in a container of a pod.
pub(super) fn prepare_shell(
    source: Option<&ClusterSource>,
    pod: &ObjectKey,
    container: &str,
) -> Result<ForegroundCommand, Fault> {
    let place = kubectl_place(source, pod, "shell")?;
    run_and_wait("the shell", &exec_command(&place, &pod.name, container))
}

/// A command that gets the terminal, each argument as it is.
fn run_and_wait(name: &str, line: &CommandLine) -> Result<ForegroundCommand, Fault> {
    let argv = argv_of(line)?.iter().cloned();
    let wrapper = ["-c", RUN_AND_WAIT, "sh"].map(String::from);
    Ok(ForegroundCommand {
        name: name.into(),
        program: "sh".into(),
        args: wrapper.into_iter().chain(argv).collect(),
        shown: line.to_shell_line(),
        file: None,
    })
}

/// The program and the arguments of a command to run.
pub(super) fn argv_of(line: &CommandLine) -> Result<&[String], Fault> {
    line.to_argv()
        .ok_or_else(|| Fault::new("a name in the command would be read as an option"))
}

/// One of the user's own commands, with each argument as it is.
pub(super) fn prepare_own_command(command: &PreparedCommand) -> ForegroundCommand {
    let (program, args) = command.argv.split_first().unzip();
    ForegroundCommand {
        name: command.title.clone(),
        program: program.cloned().unwrap_or_default(),
        args: args.map(<[String]>::to_vec).unwrap_or_default(),
        shown: CommandLine::from_words(&command.argv).to_shell_line(),
        file: None,
    }
}

/// What came of it.
pub(super) fn read_result(
    command: &ForegroundCommand,
    status: io::Result<ExitStatus>,
) -> Result<Returned, Fault> {
    let kept = |why: String| match &command.file {
        Some(path) => Fault::new(&format!("{why}; the text is kept in {path}")),
        None => Fault::new(&why),
    };
    let what = &command.name;
    let status = status.map_err(|why| kept(format!("{what} could not be run: {why}")))?;
    let Some(path) = &command.file else {
        // A shell ends with the code of its last command, which is no failure of ours.
        let code = status.code().filter(|code| *code != 0);
        let words = code.map(|code| Clean::from(format!("{what} ended with code {code}")));
        return Ok(Returned { file: None, words });
    };
    if !status.success() {
        return Err(kept(format!(
            "{what} ended with {status}: nothing was done"
        )));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|why| kept(format!("the edited text cannot be read: {why}")))?;
    Ok(Returned {
        file: Some((path.clone(), text)),
        words: None,
    })
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, os::unix::process::ExitStatusExt};

    use super::*;

    #[test]
    fn the_text_is_ones_own_and_survives_a_failing_editor() {
        let dir = tempfile::tempdir().unwrap();
        let first = write_draft(dir.path(), "lanes-a/../b.yaml", "one\n").unwrap();
        let second = write_draft(dir.path(), "lanes-a/../b.yaml", "two\n").unwrap();
        assert_eq!(first.parent(), Some(dir.path()));
        assert_ne!(first, second);
        let mode = std::fs::metadata(&first).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let command = ForegroundCommand {
            file: Some(first.display().to_string()),
            ..ForegroundCommand::default()
        };
        let left = read_result(&command, Ok(ExitStatus::from_raw(0))).unwrap();
        assert_eq!(left.file.unwrap().1, "one\n");
        let failed = read_result(&command, Ok(ExitStatus::from_raw(256))).unwrap_err();
        assert!(
            failed.text.contains("the text is kept in"),
            "{}",
            failed.text
        );
    }

    #[test]
    fn a_command_gets_its_arguments_as_they_are() {
        let words = ["printf", "%s|", "a b", "$(id)'\"", "\n", "-x"].map(String::from);
        let command = run_and_wait("it", &CommandLine::from_words(&words)).unwrap();
        let run = std::process::Command::new(&command.program)
            .args(&command.args)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&run.stdout), "a b|$(id)'\"|\n|-x|");
        assert_eq!(command.shown, None, "a line break cannot be shown");
        let option = CommandLine::kubectl("exec").arg("--force");
        assert!(run_and_wait("it", &option).is_err());
    }

    #[test]
    fn kubectl_is_told_where_the_pod_is() {
        let pod = |context: Option<&str>| {
            ObjectKey::new(NamespaceRef::new(context.into(), "shop"), "a-1")
        };
        let refused = kubectl_place(
            Some(&ClusterSource::State("/x".into())),
            &pod(None),
            "shell",
        );
        let refused = refused.unwrap_err().text;
        assert!(
            refused.contains("embedded cluster has no shell"),
            "{refused}"
        );
        assert!(kubectl_place(None, &pod(None), "shell").is_err());
        if !is_installed("kubectl") {
            eprintln!("SKIPPED: kubectl is not installed");
            return;
        }
        let source = ClusterSource::Kubectl {
            kubeconfig: Some("/k".into()),
            context: Some("home".into()),
        };
        let place = |context| kubectl_place(Some(&source), &pod(context), "shell").unwrap();
        assert_eq!(place(None).namespace.cluster.context(), Some("home"));
        let other = place(Some("eu"));
        assert_eq!(other.namespace.cluster.context(), Some("eu"));
        assert_eq!(
            (other.kubeconfig.as_deref(), &*other.namespace.name),
            (Some("/k"), "shop")
        );
    }
}
