//! The palette: fuzzy search over all available actions and all objects.

use std::collections::BTreeMap;

use nucleo_matcher::{
    Config, Matcher,
    pattern::{CaseMatching, Normalization, Pattern},
};
use tui_input::Input;

use super::{Model, NamespaceScope};
use crate::{
    api::ObjectRef,
    domain::{text::format_count, world::ObjectKey},
    ui::{
        effect::{ClusterChoice, NamespaceChoice, ShownNamespace, Ticket},
        keymap::{Action, Danger},
        options::Options,
        own_commands::OwnCommand,
        theme::Theme,
        update::explain_unavailable,
    },
};

/// Maximum number of fuzzy matches. Entries that contain every typed word are not limited.
const MAX_FUZZY_MATCHES: usize = 50;

/// What a palette entry does.
#[derive(Clone, Debug, PartialEq)]
pub enum PaletteItem {
    /// Run an action.
    Act(Action),
    /// Run one of the user's own commands.
    OwnCommand(Box<OwnCommand>),
    /// Go to an App.
    App(String),
    /// Go to an environment of an App.
    Environment(String, String),
    /// Go to a pod of an environment of an App.
    Pod(String, String, ObjectKey),
    /// Go to a release of an App.
    Release(String, String),
    /// Go to a lane.
    Lane(String),
    /// Show an object as YAML.
    Object(ObjectRef),
    /// Show another cluster.
    Cluster(ClusterChoice),
    /// Open a shell in a container of a pod.
    Shell(ObjectKey, String),
    /// Forward a port of a pod.
    Forward(ObjectKey, u16),
    /// End a port forward.
    EndForward(Ticket),
    /// Show another namespace of the same cluster, or all of them.
    Namespace(ShownNamespace),
    /// Go to something of a namespace, where all are shown.
    Within(String, Box<PaletteItem>),
    /// Use this theme.
    Theme(Box<Theme>),
}

/// An open palette.
#[derive(Clone, Debug)]
pub struct Palette {
    /// Search text.
    pub input: Input,
    /// All entries with their text.
    pub all: Vec<(String, PaletteItem)>,
    /// Indexes of the matching entries, best first.
    pub found: Vec<usize>,
    /// Number of fuzzy matches that are not listed.
    pub left_out: usize,
    /// Position of the selection among the matches.
    pub at: usize,
    /// Title of the palette.
    pub title: &'static str,
    /// Text shown when nothing matches.
    pub none: String,
    /// Ticket of the query that fills it.
    pub ticket: Option<Ticket>,
    /// Pod that the choices are of.
    pub pod: Option<ObjectKey>,
    /// The theme from before it was opened, where the selected one is tried on.
    pub theme_before: Option<Box<Theme>>,
    /// Whether the last entry is what was typed itself.
    literal: bool,
}

/// Title of the palette of all actions and objects.
const MAIN_TITLE: &str = "Do or go to";

/// Prefix of a namespace that is typed in the palette.
const NAMESPACE_PREFIX: &str = "ns ";

/// What is typed instead of a namespace for all of them.
const ALL_NAMESPACES: &str = "all";

impl Palette {
    /// A palette of all actions available now and all objects.
    pub fn for_model(
        model: &Model,
        can: impl Fn(Action) -> bool,
        forbidden: impl Fn(Action) -> Option<String>,
    ) -> Self {
        let mut all: Vec<(String, PaletteItem)> = Action::ALL
            .iter()
            .filter(|a| can(**a))
            .map(|a| {
                // An action without permission is listed too, with what is missing.
                let words = forbidden(*a).unwrap_or_else(|| a.sentence().to_owned());
                (format!("{}  {words}", a.word()), PaletteItem::Act(*a))
            })
            .collect();
        all.extend(list_own_commands(model));
        all.extend(list_objects(model));
        // Actions that are not available now are listed too; when chosen, they say why.
        let later = Action::ALL
            .iter()
            .filter(|a| a.danger() != Danger::Safe && !can(**a));
        all.extend(later.map(|a| {
            (
                format!("{}  {} (not now)", a.word(), a.sentence()),
                PaletteItem::Act(*a),
            )
        }));
        let none = "no action and no object has these letters";
        Self::for_choices(MAIN_TITLE, none, all, None)
    }

