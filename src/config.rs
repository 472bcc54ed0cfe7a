//! The configuration in force: the user's file (TOML or YAML), then the environment, then the
//! command line; the last one wins. An unknown key is an error that names its place.

use std::path::{Path, PathBuf};

use etcetera::{BaseStrategy, choose_base_strategy};
use serde::Deserialize;

/// The user's configuration file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Config {
    /// Acting user in approvals and histories; default: the login name.
    pub user: Option<String>,
    /// State folder of `graylane demo` and of the pocket that commands connect to.
    pub state: Option<PathBuf>,
    /// Context of the kubeconfig to use instead of a pocket.
    pub context: Option<String>,
    /// Namespace of graylane's resources.
    pub namespace: Option<String>,
    /// How probes reach the entry: `entry`, `proxy`, or `proxy=NAMESPACE/SERVICE:PORT`.
    pub via: Option<String>,
    /// A built-in theme, or `NAME` for `themes/NAME.toml` beside the configuration.
    pub theme: Option<String>,
    /// `true`, `256`, `16` or `mono`; default: what the terminal supports.
    pub color: Option<String>,
    /// Draw the cockpit with ASCII characters only.
    pub ascii: bool,
    /// Start the cockpit in read-only mode.
    pub read_only: bool,
    /// Use the mouse in the cockpit.
    pub mouse: bool,
    /// File with key bindings; default: `keys.toml` beside the configuration, if it exists.
    pub keys: Option<PathBuf>,
}

/// Why the configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: {why}", file.display())]
    Read {
        /// Path of the file.
        file: PathBuf,
        /// Cause from the operating system.
        why: std::io::Error,
    },
    /// The file is invalid.
    #[error("{}: {why}", file.display())]
    Parse {
        /// Path of the file.
        file: PathBuf,
        /// Error of the parser, with line and column.
        why: String,
    },
    /// There is no home folder for the state folder.
    #[error("no home folder ({0}); name a state folder with --state")]
    NoHome(String),
}

/// Reads `file`, or the default file if it exists.
pub fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    if let Some(file) = file {
        return read_config(file);
    }
    let Some(folder) = config_folder() else {
        return Ok(Config::default());
    };
    let found = ["config.toml", "config.yaml", "config.yml"].map(|name| folder.join(name));
    found
        .iter()
        .find(|f| f.exists())
        .map_or_else(|| Ok(Config::default()), |f| read_config(f))
}

/// Folder of the user's configuration files.
fn config_folder() -> Option<PathBuf> {
    Some(choose_base_strategy().ok()?.config_dir().join("graylane"))
}

/// File that keeps the namespace last chosen for each cluster; `None` without a home folder.
pub fn namespaces_file() -> Option<PathBuf> {
    let base = choose_base_strategy().ok()?;
    let state = base.state_dir().unwrap_or_else(|| base.data_dir());
    Some(state.join("graylane").join("namespaces.json"))
}

/// The file of the user's own commands, `commands.toml` beside the configuration: its name and its
/// content, if it exists.
pub fn read_commands_file() -> Result<Option<(String, String)>, ConfigError> {
    let Some(file) = config_folder().map(|folder| folder.join("commands.toml")) else {
        return Ok(None);
    };
    let text = read_optional_file(None, |folder| folder.join("commands.toml"))?;
    Ok(text.map(|text| (file.display().to_string(), text)))
}

/// Text of a file. A default file may be missing, a named one may not.
fn read_optional_file(
    named: Option<&Path>,
    usual: impl FnOnce(PathBuf) -> PathBuf,
) -> Result<Option<String>, ConfigError> {
    let file = match (named, config_folder()) {
        (Some(file), _) => file.to_owned(),
        (None, Some(folder)) => usual(folder),
        (None, None) => return Ok(None),
    };
    match std::fs::read_to_string(&file) {
        Err(why) if named.is_none() && why.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read
            .map(Some)
            .map_err(|why| ConfigError::Read { file, why }),
    }
}

