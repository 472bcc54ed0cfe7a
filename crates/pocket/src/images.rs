//! The image store. An image is a folder with an `image.yaml` (what to run), stored under the
//! digest of its content; `name:tag` refers to a digest.
//!
//! Any process of the state folder's owner may add images at any time: a folder appears completely
//! or not at all, even after a power cut, and names are written under a lock. An image that is
//! damaged on disk is reported by its name, and restored by the next build or definition of the
//! same content.

mod digest;
pub(crate) mod unused;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::durable;

/// File that makes a folder an image.
pub const MANIFEST: &str = "image.yaml";
/// Name prefixes of temporary folders: images that are being created or removed.
const TEMPORARY_PREFIXES: [&str; 3] = [".new-", ".def-", ".damaged-"];
/// Age at which a temporary folder counts as abandoned; no build takes this long.
const ABANDONED_AFTER: Duration = Duration::from_hours(24);
/// Minimum age of a name given by a build before it may be removed as unused.
const UNUSED_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// File of names with their digests.
const TAGS_FILE: &str = "tags.json";
/// File of names given by builds of releases, each with the time of its last build.
const BUILT_FILE: &str = "built.json";

/// How images name the program that uses this crate, and how it is told of in errors.
#[derive(Clone, Copy, Debug)]
pub struct HostProgram {
    /// Stands for the program's path in entrypoints.
    pub placeholder: &'static str,
    /// Its commands for images.
    pub commands: Option<ImageCommands>,
}

impl Default for HostProgram {
    /// `$PROGRAM`, and no commands.
    fn default() -> Self {
        Self {
            placeholder: "$PROGRAM",
            commands: None,
        }
    }
}

/// Commands that a user is told to run.
#[derive(Clone, Copy, Debug)]
pub struct ImageCommands {
    /// Lists the images.
    pub list: &'static str,
    /// Builds one, with placeholders for its folder and its name.
    pub build: &'static str,
}

impl ImageCommands {
    fn advise_missing(commands: Option<Self>) -> String {
        commands.map_or_else(String::new, |Self { list, build }| {
            format!("; `{list}` lists what there is, `{build}` makes one")
        })
    }

    fn advise_damaged(commands: Option<Self>) -> String {
        commands.map_or_else(String::new, |Self { build, .. }| {
            format!("; make it anew: `{build}`")
        })
    }
}

/// Content of an `image.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Program and first arguments; a relative program is a file of the image.
    pub entrypoint: Vec<String>,
    /// Initial environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory, relative to the image's folder (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
}

/// An image in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Digest of the content, `sha256:…`.
    pub digest: String,
    /// Folder of the image's files; read only.
    pub dir: PathBuf,
    /// What to run.
    pub manifest: Manifest,
}

/// Why an image cannot be used or stored.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No image has this name.
    #[error("there is no image {name} in the store{}", ImageCommands::advise_missing(*.commands))]
    NotFound {
        /// The name.
        name: String,
        /// Commands to run.
        commands: Option<ImageCommands>,
    },
    /// The image exists but is damaged.
    #[error(
        "the image {name} is damaged ({}: {why}){}",
        dir.display(),
        ImageCommands::advise_damaged(*.commands)
    )]
    Damaged {
        /// Name of the image.
        name: String,
        /// Folder of the image.
        dir: PathBuf,
        /// What is damaged.
        why: String,
        /// Commands to run.
        commands: Option<ImageCommands>,
    },
    /// The name is not valid.
    #[error("{0:?} is no image name: write name:tag, as in spring-cloud-a:v2")]
    Name(String),
    /// The folder has no valid manifest.
    #[error("{}: {why}", file.display())]
    Manifest {
        /// File with the problem.
        file: PathBuf,
        /// Description of the problem, with its line.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {why}", file.display())]
    Io {
        /// File that the operation failed on.
        file: PathBuf,
        /// Error of the operating system.
        why: io::Error,
    },
}

type Result<T, E = ImageError> = std::result::Result<T, E>;

fn io_error(file: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let file = file.to_owned();
    move |why| ImageError::Io { file, why }
}

/// Image store of a state folder.
#[derive(Clone, Debug)]
pub struct Images {
    dir: PathBuf,
    host: HostProgram,
}

impl Images {
    /// Opens the store in `STATE/images`, and creates it if it does not exist.
    pub fn open_in(state: &Path) -> Result<Self> {
        Self::open_for(state, HostProgram::default())
    }

