//! The user's own commands: they run exactly what is shown, and only where and when they may.

use crossterm::event::{Event, KeyEventKind};
use graylane::ui::{
    Effect, Model, Msg, Query,
    effect::Foreground,
    model::{Overlay, PaletteItem},
    update,
};

use crate::{
    scenes::with_own_commands,
    screen::{keys, press},
};

fn notice(model: &Model) -> &str {
    model.notices.front().map_or("", |n| &n.text)
}

#[test]
fn a_safe_command_runs_at_once_with_the_selection() {
    let mut model = with_own_commands("R");
    let effects = press(&mut model, "B");
    let [Effect::Query(_, Query::RunCommand(argv))] = &effects[..] else {
        panic!("{effects:?}")
    };
    let app = model.app.clone().unwrap();
    let namespace = &model.selected_environment().unwrap().namespace;
    let url = format!("https://grafana.example.com/d/apps?var-app={app}&var-namespace={namespace}");
    assert_eq!(argv, &["xdg-open", &*url]);
    // Closing the text ends the command.
    let closed = press(&mut model, "<esc>");
    assert!(matches!(closed[..], [Effect::CancelQuery(_)]), "{closed:?}");
}

#[test]
fn a_command_that_asks_runs_what_was_shown_and_only_on_yes() {
    for (answer, runs) in [
        ("<enter>", false),
        ("<esc>", false),
        ("<tab><enter>", true),
        ("<ctrl-y>", true),
    ] {
        let mut model = with_own_commands("3W");
        let (app, release) = (
            model.app.clone().unwrap(),
            model.selected_release().unwrap().0.clone(),
        );
        let Some(Overlay::Confirm(question)) = model.overlays.last() else {
            panic!("{:?}", model.notices)
        };
        let line = question.kubectl[0].to_string();
        assert!(line.starts_with("sh -c 'echo \"$1 runs $2\""), "{line}");
        assert!(line.ends_with(&format!("sh {app} {release}")), "{line}");
        // Something else is selected meanwhile: what was shown is what runs.
        model.app = None;
        let effects = press(&mut model, answer);
        let ran = effects.iter().find_map(|effect| match effect {
            Effect::Query(_, Query::RunCommand(argv)) => Some(argv.join(" ")),
            _ => None,
        });
        let script = "echo \"$1 runs $2\" >> ~/releases.txt";
        let expected = runs.then(|| format!("sh -c {script} sh {app} {release}"));
        assert_eq!(ran, expected, "{answer}");
    }
}

#[test]
fn a_command_without_its_values_says_what_is_missing() {
    let mut model = with_own_commands("2");
    assert!(press(&mut model, "K").is_empty());
    assert!(
        notice(&model).starts_with("Debug the pod: "),
        "{}",
        notice(&model)
    );
    assert!(model.overlays.is_empty());
    // With a pod of a cluster that has a context it gets the terminal.
    model.options.place = "context prod-eu, namespace shop".into();
    press(&mut model, "jjj<enter>");
    let pod = model.selected_pod().unwrap().key.clone();
    let effects = press(&mut model, "K<ctrl-y>");
    let [Effect::Foreground(_, Foreground::Run(command))] = &effects[..] else {
        panic!("{effects:?} {}", notice(&model))
    };
    let (namespace, cluster) = (&*pod.namespace.name, &pod.namespace.cluster);
    let context = format!("--context={}", cluster.context().unwrap_or("prod-eu"));
    let expected = [
        "kubectl", &context, "-n", namespace, "debug", "-it", &pod.name,
    ];
    assert_eq!(command.argv[..7], expected);
}

#[test]
fn read_only_takes_away_all_but_safe_commands() {
    let mut model = with_own_commands("3R");
    assert!(press(&mut model, "W").is_empty());
    assert_eq!(notice(&model), "read-only: Note the release is off");
    assert!(model.overlays.is_empty());
    // Also when it was turned on while the question was open.
    let mut model = with_own_commands("3W");
    model.read_only = true;
    assert!(press(&mut model, "<ctrl-y>").is_empty());
}

/// A held key runs nothing, and a key means nothing where its command has no place.
#[test]
fn a_command_runs_once_and_only_in_its_place() {
    let mut model = with_own_commands("");
    for mut key in keys("B") {
        key.kind = KeyEventKind::Repeat;
        assert!(update(&mut model, Msg::Input(Event::Key(key))).is_empty());
    }
    for pane in ["3", "4", "5"] {
        assert!(press(&mut model, &format!("{pane}B")).is_empty());
    }
    assert!(model.overlays.is_empty());
}

#[test]
fn the_palette_lists_and_runs_the_commands_of_the_pane() {
    for (pane, count) in [("1", 2), ("2", 3), ("3", 1), ("4", 0)] {
        let mut model = with_own_commands(pane);
        press(&mut model, ":");
        let Some(Overlay::Palette(palette)) = model.overlays.last() else {
            panic!("no palette")
        };
        let own = palette.all.iter();
        let own = own.filter(|(_, item)| matches!(item, PaletteItem::OwnCommand(_)));
        assert_eq!(own.count(), count, "pane {pane}");
    }
    let mut model = with_own_commands("");
    let effects = press(&mut model, ":dashboard<enter>");
    assert!(
        matches!(effects[..], [Effect::Query(_, Query::RunCommand(_))]),
        "{effects:?}"
    );
}
