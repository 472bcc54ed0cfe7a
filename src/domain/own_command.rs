//! What a user's own command runs: arguments with placeholders for what is selected.
//!
//! Each argument that is written becomes exactly one argument, whatever the values are: no shell
//! reads them.

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectedValue {
    /// Name of the selected App.
    App,
    /// Name of its selected environment.
    Environment,
    /// Namespace of what is selected.
    Namespace,
    /// Context of the kubeconfig where that is.
    Context,
    /// Name of the shown release.
    Release,
    /// Name of the selected pod.
    Pod,
    /// Name of the selected lane.
    Lane,
    /// Name of its lane group, or of that of the selected request.
    Group,
    /// Image of the selected pod's first container.
    Image,
}

impl SelectedValue {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::App,
        Self::Environment,
        Self::Namespace,
        Self::Context,
        Self::Release,
        Self::Pod,
        Self::Lane,
        Self::Group,
        Self::Image,
    ];

    /// The word between the braces.
    pub const fn word(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Environment => "environment",
            Self::Namespace => "namespace",
            Self::Context => "context",
            Self::Release => "release",
            Self::Pod => "pod",
            Self::Lane => "lane",
            Self::Group => "group",
            Self::Image => "image",
        }
    }

    /// Why there is no value.
    pub const fn absence(self) -> &'static str {
        match self {
            Self::App => "no app is selected",
            Self::Environment => "no environment is selected",
            Self::Namespace => "the namespace is not known",
            Self::Context => "this cluster has no context in a kubeconfig",
            Self::Release => "the app has no release",
            Self::Pod | Self::Image => "no pod is selected",
            Self::Lane => "no lane is selected",
            Self::Group => "no lane group is selected",
        }
    }
}

/// Why a command cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateFault {
    /// There is nothing to run.
    #[error("the command names no program")]
    NoProgram,
    /// The program depends on what is selected.
    #[error("the program itself must be fixed: it has a placeholder")]
    ProgramPlaceholder,
    /// No such placeholder.
    #[error("no placeholder {{{0}}}; there are {known} (a brace itself is {{{{)", known = list_words())]
    Unknown(String),
    /// A brace that is not closed.
    #[error("{0:?} opens a brace that is not closed (a brace itself is {{{{)")]
    Open(String),
    /// No program takes such an argument.
    #[error("{0:?} has a NUL character")]
    Nul(String),
}

fn list_words() -> String {
    SelectedValue::ALL
        .map(|value| format!("{{{}}}", value.word()))
        .join(", ")
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(SelectedValue),
}

/// A program and its arguments, with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandTemplate(Vec<Vec<Part>>);

impl CommandTemplate {
    /// Parses a program and its arguments.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, TemplateFault> {
        let args: Vec<Vec<Part>> = texts
            .iter()
            .map(|text| parse_argument(text.as_ref()))
            .collect::<Result<_, _>>()?;
        match args.first().map(Vec::as_slice) {
            None | Some([]) => Err(TemplateFault::NoProgram),
            Some([Part::Text(_)]) => Ok(Self(args)),
            Some(_) => Err(TemplateFault::ProgramPlaceholder),
        }
    }

    /// The program and its arguments with these values; the error is a value that there is not.
    pub fn fill(
        &self,
        value: impl Fn(SelectedValue) -> Option<String>,
    ) -> Result<Vec<String>, SelectedValue> {
        let fill_argument = |parts: &Vec<Part>| {
            let mut argument = String::new();
            for part in parts {
                match part {
                    Part::Text(text) => argument.push_str(text),
                    Part::Value(wanted) => {
                        let found = value(*wanted).filter(|v| !v.is_empty());
                        argument.push_str(&found.ok_or(*wanted)?);
                    }
                }
            }
            Ok(argument)
        };
        self.0.iter().map(fill_argument).collect()
    }

    /// The arguments as they are written, for people.
    pub fn as_written(&self) -> Vec<String> {
        let write_argument = |parts: &Vec<Part>| {
            let written = parts.iter().map(|part| match part {
                Part::Text(text) => text.replace('{', "{{"),
                Part::Value(value) => format!("{{{}}}", value.word()),
            });
            written.collect()
        };
        self.0.iter().map(write_argument).collect()
    }
}

