//! The query parameters of a request, with Kubernetes' names.

use percent_encoding::percent_decode_str;

use serde_json::json;

use super::error::{ApiError, FieldError, Result};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Query {
        let decode = |s: &str| {
            percent_decode_str(&s.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        Query(
            text.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The first value that is not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, v)| k == key && !v.is_empty())
            .map(|(_, v)| v.as_str())
    }

    pub fn has_flag(&self, key: &str) -> bool {
        self.0
            .iter()
            .any(|(k, v)| k == key && matches!(v.as_str(), "true" | "1" | "t" | "T" | "TRUE"))
    }

    pub fn parse_number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        let bad = |v: &str| {
            ApiError::bad_request(format!("strconv.ParseInt: parsing {v:?}: invalid syntax"))
        };
        self.get(key)
            .map(|v| v.parse().map_err(|_| bad(v)))
            .transpose()
    }

    /// The resource version that a list or a watch asks for.
    pub fn resource_version(&self) -> Result<Option<u64>> {
        let bad = |v: &str| {
            ApiError::bad_request(format!(
                "invalid resource version: {}",
                unreadable_version(v)
            ))
        };
        self.get("resourceVersion")
            .map(|v| v.parse().map_err(|_| bad(v)))
            .transpose()
    }

    /// Whether the request is a dry run. `options` is the kind of its options, such as
    /// `CreateOptions`.
    pub fn dry_run(&self, options: &str) -> Result<bool> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                let problem = FieldError::not_supported("dryRun", &json!([other]), &["All"]);
                Err(ApiError::bad_options(options, problem))
            }
        }
    }
}

fn unreadable_version(version: &str) -> FieldError {
    let words = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
    FieldError::invalid("resourceVersion", &version.into(), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes() {
        let query =
            Query::parse("labelSelector=app%20in%20(a%2Cb)&limit=5&watch=true&x=a+b&limit2=");
        assert_eq!(query.get("labelSelector"), Some("app in (a,b)"));
        assert_eq!(query.parse_number::<u64>("limit").unwrap(), Some(5));
        assert_eq!(query.parse_number::<u64>("limit2").unwrap(), None);
        assert!(query.has_flag("watch") && !query.has_flag("follow"));
        assert_eq!(query.get("x"), Some("a b"));
        assert!(query.parse_number::<u64>("x").is_err());
        assert!(
            Query::parse("dryRun=Some")
                .dry_run("CreateOptions")
                .is_err()
        );
    }
}
