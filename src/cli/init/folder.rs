//! Renders a Helm chart or a Kustomize folder with the user's own tools.

use std::{ffi::OsString, io::ErrorKind, path::Path, process::Stdio};

use color_eyre::eyre::{Result, WrapErr, bail, eyre};
use tokio::process::Command;

use super::InitArgs;
use crate::{cli::session::usage_error, domain::text::Clean};

/// Names of the file that makes a folder one of Kustomize.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The YAML that a folder renders.
pub(super) async fn render_folder(
    folder: &Path,
    args: &InitArgs,
    namespace: &str,
) -> Result<String> {
    let place = folder.display();
    if folder.join("Chart.yaml").is_file() {
        let line = helm_line(folder, args, namespace)?;
        return match run_tool("helm", &line).await? {
            Some(text) => Ok(text),
            None => bail!(
                "{place} is a Helm chart, and helm is not on PATH: install it, or render the chart elsewhere and pipe it \
                 to `graylane init -f -`"
            ),
        };
    }
    if KUSTOMIZATIONS
        .iter()
        .any(|name| folder.join(name).is_file())
    {
        if !args.values.is_empty() || !args.set.is_empty() {
            return Err(usage_error("--values and --set are for Helm charts"));
        }
        let folder: OsString = folder.into();
        for (program, verb) in [("kustomize", "build"), ("kubectl", "kustomize")] {
            if let Some(text) = run_tool(program, &[verb.into(), folder.clone()]).await? {
                return Ok(text);
            }
        }
        bail!(
            "{place} is a Kustomize folder, and neither kustomize nor kubectl is on PATH: install one, or render the \
             folder elsewhere and pipe it to `graylane init -f -`"
        );
    }
    let why = if folder.is_dir() {
        "there is neither a Chart.yaml nor a kustomization.yaml in it; rendered YAML is read with -f"
    } else {
        "this is not a folder; write deployment/NAME for what runs in the cluster, or -f FILE for rendered YAML"
    };
    Err(usage_error(format!("{place}: {why}")))
}

/// `helm template` of a chart.
fn helm_line(folder: &Path, args: &InitArgs, namespace: &str) -> Result<Vec<OsString>> {
    let whole = folder
        .canonicalize()
        .wrap_err_with(|| folder.display().to_string())?;
    let own = whole.file_name().map(OsString::from);
    let name = args.new.app.clone().map(OsString::from).or(own);
    let mut line: Vec<OsString> = vec![
        "template".into(),
        name.unwrap_or_else(|| "app".into()),
        folder.into(),
        "--namespace".into(),
        namespace.into(),
    ];
    for file in &args.values {
        line.extend(["--values".into(), file.into()]);
    }
    for setting in &args.set {
        line.extend(["--set".into(), setting.into()]);
    }
    Ok(line)
}

/// What a tool prints; `None` where it is not on PATH.
async fn run_tool(program: &str, line: &[OsString]) -> Result<Option<String>> {
    let mut command = Command::new(program);
    command.args(line).stdin(Stdio::null()).kill_on_drop(true);
    let output = match command.output().await {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        output => output.wrap_err(program.to_owned())?,
    };
    if output.status.success() {
        let text = String::from_utf8(output.stdout);
        return text
            .map(Some)
            .map_err(|_| eyre!("{program}: its output is no UTF-8 text"));
    }
    let why = String::from_utf8_lossy(&output.stderr);
    bail!("{program}: {}", Clean::lines_from(why.trim()))
}
