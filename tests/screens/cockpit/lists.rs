//! Lists: in which order their rows stand, that a selection is of an object and not of a row, and what is found further
//! right.

use std::{collections::BTreeSet, sync::Arc};

use graylane::ui::{
    Model, fixture,
    model::{SortColumn, SortableList},
    pane::Pane,
};
use proptest::prelude::*;

use crate::{
    screen::{draw, press, see},
    worlds,
};

fn apps(model: &Model) -> Vec<&str> {
    model
        .visible_apps()
        .into_iter()
        .map(|row| row.name.as_str())
        .collect()
}

fn apps_list(model: &Model) -> &'static SortableList {
    let list = model.sortable_list(Pane::Apps);
    list.expect("Apps can be sorted")
}

#[test]
fn who_waits_stands_first_and_the_order_can_be_turned() {
    let mut model = fixture::model_of(worlds::two_waiting());
    let (a, b, c) = ("spring-cloud-a", "spring-cloud-b", "spring-cloud-c");
    // A failed release comes before one that waits; an App without a release comes last.
    assert_eq!(apps(&model), [c, a, b]);
    press(&mut model, "O");
    assert_eq!(apps(&model), [a, c, b]);
    press(&mut model, "o");
    assert_eq!(model.sort_order(apps_list(&model)).column, SortColumn::Name);
    assert_eq!(apps(&model), [a, b, c]);
    press(&mut model, "O");
    assert_eq!(apps(&model), [c, b, a]);
}

#[test]
fn the_selection_stays_with_its_app_while_rows_move() {
    let mut model = fixture::model();
    press(&mut model, "j");
    let chosen = model.app.clone();
    assert!(chosen.is_some());
    see(&mut model, worlds::two_waiting());
    assert_eq!(model.app, chosen);
    for _ in apps_list(&model).columns {
        press(&mut model, "oO");
        assert_eq!(model.app, chosen);
        let (_, row) = model.row_position(Pane::Apps);
        assert_eq!(
            row.and_then(|row| apps(&model).get(row).map(|name| (*name).to_owned())),
            chosen
        );
    }
}

#[test]
fn the_neighbour_of_a_row_that_goes_is_selected() {
    let mut model = fixture::model();
    press(&mut model, "o");
    let before: Vec<String> = apps(&model).into_iter().map(str::to_owned).collect();
    press(&mut model, "j");
    let mut world = fixture::world();
    Arc::make_mut(&mut world.apps).remove(model.app.as_ref().expect("one is selected"));
    see(&mut model, world);
    assert_eq!(model.app.as_ref(), before.get(2));
}

#[test]
fn a_row_that_does_not_fit_is_read_to_its_end_and_back() {
    let mut model = fixture::model();
    let mut seen = String::new();
    draw(&mut model, 80, 24);
    for _ in 0..40 {
        press(&mut model, ">");
        let (buffer, _) = draw(&mut model, 80, 24);
        for y in 2..8 {
            seen.extend((0..38).map(|x| buffer[(x, y)].symbol()));
            seen.push('\n');
        }
    }
    // The last column of the list.
    assert!(seen.contains("totals in one call"), "{seen}");
    press(&mut model, "<esc>");
    assert!(model.scrolled.is_empty());
}

/// The names stay while the other columns pass, so that each row is known.
#[test]
fn the_names_stay_while_the_rest_is_scrolled() {
    for (keys, names) in [
        (
            "",
            &["spring-cloud-a", "spring-cloud-b", "spring-cloud-c"][..],
        ),
        ("2", &["test", "pre", "gray", "prod"]),
    ] {
        let mut model = fixture::model();
        press(&mut model, keys);
        for _ in 0..20 {
            press(&mut model, ">");
            let (buffer, _) = draw(&mut model, 120, 36);
            let lines: Vec<String> = (0..36)
                .map(|y| (0..50).map(|x| buffer[(x, y)].symbol()).collect())
                .collect();
            for name in names {
                assert!(
                    lines.iter().any(|line| line.contains(name)),
                    "{name} after {:?}:\n{}",
                    model.scrolled,
                    lines.join("\n")
                );
            }
        }
        assert!(!model.scrolled.is_empty(), "{keys}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Sorting and scrolling change no more than the order of the rows.
    #[test]
    fn sorting_loses_no_row_and_no_selection(keys in "[12345oO<>jkvz]{0,40}", width in 60u16..140) {
        let mut model = fixture::model_of(worlds::two_waiting());
        draw(&mut model, width, 30);
        for key in keys.chars() {
            let before = (model.app.clone(), model.selected_lane().map(|(name, _)| name.clone()));
            press(&mut model, &key.to_string());
            draw(&mut model, width, 30);
            if matches!(key, 'o' | 'O' | '<' | '>') {
                let after = (model.app.clone(), model.selected_lane().map(|(name, _)| name.clone()));
                prop_assert_eq!(before, after);
            }
            let rows: BTreeSet<&str> = apps(&model).into_iter().collect();
            prop_assert_eq!(rows.len(), model.world.apps.len());
            prop_assert_eq!(model.visible_lanes().len(), model.world.lanes.len());
            prop_assert!(model.visible_chains().len() <= model.facts.chains.len());
        }
    }
}