    /// Like [`Self::open_in`], for a program that names itself in images.
    pub fn open_for(state: &Path, host: HostProgram) -> Result<Self> {
        let dir = state.join("images");
        durable::create_folder(&dir).map_err(io_error(&dir))?;
        let images = Self { dir, host };
        images.remove_abandoned();
        if images
            .tags()
            .is_err_and(|e| matches!(e, ImageError::Manifest { .. }))
        {
            images.put_damaged_names_aside()?;
        }
        Ok(images)
    }

    /// Removes temporary folders of builds that were killed; running builds are younger.
    fn remove_abandoned(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let unfinished = entry
                .file_name()
                .to_str()
                .is_some_and(|n| TEMPORARY_PREFIXES.iter().any(|u| n.starts_with(u)));
            let age = entry
                .metadata()
                .and_then(|m| m.modified())
                .ok()
                .and_then(|t| t.elapsed().ok());
            if unfinished && age.is_some_and(|age| age > ABANDONED_AFTER) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Moves a damaged names file aside. The images stay available by digest, and names can be
    /// given again.
    fn put_damaged_names_aside(&self) -> Result<()> {
        let held = self.lock_tags()?;
        if let Err(why @ ImageError::Manifest { .. }) = self.tags() {
            let (file, aside) = (self.dir.join(TAGS_FILE), self.dir.join("tags.json.damaged"));
            durable::rename(&file, &aside).map_err(io_error(&aside))?;
            tracing::warn!(%why, aside = %aside.display(),
                "the names of the images are lost: build them again");
        }
        drop(held);
        Ok(())
    }

    /// Finds an image by name (`name:tag`; the tag defaults to `latest`) or by digest
    /// (`name@sha256:…`, `sha256:…`).
    pub fn get(&self, reference: &str) -> Result<Image> {
        let missing = || ImageError::NotFound {
            name: reference.to_owned(),
            commands: self.host.commands,
        };
        let digest = match reference
            .rsplit_once('@')
            .map_or(reference, |(_, digest)| digest)
        {
            digest if digest.starts_with("sha256:") => digest.to_owned(),
            _ => self
                .tags()?
                .remove(&full_name(reference)?)
                .ok_or_else(missing)?,
        };
        let hex = digest
            .strip_prefix("sha256:")
            .filter(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit()));
        let dir = self.dir.join(hex.ok_or_else(missing)?);
        if !dir.exists() {
            return Err(missing());
        }
        let manifest =
            read_manifest(&dir).map_err(|e| self.damaged_error(reference, &dir, e.to_string()))?;
        Ok(Image {
            digest,
            dir,
            manifest,
        })
    }

    /// Stores a folder as an image under a name, which stays until it is given to another image.
    pub fn build(&self, context: &Path, name: &str) -> Result<Image> {
        self.store_image(context, name, None)
    }

    /// Like [`Images::build`], for the build of a release: every build uses a new name, which is
    /// removed when nothing uses it any more.
    pub fn build_for_release(&self, context: &Path, name: &str) -> Result<Image> {
        self.store_image(context, name, Some(Timestamp::now()))
    }

    fn store_image(
        &self,
        context: &Path,
        name: &str,
        for_release: Option<Timestamp>,
    ) -> Result<Image> {
        let name = full_name(name)?;
        read_manifest(context)?;
        let fresh = self
            .dir
            .join(format!(".new-{}", uuid::Uuid::new_v4().simple()));
        let copied = digest::copy_and_digest(context, &fresh)
            .map_err(|(file, why)| ImageError::Io { file, why });
        // Folders and names change under one lock, so no other process removes the folder before it
        // gets its name.
        let held = self.lock_tags()?;
        let done = copied.and_then(|hex| {
            self.move_to_digest(&fresh, &hex)
                .map(|()| format!("sha256:{hex}"))
        });
        if done.is_err() {
            let _ = fs::remove_dir_all(&fresh);
        }
        let digest = done?;
        let mut built = self.read_built();
        let same = match for_release {
            Some(at) => built.insert(name.clone(), at.as_second()) == Some(at.as_second()),
            None => built.remove(&name).is_none(),
        };
        if !same {
            self.write_json(BUILT_FILE, &built)?;
        }
        let mut tags = self.tags()?;
        if tags.insert(name, digest.clone()).as_ref() != Some(&digest) {
            self.write_json(TAGS_FILE, &tags)?;
        }
        drop(held);
        self.get(&digest)
    }

