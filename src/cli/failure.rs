//! How a command fails: one type at the edge decides the message, the hint and the exit code.

use crate::base::error::PathError;
use crate::base::interrupt::Interrupted;
use crate::base::lock::LockError;
use crate::catalog::{CatalogError, KeepError, ResolveError};
use crate::config::NotLocal;
use crate::output::Output;
use crate::postgres::client::PgError;

/// A command that could not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    /// What is said before the message.
    lines: Vec<String>,
    hint: Option<String>,
    code: u8,
}

/// Where a failure comes from, which decides how it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The operator can do something about it: `ERROR: …`.
    Error,
    /// Nobody foresaw it: `EXCEPTION: …`, with a pointer to the log file.
    Exception,
    /// It came before any output was set up: the bare text.
    Plain,
    /// Everything has been said already; only the exit code is left.
    Reported,
}

impl Failure {
    /// A failure the operator can do something about.
    pub(crate) fn error(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Error, message.into())
    }

    /// A failure that takes several lines to say.
    pub(crate) fn errors(mut lines: Vec<String>) -> Failure {
        let last = lines.pop().unwrap_or_default();
        Failure {
            lines,
            ..Failure::new(Kind::Error, last)
        }
    }

    /// A failure nobody foresaw.
    pub(crate) fn exception(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Exception, message.into())
    }

    /// A failure that ends the program before its output is set up.
    pub(crate) fn plain(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Plain, message.into())
    }

    /// A failure that has been reported line by line.
    pub(crate) fn reported() -> Failure {
        Failure::new(Kind::Reported, String::new())
    }

    /// A command of Barman that this version does not have.
    pub(crate) fn later(command: &str) -> Failure {
        Failure::error(format!(
            "This version of barkeep does not have the command '{command}' yet"
        ))
    }

    /// The same failure with what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure with another exit code than 1.
    #[must_use]
    pub(crate) fn code(mut self, code: u8) -> Failure {
        self.code = code;
        self
    }

    fn new(kind: Kind, message: String) -> Failure {
        Failure {
            kind,
            message,
            lines: Vec::new(),
            hint: None,
            code: 1,
        }
    }

    /// Shows the failure and sets the exit code.
    pub(crate) fn report(&self, output: &Output) {
        let text = match &self.hint {
            Some(hint) => format!("{}\nHINT: {hint}", self.message),
            None => self.message.clone(),
        };
        for line in &self.lines {
            output.error_line(line);
        }
        match self.kind {
            Kind::Error => output.error_line(&text),
            Kind::Exception => output.exception_line(&text),
            Kind::Plain => {
                output.withhold_document();
                output.plain_error(&text);
            }
            Kind::Reported => {}
        }
        output.fail_with(self.code);
    }
}

impl From<PgError> for Failure {
    fn from(error: PgError) -> Failure {
        match error {
            PgError::Interrupted(interrupted) => interrupted.into(),
            _ => Failure::error(error.to_string()),
        }
    }
}

impl From<Interrupted> for Failure {
    fn from(interrupted: Interrupted) -> Failure {
        match interrupted {
            Interrupted::Keyboard => Failure::error("Process interrupted by user (KeyboardInterrupt)"),
            _ => Failure::error(format!("Process {interrupted}")),
        }
    }
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Failure {
        Failure::error(error.to_string())
    }
}

impl From<KeepError> for Failure {
    fn from(error: KeepError) -> Failure {
        Failure::error(error.to_string())
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Failure {
        Failure::error(error.to_string())
    }
}

impl From<NotLocal> for Failure {
    fn from(error: NotLocal) -> Failure {
        Failure::error(error.to_string())
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Failure {
        Failure::error(error.to_string())
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Failure {
        Failure::error(error.to_string())
    }
}
