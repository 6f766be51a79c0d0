//! `barman convert-config`, which Barman does not have.

use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::failure::Failure;
use super::session::Session;
use crate::base::durable;
use crate::base::report::Reporter;
use crate::config::convert::{self, Tool};
use crate::output::Output;
use crate::output::conversion::Converted;

/// Make a configuration of Barman from that of EDB BART or of pgBackRest
///
/// Options that have no equivalent are named on standard error and in comments of the result, with what to do instead.
/// Passwords are not copied. Nothing is changed, and no configuration is needed to run it.
#[derive(Debug, clap::Args)]
pub(super) struct ConvertConfig {
    /// What the file is from: bart (bart.cfg) or pgbackrest (pgbackrest.conf)
    #[arg(long, value_name = "TOOL", required = true, hide_possible_values = true)]
    from: From,
    /// Write the configuration to this file, which must not exist, instead of to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The file; - is standard input
    #[arg(value_name = "file")]
    file: PathBuf,
}

/// Whose file is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    Bart,
    #[value(name = "pgbackrest")]
    PgBackRest,
}

impl ConvertConfig {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        self.convert(&session.output)
    }

    /// Works without a session: there may be no configuration before there is this one.
    pub(super) fn convert(&self, output: &Output) -> Result<(), Failure> {
        let tool = match self.from {
            From::Bart => Tool::Bart,
            From::PgBackRest => Tool::PgBackRest,
        };
        let (name, text) = if self.file == Path::new("-") {
            let name = Path::new("standard input");
            (name, convert::read_source(io::stdin().lock(), name))
        } else {
            (self.file.as_path(), convert::read_file(&self.file))
        };
        let conversion = text
            .and_then(|text| convert::convert(tool, &text, name))
            .map_err(|error| Failure::error(error.to_string()))?;
        if let Some(path) = &self.output {
            durable::create(path, conversion.text.as_bytes())?;
        }
        output.show(&Converted {
            conversion: &conversion,
            written: self.output.as_deref(),
        });
        for option in &conversion.unconverted {
            output.warning(&option.to_string());
        }
        Ok(())
    }
}
