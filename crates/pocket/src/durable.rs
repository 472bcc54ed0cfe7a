//! Files that survive a power cut and are accessible to their owner only.
//!
//! A name never points to content that is not on disk: content is written to a temporary file and
//! synced, then renamed, then the folder is synced. Independent of the umask, files have mode 0600
//! (0700 if executable) and folders 0700.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Suffix of a file that is being written.
pub const TEMPORARY_SUFFIX: &str = ".new";

/// Writes a file atomically: after a power cut, and to concurrent readers, it is either the old or
/// the new one. Only one writer at a time.
pub fn write_atomically(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    let fresh = PathBuf::from(name);
    match fs::remove_file(&fresh) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let mut open = create(&fresh)?;
    open.write_all(bytes)?;
    open.sync_all()?;
    rename(&fresh, file)
}

/// Creates a new file for its owner only; the caller must sync it.
pub fn create(file: &Path) -> io::Result<File> {
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    // The umask may have removed even the owner's permissions.
    open.set_permissions(Permissions::from_mode(0o600))?;
    Ok(open)
}

/// Renames a file; the change is on disk when this returns.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(parent(to))
}

/// Creates a folder and its missing parents; they are on disk when this returns.
pub fn create_folder(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    create_folder(parent(dir))?;
    match DirBuilder::new().mode(0o700).create(dir) {
        // Another process created it first.
        Err(_) if dir.is_dir() => return Ok(()),
        made => made?,
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    sync_folder(parent(dir))
}

/// Syncs a folder: its entries are on disk when this returns.
pub fn sync_folder(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // The filesystem does not support it.
        Err(why)
            if matches!(
                why.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Whether a power cut destroyed the file: content that was not on disk becomes empty or all zeros.
pub fn is_lost(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn whole_and_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        create_folder(&folder).unwrap();
        create_folder(&folder).unwrap();
        assert_eq!((mode(&folder), mode(&dir.path().join("a"))), (0o700, 0o700));
        let file = folder.join("f.json");
        // A leftover from a write that was killed does no harm.
        fs::write(folder.join("f.json.new"), "half").unwrap();
        for text in ["one", "two"] {
            write_atomically(&file, text.as_bytes()).unwrap();
            assert_eq!(
                (fs::read_to_string(&file).unwrap().as_str(), mode(&file)),
                (text, 0o600)
            );
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(write_atomically(&dir.path().join("none/f"), b"").is_err());
    }

    #[test]
    fn lost_is_what_holds_nothing() {
        assert!(is_lost(b"") && is_lost(&[0; 9]));
        assert!(!is_lost(b"x") && !is_lost(b"\0\0x"));
    }
}
