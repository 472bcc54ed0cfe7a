//! `Uid`: which object, whatever its name.

use std::{borrow::Borrow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::delegate::delegate_schema;

/// `metadata.uid` of an object: an object that was deleted and created again under the same name
/// has another one. Empty where it is not known, or where there is no object yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(Box<str>);

impl Uid {
    /// Uid of an object; empty before a server has given it one.
    pub fn from_meta(meta: &ObjectMeta) -> Self {
        meta.uid.as_deref().unwrap_or_default().into()
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is not known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This uid, if it is known.
    pub fn known(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    /// Whether an object has this uid, which is known.
    pub fn is_of(&self, meta: &ObjectMeta) -> bool {
        !self.is_empty() && meta.uid.as_deref() == Some(self.as_str())
    }
}

/// Maps by uid can be read by its text.
impl Borrow<str> for Uid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.0.into()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

delegate_schema!(Uid, String);

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::api::Approval;

    #[test]
    fn an_unknown_uid_is_that_of_no_object() {
        let meta = |uid: Option<&str>| ObjectMeta {
            uid: uid.map(str::to_owned),
            ..ObjectMeta::default()
        };
        let uid = Uid::from("u");
        assert!(uid.is_of(&meta(Some("u"))));
        assert!(!uid.is_of(&meta(Some("v"))) && !uid.is_of(&meta(None)));
        assert!(!Uid::default().is_of(&meta(None)) && !Uid::default().is_of(&meta(Some(""))));
        assert_eq!(Uid::from_meta(&meta(None)), Uid::default());
        assert_eq!(Uid::from_meta(&meta(Some("u"))).known(), Some(uid));
    }

    #[test]
    fn it_is_written_as_a_real_server_has_taken_it() {
        let recorded = include_str!("../../tests/conformance/recorded/graylanes_own_kinds.txt");
        let body = recorded
            .lines()
            .find_map(|line| line.split_once(' ')?.1.split_once(" {"));
        let sent: Value = serde_json::from_str(&format!("{{{}", body.unwrap().1)).unwrap();
        let read: Approval = serde_json::from_value(sent.clone()).unwrap();
        assert_eq!(read.spec.release_uid, Uid::from("u"));
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(written["spec"]["releaseUid"], sent["spec"]["releaseUid"]);
    }
}
