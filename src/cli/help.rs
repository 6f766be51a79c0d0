//! `barman help`.

use super::failure::Failure;
use super::session::Session;

/// Show this help
#[derive(Debug, clap::Args)]
pub(super) struct Help {}

impl Help {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.output.plain(&(session.help)(session.program));
        Ok(())
    }
}
