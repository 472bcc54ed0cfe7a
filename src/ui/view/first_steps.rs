//! What an empty pane says: why it is empty, and the command or key that comes next.

use ratatui::layout::Rect;

use crate::{
    domain::{
        command_line::CommandLine,
        text::display_width,
        world::{Link, LinkTrouble},
    },
    ui::{
        keymap::Action,
        model::Model,
        rights::missing_right,
        theme::Role,
        widget::{Canvas, RichText, wrap_words},
    },
};

/// One line of an empty pane, before it is wrapped.
pub(in crate::ui) enum Step {
    /// Why the pane is empty.
    Reason(String),
    /// What the next command or key does.
    Hint(String),
    /// A command to paste.
    Command(CommandLine),
    /// A key, and what it does.
    Key(String, String),
}

/// Draws the steps from the top of the pane. Where they have no room, hints are left out; an
/// ellipsis stands for what is missing then.
pub(in crate::ui) fn draw_steps(canvas: &mut Canvas<'_>, area: Rect, steps: &[Step]) {
    let (width, height) = (
        usize::from(area.width).saturating_sub(1),
        usize::from(area.height),
    );
    let all = |with_hints: bool| -> Vec<RichText> {
        let wanted = |step: &&Step| with_hints || !matches!(step, Step::Hint(_));
        let lines = steps.iter().filter(wanted);
        lines.flat_map(|step| step_lines(step, width)).collect()
    };
    let mut lines = all(true);
    if lines.len() > height {
        lines = all(false);
    }
    if lines.len() > height {
        lines.truncate(height.saturating_sub(1));
        lines.push(RichText::styled(Role::Muted, "…"));
    }
    for (row, line) in (0..area.height).zip(lines) {
        canvas.draw_line(area, row, &RichText::styled(Role::Text, " ").join(line));
    }
}

fn step_lines(step: &Step, width: usize) -> Vec<RichText> {
    let styled = |role, lines: Vec<String>| -> Vec<RichText> {
        let line = |words| RichText::styled(role, words);
        lines.into_iter().map(line).collect()
    };
    match step {
        Step::Reason(words) => styled(Role::Text, wrap_words(words, width)),
        Step::Hint(words) => styled(Role::Muted, wrap_words(words, width)),
        Step::Command(line) => {
            let whole = line.to_shell_line().filter(|l| display_width(l) <= width);
            let lines = whole.map_or_else(|| line.wrap_lines(width), |line| vec![line]);
            styled(Role::Accent, lines)
        }
        Step::Key(key, words) => {
            let words = format!(" {words}");
            vec![RichText::styled(Role::Key, key).add(Role::Muted, words)]
        }
    }
}

/// What to do who may not look at all namespaces.
pub(in crate::ui) fn one_namespace(model: &Model) -> Vec<Step> {
    let key = model.options.keymap.key_anywhere(Action::Namespaces);
    vec![
        Step::Reason("you may not see all namespaces at once; one you may:".into()),
        Step::Command(CommandLine::graylane("-n NAME")),
        Step::Key(key, "here lists those that you may see".into()),
    ]
}

/// The Apps pane without Apps.
pub(in crate::ui) fn without_apps(model: &Model) -> Vec<Step> {
    let namespace = &model.world.namespace;
    match &model.world.link {
        Link::Connecting => vec![Step::Reason("connecting to the cluster".into())],
        Link::Stale { trouble, .. } => {
            let mut steps = vec![Step::Reason(trouble.as_sentence().into())];
            steps.extend(match trouble {
                LinkTrouble::Missing => {
                    let install = CommandLine::graylane("install").option("-n", namespace);
                    vec![
                        Step::Command(install),
                        Step::Hint("brings it there (with the same --context)".into()),
                    ]
                }
                trouble => {
                    let advice = trouble.advice().unwrap_or("it is retried all the time");
                    vec![Step::Hint(advice.into())]
                }
            });
            steps
        }
        Link::Live => {
            let place = if model.shows_all {
                "any namespace".to_owned()
            } else {
                format!("namespace {namespace}")
            };
            let mut steps = vec![Step::Reason(format!("no Apps in {place} yet"))];
            if !model.world.templates.is_empty() && may(model, Action::NewApps) {
                let key = model.options.keymap.key_anywhere(Action::NewApps);
                steps.push(Step::Key(key, "makes Apps from a template".into()));
            }
            let command = |words| Step::Command(CommandLine::graylane(words));
            steps.extend([
                command("adopt deployment/NAME"),
                Step::Hint("makes one of what runs already".into()),
                command("init FOLDER"),
                Step::Hint("writes one for a Helm chart or a Kustomize folder".into()),
                command("apply -f FILE"),
                Step::Hint("makes those of a file or folder".into()),
            ]);
            steps
        }
    }
}

/// The Environments pane without environments.
pub(in crate::ui) fn without_environments(model: &Model) -> Vec<Step> {
    match model.app.as_deref() {
        Some(app) if model.world.apps.contains_key(app) => vec![
            Step::Reason(format!("{app} has no environments")),
            Step::Hint("add one to spec.environments of its file, then".into()),
            Step::Command(model.place_command(CommandLine::graylane("apply -f FILE"))),
        ],
        _ => vec![Step::Hint(
            "the environments of an App are shown here".into(),
        )],
    }
}

/// The Rollout pane without a release.
pub(in crate::ui) fn without_releases(model: &Model) -> Vec<Step> {
    let Some((name, app)) = model
        .app
        .as_deref()
        .and_then(|n| model.world.apps.get_key_value(n))
    else {
        return vec![Step::Hint("the release of an App is shown here".into())];
    };
    let reason = Step::Reason(format!("no release of {name} yet"));
    let Some(stage) = app.spec.workflow.stages.first() else {
        return vec![
            reason,
            Step::Hint("it has no stage: add one to spec.workflow of its file, then".into()),
            Step::Command(model.place_command(CommandLine::graylane("apply -f FILE"))),
        ];
    };
    if !may(model, Action::Start) {
        return vec![reason];
    }
    let key = model.options.keymap.key_anywhere(Action::Start);
    let baseline = &crate::domain::init::BASELINE_STAGE;
    let stages = &app.spec.workflow.stages;
    let stage = stages.iter().find(|s| s.name == *baseline).unwrap_or(stage);
    let start = CommandLine::graylane("release start").arg(name);
    vec![
        reason,
        Step::Key(key, "in Apps starts one, and so does".into()),
        Step::Command(model.place_command(start.option("--stage", &stage.name))),
    ]
}

/// The Lanes pane without lanes.
pub(in crate::ui) fn without_lanes(model: &Model) -> Vec<Step> {
    let Some((group, _)) = model.world.groups.iter().next() else {
        if model.world.link != Link::Live {
            return vec![Step::Hint("lanes are shown here".into())];
        }
        let init =
            CommandLine::graylane("init").fixed_args("app/NAME --lane-group NAME --gateway NAME");
        return vec![
            Step::Reason("no lane group, so no lanes".into()),
            Step::Command(model.place_command(init)),
            Step::Hint("writes one for an App and the Gateway of its entry".into()),
        ];
    };
    let mut steps = vec![Step::Reason(format!("no lanes in {group} yet"))];
    if may(model, Action::NewLane) {
        let key = model.options.keymap.key_anywhere(Action::NewLane);
        steps.push(Step::Key(key, "adds one".into()));
    }
    steps
}

fn may(model: &Model, action: Action) -> bool {
    !model.read_only && missing_right(model, action).is_none()
}