    /// A palette of a few choices; with a ticket they are filled by the answer to a query.
    pub fn for_choices(
        title: &'static str,
        none: &str,
        all: Vec<(String, PaletteItem)>,
        ticket: Option<Ticket>,
    ) -> Self {
        let mut palette = Self {
            input: Input::default(),
            all,
            found: vec![],
            left_out: 0,
            at: 0,
            title,
            none: none.into(),
            ticket,
            pod: None,
            theme_before: None,
            literal: false,
        };
        palette.update_matches();
        palette
    }

    /// A palette of clusters, filled by the answer to a query.
    pub fn for_contexts(ticket: Ticket) -> Self {
        let none = "reading kubectl's files";
        Self::for_choices("Show another cluster", none, vec![], Some(ticket))
    }

    /// A palette of namespaces, filled by the answer to a query.
    pub fn for_namespaces(ticket: Ticket, shown: &ShownNamespace) -> Self {
        let shown = match shown {
            ShownNamespace::One(name) => format!("{name} is"),
            ShownNamespace::All => "all are".into(),
        };
        Self {
            title: "Show another namespace",
            none: format!("reading the namespaces; {shown} shown now"),
            ..Self::for_contexts(ticket)
        }
    }

    /// A palette of the built-in themes and the one in force, which is selected.
    pub fn for_themes(options: &Options) -> Self {
        let now = &options.theme;
        let mut themes: Vec<Theme> = Theme::names()
            .into_iter()
            .filter_map(|name| Theme::built_in(name, options.depth).ok())
            .collect();
        // Without colours all of them are the same.
        themes.dedup();
        if !themes.contains(now) {
            themes.insert(0, now.clone());
        }
        let at = themes.iter().position(|theme| theme == now).unwrap_or(0);
        let entry = |theme: Theme| {
            let words = if theme == *now { "  in force" } else { "" };
            (
                format!("{}{words}", theme.name),
                PaletteItem::Theme(Box::new(theme)),
            )
        };
        let all = themes.into_iter().map(entry).collect();
        let none = "no theme has these letters";
        let mut palette = Self::for_choices("Try a theme", none, all, None);
        palette.theme_before = Some(Box::new(now.clone()));
        palette.at = at;
        palette
    }

    /// The theme to draw with while the palette is open: the selected one, else that from before.
    pub fn previewed_theme(&self) -> Option<Theme> {
        let before = self.theme_before.as_ref()?;
        Some(match self.selected_item() {
            Some(PaletteItem::Theme(theme)) => *theme,
            _ => Theme::clone(before),
        })
    }

    /// Fills the palette with namespaces; the one on the screen is selected first.
    pub fn set_namespaces(&mut self, choices: Vec<NamespaceChoice>, shown: &ShownNamespace) {
        self.none = "no namespace has these letters".into();
        let is_shown = |c: &NamespaceChoice| *shown == ShownNamespace::One(c.name.to_string());
        let one = choices.iter().position(is_shown).map(|at| at + 1);
        let at = one.filter(|_| *shown != ShownNamespace::All);
        let all = describe_all_namespaces(&choices, *shown == ShownNamespace::All);
        self.all = vec![(all, PaletteItem::Namespace(ShownNamespace::All))];
        self.all.extend(choices.into_iter().map(|c| {
            let words = describe_namespace(&c, is_shown(&c));
            let namespace = ShownNamespace::One(c.name.into_string());
            (words, PaletteItem::Namespace(namespace))
        }));
        self.update_matches();
        if self.input.value().is_empty() {
            self.at = at.unwrap_or(0);
        }
    }

    /// Fills the palette with clusters; the one on the screen is selected first.
    pub fn set_choices(&mut self, choices: Vec<ClusterChoice>, shown: &str) {
        self.none = "no context has these letters".into();
        let at = choices.iter().position(|c| c.place == shown);
        let words = |c: &ClusterChoice| {
            let now = if c.place == shown { "shown now, " } else { "" };
            let kubectl = if c.current { "kubectl's, " } else { "" };
            format!("{}  {now}{kubectl}{} at {}", c.name, c.namespace, c.server)
        };
        self.all = choices
            .into_iter()
            .map(|c| (words(&c), PaletteItem::Cluster(c)))
            .collect();
        self.update_matches();
        if self.input.value().is_empty() {
            self.at = at.unwrap_or(0);
        }
    }

