//! `barman config-switch`: arguments only in this version.

use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;

/// Apply a model to a server, or take it off (not in this version)
#[derive(Debug, clap::Args)]
pub(super) struct ConfigSwitch {
    /// Take the active model off
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    server: ServerArgument,
    /// The model
    #[arg(value_name = "model_name")]
    model_name: Option<String>,
}

impl ConfigSwitch {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("config-switch"))
    }
}
