//! Comments of the files that `graylane init` writes.

/// Comments of an App, by the path of the field before which each stands.
pub(super) const APP: &[(&str, &str)] = &[
    (
        "apiVersion",
        "An App: what an application is made of, where it runs, and how it is released.\n\
         Applying this file runs nothing; the first release does.",
    ),
    (
        "metadata.namespace",
        "Where the App and its releases are kept. Its environments may be in other namespaces.",
    ),
    (
        "spec.environments",
        "Where it runs. All environments render the same manifests, each with its own values.",
    ),
    (
        "spec.environments.lane",
        "This is a gray version: requests with this tag use it. The others keep the baseline.",
    ),
    (
        "spec.environments.rollout",
        "How a new version comes. `batches` are pods (1) or shares (\"50%\") that are new after each;\n\
         `pause` says after which of them a person lets it go on: first, every or never.",
    ),
    (
        "spec.environments.values",
        "What the manifests read as {{ .Values.NAME }}.",
    ),
    (
        "spec.images",
        "Images that a release chooses: `graylane release start APP --stage STAGE --image NAME=REF`.\n\
         Manifests read them as {{ .AppStack.image.NAME }}. `default` is used where none is named.",
    ),
    (
        "spec.manifests",
        "The Kubernetes objects, as Go templates. Lower priorities are applied first.\n\
         `graylane render APP --environment ENV` shows what they become.",
    ),
    (
        "spec.workflow",
        "What a release does, in stages: one release runs one stage, its tasks from top to bottom.",
    ),
    (
        "spec.workflow.stages.tasks.approval",
        "A person approves before anything is changed.",
    ),
    (
        "spec.workflow.stages.tasks.deploy",
        "Applies the manifests of an environment, in its batches.",
    ),
    (
        "spec.workflow.stages.tasks.proceed",
        "Waits until a person lets it go on.",
    ),
    (
        "spec.workflow.stages.tasks.cleanUp",
        "Takes down what the environment runs; the environment stays.",
    ),
];

/// Comments of a LaneGroup.
pub(super) const LANE_GROUP: &[(&str, &str)] = &[
    (
        "apiVersion",
        "A lane group: Apps of one call chain, and the entry where requests come in.\n\
         Another App of the chain is one more line of `apps` in this same object.",
    ),
    (
        "spec.apps",
        "Apps that may have a gray version, with the Service and port that callers use.",
    ),
    (
        "spec.entry",
        "The Gateway where requests come in, and which paths lead to which App.",
    ),
    (
        "spec.propagation",
        "The header that carries the tag. Each service must pass it on to the next one.",
    ),
];

/// Comments of a Lane.
pub(super) const LANE: &[(&str, &str)] = &[
    (
        "apiVersion",
        "A lane: requests that match its rule get its tag, and use the versions of that tag.",
    ),
    (
        "spec.match",
        "Requests with ?group=TAG. `graylane lane set --help` tells the other conditions.",
    ),
    (
        "spec.priority",
        "Where several lanes match, the lowest number wins.",
    ),
];

/// Puts comments into YAML as [`kube_yaml::to_yaml`] writes it, each before the first
/// field of its path. Items of lists have no place in a path: `spec.environments.lane`.
pub fn comment_yaml(yaml: &str, comments: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut path: Vec<(usize, &str)> = vec![];
    let mut used: Vec<&str> = vec![];
    let mut block: Option<usize> = None;
    for line in yaml.lines() {
        let indent = line.len() - line.trim_start().len();
        let inside = block.is_some_and(|outer| indent > outer || line.trim().is_empty());
        if !inside {
            block = None;
            if let Some((column, key, value)) = split_field(line) {
                path.retain(|(outer, _)| *outer < column);
                path.push((column, key));
                let words: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
                let own = words.join(".");
                if let Some((place, text)) = comments.iter().find(|(place, _)| *place == own)
                    && !used.contains(place)
                {
                    used.push(place);
                    for words in text.lines() {
                        out.push_str(&format!("{}# {words}\n", " ".repeat(indent)));
                    }
                }
                if value.starts_with(['|', '>']) {
                    block = Some(column);
                }
            }
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Column, key and value of a line that begins a field, also as an item of a list.
fn split_field(line: &str) -> Option<(usize, &str, &str)> {
    let mut rest = line.trim_start();
    let mut column = line.len() - rest.len();
    while let Some(item) = rest.strip_prefix("- ") {
        (rest, column) = (item, column + 2);
    }
    let (key, value) = rest.split_once(':')?;
    let plain = !key.is_empty() && !key.contains(['"', '\'', ' ']);
    (plain && (value.is_empty() || value.starts_with(' '))).then_some((column, key, value.trim()))
}
