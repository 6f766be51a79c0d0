//! `barman diagnose`.

use super::failure::Failure;
use super::session::Session;
use crate::base::json;
use crate::status;

/// Write everything that helps to find a problem as one JSON document
#[derive(Debug, clap::Args)]
pub(super) struct Diagnose {
    /// Say in which file each value of the configuration was found
    #[arg(long)]
    show_config_source: bool,
}

impl Diagnose {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let config = session.config()?;
        for server in config.servers.values() {
            session.announce(server);
        }
        let document = status::diagnose(config, self.show_config_source)?;
        let text = json::indented(&document).map_err(|error| Failure::exception(error.to_string()))?;
        session.output.document(&text);
        Ok(())
    }
}
