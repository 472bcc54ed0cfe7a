//! `graylane init` without a cluster: rendered YAML, and the tools that render folders.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

const RENDERED: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers: [{name: main, image: shop:1}]
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  selector: {app: shop}
  ports: [{port: 80}]
";

fn init(home: &Path, path: &Path, input: &str, args: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_graylane"))
        .arg("init")
        .args(args)
        .env("GRAYLANE_STATE", home.join("no-state"))
        .env("XDG_CONFIG_HOME", home)
        .env("PATH", path)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // One that is wrong about its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn rendered_yaml_becomes_an_app_and_a_lane_group() {
    let home = tempfile::tempdir().unwrap();
    let tools = home.path().join("no-tools");
    let to = home.path().join("shop.yaml").display().to_string();
    let args = [
        "-f",
        "-",
        "--add-gray",
        "--lane-group",
        "chain",
        "--gateway",
        "edge",
        "-n",
        "demo",
        "--to",
        &to,
    ];
    let made = init(home.path(), &tools, RENDERED, &args);
    assert!(made.status.success(), "{}", err(&made));
    assert!(
        err(&made).contains("`graylane release start shop --stage baseline`"),
        "{}",
        err(&made)
    );
    let text = fs::read_to_string(&to).unwrap();
    for part in [
        "kind: App",
        "kind: LaneGroup",
        "kind: Lane\n",
        "namespace: demo",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    // What is there is never written over.
    let again = init(home.path(), &tools, RENDERED, &args);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&to).unwrap(), text);
    let printed = init(home.path(), &tools, RENDERED, &["-f", "-"]);
    assert!(out(&printed).starts_with("# An App"), "{}", out(&printed));
}

#[test]
fn a_chart_is_rendered_by_helm_with_its_values() {
    let home = tempfile::tempdir().unwrap();
    let (chart, tools) = (home.path().join("shop"), home.path().join("tools"));
    fs::create_dir_all(&chart).unwrap();
    fs::create_dir_all(&tools).unwrap();
    fs::write(chart.join("Chart.yaml"), "name: shop\n").unwrap();
    let folder = chart.display().to_string();
    let missing = init(home.path(), &tools, "", &[&folder]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        err(&missing).contains("helm is not on PATH"),
        "{}",
        err(&missing)
    );

    let helm = tools.join("helm");
    let asked = home.path().join("asked");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >'{}'\necho '{RENDERED}'\n",
        asked.display()
    );
    fs::write(&helm, script).unwrap();
    fs::set_permissions(&helm, fs::Permissions::from_mode(0o755)).unwrap();
    let args = [
        folder.as_str(),
        "-n",
        "demo",
        "--values",
        "v.yaml",
        "--set",
        "image.tag=2",
    ];
    let made = init(home.path(), &tools, "", &args);
    assert!(out(&made).contains("kind: App"), "{}", err(&made));
    assert_eq!(
        fs::read_to_string(asked).unwrap().trim(),
        format!("template shop {folder} --namespace demo --values v.yaml --set image.tag=2")
    );
    fs::write(
        &helm,
        "#!/bin/sh\necho 'Error: values are wrong' >&2\nexit 1\n",
    )
    .unwrap();
    let failed = init(home.path(), &tools, "", &[&folder]);
    assert!(
        err(&failed).contains("helm: Error: values are wrong"),
        "{}",
        err(&failed)
    );
}

#[test]
fn what_cannot_be_read_is_told_with_a_way_out() {
    let home = tempfile::tempdir().unwrap();
    let tools = home.path().join("no-tools");
    let folder = home.path().join("empty");
    fs::create_dir(&folder).unwrap();
    let empty = folder.display().to_string();
    for (input, args, code, words) in [
        ("", &[][..], 2, "SOURCE"),
        ("", &[empty.as_str()], 2, "neither a Chart.yaml nor"),
        (
            "",
            &["nowhere"],
            2,
            "this is not a folder; write deployment/NAME",
        ),
        ("a: [", &["-f", "-"], 1, "-:1"),
        ("", &["-f", "-"], 1, "there is no Deployment"),
        ("", &["app/shop"], 2, "--lane-group"),
    ] {
        let told = init(home.path(), &tools, input, args);
        assert_eq!(told.status.code(), Some(code), "{args:?}: {}", err(&told));
        assert!(err(&told).contains(words), "{args:?}: {}", err(&told));
    }
    fs::write(folder.join("kustomization.yaml"), "").unwrap();
    let told = init(home.path(), &tools, "", &[&empty]);
    assert!(
        err(&told).contains("neither kustomize nor kubectl is on PATH"),
        "{}",
        err(&told)
    );
}