    /// Updates the matches for the search text.
    pub fn update_matches(&mut self) {
        (self.at, self.left_out) = (0, 0);
        if std::mem::take(&mut self.literal) {
            self.all.pop();
        }
        let typed = self.input.value().trim();
        if let Some(name) = typed.strip_prefix(NAMESPACE_PREFIX).map(str::trim)
            && self.title == MAIN_TITLE
            && is_namespace_name(name)
        {
            let (words, namespace) = if name == ALL_NAMESPACES {
                ("ns all  show all namespaces".into(), ShownNamespace::All)
            } else {
                let words = format!("ns {name}  show namespace {name}");
                (words, ShownNamespace::One(name.into()))
            };
            self.all.push((words, PaletteItem::Namespace(namespace)));
            self.literal = true;
            self.found = vec![self.all.len() - 1];
            return;
        }
        if typed.is_empty() {
            self.found = (0..self.all.len()).collect();
            return;
        }
        let mut matcher = Matcher::new(Config::DEFAULT);
        let pattern = Pattern::parse(typed, CaseMatching::Ignore, Normalization::Smart);
        let mut buffer = vec![];
        let words: Vec<String> = typed.split_whitespace().map(str::to_lowercase).collect();
        let literal = |text: &str| {
            let text = text.to_lowercase();
            words.iter().all(|word| text.contains(word))
        };
        let mut scored: Vec<(bool, u32, usize)> = self
            .all
            .iter()
            .enumerate()
            .filter_map(|(i, (text, _))| {
                let hay = nucleo_matcher::Utf32Str::new(text, &mut buffer);
                pattern
                    .score(hay, &mut matcher)
                    .map(|score| (literal(text), score, i))
            })
            .collect();
        // Best first. Weak fuzzy matches are cut: nobody picks from thousands of them.
        scored.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
        let said = scored.iter().filter(|s| s.0).count();
        self.left_out = scored.len().saturating_sub(said + MAX_FUZZY_MATCHES);
        scored.truncate(said + MAX_FUZZY_MATCHES);
        self.found = scored.into_iter().map(|(_, _, i)| i).collect();
    }

    /// Moves the selection to the next or previous row.
    pub fn move_selection(&mut self, back: bool) {
        let n = self.found.len().max(1);
        self.at = (self.at + if back { n - 1 } else { 1 }) % n;
    }

    /// The selected entry.
    pub fn selected_item(&self) -> Option<PaletteItem> {
        self.found
            .get(self.at)
            .and_then(|i| self.all.get(*i))
            .map(|(_, goal)| goal.clone())
    }
}

/// Whether a text can be the name of a namespace: a label of RFC 1123.
fn is_namespace_name(text: &str) -> bool {
    let sign = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && text.len() <= 63
        && text.chars().all(sign)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Waiting releases of a namespace that are named.
const NAMED_WAITING: usize = 2;

fn describe_namespace(choice: &NamespaceChoice, shown: bool) -> String {
    let mut parts = vec![];
    if shown {
        parts.push("shown now".to_owned());
    }
    parts.push(match choice.apps {
        0 => "no apps".to_owned(),
        1 => "1 app".to_owned(),
        n => format!("{n} apps"),
    });
    let named = choice.waiting.iter().take(NAMED_WAITING);
    parts.extend(named.map(ToString::to_string));
    if let Some(more @ 1..) = choice.waiting.len().checked_sub(NAMED_WAITING) {
        parts.push(format!("{more} more wait"));
    }
    format!("{}  {}", choice.name, parts.join(", "))
}

fn describe_all_namespaces(choices: &[NamespaceChoice], shown: bool) -> String {
    let apps: usize = choices.iter().map(|c| c.apps).sum();
    let waiting: usize = choices.iter().map(|c| c.waiting.len()).sum();
    let mut parts = vec![];
    if shown {
        parts.push("shown now".to_owned());
    }
    parts.push(format_count(apps, "app"));
    match waiting {
        0 => {}
        1 => parts.push("1 release waits".into()),
        many => parts.push(format!("{many} releases wait")),
    }
    format!("all namespaces  {}", parts.join(", "))
}

/// The user's own commands of the pane, each with what it runs, or why it cannot.
fn list_own_commands(model: &Model) -> Vec<(String, PaletteItem)> {
    let contexts = model.active_contexts();
    let all = model.options.own_commands.list().iter();
    all.filter(|own| own.works_in(&contexts))
        .map(|own| {
            let words = explain_unavailable(model, own).unwrap_or_else(|| own.written_line());
            let item = PaletteItem::OwnCommand(Box::new(own.clone()));
            (format!("{}  {words}", own.title), item)
        })
        .collect()
}

/// All objects that one can go to, of all namespaces that are shown.
fn list_objects(model: &Model) -> Vec<(String, PaletteItem)> {
    if !model.shows_all {
        return list_objects_of(model.current_scope());
    }
    let of = |scope: NamespaceScope<'_>| {
        let namespace = scope.name().to_owned();
        let named = move |(text, item): (String, PaletteItem)| {
            let (head, rest) = text.split_once("  ").unwrap_or((&text, ""));
            let gap = if rest.is_empty() { "" } else { ", " };
            let text = format!("{head}  in {namespace}{gap}{rest}");
            let item = match item {
                // It names its namespace by itself.
                PaletteItem::Object(_) => item,
                item => PaletteItem::Within(namespace.clone(), Box::new(item)),
            };
            (text, item)
        };
        list_objects_of(scope)
            .into_iter()
            .map(named)
            .collect::<Vec<_>>()
    };
    model.scopes().flat_map(of).collect()
}

