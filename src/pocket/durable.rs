//! Files that survive a power cut, for their owner only.
//!
//! A name never points to content that is not on disk: content is written beside it and synced, then renamed, then the
//! folder is synced. Whatever the umask: files are 0600 (0700 where they can be run), folders 0700.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Stands at the end of the name of a file that is being written.
pub const UNFINISHED: &str = ".new";

/// Writes a file: after a cut, and to whoever reads meanwhile, it is the old one or the new one. One writer at a time.
pub fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(UNFINISHED);
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

/// Makes a file that is not there yet, for its owner only; whoever writes it syncs it.
pub fn create(file: &Path) -> io::Result<File> {
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    // The umask may have taken even the owner's rights.
    open.set_permissions(Permissions::from_mode(0o600))?;
    Ok(open)
}

/// Renames; on disk when it returns.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(parent(to))
}

/// Makes a folder and what is missing above it; on disk when it returns.
pub fn create_folder(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    create_folder(parent(dir))?;
    match DirBuilder::new().mode(0o700).create(dir) {
        // Somebody else was quicker.
        Err(_) if dir.is_dir() => return Ok(()),
        made => made?,
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    sync_folder(parent(dir))
}

/// The names in a folder are on disk when it returns.
pub fn sync_folder(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // A filesystem that cannot do so.
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

/// What a power cut makes of a file whose content was not on disk: nothing, or only zeros.
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
        // What a kill has left in the middle of writing is in nobody's way.
        fs::write(folder.join("f.json.new"), "half").unwrap();
        for text in ["one", "two"] {
            write(&file, text.as_bytes()).unwrap();
            assert_eq!(
                (fs::read_to_string(&file).unwrap().as_str(), mode(&file)),
                (text, 0o600)
            );
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(write(&dir.path().join("none/f"), b"").is_err());
    }

    #[test]
    fn lost_is_what_holds_nothing() {
        assert!(is_lost(b"") && is_lost(&[0; 9]));
        assert!(!is_lost(b"x") && !is_lost(b"\0\0x"));
    }
}
