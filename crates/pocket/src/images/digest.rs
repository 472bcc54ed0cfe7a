//! Copies a folder and computes its digest: names, executable bits, link targets and bytes, sorted
//! by name, so that equal content has the same digest everywhere. The copy is on disk when the
//! function returns.

use std::{
    fs,
    fs::Permissions,
    io,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::durable;

type PathError = (PathBuf, io::Error);

/// Copies `from` to `to`, which must not exist, and returns the digest in hex.
pub(super) fn copy_and_digest(from: &Path, to: &Path) -> Result<String, PathError> {
    let mut digest = Sha256::new();
    copy_folder(from, to, &mut digest)?;
    Ok(digest
        .finalize()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect())
}

/// Whether `dir` contains everything in `folder` unchanged; it may contain more.
pub(super) fn contains_all(dir: &Path, folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (wanted, found) = (entry.path(), dir.join(entry.file_name()));
        let Ok(there) = fs::symlink_metadata(&found) else {
            return Ok(false);
        };
        let kind = entry.file_type()?;
        if kind != there.file_type() {
            return Ok(false);
        }
        let same = if kind.is_dir() {
            contains_all(&found, &wanted)?
        } else if kind.is_symlink() {
            fs::read_link(&found)? == fs::read_link(&wanted)?
        } else {
            same_bytes(&found, &wanted)?
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_bytes(one: &Path, two: &Path) -> io::Result<bool> {
    let (mut one, mut two) = (
        BufReader::new(fs::File::open(one)?),
        BufReader::new(fs::File::open(two)?),
    );
    loop {
        let (a, b) = (one.fill_buf()?, two.fill_buf()?);
        let n = a.len().min(b.len());
        if a[..n] != b[..n] {
            return Ok(false);
        }
        if n == 0 {
            return Ok(a.len() == b.len());
        }
        one.consume(n);
        two.consume(n);
    }
}

fn copy_folder(from: &Path, to: &Path, digest: &mut Sha256) -> Result<(), PathError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |why| (path, why)
    };
    fs::create_dir(to)
        .and_then(|()| fs::set_permissions(to, Permissions::from_mode(0o700)))
        .map_err(at(to))?;
    let entries = fs::read_dir(from)
        .and_then(|e| e.collect::<io::Result<Vec<_>>>())
        .map_err(at(from))?;
    let mut names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).collect();
    names.sort();
    digest.update((names.len() as u64).to_le_bytes());
    for name in names {
        let (source, target) = (from.join(&name), to.join(&name));
        let meta = fs::symlink_metadata(&source).map_err(at(&source))?;
        digest_bytes(digest, name.as_bytes());
        if meta.is_dir() {
            digest.update(b"d");
            copy_folder(&source, &target, digest)?;
        } else if meta.is_symlink() {
            let points = fs::read_link(&source).map_err(at(&source))?;
            digest.update(b"l");
            digest_bytes(digest, points.as_os_str().as_bytes());
            symlink(points, &target).map_err(at(&target))?;
        } else if meta.is_file() {
            let runs = meta.permissions().mode() & 0o111 != 0;
            digest.update(if runs { b"x" } else { b"f" });
            copy_file(&source, &target, runs, digest).map_err(at(&source))?;
        } else {
            return Err((
                source,
                io::Error::other("neither a file, a folder nor a link"),
            ));
        }
    }
    durable::sync_folder(to).map_err(at(to))
}

fn digest_bytes(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

fn copy_file(from: &Path, to: &Path, runs: bool, digest: &mut Sha256) -> io::Result<()> {
    let (mut source, mut target) = (fs::File::open(from)?, durable::create(to)?);
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
    target.set_permissions(Permissions::from_mode(if runs { 0o700 } else { 0o600 }))?;
    target.sync_all()?;
    // A file's own digest has a fixed length, so its end is unambiguous.
    digest.update(of_file.finalize());
    Ok(())
}
