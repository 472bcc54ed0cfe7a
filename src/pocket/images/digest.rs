//! Copies a folder and digests it on the way: names, executable bits, link targets and bytes, in the order of
//! names, so that the same content has the same digest everywhere.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

type Failed = (PathBuf, io::Error);

/// The digest in hex of what is now at `to`, which must not be there before.
pub(super) fn copy(from: &Path, to: &Path) -> Result<String, Failed> {
    let mut digest = Sha256::new();
    folder(from, to, &mut digest)?;
    Ok(digest.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

fn folder(from: &Path, to: &Path, digest: &mut Sha256) -> Result<(), Failed> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |why| (path, why)
    };
    fs::create_dir(to).map_err(at(to))?;
    let entries = fs::read_dir(from).and_then(|e| e.collect::<io::Result<Vec<_>>>()).map_err(at(from))?;
    let mut names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).collect();
    names.sort();
    digest.update((names.len() as u64).to_le_bytes());
    for name in names {
        let (source, target) = (from.join(&name), to.join(&name));
        let meta = fs::symlink_metadata(&source).map_err(at(&source))?;
        part(digest, name.as_bytes());
        if meta.is_dir() {
            digest.update(b"d");
            folder(&source, &target, digest)?;
        } else if meta.is_symlink() {
            let points = fs::read_link(&source).map_err(at(&source))?;
            digest.update(b"l");
            part(digest, points.as_os_str().as_bytes());
            symlink(points, &target).map_err(at(&target))?;
        } else if meta.is_file() {
            digest.update(if meta.permissions().mode() & 0o111 == 0 { b"f" } else { b"x" });
            file(&source, &target, digest).map_err(at(&source))?;
            fs::set_permissions(&target, meta.permissions()).map_err(at(&target))?;
        } else {
            return Err((source, io::Error::other("neither a file, a folder nor a link")));
        }
    }
    Ok(())
}

fn part(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

fn file(from: &Path, to: &Path, digest: &mut Sha256) -> io::Result<()> {
    let (mut source, mut target) = (fs::File::open(from)?, fs::File::create_new(to)?);
    let mut of_file = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = source.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        of_file.update(&buffer[..n]);
        target.write_all(&buffer[..n])?;
    }
    // The file's own digest has a fixed length: where it ends cannot be mistaken.
    digest.update(of_file.finalize());
    Ok(())
}
