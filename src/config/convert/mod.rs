//! Configuration files of other backup tools, made into Barman's: what `convert-config` does.
//!
//! Every option of the other file ends in one of three ways: it becomes options of Barman; it is not needed any more,
//! which a comment says; or it has no equivalent, which a comment and a line for the operator say, with what to do
//! instead. Values of the second and third kind are not repeated: they may be secrets.
//!
//! Facts about the formats: EDB's documentation of BART 2.6, pgBackRest's own help and reference.

mod bart;
mod draft;
mod foreign;
mod pgbackrest;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::files;
use foreign::Foreign;

/// The tool whose configuration is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// EDB Backup and Recovery Tool: `bart.cfg`.
    Bart,
    /// pgBackRest: `pgbackrest.conf`.
    PgBackRest,
}

/// What is said about an option that is not in the tool's manual.
const UNKNOWN: &str =
    "this option is not known here. See what it is for, and barman(5) for what may take its place";

/// What a file became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// A configuration file that Barman and barkeep read.
    pub text: String,
    /// The options without an equivalent, in the order of their lines.
    pub unconverted: Vec<Unconverted>,
}

/// An option without an equivalent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconverted {
    /// The file it stands in.
    pub file: PathBuf,
    /// Its line, counted from 1.
    pub line: usize,
    /// Its section.
    pub section: String,
    /// Its name, without its value.
    pub option: String,
    /// What to do instead.
    pub advice: String,
}

impl fmt::Display for Unconverted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}: {} in [{}] has no equivalent: {}",
            self.file.display(),
            self.line,
            self.option,
            self.section,
            self.advice
        )
    }
}

/// Reads a file.
///
/// # Errors
/// It cannot be read, or is no text.
pub fn read_file(file: &Path) -> Result<String, ConfigError> {
    files::read_file(file)
}

/// Reads standard input, or whatever messages call `name`.
///
/// # Errors
/// It cannot be read, or is no text.
pub fn read_source(source: impl Read, name: &Path) -> Result<String, ConfigError> {
    files::read_source(source, name)
}

/// Converts the text of `file`.
///
/// # Errors
/// A line that cannot be read, a value that makes no sense, or a file of something else.
pub fn convert(tool: Tool, text: &str, file: &Path) -> Result<Conversion, ConfigError> {
    let foreign = Foreign::read(text, file)?;
    let draft = match tool {
        Tool::Bart => bart::convert(&foreign)?,
        Tool::PgBackRest => pgbackrest::convert(&foreign)?,
    };
    draft.finish(&foreign)
}

/// Refuses a name that cannot be that of a server.
///
/// # Errors
/// It is reserved, or it cannot be the name of a directory.
fn check_name(foreign: &Foreign<'_>, section: &foreign::Section) -> Result<(), ConfigError> {
    let name = section.name.as_str();
    let reserved = ["barman", "all", "DEFAULT"].contains(&name);
    if reserved || name.contains(['/', '%', ']']) || name.starts_with('.') {
        return Err(foreign.refuse(
            section.line,
            "Barman cannot have a server of this name: give the section another one",
        ));
    }
    Ok(())
}
