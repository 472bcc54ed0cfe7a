//! Projected volumes: several sources in one folder.

use serde_json::Value;

use super::super::{
    as_list,
    rules::{Problems, as_text, check_file_mode, check_local_path, check_required},
};
use super::{check_downward_file, check_items};
use crate::rest::error::FieldError;

pub(super) fn check_projected(volume: &Value, path: &str, problems: &mut Problems) {
    check_file_mode(
        &volume["defaultMode"],
        format!("{path}.defaultMode"),
        problems,
    );
    let mut paths: Vec<&str> = Vec::new();
    for (at, source) in as_list(&volume["sources"]).iter().enumerate() {
        let own = format!("{path}.sources[{at}]");
        let mut kinds = 0;
        for kind in ["secret", "configMap"] {
            let of_kind = &source[kind];
            if !of_kind.is_object() {
                continue;
            }
            kinds += 1;
            let own = format!("{own}.{kind}");
            check_required(&of_kind["name"], format!("{own}.name"), problems);
            check_items(of_kind, &own, problems);
            for item in as_list(&of_kind["items"]) {
                check_unique_path(
                    &mut paths,
                    as_text(&item["path"]),
                    &of_kind["name"],
                    path,
                    problems,
                );
            }
        }
        if source["downwardAPI"].is_object() {
            kinds += 1;
            for file in as_list(&source["downwardAPI"]["items"]) {
                check_downward_file(file, &format!("{own}.downwardAPI"), problems);
                check_unique_path(
                    &mut paths,
                    as_text(&file["path"]),
                    &file["path"],
                    path,
                    problems,
                );
            }
        }
        let token = &source["serviceAccountToken"];
        if token.is_object() {
            kinds += 1;
            check_token(token, &own, path, problems);
        }
        if kinds > 1 {
            problems.push(FieldError::forbidden(
                own,
                "may not specify more than 1 volume type per source",
            ));
        }
    }
}

fn check_token(token: &Value, own: &str, path: &str, problems: &mut Problems) {
    let seconds = &token["expirationSeconds"];
    if seconds.as_i64().is_some_and(|n| n < 600) {
        let words = "may not specify a duration less than 10 minutes";
        let path = format!("{own}.serviceAccountToken.expirationSeconds");
        problems.push(FieldError::invalid(path, seconds, words));
    }
    if check_required(&token["path"], format!("{path}.path"), problems) {
        check_local_path(&token["path"], &format!("{path}.path"), true, problems);
    }
}

/// Two sources of one volume must not write the same path.
fn check_unique_path<'a>(
    paths: &mut Vec<&'a str>,
    place: &'a str,
    shown: &Value,
    path: &str,
    problems: &mut Problems,
) {
    if place.is_empty() {
        return;
    }
    if paths.contains(&place) {
        problems.push(FieldError::invalid(
            path,
            shown,
            "conflicting duplicate paths",
        ));
    }
    paths.push(place);
}
