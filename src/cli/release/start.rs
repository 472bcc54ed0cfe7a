//! `release start APP… --stage STAGE [--image backend=REF]`.

use std::collections::BTreeMap;

use clap::Args;
use color_eyre::eyre::Result;

use crate::{
    cli::{
        output::Format,
        session::{Session, usage_error},
    },
    domain::intent::Intent,
};

#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// The Apps; several make a window, whose lane opens when all of them are ready
    #[arg(required = true, value_name = "APP")]
    apps: Vec<String>,
    /// The stage of its workflow
    #[arg(long, short)]
    stage: String,
    /// An existing image instead of a build, as NAME=REF, or APP/NAME=REF for one of several apps;
    /// may be repeated
    #[arg(long, short, value_name = "NAME=REF")]
    image: Vec<String>,
    /// Why
    #[arg(long, short)]
    comment: Option<String>,
    /// The window it belongs to
    #[arg(long, value_name = "NAME")]
    window: Option<String>,
    /// How to print what was started [default: its name]
    #[arg(long, short, default_value = "name")]
    output: Format,
}

impl StartArgs {
    /// The intent of this command.
    pub(super) fn into_intent(self) -> Result<Intent> {
        let images = parse_images(&self.apps, &self.image)?;
        let Self {
            apps,
            stage,
            comment,
            window,
            ..
        } = self;
        Ok(Intent::StartRelease {
            apps,
            stage,
            images,
            comment,
            window,
        })
    }
}

pub(super) async fn start_release(session: &Session, args: StartArgs) -> Result<()> {
    let output = args.output;
    session.perform(args.into_intent()?, output).await.map(drop)
}

/// Image references by App and image name.
fn parse_images(
    apps: &[String],
    texts: &[String],
) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut images: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for text in texts {
        let wrong = || {
            usage_error(format!(
                "--image {text}: write NAME=REF, as in backend=spring-cloud-a:v2"
            ))
        };
        let (left, reference) = text.split_once('=').ok_or_else(wrong)?;
        let (app, name) = match (left.split_once('/'), apps) {
            (Some((app, name)), _) => (app, name),
            (None, [app]) => (app.as_str(), left),
            (None, _) => {
                return Err(usage_error(format!(
                    "--image {text}: of which app? Write APP/{text}"
                )));
            }
        };
        if app.is_empty() || name.is_empty() || reference.is_empty() {
            return Err(wrong());
        }
        if !apps.iter().any(|a| a == app) {
            return Err(usage_error(format!(
                "--image {text}: {app} is not being released"
            )));
        }
        images
            .entry(app.into())
            .or_default()
            .insert(name.into(), reference.into());
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_of_the_only_app_or_name_theirs() {
        let one = ["a".to_owned()];
        let two = ["a".to_owned(), "c".to_owned()];
        let texts = |t: &[&str]| t.iter().map(ToString::to_string).collect::<Vec<_>>();
        let read = parse_images(&one, &texts(&["backend=r/x:1"])).unwrap();
        assert_eq!(read["a"]["backend"], "r/x:1");
        let read = parse_images(&two, &texts(&["a/backend=x:1", "c/backend=y:1"])).unwrap();
        assert_eq!(read["c"]["backend"], "y:1");
        for wrong in ["backend=x", "b/backend=x", "a/=x", "a/backend=", "nothing"] {
            assert!(parse_images(&two, &texts(&[wrong])).is_err(), "{wrong}");
        }
    }
}
