//! Volumes of pods and pod templates.

use serde_json::Value;

use super::super::error::FieldError;
use super::super::quantity::Quantity;
use super::rules::{
    Problems, as_text, check_dns_label, check_file_mode, check_local_path, check_no_backsteps,
    check_one_of, check_required, check_subdomain,
};
use super::{as_list, container};

/// Every volume source that Kubernetes knows, in its order.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];
/// Pod fields that a file of the downward API may contain.
const DOWNWARD_API_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// Returns the names of the valid volumes: only these can be mounted.
pub(super) fn check_volumes<'a>(
    volumes: &'a [Value],
    path: &str,
    problems: &mut Problems,
) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (at, volume) in volumes.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let before = problems.len();
        check_source(volume, &path, problems);
        let name = as_text(&volume["name"]);
        if check_required(&volume["name"], format!("{path}.name"), problems) {
            check_dns_label(&volume["name"], &format!("{path}.name"), problems);
        }
        if names.contains(&name) {
            problems.push(FieldError::duplicate(
                format!("{path}.name"),
                &volume["name"],
            ));
        }
        if problems.len() == before {
            names.push(name);
        }
    }
    names
}

fn check_source(volume: &Value, path: &str, problems: &mut Problems) {
    let mut first = true;
    for kind in SOURCES {
        let (source, path) = (&volume[kind], format!("{path}.{kind}"));
        if !source.is_object() {
            continue;
        }
        if !first {
            problems.push(FieldError::forbidden(
                path,
                "may not specify more than 1 volume type",
            ));
            continue;
        }
        first = false;
        check_source_kind(kind, source, &path, problems);
    }
    if first {
        problems.push(FieldError::required(path, "must specify a volume type"));
    }
}

fn check_source_kind(kind: &str, source: &Value, path: &str, problems: &mut Problems) {
    match kind {
        "emptyDir" => {
            let limit = source["sizeLimit"]
                .as_str()
                .and_then(|l| Quantity::parse(l).ok());
            if limit.is_some_and(|l| l.is_negative()) {
                let words = "SizeLimit field must be a valid resource quantity";
                problems.push(FieldError::forbidden(format!("{path}.sizeLimit"), words));
            }
        }
        "hostPath" => {
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
        "nfs" => {
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
        "gitRepo" => {
            check_all_required(source, &["repository"], path, problems);
            check_local_path(
                &source["directory"],
                &format!("{path}.directory"),
                false,
                problems,
            );
        }
        "csi" => {
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
            check_all_required(source, &["volumeID"], path, problems)
        }
        "vsphereVolume" => check_all_required(source, &["volumePath"], path, problems),
        "photonPersistentDisk" => check_all_required(source, &["pdID"], path, problems),
        "flexVolume" => {
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
        // The other sources no longer work in Kubernetes either.
        _ => {}
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

fn check_items(source: &Value, path: &str, problems: &mut Problems) {
    for (at, item) in as_list(&source["items"]).iter().enumerate() {
        let path = format!("{path}.items[{at}]");
        check_required(&item["key"], format!("{path}.key"), problems);
        check_required(&item["path"], format!("{path}.path"), problems);
        check_local_path(&item["path"], &format!("{path}.path"), true, problems);
        check_file_mode(&item["mode"], format!("{path}.mode"), problems);
    }
}

fn check_downward_file(file: &Value, path: &str, problems: &mut Problems) {
    check_required(&file["path"], format!("{path}.path"), problems);
    check_local_path(&file["path"], &format!("{path}.path"), true, problems);
    let (field, resource) = (&file["fieldRef"], &file["resourceFieldRef"]);
    if field.is_object() {
        container::check_field_reference(
            field,
            &format!("{path}.fieldRef"),
            &DOWNWARD_API_FIELDS,
            problems,
        );
        if resource.is_object() {
            let words = "fieldRef and resourceFieldRef can not be specified simultaneously";
            problems.push(FieldError::invalid(path, &"resource".into(), words));
        }
    } else if resource.is_object() {
        container::check_resource_reference(
            resource,
            &format!("{path}.resourceFieldRef"),
            true,
            problems,
        );
    } else {
        problems.push(FieldError::required(
            path,
            "one of fieldRef and resourceFieldRef is required",
        ));
    }
    check_file_mode(&file["mode"], format!("{path}.mode"), problems);
}

fn check_projected(volume: &Value, path: &str, problems: &mut Problems) {
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
        if kinds > 1 {
            problems.push(FieldError::forbidden(
                own,
                "may not specify more than 1 volume type per source",
            ));
        }
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
