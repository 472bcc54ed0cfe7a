//! Resources that every Kubernetes cluster has built in and pocket does not serve. Clients can list
//! them, with an empty result and a warning; discovery shows them in the category [`CATEGORY`];
//! every write is refused with an explanation. So clients that use a fixed list of kinds (`kubectl
//! apply --prune`) work.

use crate::patch::ListKeys;

use super::{Definition, Resource};

static TABLE: &str = include_str!("unserved.txt");

/// Category of these resources in discovery.
pub const CATEGORY: &str = "not-served-by-pocket";
const READ_VERBS: &[&str] = &["get", "list", "watch"];

pub(super) fn list_resources() -> impl Iterator<Item = Resource> {
    TABLE.lines().filter_map(parse_row)
}

fn parse_row(line: &str) -> Option<Resource> {
    if line.starts_with('#') {
        return None;
    }
    let fields: Vec<&str> = line.split(' ').collect();
    let [
        group,
        version,
        plural,
        singular,
        kind,
        scope,
        short_names,
        reading,
    ] = fields[..]
    else {
        return None;
    };
    let group = if group == "core" { "" } else { group };
    let short_names = short_names
        .split(',')
        .filter(|s| *s != "-")
        .map(str::to_owned)
        .collect();
    let mut resource = Resource {
        group: group.into(),
        version: version.into(),
        plural: plural.into(),
        singular: singular.into(),
        kind: kind.into(),
        list_kind: format!("{kind}List"),
        namespaced: scope == "namespaced",
        short_names,
        categories: vec![CATEGORY.into()],
        verbs: if reading == "readable" {
            READ_VERBS
        } else {
            &[]
        },
        status: false,
        scale: None,
        selectable_fields: Vec::new(),
        storage: "".into(),
        lists: ListKeys::for_builtin_kind(group, kind),
        deprecation: None,
        definition: Definition::Unserved,
    };
    resource.storage = resource.qualified_name().into();
    Some(resource)
}

#[cfg(test)]
mod tests {
    use super::super::builtin;
    use super::*;

    #[test]
    fn every_row_is_read_and_none_is_served() {
        let rows = TABLE.lines().filter(|l| !l.starts_with('#')).count();
        let all: Vec<Resource> = list_resources().collect();
        assert_eq!(all.len(), rows);
        let served = |r: &Resource| {
            builtin::ALL
                .iter()
                .any(|b| b.group == r.group && b.plural == r.plural)
        };
        let both: Vec<String> = all
            .iter()
            .filter(|r| served(r))
            .map(Resource::qualified_name)
            .collect();
        assert_eq!(both, [""; 0]);
        for (plural, namespaced) in [
            ("cronjobs", true),
            ("clusterroles", false),
            ("persistentvolumeclaims", true),
        ] {
            assert!(
                all.iter()
                    .any(|r| r.plural == plural && r.namespaced == namespaced),
                "{plural}"
            );
        }
    }
}
