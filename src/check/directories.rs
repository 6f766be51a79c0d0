//! The directories of a server. Missing ones are created: a new server begins with `barman check`, as documented.

use crate::base::error::strerror;

use super::context::Context;
use super::{Cancelled, Sink};

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    if context.server.disabled {
        return Ok(());
    }
    let Ok(catalog) = &context.catalog else {
        return Ok(());
    };
    match catalog.create_directories() {
        Ok(()) => sink.report("directories", true, ""),
        Err(error) => {
            let hint = format!("{}: {}", error.path.display(), strerror(&error.source));
            sink.report("directories", false, hint)
        }
    }
}
