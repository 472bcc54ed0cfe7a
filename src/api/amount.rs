//! A number of replicas, absolute or as a percentage: `1` or `50%`, a Kubernetes int-or-string.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An absolute count, or a percentage of some total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Amount {
    /// Absolute number.
    Count(u32),
    /// Percentage of a total, 0 to 100.
    Percent(u8),
}

/// The text is not a valid amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a whole number nor a percentage from 0% to 100%")]
pub struct AmountError(pub String);

impl Amount {
    /// Number out of `total`. Percentages are rounded up, so that a batch of 1 % still moves a pod.
    pub fn scaled_count(self, total: u32) -> u32 {
        match self {
            Self::Count(n) => n,
            Self::Percent(p) => {
                u32::try_from((u64::from(total) * u64::from(p)).div_ceil(100)).unwrap_or(u32::MAX)
            }
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(n) => write!(f, "{n}"),
            Self::Percent(p) => write!(f, "{p}%"),
        }
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let wrong = || AmountError(text.to_owned());
        match text.trim().strip_suffix('%') {
            Some(p) => p
                .trim()
                .parse()
                .ok()
                .filter(|p| *p <= 100)
                .map(Self::Percent)
                .ok_or_else(wrong),
            None => text.trim().parse().map(Self::Count).map_err(|_| wrong()),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(n) => s.serialize_u32(*n),
            Self::Percent(_) => s.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Int(u32),
            Text(String),
        }
        match Either::deserialize(d)? {
            Either::Int(n) => Ok(Self::Count(n)),
            Either::Text(t) => t.parse().map_err(D::Error::custom),
        }
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            "pattern": "^([0-9]{1,9}|(100|[0-9]{1,2})%)$",
            "maxLength": 16,
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_as_kubernetes_does() {
        let amounts: Vec<Amount> = serde_json::from_str(r#"[1, "2", "50%"]"#).unwrap();
        assert_eq!(
            amounts,
            [Amount::Count(1), Amount::Count(2), Amount::Percent(50)]
        );
        assert_eq!(serde_json::to_string(&amounts).unwrap(), r#"[1,2,"50%"]"#);
        for wrong in ["", "x", "-1", "101%", "1.5", "%"] {
            assert_eq!(wrong.parse::<Amount>(), Err(AmountError(wrong.into())));
        }
    }

    #[test]
    fn a_share_rounds_up() {
        assert_eq!(Amount::Percent(50).scaled_count(5), 3);
        assert_eq!(Amount::Percent(1).scaled_count(4), 1);
        assert_eq!(Amount::Percent(0).scaled_count(4), 0);
        assert_eq!(Amount::Percent(100).scaled_count(u32::MAX), u32::MAX);
    }
}
