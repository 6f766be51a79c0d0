//! Missing WAL, said when it appears and not by the restore that needs it. A line only when there is any.

use crate::recovery::windows::survey;

use super::context::Context;
use super::{Cancelled, Sink};

/// The most gaps that the line describes.
const DESCRIBED: usize = 3;

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let Ok(catalog) = &context.catalog else {
        return Ok(());
    };
    // An unreadable catalog has its own line.
    if context.unreadable().is_some() {
        return Ok(());
    }
    let survey = match survey(&context.server, catalog, context.backups()) {
        Ok(survey) => survey,
        Err(error) => return sink.note("wal gaps", false, error.to_string()),
    };
    if survey.gaps.is_empty() && survey.unreadable.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = survey
        .gaps
        .iter()
        .take(DESCRIBED)
        .map(ToString::to_string)
        .collect();
    match survey.gaps.len().saturating_sub(DESCRIBED) {
        0 => {}
        more => lines.push(format!("and {more} more")),
    }
    lines.extend(survey.unreadable);
    let remedy = format!(
        "bring the files to '{}' if they are anywhere, or take a backup; barman recovery-windows {} shows what can be \
         recovered",
        context.server.incoming_wals_directory.display(),
        context.server.name
    );
    sink.note("wal gaps", false, format!("{}; {remedy}", lines.join("; ")))
}
