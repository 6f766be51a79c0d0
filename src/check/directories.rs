//! The directories of a server. Missing ones are created: a new server begins with `barman check`, as documented.

use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::base::error::strerror;

use super::context::Context;
use super::{Cancelled, Intrusion, Sink};

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    if context.server.disabled {
        return Ok(());
    }
    let Ok(catalog) = &context.catalog else {
        return Ok(());
    };
    if context.options.intrusion == Intrusion::Examination {
        let missing = catalog
            .layout()
            .directories()
            .into_iter()
            .find(|path| !path.is_dir());
        let hint = missing.map_or_else(String::new, |path| {
            format!(
                "{}: {}",
                path.display(),
                obstacle(path).unwrap_or("missing".to_owned())
            )
        });
        return sink.report("directories", missing.is_none(), hint);
    }
    match catalog.create_directories() {
        Ok(()) => sink.report("directories", true, ""),
        Err(error) => {
            let hint = format!("{}: {}", error.path.display(), strerror(&error.source));
            sink.report("directories", false, hint)
        }
    }
}

/// What keeps this user from making a directory that is missing, if anything does: the nearest place above it that exists.
fn obstacle(path: &Path) -> Option<String> {
    let place = path.ancestors().find(|place| place.symlink_metadata().is_ok())?;
    if !place.is_dir() {
        return Some(format!("{} is not a directory", place.display()));
    }
    let refusal = access(place, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    Some(refusal.desc().to_owned())
}
