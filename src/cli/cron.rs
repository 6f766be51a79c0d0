//! `barman cron`.

use super::failure::Failure;
use super::session::Session;
use crate::base::report::Reporter;
use crate::changes::{ChangeError, Queue};
use crate::config::Config;
use crate::cron;
use crate::output::planned::PlannedRetention;

/// Do the maintenance that is due: archive WAL files, check backups, apply retention policies
#[derive(Debug, clap::Args)]
pub(super) struct Cron {
    /// Let the processes that are started write to the standard output and error of this one
    #[arg(long)]
    keep_descriptors: bool,
    /// Say what the retention policies would remove and why, and do nothing: nothing is archived or started either
    #[arg(long)]
    dry_run: bool,
}

impl Cron {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        if self.dry_run {
            return foresee(session);
        }
        let program = session.this_program(self.keep_descriptors)?;
        let changed = apply_changes(session)?;
        let context = cron::Context {
            main: &session.main,
            configuration: session.config_path()?,
            program: &program,
        };
        let servers = match &changed {
            Some(config) => session.every_server_of(config)?,
            None => session.every_server()?,
        };
        cron::run(context, &servers, &session.output.named("barman.server"))
            .map_err(|signal| Failure::error(signal.to_string()))
    }
}

/// Makes the changes that `config-update` has queued, and gives the configuration as it is then; `None` when nothing has
/// changed. The maintenance is done whether or not the changes can be made.
fn apply_changes(session: &Session) -> Result<Option<Config>, Failure> {
    let reporter = session.output.named("barman.config");
    let queue = Queue::of(&session.main);
    match queue.process(session.config()?, &reporter) {
        Ok(applied) => {
            if let Some(stuck) = applied.stuck {
                Failure::from(stuck).report(&session.output);
            }
            if applied.sections.is_empty() {
                return Ok(None);
            }
            session.reread().map(Some)
        }
        Err(error @ ChangeError::Busy) => {
            reporter.warning(&error.to_string());
            Ok(None)
        }
        Err(error) => {
            Failure::from(error).report(&session.output);
            Ok(None)
        }
    }
}

fn foresee(session: &Session) -> Result<(), Failure> {
    let servers = session.every_server()?;
    for forecast in cron::foresee(session.config_path()?, &servers, &session.output) {
        session.output.show(&PlannedRetention {
            server: &forecast.server,
            plan: forecast.retention.as_ref(),
            postponed: forecast.postponed.as_deref(),
        });
    }
    Ok(())
}
