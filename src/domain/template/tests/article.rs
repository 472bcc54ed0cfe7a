//! Tests with the manifest from the article, its lost spaces restored.

use super::super::{Context, TemplateError, find_placeholders, render_manifests};
use super::context;
use serde_json::{Value, json};

pub(in super::super) const MANIFEST: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: spring-cloud-a-{{ .AppStack.envName }}
  namespace: {{ .Values.namespace }}
  labels:
    app: spring-cloud-a
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels:
      app: spring-cloud-a
      env: {{ .AppStack.envName }}
  template:
    metadata:
      labels:
        app: spring-cloud-a
        env: {{ .AppStack.envName }}
        msePilotCreateAppName: {{ .AppStack.appName }}
        msePilotAutoEnable: 'on'
        {{- if eq .AppStack.envName "gray" }}
        alicloud.service.tag: gray
        {{- end }}
    spec:
      containers:
      - name: main
        image: {{ .AppStack.image.backend }}
        imagePullPolicy: Always
        ports:
        - containerPort: {{ .Values.port }}
        env:
        - name: spring.cloud.nacos.discovery.server-addr
          value: {{ .Values.nacos | default "nacos:8848" }}
        livenessProbe:
          tcpSocket:
            port: {{ .Values.port }}
          initialDelaySeconds: 10
          periodSeconds: 30
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .AppStack.appName }}{{ if eq .AppStack.envName "gray" }}-gray{{ end }}
  namespace: {{ .Values.namespace }}
spec:
  selector:
    app: spring-cloud-a
    env: {{ .AppStack.envName }}
  ports:
  - name: http
    port: {{ .Values.port }}
    targetPort: {{ .Values.port }}
"#;

fn objects(environment: &str) -> Vec<Value> {
    let context = Context {
        environment: environment.into(),
        ..context()
    };
    render_manifests("spring-cloud-a.yaml", MANIFEST, &context).unwrap()
}

#[test]
fn gray_carries_its_tag_and_prod_does_not() {
    let gray = objects("gray");
    assert_eq!(gray.len(), 2);
    assert_eq!(gray[0]["metadata"]["name"], "spring-cloud-a-gray");
    assert_eq!(gray[0]["metadata"]["namespace"], "demo");
    assert_eq!(gray[0]["spec"]["replicas"], 2);
    let labels = &gray[0]["spec"]["template"]["metadata"]["labels"];
    assert_eq!(
        *labels,
        json!({"app": "spring-cloud-a", "env": "gray", "msePilotCreateAppName": "spring-cloud-a",
               "msePilotAutoEnable": "on", "alicloud.service.tag": "gray"})
    );
    let container = &gray[0]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.local/spring-cloud-a:1.0.1");
    assert_eq!(container["env"][0]["value"], "nacos:8848");
    assert_eq!(gray[1]["metadata"]["name"], "spring-cloud-a-gray");

    let prod = objects("prod");
    assert_eq!(
        prod[0]["spec"]["template"]["metadata"]["labels"]["alicloud.service.tag"],
        Value::Null
    );
    assert_eq!(prod[1]["metadata"]["name"], "spring-cloud-a");
}

#[test]
fn everything_missing_is_told_at_once_at_its_place() {
    let bare = Context {
        app: "a".into(),
        environment: "gray".into(),
        namespace: "demo".into(),
        ..Context::default()
    };
    let errors = render_manifests("spring-cloud-a.yaml", MANIFEST, &bare).unwrap_err();
    let places: Vec<(usize, usize)> = errors
        .iter()
        .map(|e: &TemplateError| (e.line, e.column))
        .collect();
    assert_eq!(
        places,
        [(9, 16), (27, 19), (30, 29), (36, 22), (51, 14), (52, 20)]
    );
    assert_eq!(
        errors[0].to_string(),
        "spring-cloud-a.yaml:9:16: nothing is known as `.Values.replicas`: `replicas` is missing; give environment \"gray\" \
         the value, or write `{{ .Values.replicas | default … }}` (there are namespace)"
    );
    assert_eq!(
        errors[1].to_string(),
        "spring-cloud-a.yaml:27:19: nothing is known as `.AppStack.image.backend`: `backend` is missing; choose an image \
         named `backend` for this release (there are none)"
    );
}

#[test]
fn the_placeholders_are_what_the_template_needs() {
    let all = find_placeholders("spring-cloud-a.yaml", MANIFEST).unwrap();
    let mut paths: Vec<&str> = all.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(
        (all[0].path.as_str(), all[0].line, all[0].column),
        (".AppStack.envName", 4, 27)
    );
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(
        paths,
        [
            ".AppStack.appName",
            ".AppStack.envName",
            ".AppStack.image.backend",
            ".Values.nacos",
            ".Values.namespace",
            ".Values.port",
            ".Values.replicas",
        ]
    );
}

#[test]
fn the_scraped_form_without_spaces_gets_a_hint() {
    let scraped = MANIFEST.replace(
        r#"{{- if eq .AppStack.envName "gray" }}"#,
        r#"{{-ifeq.AppStack.envName"gray"}}"#,
    );
    let scraped = scraped.replace("{{-ifeq", "{{ ifeq");
    let errors = render_manifests("a.yaml", &scraped, &context()).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(
        errors[0].to_string(),
        "a.yaml:21:9: `ifeq.AppStack.envName\"gray\"` has lost its spaces; did you mean `if eq .AppStack.envName \"gray\"`?"
    );
}

#[test]
fn mistakes_in_the_yaml_are_told_at_the_templates_line() {
    let twice = MANIFEST.replace(
        "        imagePullPolicy: Always\n",
        "        image: {{ .AppStack.appName }}\n",
    );
    let errors = render_manifests("a.yaml", &twice, &context()).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    // Two lines apart: the lines of `{{- if … }}` and `{{- end }}` are not rendered.
    assert_eq!(
        (errors[0].line, errors[0].rendered_line),
        (28, Some(26)),
        "{}",
        errors[0]
    );
    assert!(
        errors[0]
            .to_string()
            .contains("(line 26 of the rendered manifest)"),
        "{}",
        errors[0]
    );

    let nameless = MANIFEST.replace(
        "  name: {{ .AppStack.appName }}{{ if eq .AppStack.envName \"gray\" }}-gray{{ end }}\n",
        "",
    );
    let errors = render_manifests("a.yaml", &nameless, &context()).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        (errors[0].line, errors[0].message.as_str()),
        (40, "Service has no metadata.name (a non-empty text)")
    );
}

#[test]
fn a_build_job_knows_its_build() {
    let mut context = context();
    context.build.insert("image".into(), "r/a:2".into());
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: build}\nspec: {image: '{{ .Build.image }}', mode: 0644}\n";
    let objects = render_manifests("job", job, &context).unwrap();
    assert_eq!(objects[0]["spec"], json!({"image": "r/a:2", "mode": 420}));
    assert!(render_manifests("job", job, &super::context()).is_err());
}
