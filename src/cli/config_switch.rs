//! `barman config-switch`.

use super::addressing;
use super::arguments::ServerArgument;
use super::failure::Failure;
use super::session::Session;
use crate::changes;
use crate::cron::{self, streaming};

/// Apply a model to a server, or take it off
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
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let Some(server) = session.server(&self.server.server_name, addressing::SHOW)? else {
            return Ok(());
        };
        let reporter = session.output.named("barman.config");
        let changed = match (self.reset, self.model_name) {
            (true, _) => {
                changes::reset(server, &reporter)?;
                None
            }
            (false, Some(model)) => {
                let (_, changed) = changes::switch(session.config()?, server, &model, &reporter)?;
                Some(changed)
            }
            (false, None) => {
                return Err(Failure::error(
                    "Either a model name or '--reset' flag need to be given",
                ));
            }
        };
        let config = session.reread()?;
        let now = config.servers.get(&server.name).or(changed.as_ref());
        let program = session.this_program(false)?;
        let context = cron::Context {
            main: &session.main,
            configuration: session.config_path()?,
            program: &program,
        };
        let reporter = session.output.named("barman.server");
        streaming::restart(context, now.unwrap_or(server), &reporter)?;
        Ok(())
    }
}
