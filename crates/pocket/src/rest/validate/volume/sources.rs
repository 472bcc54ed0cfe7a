//! The kinds of sources that a volume may have.

use serde_json::Value;

use super::super::{
    as_list,
    rules::{
        Problems, as_text, check_file_mode, check_local_path, check_no_backsteps, check_one_of,
        check_required, check_subdomain,
    },
};
use super::{HOST_PATH_TYPES, check_downward_file, check_items, projected::check_projected};
use crate::rest::{error::FieldError, quantity::Quantity};

pub(super) fn check_source_kind(kind: &str, source: &Value, path: &str, problems: &mut Problems) {
    match kind {
        "emptyDir" => check_empty_dir(source, path, problems),
        "hostPath" => check_host_path(source, path, problems),
        "secret" | "configMap" => {
            let name = if kind == "secret" {
                "secretName"
            } else {
                "name"
            };
            check_required(&source[name], format!("{path}.{name}"), problems);
            check_file_mode(
                &source["defaultMode"],
                format!("{path}.defaultMode"),
                problems,
            );
            check_items(source, path, problems);
        }
        "downwardAPI" => {
            check_file_mode(
                &source["defaultMode"],
                format!("{path}.defaultMode"),
                problems,
            );
            for file in as_list(&source["items"]) {
                check_downward_file(file, path, problems);
            }
        }
        "projected" => check_projected(source, path, problems),
        "persistentVolumeClaim" => {
            check_required(&source["claimName"], format!("{path}.claimName"), problems);
        }
        "image" => {
            check_required(&source["reference"], format!("{path}.reference"), problems);
            let known = ["Always", "IfNotPresent", "Never"];
            check_one_of(
                &source["pullPolicy"],
                &known,
                format!("{path}.pullPolicy"),
                problems,
            );
        }
        "nfs" => check_nfs(source, path, problems),
        "gitRepo" => {
            check_all_required(source, &["repository"], path, problems);
            check_local_path(
                &source["directory"],
                &format!("{path}.directory"),
                false,
                problems,
            );
        }
        "csi" => check_csi(source, path, problems),
        "ephemeral" if !source["volumeClaimTemplate"].is_object() => {
            problems.push(FieldError::required(
                format!("{path}.volumeClaimTemplate"),
                "",
            ));
        }
        "fc" => check_fibre_channel(source, path, problems),
        "iscsi" => check_iscsi(source, path, problems),
        "cephfs" | "rbd" => {
            if as_list(&source["monitors"]).is_empty() {
                problems.push(FieldError::required(format!("{path}.monitors"), ""));
            }
            if kind == "rbd" {
                check_all_required(source, &["image"], path, problems);
            }
        }
        "glusterfs" => check_all_required(source, &["endpoints", "path"], path, problems),
        "azureFile" => check_all_required(source, &["secretName", "shareName"], path, problems),
        "gcePersistentDisk" => check_all_required(source, &["pdName"], path, problems),
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => {
            check_all_required(source, &["volumeID"], path, problems);
        }
        "vsphereVolume" => check_all_required(source, &["volumePath"], path, problems),
        "photonPersistentDisk" => check_all_required(source, &["pdID"], path, problems),
        "flexVolume" => check_flex_volume(source, path, problems),
        // The other sources no longer work in Kubernetes either.
        _ => {}
    }
}

fn check_empty_dir(source: &Value, path: &str, problems: &mut Problems) {
    let limit = source["sizeLimit"]
        .as_str()
        .and_then(|l| Quantity::parse(l).ok());
    if limit.is_some_and(|l| l.is_negative()) {
        let words = "SizeLimit field must be a valid resource quantity";
        problems.push(FieldError::forbidden(format!("{path}.sizeLimit"), words));
    }
}

