//! The image store: an image is a folder with an `image.yaml` (what to run), kept under the digest of its
//! content; `name:tag` is a name for a digest. Any process of the state folder's owner may add to it at any
//! time: a folder appears whole or not at all, names are written under a lock.

mod digest;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The file that makes a folder an image.
pub const MANIFEST: &str = "image.yaml";
/// Stands in an entrypoint for this very program.
pub const GRAYLANE: &str = "$GRAYLANE";

/// What an image says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Program and first arguments; a relative program is one of the image's files.
    pub entrypoint: Vec<String>,
    /// The environment to start from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where it runs; relative to the image's folder, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `sha256:…`.
    pub digest: String,
    /// Its files, for reading only.
    pub dir: PathBuf,
    /// What to run.
    pub manifest: Manifest,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Nothing has that name.
    #[error("there is no image {0} in the store; `graylane pocket images` lists what there is")]
    NotFound(String),
    /// No name.
    #[error("{0:?} is no image name: write name:tag, as in spring-cloud-a:v2")]
    Name(String),
    /// Not a folder with a sound manifest.
    #[error("{}: {why}", file.display())]
    Manifest {
        /// Which file.
        file: PathBuf,
        /// With its line.
        why: String,
    },
    /// The disk says no.
    #[error("{}: {why}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// In words.
        why: io::Error,
    },
}

type Result<T, E = ImageError> = std::result::Result<T, E>;

fn told(file: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let file = file.to_owned();
    move |why| ImageError::Io { file, why }
}

/// The store of a state folder.
#[derive(Clone, Debug)]
pub struct Images {
    dir: PathBuf,
}

impl Images {
    /// The store in `STATE/images`, made when it is not there.
    pub fn of(state: &Path) -> Result<Self> {
        let dir = state.join("images");
        fs::create_dir_all(&dir).map_err(told(&dir))?;
        Ok(Self { dir })
    }

    /// The image of a name (`name:tag`, a missing tag is `latest`) or a digest (`name@sha256:…`, `sha256:…`).
    pub fn get(&self, reference: &str) -> Result<Image> {
        let missing = || ImageError::NotFound(reference.to_owned());
        let digest = match reference.rsplit_once('@').map_or(reference, |(_, digest)| digest) {
            digest if digest.starts_with("sha256:") => digest.to_owned(),
            _ => self.tags()?.remove(&full(reference)?).ok_or_else(missing)?,
        };
        let hex = digest.strip_prefix("sha256:").filter(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit()));
        let dir = self.dir.join(hex.ok_or_else(missing)?);
        if !dir.exists() {
            return Err(missing());
        }
        let manifest = read_manifest(&dir)?;
        Ok(Image { digest, dir, manifest })
    }

    /// Takes a folder in under a name.
    pub fn build(&self, context: &Path, name: &str) -> Result<Image> {
        let name = full(name)?;
        read_manifest(context)?;
        let fresh = self.dir.join(format!(".new-{}", uuid::Uuid::new_v4().simple()));
        let copied = digest::copy(context, &fresh).map_err(|(file, why)| ImageError::Io { file, why });
        let done = copied.and_then(|hex| self.keep(&fresh, &hex).map(|()| format!("sha256:{hex}")));
        if done.is_err() {
            let _ = fs::remove_dir_all(&fresh);
        }
        let digest = done?;
        self.change_tags(|tags| drop(tags.insert(name.clone(), digest.clone())))?;
        self.get(&digest)
    }

    /// Takes an image in that is nothing but its manifest; the same name with the same content changes nothing.
    pub fn define(&self, name: &str, manifest: &Manifest) -> Result<Image> {
        let context = self.dir.join(format!(".def-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&context).map_err(told(&context))?;
        let text = serde_saphyr::to_string(manifest).map_err(|e| ImageError::Name(e.to_string()))?;
        let written = fs::write(context.join(MANIFEST), text).map_err(told(&context));
        let built = written.and_then(|()| self.build(&context, name));
        let _ = fs::remove_dir_all(&context);
        built
    }

    /// Names and digests.
    pub fn tags(&self) -> Result<BTreeMap<String, String>> {
        let file = self.dir.join("tags.json");
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| ImageError::Manifest { file, why: format!("not the names of images: {e}") }),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(why) => Err(told(&file)(why)),
        }
    }

    /// Moves a whole folder to its digest, unless that is there.
    fn keep(&self, fresh: &Path, hex: &str) -> Result<()> {
        let dir = self.dir.join(hex);
        match fs::rename(fresh, &dir) {
            Ok(()) => Ok(()),
            Err(_) if dir.exists() => fs::remove_dir_all(fresh).map_err(told(fresh)),
            Err(why) => Err(told(&dir)(why)),
        }
    }

    fn change_tags(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<()> {
        let lock = self.dir.join("tags.lock");
        let held = fs::File::create(&lock).and_then(|f| f.lock().map(|()| f)).map_err(told(&lock))?;
        let mut tags = self.tags()?;
        let before = tags.clone();
        change(&mut tags);
        if tags != before {
            let (file, fresh) = (self.dir.join("tags.json"), self.dir.join("tags.json.new"));
            fs::write(&fresh, serde_json::to_vec_pretty(&tags).unwrap_or_default()).map_err(told(&fresh))?;
            fs::rename(&fresh, &file).map_err(told(&file))?;
        }
        drop(held);
        Ok(())
    }
}