fn list_objects_of(scope: NamespaceScope<'_>) -> Vec<(String, PaletteItem)> {
    let mut all = vec![];
    let world = scope.world;
    for name in world.apps.keys() {
        all.push((format!("app {name}"), PaletteItem::App(name.clone())));
    }
    for (name, lane) in world.lanes.iter() {
        all.push((
            format!(
                "lane {name}  {}",
                crate::ui::rule::describe_rule(&lane.spec)
            ),
            PaletteItem::Lane(name.clone()),
        ));
    }
    let templates = world
        .templates
        .keys()
        .map(|name| ("template", "AppTemplate", name));
    let groups = world
        .variables
        .keys()
        .map(|name| ("variable group", "VariableGroup", name));
    let lane_groups = world
        .groups
        .keys()
        .map(|name| ("lane group", "LaneGroup", name));
    for (word, kind, name) in templates.chain(groups).chain(lane_groups) {
        all.push((
            format!("{word} {name}"),
            PaletteItem::Object(ObjectRef::own_resource(kind, &world.namespace, name)),
        ));
    }
    all.extend(list_releases(scope));
    for (app, found) in world.apps.iter() {
        for environment in &found.spec.environments {
            let goal = PaletteItem::Environment(app.clone(), environment.name.clone());
            all.push((format!("environment {app} {}", environment.name), goal));
        }
    }
    all.extend(list_windows(scope));
    for (key, pod) in world.pods.iter() {
        if let (Some(app), Some(environment)) = (&pod.app, &pod.environment) {
            let goal = PaletteItem::Pod(app.clone(), environment.clone(), (**key).clone());
            all.push((format!("pod {}", key.name), goal));
        }
    }
    all
}

/// Releases in progress come first: they may need somebody to act.
fn list_releases(scope: NamespaceScope<'_>) -> Vec<(String, PaletteItem)> {
    let NamespaceScope { world, facts, .. } = scope;
    let mut all = vec![];
    let active = facts.active.iter();
    let over = world
        .releases
        .keys()
        .filter(|name| !facts.active.contains(name));
    for name in active.chain(over) {
        if let Some(release) = world.releases.get(name) {
            all.push((
                format!("release {name}"),
                PaletteItem::Release(release.spec.app.clone(), name.clone()),
            ));
        }
    }
    all
}

fn list_windows(scope: NamespaceScope<'_>) -> Vec<(String, PaletteItem)> {
    let NamespaceScope { world, facts, .. } = scope;
    let mut all = vec![];
    let mut windows: BTreeMap<&str, Vec<(&String, &String)>> = BTreeMap::new();
    for (name, release) in world.releases.iter() {
        if let Some(window) = &release.spec.window {
            windows
                .entry(window)
                .or_default()
                .push((name, &release.spec.app));
        }
    }
    for (window, releases) in windows {
        // Go to the most urgent release of the window.
        let first = releases.iter().min_by_key(|(name, _)| {
            let at = facts.active.iter().position(|active| active == *name);
            at.unwrap_or(usize::MAX)
        });
        let names: Vec<&str> = releases.iter().map(|(name, _)| name.as_str()).collect();
        if let Some((name, app)) = first {
            let goal = PaletteItem::Release((*app).clone(), (*name).clone());
            let own = window.strip_prefix("window-").unwrap_or(window);
            all.push((format!("window {own}  {}", names.join(", ")), goal));
        }
    }
    all
}

