//! What the two programs for the PostgreSQL host share: how they reach the backup host, and how they start.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, Command};

use super::usage::{self, Stop};
use crate::BARMAN_LEVEL;
use crate::archive::client::{Console, Remote};
use crate::output::{Format, Output, Style};

/// How to reach the backup host.
#[derive(Debug, Clone, Args)]
pub(super) struct HostOptions {
    /// The user on the backup host
    #[arg(short = 'U', long, value_name = "USER", default_value = "barman")]
    pub(super) user: String,
    /// The port of its ssh server
    #[arg(long, value_name = "PORT")]
    pub(super) port: Option<String>,
    /// The configuration file to use on the backup host
    #[arg(short, long, value_name = "CONFIG")]
    pub(super) config: Option<String>,
}

impl HostOptions {
    /// How to reach `host`.
    pub(super) fn remote(self, host: String) -> Remote {
        Remote {
            ssh: PathBuf::from("ssh"),
            host,
            user: self.user,
            port: self.port,
            config: self.config,
        }
    }
}

/// Where the programs keep what outlives a call.
pub(super) fn private_directory() -> PathBuf {
    std::env::temp_dir().join(format!(".barkeep.{}", nix::unistd::geteuid()))
}

/// The backup host, and which of its servers this is.
#[derive(Debug, Clone, Args)]
pub(super) struct HostArguments {
    /// The backup host
    #[arg(value_name = "BARMAN_HOST")]
    pub(super) barman_host: String,
    /// The name of this server in the configuration of the backup host
    #[arg(value_name = "SERVER_NAME")]
    pub(super) server_name: String,
}

/// Parses the command line and makes the call, whose exit code is the program's.
pub(super) fn run(
    command: &Command,
    arguments: &[OsString],
    call: impl FnOnce(&ArgMatches, &mut Console<'_>) -> Result<i32, clap::Error>,
) -> ExitCode {
    parse(command, arguments, |matches, output| {
        let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
        let mut console = Console {
            out: &mut out,
            err: &mut err,
        };
        match call(matches, &mut console) {
            Ok(code) => output.fail_with(u8::try_from(code).unwrap_or(u8::MAX)),
            Err(error) => {
                output.plain_error(&error.to_string());
                output.fail_with(2);
            }
        }
    })
}

/// Parses the command line and runs `work`, or shows help, version or the mistake.
pub(super) fn parse(
    command: &Command,
    arguments: &[OsString],
    work: impl FnOnce(&ArgMatches, &Output),
) -> ExitCode {
    let output = Output::new(Style {
        format: Format::Console,
        quiet: false,
        debug: false,
        color: false,
        progress: false,
    });
    match usage::parse(command, arguments.to_vec()) {
        Ok(matches) => work(&matches, &output),
        Err(Stop::Help(text)) => output.plain(&text),
        Err(Stop::Version) => output.plain(&format!("{} {BARMAN_LEVEL}\n", command.get_name())),
        Err(Stop::Mistake(text)) => {
            output.plain_error(text.trim_end());
            output.fail_with(2);
        }
    }
    ExitCode::from(output.finish())
}