fn check_host_path(source: &Value, path: &str, problems: &mut Problems) {
    if !check_required(&source["path"], format!("{path}.path"), problems) {
        return;
    }
    check_no_backsteps(&source["path"], &format!("{path}.path"), problems);
    if source["type"]
        .as_str()
        .is_some_and(|t| !HOST_PATH_TYPES.contains(&t))
    {
        let path = format!("{path}.type");
        problems.push(FieldError::not_supported(
            path,
            &source["type"],
            &HOST_PATH_TYPES,
        ));
    }
}

fn check_nfs(source: &Value, path: &str, problems: &mut Problems) {
    check_all_required(source, &["server", "path"], path, problems);
    if !as_text(&source["path"]).starts_with('/') {
        let given = as_text(&source["path"]).into();
        problems.push(FieldError::invalid(
            format!("{path}.path"),
            &given,
            "must be an absolute path",
        ));
    }
}

fn check_csi(source: &Value, path: &str, problems: &mut Problems) {
    if check_required(&source["driver"], format!("{path}.driver"), problems) {
        check_subdomain(&source["driver"], &format!("{path}.driver"), problems);
    }
    if source["nodePublishSecretRef"].is_object() {
        check_required(
            &source["nodePublishSecretRef"]["name"],
            format!("{path}.nodePublishSecretRef.name"),
            problems,
        );
    }
}

fn check_flex_volume(source: &Value, path: &str, problems: &mut Problems) {
    check_all_required(source, &["driver"], path, problems);
    for key in source["options"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys())
    {
        let space = format!(
            ".{}",
            key.split('/').next().unwrap_or_default().to_lowercase()
        );
        if space.ends_with(".kubernetes.io") || space.ends_with(".k8s.io") {
            let words = "kubernetes.io and k8s.io namespaces are reserved";
            let path = format!("{path}.options[{key}]");
            problems.push(FieldError::invalid(path, &key.as_str().into(), words));
        }
    }
}

fn check_all_required(source: &Value, fields: &[&str], path: &str, problems: &mut Problems) {
    for field in fields {
        check_required(&source[*field], format!("{path}.{field}"), problems);
    }
}

fn check_unit_number(source: &Value, path: &str, problems: &mut Problems) {
    if source["lun"]
        .as_i64()
        .is_some_and(|n| !(0..=255).contains(&n))
    {
        let words = "must be between 0 and 255, inclusive";
        problems.push(FieldError::invalid(
            format!("{path}.lun"),
            &source["lun"],
            words,
        ));
    }
}

fn check_fibre_channel(source: &Value, path: &str, problems: &mut Problems) {
    let (targets, wide) = (as_list(&source["targetWWNs"]), as_list(&source["wwids"]));
    let field = format!("{path}.targetWWNs");
    if targets.is_empty() && wide.is_empty() {
        problems.push(FieldError::required(
            field,
            "must specify either targetWWNs or wwids, but not both",
        ));
    } else if !targets.is_empty() && !wide.is_empty() {
        let words = "targetWWNs and wwids can not be specified simultaneously";
        problems.push(FieldError::invalid(field, &source["targetWWNs"], words));
    }
    match source["lun"].is_null() {
        _ if targets.is_empty() => {}
        true => {
            let words = "lun is required if targetWWNs is specified";
            problems.push(FieldError::required(format!("{path}.lun"), words));
        }
        false => check_unit_number(source, path, problems),
    }
}

fn check_iscsi(source: &Value, path: &str, problems: &mut Problems) {
    check_all_required(source, &["targetPortal"], path, problems);
    if check_required(&source["iqn"], format!("{path}.iqn"), problems)
        && !["iqn", "eui", "naa"]
            .iter()
            .any(|form| as_text(&source["iqn"]).starts_with(form))
    {
        let words = "must be valid format starting with iqn, eui, or naa";
        problems.push(FieldError::invalid(
            format!("{path}.iqn"),
            &source["iqn"],
            words,
        ));
    }
    check_unit_number(source, path, problems);
    let secured = source["chapAuthDiscovery"] == true || source["chapAuthSession"] == true;
    if secured && !source["secretRef"].is_object() {
        problems.push(FieldError::required(format!("{path}.secretRef"), ""));
    }
}
