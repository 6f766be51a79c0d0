//! `barman config-update`.

use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::changes::{self, ChangeError, Queue};
use crate::cron::{self, streaming};

/// Change options of servers and models in the configuration files
#[derive(Debug, clap::Args)]
pub(super) struct ConfigUpdate {
    /// The changes, as a JSON list of objects: {"scope": "server", "server_name": NAME, OPTION: VALUE, ...} or {"scope":
    /// "model", "model_name": NAME, OPTION: VALUE, ...}
    #[arg(value_name = "json_changes")]
    json_changes: String,
}

impl ConfigUpdate {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let config = session.config()?;
        let requested = changes::requested(&self.json_changes, config)?;
        let reporter = session.output.named("barman.config");
        let applied = Queue::of(&session.main).update(requested, config, &reporter)?;
        restart_streaming(session, &applied.sections)?;
        match applied.stuck {
            Some(stuck) => Err(stuck.into()),
            None => Ok(()),
        }
    }
}

/// Has WAL of the servers that were changed received as they are now.
fn restart_streaming(session: &Session, sections: &[String]) -> Result<(), Failure> {
    if sections.is_empty() {
        return Ok(());
    }
    let config = session.reread()?;
    let program = session.this_program(false)?;
    let context = cron::Context {
        main: &config.main,
        configuration: &config.path,
        program: &program,
    };
    let reporter = session.output.named("barman.server");
    for server in sections.iter().filter_map(|name| config.servers.get(name)) {
        if !server.active {
            reporter.info(&format!("Skipping inactive server '{}'", server.name));
            continue;
        }
        streaming::restart(context, server, &reporter)?;
    }
    Ok(())
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Failure {
        let text = error.to_string();
        match error {
            ChangeError::Invalid(lines) => Failure::errors(lines),
            ChangeError::Stuck { reason } => Failure::error(text).hint(format!(
                "{reason}. It stays in the queue of changes, and those behind it wait"
            )),
            _ => Failure::error(text),
        }
    }
}

impl From<streaming::RestartError> for Failure {
    fn from(error: streaming::RestartError) -> Failure {
        Failure::error(error.to_string())
    }
}