impl Image {
    /// The command line of the entrypoint: `$GRAYLANE` is `graylane`, files of the image are found.
    pub fn entrypoint(&self, graylane: &Path) -> Vec<String> {
        let text = |p: &Path| p.to_string_lossy().into_owned();
        let mut words: Vec<String> =
            self.manifest.entrypoint.iter().map(|w| w.replace(GRAYLANE, &text(graylane))).collect();
        if let Some(program) = words.first_mut()
            && !program.starts_with('/')
            && self.dir.join(&program).exists()
        {
            *program = text(&self.dir.join(&program));
        }
        words
    }

    /// Where it runs.
    pub fn working_dir(&self) -> PathBuf {
        self.manifest.working_dir.as_ref().map_or_else(|| self.dir.clone(), |d| self.dir.join(d))
    }
}

/// A name with its tag.
fn full(name: &str) -> Result<String> {
    let wrong = || ImageError::Name(name.to_owned());
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':');
    if name.is_empty() || !name.chars().all(good) || name.starts_with([':', '/']) || name.ends_with([':', '/']) {
        return Err(wrong());
    }
    // A colon before a slash is of a registry's port.
    let tagged = name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
    Ok(if tagged { name.to_owned() } else { format!("{name}:latest") })
}

fn read_manifest(dir: &Path) -> Result<Manifest> {
    let file = dir.join(MANIFEST);
    let text = fs::read_to_string(&file).map_err(told(&file))?;
    let wrong = |why: String| ImageError::Manifest { file: file.clone(), why };
    let manifest: Manifest = serde_saphyr::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let Some(program) = manifest.entrypoint.first().filter(|p| !p.is_empty()) else {
        return Err(wrong("entrypoint is empty: name a program".into()));
    };
    let own = dir.join(program);
    if !program.starts_with('/') && program.contains('/') {
        let mode = fs::metadata(&own).map_err(told(&own))?.permissions().mode();
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
        let images = Images::of(dir.path()).unwrap();
        (dir, images)
    }

    fn manifest(program: &str) -> Manifest {
        Manifest { entrypoint: vec![program.into(), "x".into()], ..Manifest::default() }
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
        assert_eq!(images.tags().unwrap().into_keys().collect::<Vec<_>>(), ["a:v1", "b:latest"]);
        let left = fs::read_dir(&images.dir)
            .unwrap()
            .filter(|e| e.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().starts_with('.')));
        assert_eq!(left.count(), 0, "nothing half made is left");
    }

    #[test]
    fn a_folder_is_taken_as_it_is_and_its_files_are_found() {
        let (dir, images) = store();
        let context = dir.path().join("context");
        fs::create_dir_all(context.join("bin")).unwrap();
        fs::write(context.join("bin/run"), "#!/bin/sh\n").unwrap();
        fs::write(context.join(MANIFEST), "entrypoint: [bin/run, $GRAYLANE]\nworkingDir: bin\n").unwrap();
        let told = images.build(&context, "c:1").unwrap_err().to_string();
        assert!(told.contains("bin/run is not executable"), "{told}");
        fs::set_permissions(context.join("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
        let image = images.build(&context, "host:5000/c").unwrap();
        let words = image.entrypoint(Path::new("/g"));
        assert_eq!(words, [image.dir.join("bin/run").to_str().unwrap(), "/g"]);
        assert_eq!(image.working_dir(), image.dir.join("bin"));
        let mode = fs::metadata(image.dir.join("bin/run")).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111);
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
        assert!(images.build(dir.path(), "c:1").unwrap_err().to_string().contains("name a program"));
        fs::write(dir.path().join(MANIFEST), "entrypoint: [x]\nentry: 1\n").unwrap();
        assert!(images.build(dir.path(), "c:1").unwrap_err().to_string().contains("entry"));
        for wrong in ["", ":x", "a b", "a:", "../x\u{0}"] {
            assert!(matches!(images.build(dir.path(), wrong), Err(ImageError::Name(_))), "{wrong:?}");
        }
        assert!(matches!(images.get("nil:1"), Err(ImageError::NotFound(_))));
        assert!(matches!(images.get("sha256:../../etc"), Err(ImageError::NotFound(_))));
    }

    #[test]
    fn many_at_once_lose_no_name() {
        let (_dir, images) = store();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let images = images.clone();
                scope.spawn(move || images.define(&format!("n:{n}"), &manifest("/bin/true")).unwrap());
            }
        });
        assert_eq!(images.tags().unwrap().len(), 8);
    }
}
