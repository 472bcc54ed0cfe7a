//! `RecordedTime`: a time in an object of graylane, RFC 3339.

use std::{borrow::Cow, fmt};

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::delegate::delegate_schema;

/// A time as it stands in an object. What somebody wrote by hand, or with an offset or another
/// precision, is written back exactly as it was read; text that is no time does not make the object
/// unreadable, it is only no time ([`Self::timestamp`]). In order of time; what is no time is first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordedTime {
    /// The time, if the text is one.
    at: Option<Timestamp>,
    /// The text, unless it is empty or what [`Timestamp`] writes for `at`.
    text: Option<Box<str>>,
}

impl RecordedTime {
    /// This time to the second, as Kubernetes writes it.
    pub fn to_second(at: Timestamp) -> Self {
        at.round(Unit::Second).unwrap_or(at).into()
    }

    /// The time; `None` if the text is no time.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.at
    }
}

impl From<Timestamp> for RecordedTime {
    fn from(at: Timestamp) -> Self {
        Self {
            at: Some(at),
            text: None,
        }
    }
}

impl From<&str> for RecordedTime {
    fn from(text: &str) -> Self {
        let at: Option<Timestamp> = text.parse().ok();
        let written = at.map(|at| at.to_string()).unwrap_or_default();
        Self {
            at,
            text: (text != written).then(|| text.into()),
        }
    }
}

/// The text, as it stands in the object.
impl fmt::Display for RecordedTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.text, self.at) {
            (Some(text), _) => f.write_str(text),
            (None, Some(at)) => at.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

impl Serialize for RecordedTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordedTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Cow::<str>::deserialize(deserializer)?.as_ref().into())
    }
}

delegate_schema!(RecordedTime, String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Release;

    fn read(text: &str) -> RecordedTime {
        serde_json::from_value(Value::from(text)).unwrap()
    }

    /// RFC 3339: any precision, `T` and `Z` in either case or a space, any offset.
    fn any_rfc_3339() -> impl Strategy<Value = String> {
        let date = (0..=9999_u16, 1..=12_u8, 1..=31_u8);
        let clock = (0..=24_u8, 0..=59_u8, 0..=60_u8);
        let fraction = prop_oneof![Just(String::new()), "\\.[0-9]{1,12}"];
        let offset = prop_oneof![
            Just("Z".to_owned()),
            "[zZ]",
            "[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]"
        ];
        (date, "[Tt ]", clock, fraction, offset).prop_map(
            |((year, month, day), t, (hour, minute, second), fraction, offset)| {
                format!("{year:04}-{month:02}-{day:02}{t}{hour:02}:{minute:02}:{second:02}{fraction}{offset}")
            },
        )
    }

    proptest! {
        #[test]
        fn any_time_is_written_as_it_was_read(text in prop_oneof![any_rfc_3339(), ".{0,40}"]) {
            let time = read(&text);
            prop_assert_eq!(serde_json::to_value(&time).unwrap(), Value::from(text.as_str()));
            prop_assert_eq!(time.to_string(), text.as_str());
            prop_assert_eq!(time.timestamp(), text.parse().ok());
            prop_assert_eq!(RecordedTime::from(text.as_str()), time);
        }

        #[test]
        fn times_are_in_order(a in any_rfc_3339(), b in any_rfc_3339()) {
            let (a, b) = (read(&a), read(&b));
            if a.timestamp() != b.timestamp() {
                prop_assert_eq!(a.cmp(&b), a.timestamp().cmp(&b.timestamp()));
            }
        }
    }

    #[test]
    fn a_time_has_whole_seconds() {
        for (at, written) in [
            ("2026-11-23T12:00:10.4Z", "2026-11-23T12:00:10Z"),
            ("2026-11-23T12:00:10.5Z", "2026-11-23T12:00:11Z"),
            ("2026-11-23T14:00:10+02:00", "2026-11-23T12:00:10Z"),
        ] {
            let time = RecordedTime::to_second(at.parse().unwrap());
            assert_eq!(time.to_string(), written);
            assert_eq!(time, read(written), "as it is read");
        }
        assert_eq!(read(""), RecordedTime::default());
    }

    #[test]
    fn what_is_no_time_leaves_the_release_readable() {
        let release = json!({
            "apiVersion": "graylane.dev/v1alpha1", "kind": "Release", "metadata": {"name": "a-1"},
            "spec": {"app": "a", "stage": "s", "requester": "ann",
                "control": {"paused": true, "abort": false, "last": {"by": "ann", "action": "pause", "at": "at noon"}}},
            "status": {"phase": "Running", "startedAt": "yesterday", "finishedAt": "",
                "tasks": [{"name": "t", "kind": "build", "phase": "Running", "attempt": 1,
                    "startedAt": "2026-01-01T00:00:00.000+01:00"}],
                "history": [{"at": "2026-13-01T00:00:00Z", "by": "engine", "action": "x"}]},
        });
        let read: Release = serde_json::from_value(release.clone()).unwrap();
        let status = read.status.as_ref().unwrap();
        assert_eq!(status.started_at.as_ref().unwrap().timestamp(), None);
        let begun = status.tasks[0].started_at.as_ref().unwrap().timestamp();
        assert_eq!(begun.unwrap().to_string(), "2025-12-31T23:00:00Z");
        assert_eq!(serde_json::to_value(&read).unwrap(), release);
    }
}