    /// Names given by builds of releases, with the time of the last build in seconds since 1970.
    /// Empty if the file cannot be read; then all names stay.
    fn read_built(&self) -> BTreeMap<String, i64> {
        let bytes = fs::read(self.dir.join(BUILT_FILE)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Removes names given by builds of releases that nothing uses any more, and the images that
    /// have no name left. `used` returns which of the given names and digests are in use. Returns
    /// the removed names.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, written or removed.
    pub fn forget_unused(
        &self,
        used: impl Fn(&[String]) -> BTreeSet<String>,
        now: Timestamp,
    ) -> Result<Vec<String>> {
        if self.read_built().is_empty() {
            return Ok(vec![]);
        }
        let held = self.lock_tags()?;
        let (mut built, mut tags) = (self.read_built(), self.tags()?);
        let old = |at: &i64| {
            Timestamp::from_second(*at).is_ok_and(|at| now.duration_since(at) > UNUSED_AFTER)
        };
        let mut gone: Vec<String> = built
            .iter()
            .filter(|(_, at)| old(at))
            .map(|(name, _)| name.clone())
            .collect();
        let digests = gone.iter().filter_map(|name| tags.get(name).cloned());
        let asked: Vec<String> = gone.iter().cloned().chain(digests).collect();
        let used = used(&asked);
        gone.retain(|name| !used.contains(name));
        let mut nameless: Vec<String> = gone.iter().filter_map(|name| tags.remove(name)).collect();
        built.retain(|name, _| !gone.contains(name));
        if !gone.is_empty() {
            self.write_json(TAGS_FILE, &tags)?;
            self.write_json(BUILT_FILE, &built)?;
        }
        // After the names, so that no name refers to a missing folder.
        nameless
            .retain(|digest| !used.contains(digest) && !tags.values().any(|named| named == digest));
        for hex in nameless
            .iter()
            .filter_map(|digest| digest.strip_prefix("sha256:"))
        {
            let aside = self
                .dir
                .join(format!(".damaged-{}", uuid::Uuid::new_v4().simple()));
            if fs::rename(self.dir.join(hex), &aside).is_ok() {
                fs::remove_dir_all(&aside).map_err(io_error(&aside))?;
            }
        }
        drop(held);
        Ok(gone)
    }

    fn write_json<T: Serialize>(&self, name: &str, what: &T) -> Result<()> {
        let file = self.dir.join(name);
        durable::write_atomically(&file, &serde_json::to_vec_pretty(what).unwrap_or_default())
            .map_err(io_error(&file))
    }

    /// Stores an image that consists of a manifest only; does nothing if the name already has this
    /// content.
    pub fn define(&self, name: &str, manifest: &Manifest) -> Result<Image> {
        if let Ok(image) = self.get(name)
            && image.manifest == *manifest
            && fs::read_dir(&image.dir).is_ok_and(|files| files.count() == 1)
        {
            return Ok(image);
        }
        let context = self
            .dir
            .join(format!(".def-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&context).map_err(io_error(&context))?;
        let text =
            serde_saphyr::to_string(manifest).map_err(|e| ImageError::Name(e.to_string()))?;
        let written = fs::write(context.join(MANIFEST), text).map_err(io_error(&context));
        let built = written.and_then(|()| self.build(&context, name));
        let _ = fs::remove_dir_all(&context);
        built
    }

    /// Returns all names with their digests.
    pub fn tags(&self) -> Result<BTreeMap<String, String>> {
        let file = self.dir.join(TAGS_FILE);
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| ImageError::Manifest {
                file,
                why: format!("not the names of images: {e}"),
            }),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(why) => Err(io_error(&file)(why)),
        }
    }

    /// Moves a complete folder to the path of its digest unless that exists. Files that a program
    /// added to an existing image are no damage; a changed or missing file is.
    fn move_to_digest(&self, fresh: &Path, hex: &str) -> Result<()> {
        let dir = self.dir.join(hex);
        if digest::contains_all(&dir, fresh).map_err(io_error(&dir))? {
            return fs::remove_dir_all(fresh).map_err(io_error(fresh));
        }
        if dir.exists() {
            let aside = self
                .dir
                .join(format!(".damaged-{}", uuid::Uuid::new_v4().simple()));
            fs::rename(&dir, &aside).map_err(io_error(&dir))?;
            fs::remove_dir_all(&aside).map_err(io_error(&aside))?;
        }
        match durable::rename(fresh, &dir) {
            Ok(()) => Ok(()),
            // Another process was faster.
            Err(_) if dir.exists() => fs::remove_dir_all(fresh).map_err(io_error(fresh)),
            Err(why) => Err(io_error(&dir)(why)),
        }
    }

    fn lock_tags(&self) -> Result<fs::File> {
        let file = self.dir.join("tags.lock");
        let open = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file);
        open.and_then(|f| f.lock().map(|()| f))
            .map_err(io_error(&file))
    }

    fn damaged_error(&self, name: &str, dir: &Path, why: String) -> ImageError {
        ImageError::Damaged {
            name: name.to_owned(),
            dir: dir.to_owned(),
            why,
            commands: self.host.commands,
        }
    }
}

impl Image {
    /// Returns the command line of the entrypoint, with the placeholder replaced by `program` and the
    /// image's own program resolved to its path.
    pub fn entrypoint(&self, placeholder: &str, program: &Path) -> Vec<String> {
        let text = |p: &Path| p.to_string_lossy().into_owned();
        let mut words: Vec<String> = self
            .manifest
            .entrypoint
            .iter()
            .map(|w| w.replace(placeholder, &text(program)))
            .collect();
        if let Some(program) = words.first_mut()
            && !program.starts_with('/')
            && self.dir.join(&program).exists()
        {
            *program = text(&self.dir.join(&program));
        }
        words
    }

