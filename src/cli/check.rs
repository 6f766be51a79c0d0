//! `barman check`.

use std::io::IsTerminal;

use super::addressing;
use super::arguments::ServersArgument;
use super::failure::Failure;
use super::session::Session;
use super::value;
use crate::check::{self, CheckError, CheckOptions, CheckReport, Intrusion};
use crate::config::ServerConfig;
use crate::output::check::{CheckDocument, LiveChecks, Nagios};

/// Check that servers are ready to be backed up
///
/// On a terminal, and with --hints, each failure is followed by its cause, by what to repair first, and by the command that repairs
/// it; "not yet" stands for what only has not happened so far.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Answer as a Nagios plugin does
    #[arg(long)]
    pub(super) nagios: bool,
    /// Say what to do about failures, also where the output is no terminal; in JSON as well
    #[arg(long, overrides_with = "no_hints")]
    hints: bool,
    /// Do not say what to do about failures
    #[arg(long, overrides_with = "hints")]
    no_hints: bool,
    /// Give the checks of a server this many seconds; 0 means no limit
    #[arg(long, value_name = "TIMEOUT", value_parser = value::non_negative, allow_negative_numbers = true)]
    check_timeout: Option<u32>,
    #[command(flatten)]
    servers: ServersArgument,
}

impl Check {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        session.watch_signals()?;
        let mut reports = Vec::new();
        let done = session.for_servers(&self.servers.server_name, addressing::CHECK, |server| {
            let report = self.check(session, server)?;
            session.output.show(&CheckDocument {
                report: &report,
                hints: self.hints,
            });
            if report.active && report.has_issues() && !self.nagios {
                session.output.fail_with(1);
            }
            reports.push(report);
            Ok(())
        });
        if !self.nagios {
            return done;
        }
        let answer = Nagios {
            reports: &reports,
            misconfigured: done.is_err() || session.output.code() != 0,
        };
        session.output.show(&answer);
        session.output.fail_with(answer.code());
        Ok(())
    }

    fn check(&self, session: &Session, server: &ServerConfig) -> Result<CheckReport, Failure> {
        // Monitoring asks every few minutes and must not change anything.
        let intrusion = if self.nagios {
            Intrusion::Monitoring
        } else {
            Intrusion::Operator
        };
        let configuration = session.config_path()?.to_path_buf();
        let options = CheckOptions::new(server, self.check_timeout, intrusion, configuration);
        let hints = self.hints || (!self.no_hints && std::io::stdout().is_terminal());
        let live = LiveChecks::of(&session.output, server, hints);
        check::check(server, &options, &live).map_err(|error| match error {
            CheckError::Interrupted(interrupted) => interrupted.into(),
            other => Failure::exception(other.to_string()),
        })
    }
}