fn read_config(file: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|why| ConfigError::Read {
        file: file.into(),
        why,
    })?;
    let parsed = match file.extension().and_then(|e| e.to_str()) {
        Some("yaml" | "yml") if text.trim().is_empty() => Ok(Config::default()),
        Some("yaml" | "yml") => serde_saphyr::from_str(&text).map_err(|e| e.to_string()),
        _ => toml::from_str(&text).map_err(|e| e.to_string()),
    };
    parsed.map_err(|why| ConfigError::Parse {
        file: file.into(),
        why,
    })
}

impl Config {
    /// The configured state folder, else `graylane/demo` in the XDG state folder or its equivalent.
    pub fn state_folder(&self) -> Result<PathBuf, ConfigError> {
        if let Some(dir) = &self.state {
            return Ok(dir.clone());
        }
        let base = choose_base_strategy().map_err(|e| ConfigError::NoHome(e.to_string()))?;
        Ok(base
            .state_dir()
            .unwrap_or_else(|| base.data_dir())
            .join("graylane")
            .join("demo"))
    }

    /// Text of the user's key bindings.
    pub fn keys_text(&self) -> Result<Option<String>, ConfigError> {
        read_optional_file(self.keys.as_deref(), |folder| folder.join("keys.toml"))
    }

    /// Text of the user's theme, if the theme's name is that of a file.
    pub fn theme_text(&self) -> Result<Option<String>, ConfigError> {
        match &self.theme {
            Some(name) if !name.contains('/') => read_optional_file(None, |folder| {
                folder.join("themes").join(format!("{name}.toml"))
            }),
            Some(file) => read_optional_file(Some(Path::new(file)), |folder| folder),
            None => Ok(None),
        }
    }

    /// The acting user: configured, else from the environment, else from passwd(5), else `uid-N`.
    pub fn user_name(&self) -> String {
        let from_env = || {
            ["USER", "LOGNAME"]
                .iter()
                .find_map(|v| std::env::var(v).ok())
                .filter(|u| !u.is_empty())
        };
        let uid = rustix::process::getuid().as_raw();
        let known = || {
            std::fs::read_to_string("/etc/passwd")
                .ok()
                .and_then(|text| parse_user_name(&text, uid))
        };
        self.user
            .clone()
            .or_else(from_env)
            .or_else(known)
            .unwrap_or_else(|| format!("uid-{uid}"))
    }
}

/// Name of a user id in the text of passwd(5).
fn parse_user_name(passwd: &str, uid: u32) -> Option<String> {
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(name: &str, text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        load(Some(&file)).map_err(|e| e.to_string())
    }

    #[test]
    fn a_number_has_its_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(parse_user_name(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(parse_user_name(passwd, 7), None);
    }

    #[test]
    fn toml_and_yaml_say_the_same() {
        let toml = load_text(
            "c.toml",
            "user = 'ann'\nreadOnly = true\nmouse = true\nkeys = '/k'\n",
        )
        .unwrap();
        let yaml = load_text(
            "c.yaml",
            "user: ann\nreadOnly: true\nmouse: true\nkeys: /k\n",
        )
        .unwrap();
        assert_eq!(toml, yaml);
        assert_eq!(toml.user_name(), "ann");
        assert!(toml.read_only && toml.mouse);
        assert_eq!(load_text("c.yaml", ""), load_text("c.toml", ""));
        let told = toml.keys_text().unwrap_err().to_string();
        assert!(told.starts_with("/k: "), "{told}");
    }

    #[test]
    fn an_unknown_key_is_told_with_its_place() {
        let told = load_text("c.toml", "user = 'ann'\nthemee = 'x'\n").unwrap_err();
        assert!(
            told.contains("c.toml") && told.contains("line 2") && told.contains("themee"),
            "{told}"
        );
        let told = load_text("c.yaml", "user: ann\nthemee: x\n").unwrap_err();
        assert!(told.contains("themee") && told.contains('2'), "{told}");
        assert!(
            load(Some(Path::new("/nowhere/c.toml")))
                .unwrap_err()
                .to_string()
                .contains("/nowhere/c.toml")
        );
    }
}
