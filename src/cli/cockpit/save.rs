//! Saves a shown text to a new file that only this user can read. What is there already stays.

use std::{
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::{
    domain::text::Clean,
    ui::{Answer, Fault},
};

/// Saves a text; the answer tells where, or why not.
pub(super) async fn save_text(path: String, text: String) -> Answer {
    let path = expand_home(&path, std::env::var_os("HOME").map(PathBuf::from));
    let shown = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
    let written = tokio::task::spawn_blocking(move || write_new_file(&path, &text)).await;
    match written.unwrap_or_else(|e| Err(io::Error::other(e))) {
        Ok(()) => Answer::Saved(Clean::from_untrusted(&shown.display().to_string())),
        Err(why) => {
            let why = match why.kind() {
                ErrorKind::AlreadyExists => "there is a file already; choose another name".into(),
                ErrorKind::NotFound => "there is no such folder".into(),
                _ => why.to_string(),
            };
            let words = format!("{} was not saved: {why}", shown.display());
            Answer::NotSaved(Fault::new(&words))
        }
    }
}

fn write_new_file(path: &Path, text: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// `~/` is the home folder.
fn expand_home(path: &str, home: Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_new_file_is_ones_own_and_an_old_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs.txt");
        let name = path.display().to_string();
        let answer = save_text(name.clone(), "one\n".into()).await;
        assert_eq!(answer, Answer::Saved(Clean::from(name.as_str())));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let told = |answer| match answer {
            Answer::NotSaved(fault) => fault.text.into_string(),
            other => panic!("{other:?}"),
        };
        let again = told(save_text(name, "two\n".into()).await);
        assert!(again.contains("there is a file already"), "{again}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
        let nowhere = dir.path().join("none/x").display().to_string();
        let nowhere = told(save_text(nowhere, String::new()).await);
        assert!(nowhere.contains("no such folder"), "{nowhere}");
    }

    #[test]
    fn home_is_found_where_it_is_known() {
        let home = || Some(PathBuf::from("/home/mia"));
        assert_eq!(expand_home("~/a.txt", home()), Path::new("/home/mia/a.txt"));
        assert_eq!(expand_home("~/a.txt", None), Path::new("~/a.txt"));
        assert_eq!(expand_home("~mia/a", home()), Path::new("~mia/a"));
    }
}
