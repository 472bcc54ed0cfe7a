//! The options that `adopt` and `init` share: what becomes of a Deployment as an App.

use clap::Args;

#[derive(Debug, Args)]
pub struct NewAppArgs {
    /// The App's name [default: the Deployment's, without the environment at its end]
    #[arg(long, value_name = "NAME")]
    pub(super) app: Option<String>,
    /// The environment to make of it
    #[arg(long, short, value_name = "NAME", default_value = "prod")]
    pub(super) environment: String,
    /// The Service that its callers use [default: the one that selects its pods]
    #[arg(long, value_name = "NAME")]
    pub(super) service: Option<String>,
    /// Also a gray version beside it, and the gray tasks of the workflow
    #[arg(long)]
    pub(super) add_gray: bool,
    /// The gray environment's name, and its lane tag
    #[arg(
        long,
        value_name = "NAME",
        default_value = "gray",
        requires = "add_gray"
    )]
    pub(super) gray: String,
}

impl NewAppArgs {
    /// Name of the gray environment, if there is to be one.
    pub(super) fn gray(&self) -> Option<&str> {
        self.add_gray.then_some(self.gray.as_str())
    }
}