impl Model {
    /// Goes to an object; `false` when it no longer exists.
    #[must_use]
    pub fn go_to(&mut self, goal: &PaletteItem) -> bool {
        if let PaletteItem::Within(namespace, goal) = goal {
            return self.visit_namespace(namespace) && self.go_to(goal);
        }
        let world = &self.world;
        let there = match goal {
            PaletteItem::Act(_)
            | PaletteItem::OwnCommand(_)
            | PaletteItem::Theme(_)
            | PaletteItem::Namespace(_)
            | PaletteItem::Within(..)
            | PaletteItem::Cluster(_)
            | PaletteItem::Object(_) => true,
            PaletteItem::Shell(..) | PaletteItem::Forward(..) | PaletteItem::EndForward(_) => true,
            PaletteItem::App(app) => world.apps.contains_key(app),
            PaletteItem::Environment(app, name) => world
                .apps
                .get(app)
                .is_some_and(|a| a.spec.environment(name).is_some()),
            PaletteItem::Pod(app, _, key) => {
                world.apps.contains_key(app) && world.pods.contains_key(key)
            }
            PaletteItem::Release(app, name) => {
                world.apps.contains_key(app) && world.releases.contains_key(name)
            }
            PaletteItem::Lane(name) => world.lanes.contains_key(name),
        };
        if !there {
            return false;
        }
        self.zoom = false;
        self.filters.clear();
        match goal {
            PaletteItem::Act(_)
            | PaletteItem::OwnCommand(_)
            | PaletteItem::Theme(_)
            | PaletteItem::Namespace(_)
            | PaletteItem::Within(..)
            | PaletteItem::Cluster(_)
            | PaletteItem::Object(_) => {}
            PaletteItem::Shell(..) | PaletteItem::Forward(..) | PaletteItem::EndForward(_) => {}
            PaletteItem::App(app) => self.show_app(app.clone()),
            PaletteItem::Environment(app, environment) => {
                self.show_environment(app.clone(), environment.clone());
            }
            PaletteItem::Pod(app, environment, key) => {
                self.show_pod(app.clone(), environment.clone(), key.clone());
            }
            PaletteItem::Release(app, release) => {
                self.show_release(app.clone(), release.clone());
            }
            PaletteItem::Lane(lane) => self.show_lane(lane.clone()),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::ui::fixture;

    fn palette(apps: u32) -> (Palette, Model) {
        let mut model = Model::new(fixture::options(), Timestamp::UNIX_EPOCH);
        model.world = fixture::large_world(apps).into();
        model.facts.refresh(&model.world, model.now);
        (Palette::for_model(&model, |_| true, |_| None), model)
    }

    /// Every object of a large world is found by its name; matches that are not listed are counted.
    #[test]
    fn whatever_there_is_is_found_by_its_name_and_nothing_is_left_out_silently() {
        let (mut palette, model) = palette(1500);
        let world = &model.world;
        let environments: usize = world.apps.values().map(|a| a.spec.environments.len()).sum();
        let objects = world.apps.len()
            + world.lanes.len()
            + world.groups.len()
            + world.releases.len()
            + environments
            + world.pods.len();
        let windows = world
            .releases
            .values()
            .filter_map(|r| r.spec.window.as_ref());
        let windows = windows.collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(palette.all.len(), Action::ALL.len() + objects + windows);
        assert_eq!(palette.found.len(), palette.all.len(), "nothing is typed");
        let all: Vec<(String, PaletteItem)> = palette.all.clone();
        for (text, goal) in all.iter().step_by(997).chain(all.last()) {
            let head = text
                .split_once("  ")
                .map_or(text.as_str(), |(head, _)| head);
            palette.input = Input::from(head.to_owned());
            palette.update_matches();
            let offered: Vec<&PaletteItem> =
                palette.found.iter().map(|i| &palette.all[*i].1).collect();
            assert!(offered.contains(&goal), "{head}");
            let all = palette
                .all
                .iter()
                .filter(|(t, _)| t.to_lowercase().contains(&head.to_lowercase()))
                .count();
            assert!(
                palette.found.len() >= all && palette.found.len() <= all + MAX_FUZZY_MATCHES,
                "{head}: {}",
                palette.found.len()
            );
        }
        // One name among thousands: entries that merely contain its letters are cut.
        palette.input = Input::from("service-0042");
        palette.update_matches();
        let (text, _) = &palette.all[palette.found[0]];
        assert!(text.contains("service-0042"), "{text}");
        assert!(palette.found.len() < 100, "{}", palette.found.len());
        let scored = palette.found.len() + palette.left_out;
        assert!(
            scored > palette.found.len(),
            "the rest is counted: {scored}"
        );
    }
}
