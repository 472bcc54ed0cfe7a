//! Which state folder last used which network: one small file for each network, in the user's state
//! folder of programs. A folder that is new takes a network that no other had: whoever still knows
//! that one's address expects its certificate there.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use etcetera::BaseStrategy;

use crate::durable;

/// The record of a user. It is a help, not a promise: where it cannot be kept, networks are chosen
/// without it.
#[derive(Clone, Debug, Default)]
pub(super) struct NetworkRecord {
    dir: Option<PathBuf>,
}

impl NetworkRecord {
    /// The record of the user who runs this process.
    pub(super) fn of_user() -> Self {
        let state = etcetera::choose_base_strategy()
            .ok()
            .and_then(|base| base.state_dir());
        Self {
            dir: state.map(|dir| dir.join("pocket").join("networks")),
        }
    }

    /// A record kept in this folder.
    #[cfg(test)]
    pub(super) fn in_folder(dir: &Path) -> Self {
        Self {
            dir: Some(dir.to_owned()),
        }
    }

    /// When another state folder was last known to use a network; `None` if none ever was.
    pub(super) fn used_by_another(&self, octet: u8, state: &Path) -> Option<SystemTime> {
        let file = self.file(octet)?;
        let user = fs::read(&file).ok()?;
        if user == identity(state) {
            return None;
        }
        fs::metadata(&file).and_then(|m| m.modified()).ok()
    }

    /// Notes that a state folder uses a network from now on.
    pub(super) fn note_user(&self, octet: u8, state: &Path) {
        if let Some(file) = self.file(octet) {
            let _ = file.parent().map(durable::create_folder);
            let _ = durable::write_atomically(&file, &identity(state));
        }
    }

    /// Notes that a network is in use by whoever had it.
    pub(super) fn note_in_use(&self, octet: u8) {
        let file = self.file(octet).and_then(|file| fs::File::open(file).ok());
        if let Some(file) = file {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    fn file(&self, octet: u8) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(format!("127.{octet}")))
    }
}

/// What tells one state folder from another.
fn identity(state: &Path) -> Vec<u8> {
    let path = fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
    path.as_os_str().as_bytes().to_vec()
}
