//! The state folder: made with mode 0700, recognised before it is wiped.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// The file whose presence makes a folder a state folder.
const STORE: &str = "store.redb";
/// What else graylane puts there.
const OTHERS: [&str; 7] = ["kubeconfig", "images", "pods", "logs", "workspace", "network.json", "identity.json"];

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk says no.
    #[error("the state folder {}: {why}; name another with --state", dir.display())]
    Io {
        /// Which.
        dir: PathBuf,
        /// In words.
        why: io::Error,
    },
    /// Somebody else's files are in there.
    #[error("{} is no graylane state folder (it holds {stranger:?}); nothing was deleted", dir.display())]
    Stranger {
        /// Which.
        dir: PathBuf,
        /// What is in there.
        stranger: String,
    },
    /// A pocket runs in it.
    #[error("a pocket runs in {}; stop it first, then reset", .0.display())]
    Running(PathBuf),
}

fn told(dir: &Path) -> impl FnOnce(io::Error) -> StateError {
    let dir = dir.to_owned();
    move |why| StateError::Io { dir, why }
}

/// Makes the folder, readable by nobody else, and answers with its absolute path.
pub fn open(dir: &Path) -> Result<PathBuf, StateError> {
    if !dir.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(told(dir))?;
    }
    let meta = fs::metadata(dir).map_err(told(dir))?;
    // A folder that holds other things (a home, /tmp) keeps its rights.
    if meta.permissions().mode() & 0o077 != 0 && stranger(dir)?.is_none() {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(told(dir))?;
    }
    dir.canonicalize().map_err(told(dir))
}

/// Something in the folder that is not graylane's; without a store nothing is.
fn stranger(dir: &Path) -> Result<Option<String>, StateError> {
    let mut names = vec![];
    for entry in fs::read_dir(dir).map_err(told(dir))? {
        names.push(entry.map_err(told(dir))?.file_name().to_string_lossy().into_owned());
    }
    if !names.iter().any(|n| n == STORE) {
        return Ok(names.first().cloned());
    }
    Ok(names.iter().find(|n| *n != STORE && !OTHERS.contains(&n.as_str())).cloned())
}

/// Deletes what graylane put into the folder. `is_free` tells whether no pocket runs in it.
pub fn reset(dir: &Path, is_free: impl FnOnce(&Path) -> bool) -> Result<(), StateError> {
    if !dir.exists() {
        return Ok(());
    }
    if let Some(stranger) = stranger(dir)? {
        return Err(StateError::Stranger { dir: dir.into(), stranger });
    }
    if dir.join(STORE).exists() && !is_free(dir) {
        return Err(StateError::Running(dir.into()));
    }
    // The store goes last: what is half wiped is still known as ours.
    for name in OTHERS.iter().chain([&STORE]) {
        let path = dir.join(name);
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match gone {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(told(&path)(why)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_is_for_its_owner_only() {
        let base = tempfile::tempdir().unwrap();
        let dir = open(&base.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.join(STORE), "").unwrap();
        open(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn only_a_state_folder_that_nobody_uses_is_wiped() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path();
        fs::write(dir.join("thesis.tex"), "x").unwrap();
        fs::write(dir.join(STORE), "").unwrap();
        let told = reset(dir, |_| true).unwrap_err().to_string();
        assert!(told.contains("thesis.tex") && dir.join(STORE).exists(), "{told}");
        fs::remove_file(dir.join("thesis.tex")).unwrap();
        fs::create_dir_all(dir.join("pods/x")).unwrap();
        assert!(matches!(reset(dir, |_| false), Err(StateError::Running(_))));
        assert!(dir.join(STORE).exists());
        reset(dir, |_| true).unwrap();
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
        fs::create_dir(dir.join("images")).unwrap();
        assert!(matches!(reset(dir, |_| true), Err(StateError::Stranger { .. })), "images alone may be anybody's");
        reset(&dir.join("nothing"), |_| false).unwrap();
    }
}
