//! Lines of an operation, on the console or in the JSON document, and in the log under the logger of the part of Barman
//! that says them there.

use super::{Format, Output, Stream, progress, redacted};
use crate::base::report::{NoProgress, Progress, Reporter, Total};

/// See [`Output::named`].
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    pub(super) output: &'a Output,
    pub(super) logger: &'static str,
}

impl Reporter for Named<'_> {
    fn info(&self, line: &str) {
        log::info!(target: self.logger, "{line}");
        let output = self.output;
        match output.style.format {
            Format::Console if !output.style.quiet => {
                output.screen.write(Stream::Out, &redacted(&format!("{line}\n")));
            }
            Format::Json => output.remember("_INFO", line),
            Format::Console | Format::Nagios => {}
        }
    }

    fn heading(&self, line: &str) {
        self.output.listing(line);
    }

    fn warning(&self, line: &str) {
        log::warn!(target: self.logger, "{line}");
        self.output.problem("WARNING", "_WARNING", line);
    }

    fn error(&self, line: &str) {
        log::error!(target: self.logger, "{line}");
        self.output.fail_with(1);
        self.output.problem("ERROR", "_ERROR", line);
    }

    fn exception(&self, line: &str) {
        log::error!(target: self.logger, "{line}");
        self.output.fail_with(1);
        self.output.problem("EXCEPTION", "_EXCEPTION", line);
    }

    fn debug(&self, line: &str) {
        log::debug!(target: self.logger, "{line}");
        if self.output.style.debug {
            self.output.problem("DEBUG", "_DEBUG", line);
        }
    }

    fn progress(&self, title: &str, total: Total) -> Box<dyn Progress> {
        if self.output.style.progress {
            progress::bar(&self.output.screen, title, total)
        } else {
            Box::new(NoProgress)
        }
    }
}
