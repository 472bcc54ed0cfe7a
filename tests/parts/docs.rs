//! What documents name is there.

use std::{fs, path::Path};

/// Words between backticks that are paths of this repository.
fn paths(text: &str) -> Vec<&str> {
    let words = text.split('`').skip(1).step_by(2);
    words
        .filter(|w| {
            ["src/", "tests/", "docs/", "benches/"]
                .iter()
                .any(|folder| w.starts_with(folder))
        })
        .collect()
}

#[test]
fn pages_name_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, some) in [
        ("docs/security.md", 30),
        ("docs/hops.md", 0),
        ("docs/otlp.md", 0),
    ] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let named = paths(&text);
        assert!(named.len() >= some, "{page}: {named:?}");
        let gone: Vec<&&str> = named
            .iter()
            .filter(|path| !root.join(path).exists())
            .collect();
        assert!(gone.is_empty(), "{page} names what is not there: {gone:?}");
    }
}

/// Whoever copies the lines gets what `graylane doctor --trace` prints, and what the stories set the gateways by.
#[test]
fn the_settings_of_gateways_stand_in_the_page_on_hops() {
    use graylane::{api::LogFormat, domain::hop_settings::settings};

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/hops.md")).unwrap();
    for (controller, format) in [
        (None, LogFormat::Traefik),
        (
            Some("gateway.envoyproxy.io/gatewayclass-controller"),
            LogFormat::Envoy,
        ),
        (Some("istio.io/gateway-controller"), LogFormat::Envoy),
        (None, LogFormat::Nginx),
    ] {
        let lines = settings(controller, format, "x-mse-tag").lines;
        assert!(page.contains(&lines), "docs/hops.md has not:\n{lines}");
    }
}