    /// Returns the working directory.
    pub fn working_dir(&self) -> PathBuf {
        self.manifest
            .working_dir
            .as_ref()
            .map_or_else(|| self.dir.clone(), |d| self.dir.join(d))
    }
}

/// Completes a name with its tag.
fn full_name(name: &str) -> Result<String> {
    let wrong = || ImageError::Name(name.to_owned());
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':');
    if name.is_empty()
        || !name.chars().all(good)
        || name.starts_with([':', '/'])
        || name.ends_with([':', '/'])
    {
        return Err(wrong());
    }
    // A colon before a slash belongs to a registry's port.
    let tagged = name
        .rsplit_once(':')
        .is_some_and(|(_, tag)| !tag.contains('/'));
    Ok(if tagged {
        name.to_owned()
    } else {
        format!("{name}:latest")
    })
}

fn read_manifest(dir: &Path) -> Result<Manifest> {
    let file = dir.join(MANIFEST);
    let text = fs::read_to_string(&file).map_err(io_error(&file))?;
    let wrong = |why: String| ImageError::Manifest {
        file: file.clone(),
        why,
    };
    let manifest: Manifest = serde_saphyr::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let Some(program) = manifest.entrypoint.first().filter(|p| !p.is_empty()) else {
        return Err(wrong("entrypoint is empty: name a program".into()));
    };
    let own = dir.join(program);
    if !program.starts_with('/') && program.contains('/') {
        let mode = fs::metadata(&own)
            .map_err(io_error(&own))?
            .permissions()
            .mode();
        if mode & 0o111 == 0 {
            return Err(wrong(format!("entrypoint {program} is not executable")));
        }
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Images) {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open_in(dir.path()).unwrap();
        (dir, images)
    }

    fn manifest(program: &str) -> Manifest {
        Manifest {
            entrypoint: vec![program.into(), "x".into()],
            ..Manifest::default()
        }
    }

    #[test]
    fn the_same_content_is_the_same_image_and_names_move() {
        let (_dir, images) = store();
        let one = images.define("a:v1", &manifest("/bin/true")).unwrap();
        let same = images.define("b", &manifest("/bin/true")).unwrap();
        assert_eq!(one, same);
        let other = images.define("a:v1", &manifest("/bin/false")).unwrap();
        assert_ne!(other.digest, one.digest);
        assert_eq!(images.get("a:v1").unwrap(), other);
        assert_eq!(images.get(&format!("a@{}", one.digest)).unwrap(), one);
        assert_eq!(
            images.tags().unwrap().into_keys().collect::<Vec<_>>(),
            ["a:v1", "b:latest"]
        );
        let left = fs::read_dir(&images.dir).unwrap().filter(|e| {
            e.as_ref()
                .is_ok_and(|e| e.file_name().to_string_lossy().starts_with('.'))
        });
        assert_eq!(left.count(), 0, "nothing half made is left");
    }

    #[test]
    fn what_a_killed_build_has_left_goes_and_what_is_being_built_stays() {
        let (dir, images) = store();
        for name in [".new-old", ".def-old", ".damaged-old", ".new-young"] {
            fs::create_dir(images.dir.join(name)).unwrap();
            if name.ends_with("old") {
                let long_ago = std::time::SystemTime::now() - 2 * ABANDONED_AFTER;
                fs::File::open(images.dir.join(name))
                    .unwrap()
                    .set_modified(long_ago)
                    .unwrap();
            }
        }
        let images = Images::open_in(dir.path()).unwrap();
        let left: Vec<_> = fs::read_dir(&images.dir)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, [".new-young"]);
    }

    #[test]
    fn a_folder_is_taken_as_it_is_and_its_files_are_found() {
        let (dir, images) = store();
        let context = dir.path().join("context");
        fs::create_dir_all(context.join("bin")).unwrap();
        fs::write(context.join("bin/run"), "#!/bin/sh\n").unwrap();
        fs::write(
            context.join(MANIFEST),
            "entrypoint: [bin/run, $PROGRAM]\nworkingDir: bin\n",
        )
        .unwrap();
        let told = images.build(&context, "c:1").unwrap_err().to_string();
        assert!(told.contains("bin/run is not executable"), "{told}");
        fs::set_permissions(context.join("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
        let image = images.build(&context, "host:5000/c").unwrap();
        let words = image.entrypoint("$PROGRAM", Path::new("/g"));
        assert_eq!(words, [image.dir.join("bin/run").to_str().unwrap(), "/g"]);
        assert_eq!(image.working_dir(), image.dir.join("bin"));
        let mode = fs::metadata(image.dir.join("bin/run"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700, "it runs, for its owner");
        fs::write(context.join("bin/more"), "").unwrap();
        assert_ne!(images.build(&context, "c:2").unwrap().digest, image.digest);
        assert_eq!(images.get("host:5000/c:latest").unwrap(), image);
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place() {
        let (dir, images) = store();
        let told = images.build(dir.path(), "c:1").unwrap_err().to_string();
        assert!(told.contains(MANIFEST), "{told}");
        fs::write(dir.path().join(MANIFEST), "entrypoint: []\n").unwrap();
        assert!(
            images
                .build(dir.path(), "c:1")
                .unwrap_err()
                .to_string()
                .contains("name a program")
        );
        fs::write(dir.path().join(MANIFEST), "entrypoint: [x]\nentry: 1\n").unwrap();
        assert!(
            images
                .build(dir.path(), "c:1")
                .unwrap_err()
                .to_string()
                .contains("entry")
        );
        for wrong in ["", ":x", "a b", "a:", "../x\u{0}"] {
            assert!(
                matches!(images.build(dir.path(), wrong), Err(ImageError::Name(_))),
                "{wrong:?}"
            );
        }
        assert!(matches!(
            images.get("nil:1"),
            Err(ImageError::NotFound { .. })
        ));
        assert!(matches!(
            images.get("sha256:../../etc"),
            Err(ImageError::NotFound { .. })
        ));
    }

    #[test]
    fn what_a_release_built_goes_when_nothing_names_it_and_what_a_person_built_never() {
        let (dir, images) = store();
        let context = |text: &str| {
            let context = dir.path().join(format!("context-{text}"));
            fs::create_dir_all(&context).unwrap();
            fs::write(
                context.join(MANIFEST),
                format!("entrypoint: [/bin/true, {text}]\n"),
            )
            .unwrap();
            context
        };
        images.build(&context("mine"), "a:mine").unwrap();
        let shared = images.build_for_release(&context("mine"), "a:1").unwrap();
        let lost = images.build_for_release(&context("two"), "a:2").unwrap();
        images.build_for_release(&context("three"), "a:3").unwrap();
        images.build_for_release(&context("four"), "a:4").unwrap();
        images.build_for_release(&context("five"), "a:5").unwrap();
        // A person built it again, so it is kept.
        images.build(&context("five"), "a:5").unwrap();
        let running = images.get("a:4").unwrap();
        let used = |_: &[String]| BTreeSet::from(["a:3".to_owned(), running.digest.clone()]);
        assert_eq!(
            images.forget_unused(used, Timestamp::now()).unwrap(),
            [] as [&str; 0],
            "too young"
        );
        let later = Timestamp::now() + SignedDuration::from_hours(1);
        assert_eq!(
            images.forget_unused(used, later).unwrap(),
            ["a:1", "a:2", "a:4"]
        );
        assert_eq!(
            images.tags().unwrap().into_keys().collect::<Vec<_>>(),
            ["a:3", "a:5", "a:mine"]
        );
        assert!(!lost.dir.exists() && shared.dir.exists() && running.dir.exists());
        assert_eq!(images.forget_unused(used, later).unwrap(), [] as [&str; 0]);
        let aside = fs::read_dir(&images.dir).unwrap().filter(|e| {
            e.as_ref()
                .is_ok_and(|e| e.file_name().to_string_lossy().starts_with('.'))
        });
        assert_eq!(aside.count(), 0);
    }

    #[test]
    fn many_at_once_lose_no_name() {
        let (_dir, images) = store();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let images = images.clone();
                scope.spawn(move || {
                    images
                        .define(&format!("n:{n}"), &manifest("/bin/true"))
                        .unwrap()
                });
            }
        });
        assert_eq!(images.tags().unwrap().len(), 8);
    }
}
