//! What remains when all files are there: times and permissions of directories, and their durability.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::agent::message::Attributes;
use crate::agent::syncer::Syncer;
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::copy::plan::CopyPlan;

/// Gives directories the attributes of their sources, and hands them over to be synced.
pub(super) fn directories(syncer: &Syncer, directories: &[(PathBuf, Attributes)]) -> Result<(), PathError> {
    for (path, attributes) in directories {
        let directory = File::open(path).at("open directory", path)?;
        attributes.apply(&directory).at("set the attributes of", path)?;
        syncer.submit_directory(path)?;
    }
    Ok(())
}

/// Makes the names of the items durable.
pub(super) fn parents(plan: &CopyPlan) -> Result<(), PathError> {
    for item in &plan.items {
        if let Some(parent) = item
            .destination
            .parent()
            .filter(|parent| *parent != Path::new(""))
        {
            durable::sync_dir(parent)?;
        }
    }
    Ok(())
}
