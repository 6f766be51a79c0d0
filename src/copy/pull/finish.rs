//! What remains when all files are there: times and permissions of directories, and their durability.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::agent::message::Attributes;
use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::copy::plan::CopyPlan;

/// Gives directories the attributes of their sources and makes every name in them durable.
pub(super) fn directories(plan: &CopyPlan, directories: &[(PathBuf, Attributes)]) -> Result<(), PathError> {
    for (path, attributes) in directories {
        let directory = File::open(path).at("open directory", path)?;
        attributes.apply(&directory).at("set the attributes of", path)?;
        directory.sync_all().at("sync directory", path)?;
    }
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
