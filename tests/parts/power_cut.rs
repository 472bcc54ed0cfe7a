//! What a power cut may make of any file of a state folder: it starts all the same, or tells what to do.

use std::{
    fs,
    path::{Path, PathBuf},
};

use graylane::demo::images::{WORKSPACE, create_missing};
use pocket::{
    images::MANIFEST,
    network::Network,
    serve::{Identity, write_kubeconfig},
};

/// What the disk has kept of a file.
#[derive(Clone, Copy, Debug)]
enum Kept {
    Nothing,
    Zeros,
    Half,
    NotEvenItsName,
}

const ALL: [Kept; 4] = [Kept::Nothing, Kept::Zeros, Kept::Half, Kept::NotEvenItsName];
const OWN: &str = "mine:v1";

/// All of a start but the processes.
async fn start(state: &Path) -> Result<(), String> {
    let server = graylane::embedded::open_api(state).map_err(|e| e.to_string())?;
    let (network, _listener) = Network::claim_for(state).map_err(|e| e.to_string())?;
    let identity =
        Identity::open_or_create(state, network.node_address()).map_err(|e| e.to_string())?;
    write_kubeconfig(state, network, &identity).map_err(|e| e.to_string())?;
    create_missing(state).map_err(|e| e.to_string())?;
    server.close().await;
    Ok(())
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let mut all = vec![];
    files(from, &mut all);
    for file in all {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

fn cut(file: &Path, kept: Kept) {
    let bytes = fs::read(file).unwrap();
    match kept {
        Kept::Nothing => fs::write(file, "").unwrap(),
        Kept::Zeros => fs::write(file, vec![0; bytes.len()]).unwrap(),
        Kept::Half => fs::write(file, &bytes[..bytes.len() / 2]).unwrap(),
        Kept::NotEvenItsName => fs::remove_file(file).unwrap(),
    }
}

#[tokio::test]
async fn whatever_a_cut_leaves_of_any_file_it_starts_or_names_the_remedy() {
    let base = tempfile::tempdir().unwrap();
    let whole = base.path().join("whole");
    fs::create_dir(&whole).unwrap();
    start(&whole).await.unwrap();
    let context = base.path().join("context");
    fs::create_dir(&context).unwrap();
    fs::write(context.join(MANIFEST), "entrypoint: [/bin/true, mine]\n").unwrap();
    let own = graylane::embedded::open_images(&whole)
        .unwrap()
        .build(&context, OWN)
        .unwrap();
    let mut all = vec![];
    files(&whole, &mut all);
    for name in [
        "store.redb",
        "network.json",
        "identity.json",
        "kubeconfig",
        "tags.json",
        "image.yaml",
    ] {
        assert!(all.iter().any(|f| f.ends_with(name)), "{name}: {all:?}");
    }
    for (n, (file, kept)) in all.iter().flat_map(|f| ALL.map(|k| (f, k))).enumerate() {
        let name = file.strip_prefix(&whole).unwrap();
        let case = format!("{} keeps {kept:?}", name.display());
        let state = base.path().join(n.to_string());
        copy(&whole, &state);
        cut(&state.join(name), kept);
        match start(&state).await {
            Ok(()) => {}
            Err(told) if name == Path::new("store.redb") => {
                assert!(
                    told.contains("store.redb") && told.contains("move it away"),
                    "{case}: {told}"
                );
                continue;
            }
            Err(told) => panic!("{case}: {told}"),
        }
        let images = graylane::embedded::open_images(&state).unwrap();
        for letter in ["a", "b", "c"] {
            for version in ["v1", "v2"] {
                images
                    .get(&format!("spring-cloud-{letter}:{version}"))
                    .unwrap_or_else(|e| panic!("{case}: {e}"));
            }
            let folder = state.join(WORKSPACE).join(format!("spring-cloud-{letter}"));
            if let Err(told) = images.build(&folder, "built:v1") {
                // What is half there may be the user's.
                assert!(
                    matches!(kept, Kept::Half) && told.to_string().contains(MANIFEST),
                    "{case}: {told}"
                );
            }
        }
        // The user's own is there, or the remedy is told, and helps.
        match images.get(OWN) {
            Ok(found) => assert_eq!(found.manifest, own.manifest, "{case}"),
            Err(told) => {
                assert!(
                    told.to_string().contains("graylane pocket build"),
                    "{case}: {told}"
                );
                images.build(&context, OWN).unwrap();
                let again = images.get(OWN).unwrap();
                assert_eq!(
                    (again.digest, again.manifest),
                    (own.digest.clone(), own.manifest.clone()),
                    "{case}"
                );
            }
        }
        // And the next start finds nothing to mend.
        start(&state)
            .await
            .unwrap_or_else(|e| panic!("{case}: {e}"));
        fs::remove_dir_all(&state).unwrap();
    }
}
