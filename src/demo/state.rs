//! The state folder: accessible to its owner only, whatever the umask, and checked before it is
//! wiped.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use pocket::durable;

/// A folder with this file is a state folder.
const STORE: &str = "store.redb";
/// Other entries that graylane creates there.
const OTHER_ENTRIES: [&str; 7] = [
    "kubeconfig",
    "images",
    "pods",
    "logs",
    "workspace",
    "network.json",
    "identity.json",
];

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file operation failed.
    #[error("the state folder {}: {why}; name another with --state", dir.display())]
    Io {
        /// Path of the folder.
        dir: PathBuf,
        /// Cause from the operating system.
        why: io::Error,
    },
    /// The folder holds files that are not graylane's.
    #[error("{} is no graylane state folder (it holds {stranger:?}); nothing was deleted", dir.display())]
    NotStateFolder {
        /// Path of the folder.
        dir: PathBuf,
        /// Name of the first such file.
        stranger: String,
    },
    /// Another user could read or change its contents.
    #[error("{}: {why}; name a folder of your own with --state", path.display())]
    Unsafe {
        /// Path of the file or folder concerned.
        path: PathBuf,
        /// What is wrong with its owner or mode.
        why: String,
    },
    /// A pocket runs in this folder.
    #[error("a pocket runs in {}; stop it first, then reset", .0.display())]
    Running(PathBuf),
}

fn io_error(dir: &Path) -> impl FnOnce(io::Error) -> StateError {
    let dir = dir.to_owned();
    move |why| StateError::Io { dir, why }
}

/// Creates the folder with mode 0700 if needed, and returns its absolute path.
pub fn open(dir: &Path) -> Result<PathBuf, StateError> {
    if !dir.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(io_error(dir))?;
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(io_error(dir))?;
    }
    let meta = fs::metadata(dir).map_err(io_error(dir))?;
    check_owner(dir, &meta)?;
    let (mode, strange) = (meta.permissions().mode(), find_foreign_file(dir)?.is_some());
    // A folder that also holds other files (such as a home folder) keeps its mode.
    if mode & 0o077 != 0 && !strange {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(io_error(dir))?;
    } else if mode & 0o022 != 0 && meta.is_dir() {
        let why = format!("other users may write there (mode {:o})", mode & 0o7777);
        return Err(StateError::Unsafe {
            path: dir.into(),
            why,
        });
    }
    for name in OTHER_ENTRIES.iter().chain([&STORE]) {
        let path = dir.join(name);
        match fs::symlink_metadata(&path) {
            Ok(meta) => check_owner(&path, &meta)?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(io_error(&path)(why)),
        }
    }
    let dir = dir.canonicalize().map_err(io_error(dir))?;
    check_parent_folders(&dir)?;
    Ok(dir)
}

/// Fails if another user could rename a parent folder and put another folder in its place.
fn check_parent_folders(dir: &Path) -> Result<(), StateError> {
    let own = rustix::process::geteuid().as_raw();
    for above in dir.ancestors().skip(1) {
        let meta = fs::metadata(above).map_err(io_error(above))?;
        let (owner, mode) = (meta.uid(), meta.permissions().mode());
        let why = if owner != own && owner != 0 && !(owner == NOBODY && is_mapped()) {
            format!(
                "it belongs to user {owner}, who may put another folder in the place of {}",
                dir.display()
            )
        } else if mode & 0o1002 == 0o002 {
            format!(
                "other users may put another folder in the place of {} there (mode {:o})",
                dir.display(),
                mode & 0o7777
            )
        } else {
            continue;
        };
        return Err(StateError::Unsafe {
            path: above.into(),
            why,
        });
    }
    Ok(())
}

/// The uid that the kernel shows for an unmapped user.
const NOBODY: u32 = 65_534;

/// Whether this process runs in a user namespace with mapped uids, where some owners are not shown
/// as who they are.
fn is_mapped() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

fn check_owner(path: &Path, meta: &fs::Metadata) -> Result<(), StateError> {
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() == own {
        return Ok(());
    }
    let why = format!("it belongs to user {}, and you are user {own}", meta.uid());
    Err(StateError::Unsafe {
        path: path.into(),
        why,
    })
}

/// Removes the access of other users that an earlier version, another umask or an editor has given:
/// files get mode 0600 (0700 if executable), folders 0700.
pub fn make_private(dir: &Path) -> Result<(), StateError> {
    for name in OTHER_ENTRIES.iter().chain([&STORE]) {
        make_private_below(&dir.join(name)).map_err(io_error(&dir.join(name)))?;
    }
    Ok(())
}

fn make_private_below(path: &Path) -> io::Result<()> {
    let gone = |why: &io::Error| why.kind() == io::ErrorKind::NotFound;
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(why) if gone(&why) => return Ok(()),
        Err(why) => return Err(why),
    };
    if !meta.is_dir() && !meta.is_file() {
        return Ok(());
    }
    let mode = meta.permissions().mode() & 0o7777;
    let wanted = if meta.is_dir() {
        0o700
    } else {
        (mode & 0o100) | 0o600
    };
    if mode != wanted {
        match fs::set_permissions(path, Permissions::from_mode(wanted)) {
            Err(why) if !gone(&why) => return Err(why),
            _ => {}
        }
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            make_private_below(&entry?.path())?;
        }
    }
    Ok(())
}

