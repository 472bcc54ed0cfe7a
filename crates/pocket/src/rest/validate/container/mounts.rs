//! What a container mounts: volumes, and volumes as block devices.

use serde_json::Value;

use super::{
    super::{
        as_list,
        rules::{Problems, as_text, check_local_path, check_required},
    },
    PodContext,
};
use crate::rest::error::FieldError;

/// Checks claims that the container uses as block devices.
pub(super) fn check_volume_devices(
    container: &Value,
    path: &str,
    pod: &PodContext<'_>,
    problems: &mut Problems,
) {
    let mounts = as_list(&container["volumeMounts"]);
    let (mut names, mut places): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (at, device) in as_list(&container["volumeDevices"]).iter().enumerate() {
        let own = format!("{path}[{at}]");
        let (name, place) = (as_text(&device["name"]), as_text(&device["devicePath"]));
        let invalid = |field: &str, words: &str| {
            FieldError::invalid(
                format!("{own}.{field}"),
                &as_text(&device[field]).into(),
                words,
            )
        };
        if names.contains(&name) {
            problems.push(invalid("name", "must be unique"));
        }
        if pod.volumes.contains(&name) && !pod.claimed.contains(&name) {
            problems.push(invalid(
                "name",
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ));
        }
        if name.is_empty() {
            problems.push(FieldError::required(format!("{own}.name"), ""));
        }
        if !pod.volumes.contains(&name) {
            problems.push(FieldError::not_found(format!("{own}.name"), &name.into()));
        }
        if place.is_empty() {
            problems.push(FieldError::required(format!("{own}.devicePath"), ""));
        }
        if places.contains(&place) {
            problems.push(invalid("devicePath", "must be unique"));
        }
        if place.split('/').any(|step| step == "..") {
            problems.push(invalid("devicePath", "can not contain backsteps ('..')"));
        } else {
            places.push(place);
        }
        if mounts.iter().any(|m| as_text(&m["name"]) == name) {
            problems.push(invalid("name", "must not already exist in volumeMounts"));
        }
        if mounts.iter().any(|m| as_text(&m["mountPath"]) == place) {
            problems.push(invalid(
                "devicePath",
                "must not already exist as a path in volumeMounts",
            ));
        }
        if !name.is_empty() {
            names.push(name);
        }
    }
}

pub(super) fn check_volume_mounts(
    container: &Value,
    path: &str,
    pod: &PodContext<'_>,
    problems: &mut Problems,
) {
    let mut places: Vec<&str> = Vec::new();
    for (at, mount) in as_list(&container["volumeMounts"]).iter().enumerate() {
        let own = format!("{path}[{at}]");
        check_required(&mount["name"], format!("{own}.name"), problems);
        let name = as_text(&mount["name"]);
        if !pod.volumes.contains(&name) {
            problems.push(FieldError::not_found(format!("{own}.name"), &name.into()));
        }
        check_required(&mount["mountPath"], format!("{own}.mountPath"), problems);
        let place = as_text(&mount["mountPath"]);
        if places.contains(&place) {
            problems.push(FieldError::invalid(
                format!("{own}.mountPath"),
                &place.into(),
                "must be unique",
            ));
        }
        places.push(place);
        let devices = as_list(&container["volumeDevices"]);
        check_device_conflicts(devices, name, place, &own, problems);
        check_sub_paths(mount, &own, path, problems);
        let privileged = container["securityContext"]["privileged"] == true;
        check_propagation(&mount["mountPropagation"], privileged, path, problems);
    }
}

/// Neither the name nor the place of a mount may be that of a device.
fn check_device_conflicts(
    devices: &[Value],
    name: &str,
    place: &str,
    own: &str,
    problems: &mut Problems,
) {
    if devices.iter().any(|d| as_text(&d["name"]) == name) {
        let words = "must not already exist in volumeDevices";
        problems.push(FieldError::invalid(
            format!("{own}.name"),
            &name.into(),
            words,
        ));
    }
    if devices.iter().any(|d| as_text(&d["devicePath"]) == place) {
        let words = "must not already exist as a path in volumeDevices";
        problems.push(FieldError::invalid(
            format!("{own}.mountPath"),
            &place.into(),
            words,
        ));
    }
}

fn check_sub_paths(mount: &Value, own: &str, path: &str, problems: &mut Problems) {
    let (sub, expression) = (as_text(&mount["subPath"]), as_text(&mount["subPathExpr"]));
    if !sub.is_empty() {
        check_local_path(
            &mount["subPath"],
            &format!("{path}.subPath"),
            false,
            problems,
        );
    }
    if !expression.is_empty() {
        if !sub.is_empty() {
            let words = "subPathExpr and subPath are mutually exclusive";
            problems.push(FieldError::invalid(
                format!("{own}.subPathExpr"),
                &mount["subPathExpr"],
                words,
            ));
        }
        check_local_path(
            &mount["subPathExpr"],
            &format!("{path}.subPathExpr"),
            false,
            problems,
        );
    }
}

fn check_propagation(propagation: &Value, privileged: bool, path: &str, problems: &mut Problems) {
    let known = ["Bidirectional", "HostToContainer", "None"];
    if propagation.as_str().is_some_and(|p| !known.contains(&p)) {
        problems.push(FieldError::not_supported(
            format!("{path}.mountPropagation"),
            propagation,
            &known,
        ));
    }
    if propagation == "Bidirectional" && !privileged {
        let words = "Bidirectional mount propagation is available only to privileged containers";
        problems.push(FieldError::forbidden(
            format!("{path}.mountPropagation"),
            words,
        ));
    }
}
