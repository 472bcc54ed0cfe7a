//! Volumes of pods and pod templates: what each kind of source needs is in `sources`, several sources
//! in one volume in `projected`.

mod projected;
mod sources;

use serde_json::Value;

use self::sources::check_source_kind;
use super::super::error::FieldError;
use super::rules::{
    Problems, as_text, check_dns_label, check_file_mode, check_local_path, check_required,
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
