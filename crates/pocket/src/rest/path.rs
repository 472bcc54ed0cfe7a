//! What a URL path addresses.

use percent_encoding::percent_decode_str;

/// A path below `/api/v1` or `/apis/GROUP/VERSION`, or the segments of any other path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Resource(ResourcePath),
    Other(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourcePath {
    pub group: String,
    pub version: String,
    pub namespace: Option<String>,
    pub plural: String,
    pub name: Option<String>,
    pub subresource: Option<String>,
}

/// Returns `None` when a segment is not UTF-8.
pub fn parse_path(path: &str) -> Option<Target> {
    let segments: Vec<String> = path
        .split('/')
        .filter(|s| !s.is_empty())
        .map(|s| percent_decode_str(s).decode_utf8().map(|s| s.into_owned()))
        .collect::<Result<_, _>>()
        .ok()?;
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Some(Target::Other(segments)),
    };
    // `namespaces/NS/status` addresses the namespace itself, `namespaces/NS/pods` what it contains.
    let (namespace, rest) = match rest {
        ["namespaces", _, "status" | "finalize"] => (None, rest),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some(*name), None),
        [plural, name, sub] => (plural, Some(*name), Some((*sub).to_owned())),
        [plural, name, sub, more @ ..] => {
            let sub = format!("{sub}/{}", more.join("/"));
            (plural, Some(*name), Some(sub))
        }
        [] => return None,
    };
    Some(Target::Resource(ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.map(str::to_owned),
        plural: (*plural).to_owned(),
        name: name.map(str::to_owned),
        subresource,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> String {
        match parse_path(path) {
            Some(Target::Resource(r)) => format!(
                "{}/{} {} {} {} {}",
                r.group,
                r.version,
                r.namespace.as_deref().unwrap_or("-"),
                r.plural,
                r.name.as_deref().unwrap_or("-"),
                r.subresource.as_deref().unwrap_or("-")
            ),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn paths() {
        assert_eq!(resource("/api/v1/pods"), "/v1 - pods - -");
        assert_eq!(
            resource("/api/v1/namespaces/demo/pods/a/log"),
            "/v1 demo pods a log"
        );
        assert_eq!(
            resource("/api/v1/namespaces/demo"),
            "/v1 - namespaces demo -"
        );
        assert_eq!(
            resource("/api/v1/namespaces/demo/status"),
            "/v1 - namespaces demo status"
        );
        assert_eq!(
            resource("/apis/apps/v1/namespaces/demo/deployments/a%2Eb/scale"),
            "apps/v1 demo deployments a.b scale"
        );
        assert_eq!(
            parse_path("/apis/apps/v1"),
            Some(Target::Other(vec![
                "apis".into(),
                "apps".into(),
                "v1".into()
            ]))
        );
        assert_eq!(
            parse_path("/version/"),
            Some(Target::Other(vec!["version".into()]))
        );
        assert_eq!(parse_path("/api/v1/pods/%ff"), None);
    }
}
