//! The images of the demo, and the folders from which its build tasks make new ones.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pocket::{
    durable,
    images::{ImageError, MANIFEST, Manifest},
};

use crate::embedded::{self, HOST};

/// Folder that holds the build contexts.
pub const WORKSPACE: &str = "workspace";

/// Creates images and folders that are missing or damaged by a power cut.
pub fn create_missing(state: &Path) -> Result<(), ImageError> {
    let images = embedded::open_images(state)?;
    let missing = |name: &str| images.get(name).is_err();
    for letter in ["a", "b", "c"] {
        for version in ["v1", "v2"] {
            let name = format!("spring-cloud-{letter}:{version}");
            if missing(&name) {
                images.define(&name, &sample_manifest(letter, version))?;
            }
        }
        create_build_context(state, letter)?;
    }
    if missing("graylane-load:v1") {
        images.define("graylane-load:v1", &graylane_manifest(&["sample", "load"]))?;
    }
    // Contains the path of the state folder, so it is defined anew in case that has moved.
    let mut builder = graylane_manifest(&["pocket", "build"]);
    builder.env = [("GRAYLANE_STATE".to_owned(), path_to_string(state))].into();
    builder.working_dir = Some(path_to_string(&state.join(WORKSPACE)));
    images.define("graylane-builder:v1", &builder).map(drop)
}

/// The folder of a build: change it, start a release, and see the change.
fn create_build_context(state: &Path, letter: &str) -> Result<(), ImageError> {
    let dir = state.join(WORKSPACE).join(format!("spring-cloud-{letter}"));
    let told = |file: &PathBuf| {
        let file = file.clone();
        move |why: io::Error| ImageError::Io { file, why }
    };
    durable::create_folder(&dir).map_err(told(&dir))?;
    let file = dir.join(MANIFEST);
    match fs::read(&file) {
        Ok(bytes) if !durable::is_lost(&bytes) => return Ok(()),
        Ok(_) => {
            tracing::warn!(file = %file.display(), "empty after a power cut: written anew, as it was at first");
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(told(&file)(why)),
    }
    let manifest = serde_saphyr::to_string(&sample_manifest(letter, "dev"));
    let manifest = manifest.map_err(|e| ImageError::Manifest {
        file: file.clone(),
        why: e.to_string(),
    })?;
    let head = "# What a build of this folder runs. Files beside this one are part of the image.\n";
    durable::write_atomically(&file, format!("{head}{manifest}").as_bytes()).map_err(told(&file))
}

fn graylane_manifest(args: &[&str]) -> Manifest {
    let words = [HOST.placeholder].into_iter().chain(args.iter().copied());
    Manifest {
        entrypoint: words.map(str::to_owned).collect(),
        ..Manifest::default()
    }
}

fn sample_manifest(letter: &str, version: &str) -> Manifest {
    let env = [("APP_VERSION".to_owned(), version.to_owned())].into();
    Manifest {
        env,
        ..graylane_manifest(&["sample", letter])
    }
}

fn path_to_string(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_made_of_an_image_or_a_folder_stays() {
        let dir = tempfile::tempdir().unwrap();
        create_missing(dir.path()).unwrap();
        let images = embedded::open_images(dir.path()).unwrap();
        let (v1, v2) = (
            images.get("spring-cloud-a:v1").unwrap(),
            images.get("spring-cloud-a:v2").unwrap(),
        );
        assert_ne!(v1.digest, v2.digest);
        let graylane = Path::new("/usr/bin/graylane");
        assert_eq!(
            v1.entrypoint(HOST.placeholder, graylane),
            ["/usr/bin/graylane", "sample", "a"]
        );
        let builder = images.get("graylane-builder:v1").unwrap();
        assert_eq!(builder.working_dir(), dir.path().join(WORKSPACE));

        images.define("spring-cloud-a:v1", &v2.manifest).unwrap();
        let file = dir
            .path()
            .join(WORKSPACE)
            .join("spring-cloud-b")
            .join(MANIFEST);
        fs::write(&file, "entrypoint: [/bin/mine]\n").unwrap();
        create_missing(dir.path()).unwrap();
        assert_eq!(images.get("spring-cloud-a:v1").unwrap().digest, v2.digest);
        assert!(fs::read_to_string(&file).unwrap().contains("mine"));
        // Building an unchanged folder makes a new image that runs.
        let context = dir.path().join(WORKSPACE).join("spring-cloud-c");
        let built = images.build(&context, "spring-cloud-c:20260101").unwrap();
        assert_eq!(
            built.entrypoint(HOST.placeholder, graylane),
            ["/usr/bin/graylane", "sample", "c"]
        );
    }
}
