//! Themes, depths and signs: every theme says everything, can be read, and uses only the colours that there are.

use graylane::ui::{
    Options, fixture,
    glyph::{ASCII, Glyphs, UNICODE},
    options::RequestedOptions,
    theme::{Depth, Role, Theme},
};
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr;

use crate::{
    scenes::{NAMES, scene},
    screen::draw,
};

const COLOURED: [&str; 4] = ["default", "light", "contrast", "colorblind"];
/// Roles of words; the others paint a background or a frame.
const WORDS: [Role; 12] = [
    Role::Text,
    Role::Muted,
    Role::Accent,
    Role::Ok,
    Role::Busy,
    Role::Warn,
    Role::Bad,
    Role::Lane,
    Role::Focus,
    Role::Title,
    Role::Key,
    Role::Badge,
];

fn rgb(colour: Option<Color>) -> (u8, u8, u8) {
    match colour {
        Some(Color::Rgb(r, g, b)) => (r, g, b),
        other => panic!("{other:?} is no exact colour"),
    }
}

/// WCAG 2.2: relative luminance, and the contrast of two colours.
fn contrast(a: (u8, u8, u8), b: (u8, u8, u8)) -> f64 {
    let part = |v: u8| {
        let v = f64::from(v) / 255.0;
        if v <= 0.040_45 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    };
    let luminance =
        |(r, g, b): (u8, u8, u8)| 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn contrast_is_computed_as_the_standard_says() {
    assert!((contrast((0, 0, 0), (255, 255, 255)) - 21.0).abs() < 0.01);
    assert!((contrast((119, 119, 119), (255, 255, 255)) - 4.48).abs() < 0.01);
}

/// Its text names every role but those that follow from others: none is taken from another theme by mistake.
#[test]
fn every_theme_names_every_role() {
    for name in Theme::names() {
        let path = format!("{}/themes/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let file: toml::Table = std::fs::read_to_string(&path)
            .expect("a theme")
            .parse()
            .expect("TOML");
        let named: Vec<&String> = file["role"].as_table().expect("roles").keys().collect();
        let derived = |role: &Role| *role == Role::Match || Role::SERIES.contains(role);
        let wanted: Vec<Role> = Role::ALL.into_iter().filter(|r| !derived(r)).collect();
        for role in &wanted {
            assert!(
                named.iter().any(|n| *n == role.word()),
                "{name} has no {}",
                role.word()
            );
        }
        assert_eq!(
            named.len(),
            wanted.len(),
            "{name} names a role twice or one that is none"
        );
    }
}

#[test]
fn words_can_be_read_on_the_ground_and_on_a_selected_row() {
    for name in COLOURED {
        let theme = Theme::built_in(name, Depth::True).expect("built in");
        let wanted = if name == "contrast" { 7.0 } else { 4.5 };
        for ground in [Role::Ground, Role::Selected] {
            let ground_colour = rgb(theme.style(ground).bg);
            for role in WORDS {
                let style = theme.style(role);
                // A role with a ground of its own is read on that.
                let behind = style.bg.map_or(ground_colour, |own| rgb(Some(own)));
                let found = contrast(rgb(style.fg), behind);
                assert!(
                    found >= wanted,
                    "{name}: {} on {}: {found:.2} of {wanted}",
                    role.word(),
                    ground.word()
                );
            }
        }
        let alarm = theme.style(Role::Alarm);
        let found = contrast(rgb(alarm.fg), rgb(alarm.bg));
        assert!(found >= wanted, "{name}: alarm: {found:.2} of {wanted}");
    }
}

/// No two states that mean different things look the same without reading the sign, in any theme with colours.
#[test]
fn states_are_told_apart() {
    for name in COLOURED {
        let theme = Theme::built_in(name, Depth::True).expect("built in");
        let states = [Role::Ok, Role::Busy, Role::Warn, Role::Bad, Role::Lane];
        for (i, a) in states.iter().enumerate() {
            for b in &states[i + 1..] {
                assert_ne!(
                    theme.style(*a).fg,
                    theme.style(*b).fg,
                    "{name}: {a:?} and {b:?}"
                );
            }
        }
    }
}

/// Linear red, green and blue of a colour, from 0 to 1.
fn linear((r, g, b): (u8, u8, u8)) -> [f64; 3] {
    [r, g, b].map(|v| {
        let v = f64::from(v) / 255.0;
        if v <= 0.040_45 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    })
}

/// CIELAB of a linear colour under D65.
fn lab(rgb: [f64; 3]) -> [f64; 3] {
    let [r, g, b] = rgb.map(|v| v.clamp(0.0, 1.0));
    let f = |t: f64| {
        if t > 0.008_856 {
            t.cbrt()
        } else {
            7.787 * t + 16.0 / 116.0
        }
    };
    let x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.950_47);
    let y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
    let z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.088_83);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// Colours as they are seen without one kind of cone: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A
/// Physiologically-based Model for Simulation of Color Vision Deficiency" (2009), severity 1.0.
const WITHOUT_A_CONE: [(&str, [[f64; 3]; 3]); 3] = [
    (
        "protanopia",
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
    ),
    (
        "deuteranopia",
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
    ),
    (
        "tritanopia",
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ),
];

/// The smallest distance of two states as somebody without one kind of cone sees them, and which they are.
fn nearest_states(theme: &Theme) -> (f64, String) {
    let states = [Role::Ok, Role::Busy, Role::Warn, Role::Bad, Role::Lane];
    let mut nearest = (f64::MAX, String::new());
    for (kind, matrix) in WITHOUT_A_CONE {
        let seen = states.map(|role| {
            let colour = linear(rgb(theme.style(role).fg));
            lab(matrix.map(|row| row.iter().zip(colour).map(|(m, v)| m * v).sum()))
        });
        for (i, a) in seen.iter().enumerate() {
            for (j, b) in seen.iter().enumerate().skip(i + 1) {
                let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
                let told = format!("{:?} and {:?} with {kind}", states[i], states[j]);
                if square.sqrt() < nearest.0 {
                    nearest = (square.sqrt(), told);
                }
            }
        }
    }
    nearest
}

#[test]
fn the_states_of_the_colourblind_theme_differ_for_every_kind_of_vision() {
    let theme = |name| Theme::built_in(name, Depth::True).expect("built in");
    let (distance, which) = nearest_states(&theme("colorblind"));
    assert!(distance > 15.0, "{distance:.1}: {which}");
    // The measure tells something: of the usual theme green and red are close.
    let (usual, _) = nearest_states(&theme("default"));
    assert!(usual < distance / 2.0, "{usual:.1}");
}

/// What a depth allows.
fn allowed(depth: Depth, colour: Color) -> bool {
    match (depth, colour) {
        (_, Color::Reset) | (Depth::True, _) => true,
        (Depth::Indexed, Color::Indexed(_)) => true,
        (Depth::Indexed | Depth::Sixteen, named) => {
            !matches!(named, Color::Rgb(..) | Color::Indexed(_))
        }
        (Depth::Mono, _) => false,
    }
}

/// On every screen: 256, 16 or no colours are just these, whatever the theme wants.
#[test]
fn a_depth_is_never_exceeded_on_any_screen() {
    for (n, name) in NAMES.iter().enumerate() {
        let (_, _, mut model) = scene(name);
        for depth in [Depth::Indexed, Depth::Sixteen, Depth::Mono] {
            let theme = COLOURED[n % COLOURED.len()];
            model.options.theme = Theme::built_in(theme, depth).expect("built in");
            let (buffer, _) = draw(&mut model, 100, 28);
            for cell in buffer.content() {
                assert!(
                    allowed(depth, cell.fg) && allowed(depth, cell.bg),
                    "{name}: {theme} {depth:?}: {cell:?}"
                );
            }
        }
    }
}

/// `NO_COLOR` takes all colour and nothing else: what is selected, what alarms is still told, by other means.
#[test]
fn without_colour_what_matters_is_still_told() {
    let wanted = RequestedOptions {
        theme: Some("light".into()),
        ..RequestedOptions::default()
    };
    let env = |name: &str| match name {
        "NO_COLOR" => Some("1".into()),
        "COLORTERM" => Some("truecolor".into()),
        _ => None,
    };
    let options = Options::resolve(&wanted, env);
    let (_, _, mut model) = scene("cockpit_leaking");
    model.options = Options {
        place: "here".into(),
        ..options
    };
    let (buffer, _) = draw(&mut model, 120, 36);
    for cell in buffer.content() {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{cell:?}");
    }
    let with = |modifier: Modifier| {
        buffer
            .content()
            .iter()
            .filter(|c| c.modifier.contains(modifier))
            .count()
    };
    assert!(
        with(Modifier::REVERSED) > 0,
        "nothing is reversed: neither the selected row nor the alarm can be seen"
    );
    assert!(with(Modifier::BOLD) > 0);
    let plain = Options::resolve(&wanted, |name| {
        (name == "COLORTERM").then(|| "truecolor".into())
    });
    assert_eq!(
        plain.theme,
        Theme::built_in("light", Depth::True).expect("built in")
    );
}

fn signs(glyphs: &Glyphs) -> Vec<(&'static str, &'static str)> {
    let g = glyphs;
    let mut all = vec![
        ("ok", g.ok),
        ("bad", g.bad),
        ("wait", g.wait),
        ("held", g.held),
        ("idle", g.idle),
        ("gone", g.gone),
        ("warn", g.warn),
        ("full", g.full),
        ("empty", g.empty),
        ("half", g.half),
        ("arrow", g.arrow),
        ("cursor", g.cursor),
        ("mark", g.mark),
        ("new", g.new),
        ("coming", g.coming),
        ("old", g.old),
        ("dot", g.dot),
        ("more", g.more),
        ("branch", g.branch),
        ("rule", g.rule),
        ("lock", g.lock),
    ];
    all.extend(g.spin.iter().map(|s| ("spin", *s)));
    all
}

/// One column each, so that a table stays one; and those that stand in one column tell states apart by themselves.
#[test]
fn signs_are_narrow_and_different() {
    for glyphs in [UNICODE, ASCII] {
        for (name, sign) in signs(&glyphs) {
            assert_eq!(sign.width(), 1, "{name} {sign}");
            assert!(sign.is_ascii() || !glyphs.ascii, "{name} {sign}");
        }
        let states = [
            glyphs.ok,
            glyphs.bad,
            glyphs.wait,
            glyphs.held,
            glyphs.idle,
            glyphs.gone,
            glyphs.full,
            glyphs.empty,
            glyphs.half,
        ];
        let pods = [glyphs.new, glyphs.coming, glyphs.old];
        for group in [&states[..], &pods] {
            let different: std::collections::BTreeSet<&&str> = group.iter().collect();
            assert_eq!(different.len(), group.len(), "{group:?}");
        }
    }
}

/// What is drawn in ASCII mode is ASCII: every screen, and foreign names too.
#[test]
fn ascii_mode_draws_only_ascii() {
    let mut screens: Vec<_> = NAMES.iter().map(|name| (*name, scene(name).2)).collect();
    let mut hostile = fixture::model_of(super::hostile::world());
    crate::screen::press(&mut hostile, "5");
    screens.push(("hostile", hostile));
    for (name, mut model) in screens {
        model.options.glyphs = ASCII;
        for (width, height) in [(120, 36), (60, 20)] {
            let (buffer, _) = draw(&mut model, width, height);
            for cell in buffer.content() {
                assert!(cell.symbol().is_ascii(), "{name}: {:?}", cell.symbol());
            }
        }
    }
}