/// The first entry that is not graylane's. Without a store, any entry counts.
fn find_foreign_file(dir: &Path) -> Result<Option<String>, StateError> {
    let mut names = vec![];
    for entry in fs::read_dir(dir).map_err(io_error(dir))? {
        names.push(
            entry
                .map_err(io_error(dir))?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    if !names.iter().any(|n| n == STORE) {
        return Ok(names.first().cloned());
    }
    let known = |n: &str| {
        n == STORE
            || OTHER_ENTRIES.contains(&n.strip_suffix(durable::TEMPORARY_SUFFIX).unwrap_or(n))
    };
    Ok(names.iter().find(|n| !known(n)).cloned())
}

/// Deletes what graylane has created in the folder. `is_free` tells whether no pocket runs in it.
pub fn reset(dir: &Path, is_free: impl FnOnce(&Path) -> bool) -> Result<(), StateError> {
    if !dir.exists() {
        return Ok(());
    }
    if let Some(stranger) = find_foreign_file(dir)? {
        return Err(StateError::NotStateFolder {
            dir: dir.into(),
            stranger,
        });
    }
    if dir.join(STORE).exists() && !is_free(dir) {
        return Err(StateError::Running(dir.into()));
    }
    // The store goes last, so that a half-wiped folder is still recognised.
    let unfinished = OTHER_ENTRIES.map(|name| format!("{name}{}", durable::TEMPORARY_SUFFIX));
    for name in OTHER_ENTRIES
        .into_iter()
        .chain(unfinished.iter().map(String::as_str))
        .chain([STORE])
    {
        let path = dir.join(name);
        let gone = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match gone {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(io_error(&path)(why)),
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
        assert_eq!(
            fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
            0o700
        );
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.join(STORE), "").unwrap();
        open(&dir).unwrap();
        assert_eq!(
            fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }

    #[test]
    fn what_others_could_read_is_taken_from_them() {
        let base = tempfile::tempdir().unwrap();
        let dir = open(&base.path().join("s")).unwrap();
        fs::create_dir_all(dir.join("images/x")).unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
        let files = [
            ("images/x/run", 0o4755, 0o700),
            ("images/x/image.yaml", 0o666, 0o600),
            (STORE, 0o440, 0o600),
        ];
        for (name, loose, _) in files {
            fs::write(dir.join(name), "").unwrap();
            fs::set_permissions(dir.join(name), Permissions::from_mode(loose)).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.join("images/link")).unwrap();
        let passwd = mode(Path::new("/etc/passwd"));
        make_private(&dir).unwrap();
        for (name, _, tight) in files {
            assert_eq!(mode(&dir.join(name)), tight, "{name}");
        }
        assert_eq!(
            (mode(&dir.join("images")), mode(&dir.join("images/x"))),
            (0o700, 0o700)
        );
        assert_eq!(
            mode(Path::new("/etc/passwd")),
            passwd,
            "no link is followed"
        );
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("s");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("other"), "").unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
        let told = open(&dir).unwrap_err().to_string();
        assert!(
            told.contains("other users may write there (mode 777)"),
            "{told}"
        );
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        open(&dir).unwrap();
        if rustix::process::geteuid().is_root() {
            let foreign = |path: &Path| std::os::unix::fs::chown(path, Some(12345), None).unwrap();
            fs::write(dir.join("network.json"), "64").unwrap();
            foreign(&dir.join("network.json"));
            let told = open(&dir).unwrap_err().to_string();
            assert!(
                told.contains("network.json") && told.contains("belongs to user 12345"),
                "{told}"
            );
            foreign(&dir);
            assert!(matches!(open(&dir), Err(StateError::Unsafe { path, .. }) if path == dir));
        } else {
            assert!(matches!(
                open(Path::new("/")),
                Err(StateError::Unsafe { .. })
            ));
        }
    }

    #[test]
    fn a_way_on_which_others_may_put_another_folder_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let (above, dir) = (base.path().join("above"), base.path().join("above/s"));
        fs::create_dir(&above).unwrap();
        let loose = |mode| fs::set_permissions(&above, Permissions::from_mode(mode)).unwrap();
        for mode in [0o755, 0o700, 0o775, 0o1777] {
            loose(mode);
            open(&dir).unwrap();
        }
        loose(0o777);
        let told = open(&dir).unwrap_err().to_string();
        assert!(
            told.contains("above: other users may put another folder"),
            "{told}"
        );
        loose(0o755);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&above, Some(12345), None).unwrap();
            let told = open(&dir).unwrap_err().to_string();
            assert!(told.contains("above: it belongs to user 12345"), "{told}");
        }
    }

    #[test]
    fn only_a_state_folder_that_nobody_uses_is_wiped() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path();
        fs::write(dir.join("thesis.tex"), "x").unwrap();
        fs::write(dir.join(STORE), "").unwrap();
        let told = reset(dir, |_| true).unwrap_err().to_string();
        assert!(
            told.contains("thesis.tex") && dir.join(STORE).exists(),
            "{told}"
        );
        fs::remove_file(dir.join("thesis.tex")).unwrap();
        fs::create_dir_all(dir.join("pods/x")).unwrap();
        assert!(matches!(reset(dir, |_| false), Err(StateError::Running(_))));
        assert!(dir.join(STORE).exists());
        reset(dir, |_| true).unwrap();
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
        fs::create_dir(dir.join("images")).unwrap();
        assert!(
            matches!(reset(dir, |_| true), Err(StateError::NotStateFolder { .. })),
            "images alone may be anybody's"
        );
        reset(&dir.join("nothing"), |_| false).unwrap();
    }
}
