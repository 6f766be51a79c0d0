//! `barman diagnose`.

use super::failure::Failure;
use super::session::Session;

/// Write everything that helps to find a problem as one JSON document
#[derive(Debug, clap::Args)]
pub(super) struct Diagnose {
    /// Say in which file each value of the configuration was found
    #[arg(long)]
    show_config_source: bool,
}

impl Diagnose {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("diagnose"))
    }
}
