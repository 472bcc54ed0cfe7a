//! Changes umask and file descriptor limit of this process, and keeps the original values for
//! containers.
//!
//! New files are accessible to their owner only, and the process may use as many file descriptors
//! as the system permits. Containers get the umask and the limit that pocket was started with,
//! because programs that use `select` fail with a higher limit.

use std::sync::OnceLock;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// Upper limit for file descriptors: more are not needed, and some programs close every number up
/// to the limit.
const MAX_FILES: u64 = 1 << 20;

static FOUND: OnceLock<InheritedLimits> = OnceLock::new();

/// Process attributes that child processes inherit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InheritedLimits {
    mask: u32,
    files: Option<u64>,
}

impl InheritedLimits {
    /// Changes this process and keeps the original values. Must run before there are threads.
    pub fn change_process() {
        let mask = umask(Mode::from_raw_mode(0o077));
        let limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.map_or(MAX_FILES, |most| most.min(MAX_FILES));
        if limit.current.is_some_and(|now| now < most) {
            // If this fails, the limit stays as it was.
            let _ = setrlimit(
                Resource::Nofile,
                Rlimit {
                    current: Some(most),
                    maximum: limit.maximum,
                },
            );
        }
        let _ = FOUND.set(Self {
            mask: mask.as_raw_mode(),
            files: limit.current,
        });
    }

    /// Returns the values that [`InheritedLimits::change_process`] kept; `None` if it has not run.
    pub fn get_original() -> Option<Self> {
        FOUND.get().copied()
    }

    /// Restores the values in a process that is about to execute another program.
    pub fn restore(self) {
        umask(Mode::from_raw_mode(self.mask));
        let maximum = getrlimit(Resource::Nofile).maximum;
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: self.files,
                maximum,
            },
        );
    }

    /// Formats the values as one command-line argument.
    pub fn to_word(self) -> String {
        let files = self.files.map_or_else(|| "-".into(), |n| n.to_string());
        format!("{:o}:{files}", self.mask)
    }

    /// Parses the output of [`InheritedLimits::to_word`].
    pub fn from_word(word: &str) -> Option<Self> {
        let (mask, files) = word.split_once(':')?;
        let mask = u32::from_str_radix(mask, 8).ok().filter(|m| *m <= 0o777)?;
        let files = if files == "-" {
            None
        } else {
            Some(files.parse().ok()?)
        };
        Some(Self { mask, files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_was_written() {
        for found in [
            InheritedLimits {
                mask: 0o22,
                files: Some(1024),
            },
            InheritedLimits {
                mask: 0,
                files: None,
            },
        ] {
            assert_eq!(InheritedLimits::from_word(&found.to_word()), Some(found));
        }
        for bad in ["", "22", "8:1", "1777:1", "22:x", "22:"] {
            assert_eq!(InheritedLimits::from_word(bad), None, "{bad}");
        }
    }
}
