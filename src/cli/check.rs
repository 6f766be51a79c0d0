//! `barman check`.

use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;

/// Check that servers are ready to be backed up
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Answer as a Nagios plugin does
    #[arg(long)]
    pub(super) nagios: bool,
    /// Give the checks of a server this many seconds; 0 means no limit
    #[arg(long, value_name = "TIMEOUT", value_parser = value::non_negative, allow_negative_numbers = true)]
    check_timeout: Option<u32>,
    #[command(flatten)]
    servers: ServersArgument,
}

impl Check {
    pub(super) fn run(self, _session: &Session) -> Result<(), Failure> {
        Err(Failure::later("check"))
    }
}
