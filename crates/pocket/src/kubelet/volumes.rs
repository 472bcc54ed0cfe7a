//! Volumes are folders `pods/UID/volumes/NAME`, which a process finds through `$POCKET_VOLUMES`,
//! because a mountPath would need root. Their content is written once, when the pod starts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, Pod, Secret};

use super::env::{EnvError, resolve_field};

/// Environment variable with the path of the volumes; a volume is at `$POCKET_VOLUMES/NAME`.
pub const VOLUMES_VARIABLE: &str = "POCKET_VOLUMES";

/// Objects that volumes are filled from.
pub struct VolumeSources<'a> {
    pub config_maps: &'a BTreeMap<String, ConfigMap>,
    pub secrets: &'a BTreeMap<String, Secret>,
    pub pod_ip: Ipv4Addr,
    pub host_ip: Ipv4Addr,
}

/// Why the volumes of a pod cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error(transparent)]
    References(#[from] kube::Error),
    #[error("{0} {1:?} not found")]
    NoObject(&'static str, String),
    #[error("references non-existent key {0:?}")]
    NoKey(String),
    #[error("volume {0:?}: only fieldRef is served by pocket")]
    UnsupportedItem(String),
    #[error(transparent)]
    Field(#[from] EnvError),
    #[error("{}: {why}", .path.display())]
    Files { path: PathBuf, why: io::Error },
}

/// Creates and fills all volumes of the pod under `dir`.
pub fn create_volumes(pod: &Pod, dir: &Path, from: &VolumeSources) -> Result<(), VolumeError> {
    for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
        let place = dir.join(&volume.name);
        let files = if let Some(source) = &volume.config_map {
            match (from.config_maps.get(&source.name), source.optional) {
                (Some(map), _) => {
                    let text = map
                        .data
                        .clone()
                        .unwrap_or_default()
                        .into_iter()
                        .map(|(k, v)| (k, v.into_bytes()));
                    let binary = map
                        .binary_data
                        .clone()
                        .unwrap_or_default()
                        .into_iter()
                        .map(|(k, v)| (k, v.0));
                    select_items(text.chain(binary).collect(), source.items.as_deref())?
                }
                (None, Some(true)) => BTreeMap::new(),
                (None, _) => return Err(VolumeError::NoObject("configmap", source.name.clone())),
            }
        } else if let Some(source) = &volume.secret {
            let name = source.secret_name.clone().unwrap_or_default();
            match (from.secrets.get(&name), source.optional) {
                (Some(secret), _) => {
                    let data = secret
                        .data
                        .clone()
                        .unwrap_or_default()
                        .into_iter()
                        .map(|(k, v)| (k, v.0));
                    select_items(data.collect(), source.items.as_deref())?
                }
                (None, Some(true)) => BTreeMap::new(),
                (None, _) => return Err(VolumeError::NoObject("secret", name)),
            }
        } else if let Some(source) = &volume.downward_api {
            let mut files = BTreeMap::new();
            for item in source.items.iter().flatten() {
                let Some(selector) = &item.field_ref else {
                    return Err(VolumeError::UnsupportedItem(volume.name.clone()));
                };
                files.insert(
                    item.path.clone(),
                    resolve_field(selector, pod, from.pod_ip, from.host_ip)?.into_bytes(),
                );
            }
            files
        } else {
            BTreeMap::new()
        };
        write_files(&place, &files).map_err(|why| VolumeError::Files { path: place, why })?;
    }
    Ok(())
}

fn select_items(
    mut all: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
) -> Result<BTreeMap<String, Vec<u8>>, VolumeError> {
    let Some(items) = items else { return Ok(all) };
    let pick = |item: &KeyToPath| {
        let data = all
            .remove(&item.key)
            .ok_or_else(|| VolumeError::NoKey(item.key.clone()))?;
        Ok((item.path.clone(), data))
    };
    items.iter().map(pick).collect()
}

fn write_files(place: &Path, files: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    fs::create_dir_all(place)?;
    for (path, data) in files {
        let inside = Path::new(path)
            .components()
            .all(|c| matches!(c, std::path::Component::Normal(_)));
        if !inside {
            return Err(io::Error::other(format!(
                "{path:?} leads out of the volume"
            )));
        }
        let file = place.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, data)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn volumes_are_filled_and_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let map: ConfigMap = serde_json::from_value(json!({"data": {"a": "1", "b": "2"}})).unwrap();
        let maps = BTreeMap::from([("m".to_owned(), map)]);
        let none = BTreeMap::new();
        let (pod_ip, host_ip) = (Ipv4Addr::new(127, 70, 16, 1), Ipv4Addr::LOCALHOST);
        let from = VolumeSources {
            config_maps: &maps,
            secrets: &none,
            pod_ip,
            host_ip,
        };
        let pod = |volumes: serde_json::Value| -> Pod {
            serde_json::from_value(
                json!({"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [], "volumes": volumes}}),
            )
            .unwrap()
        };
        let good = pod(json!([
            {"name": "all", "configMap": {"name": "m"}},
            {"name": "one", "configMap": {"name": "m", "items": [{"key": "a", "path": "sub/x"}]}},
            {"name": "maybe", "secret": {"secretName": "none", "optional": true}},
            {"name": "self", "downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.labels['x']"}}]}},
            {"name": "empty", "emptyDir": {}},
        ]));
        create_volumes(&good, dir.path(), &from).unwrap();
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
        assert_eq!(
            (read("all/b"), read("one/sub/x"), read("self/x")),
            ("2".into(), "1".into(), "y".into())
        );
        assert!(dir.path().join("empty").is_dir() && dir.path().join("maybe").is_dir());
        let missing = pod(json!([{"name": "v", "secret": {"secretName": "none"}}]));
        assert!(
            create_volumes(&missing, dir.path(), &from)
                .unwrap_err()
                .to_string()
                .contains("not found")
        );
        let out = pod(
            json!([{"name": "v", "configMap": {"name": "m", "items": [{"key": "a", "path": "../x"}]}}]),
        );
        assert!(
            create_volumes(&out, dir.path(), &from)
                .unwrap_err()
                .to_string()
                .contains("leads out")
        );
    }
}