/// `{word}` is a placeholder, `{{` a brace.
fn parse_argument(text: &str) -> Result<Vec<Part>, TemplateFault> {
    if text.contains('\0') {
        return Err(TemplateFault::Nul(text.into()));
    }
    let (mut parts, mut plain, mut rest) = (vec![], String::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        plain.push_str(before);
        if let Some(after) = after.strip_prefix('{') {
            plain.push('{');
            rest = after;
            continue;
        }
        let (word, after) = after
            .split_once('}')
            .ok_or_else(|| TemplateFault::Open(text.into()))?;
        let value = SelectedValue::ALL
            .into_iter()
            .find(|value| value.word() == word)
            .ok_or_else(|| TemplateFault::Unknown(word.into()))?;
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Value(value));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let value =
            |v: SelectedValue| (v != SelectedValue::Pod).then(|| format!("my-{}", v.word()));
        for (written, filled) in [
            ("", Ok("")),
            ("plain $HOME 'x'", Ok("plain $HOME 'x'")),
            ("{app}", Ok("my-app")),
            ("--app={app}/{lane}.", Ok("--app=my-app/my-lane.")),
            ("{{.items}", Ok("{.items}")),
            ("{{{{.x}}", Ok("{{.x}}")),
            ("a}b", Ok("a}b")),
            ("{pod}", Err(SelectedValue::Pod)),
        ] {
            let template = CommandTemplate::parse(&["run", written]).unwrap();
            let expected = filled.map(|text| vec!["run".to_owned(), text.to_owned()]);
            assert_eq!(template.fill(value), expected, "{written}");
            let again = CommandTemplate::parse(&template.as_written());
            assert_eq!(again, Ok(template), "{written}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        use TemplateFault as F;
        for (texts, fault) in [
            (&[][..], F::NoProgram),
            (&["", "x"], F::NoProgram),
            (&["{app}"], F::ProgramPlaceholder),
            (&["run-{app}"], F::ProgramPlaceholder),
            (&["run", "{App}"], F::Unknown("App".into())),
            (&["run", "{}"], F::Unknown(String::new())),
            (&["run", "a{app"], F::Open("a{app".into())),
            (&["run", "a\0"], F::Nul("a\0".into())),
        ] {
            assert_eq!(CommandTemplate::parse(texts), Err(fault), "{texts:?}");
        }
        let told = F::Unknown("node".into()).to_string();
        assert!(
            told.contains("{node}") && told.contains("{app}, {environment}"),
            "{told}"
        );
    }

    proptest! {
        /// Quotes, blanks, dashes, line breaks, braces: nothing splits, joins or is read again.
        #[test]
        fn any_value_is_exactly_one_argument(
            values in prop::collection::vec(any::<String>().prop_filter("a value", |v| !v.is_empty()), 9),
            before in "[^{\0]{0,4}",
            after in "[^{\0]{0,4}",
        ) {
            let written: Vec<String> = std::iter::once("run".to_owned())
                .chain(SelectedValue::ALL.map(|v| format!("{before}{{{}}}{after}", v.word())))
                .collect();
            let template = CommandTemplate::parse(&written).unwrap();
            let value = |v: SelectedValue| {
                let at = SelectedValue::ALL.iter().position(|own| *own == v)?;
                values.get(at).cloned()
            };
            let argv = template.fill(value).unwrap();
            prop_assert_eq!(argv.len(), 10);
            for (argument, value) in argv.iter().skip(1).zip(&values) {
                prop_assert_eq!(argument, &format!("{before}{value}{after}"));
            }
        }

        /// Whatever is written: it is refused, or means the same when written again.
        #[test]
        fn any_argument_is_refused_or_means_one_thing(text in "[{}a-p\\PC]{0,12}") {
            if let Ok(template) = CommandTemplate::parse(&["run", &*text]) {
                prop_assert_eq!(CommandTemplate::parse(&template.as_written()), Ok(template));
            }
        }
    }
}
