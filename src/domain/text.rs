//! Foreign text, cleaned once where it enters.

use std::{fmt, ops::Deref};

use serde::{Deserialize, Serialize};

/// Text without control characters, escape sequences or bidi tricks.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clean(String);

impl Clean {
    /// Cleans.
    pub fn from_untrusted(text: &str) -> Self {
        Self(text.chars().filter(|c| !c.is_control()).collect())
    }
}

impl Deref for Clean {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
