//! `config-switch`: a model applied to a server from now on, or taken off it.

use std::path::Path;

use super::ChangeError;
use crate::base::durable;
use crate::base::error::PathError;
use crate::base::report::Reporter;
use crate::config::{Config, ServerConfig};

/// Whether the model of a server has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switched {
    /// It was active already.
    Already,
    /// It is active now.
    Now,
}

/// Makes a model the active one of a server. The result is the server with the model applied.
///
/// # Errors
/// There is no such model, or it is for another cluster, or the choice cannot be written.
pub fn switch(
    config: &Config,
    server: &ServerConfig,
    model: &str,
    reporter: &dyn Reporter,
) -> Result<(Switched, ServerConfig), ChangeError> {
    let name = &server.name;
    let model = config
        .models
        .get(model)
        .ok_or_else(|| ChangeError::UnknownModel(model.to_owned()))?;
    if server.active_model.as_ref() == Some(&model.name) {
        reporter.info(&format!(
            "Model '{}' is already active for server '{name}', skipping...",
            model.name
        ));
        return Ok((Switched::Already, server.clone()));
    }
    if model.cluster != server.cluster {
        return Err(ChangeError::OtherCluster {
            model: model.name.clone(),
            theirs: model.cluster.clone(),
            ours: server.cluster.clone(),
            server: name.clone(),
        });
    }
    let mut changed = server.clone();
    model.apply(&mut changed);
    write(&server.backup_directory, &server.active_model_file(), &model.name)?;
    reporter.info(&format!("Applying model '{}' to server '{name}'", model.name));
    for option in model.overrides.keys() {
        let (old, new) = (server.shown(option).console(), changed.shown(option).console());
        if old != new {
            reporter.info(&format!(
                "Changing value of option '{option}' for server '{name}' from '{old}' to '{new}' through the model '{}'",
                model.name
            ));
        }
    }
    Ok((Switched::Now, changed))
}

/// Takes the active model off a server.
///
/// # Errors
/// The choice cannot be removed.
pub fn reset(server: &ServerConfig, reporter: &dyn Reporter) -> Result<(), ChangeError> {
    durable::remove(&server.active_model_file())?;
    reporter.info(&format!(
        "Resetting the active model for the server {}",
        server.name
    ));
    Ok(())
}

/// A server that nothing was done with yet has no directory.
fn write(directory: &Path, file: &Path, model: &str) -> Result<(), PathError> {
    durable::create_dir_all(directory)?;
    durable::write(file, model.as_bytes())
}
