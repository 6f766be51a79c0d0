//! Why the configuration was not changed.

use crate::base::error::PathError;
use crate::base::lock::LockError;
use crate::config::edit::EditError;

/// A change that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// What was asked for is not a list of JSON objects.
    #[error("the changes are not a JSON list of objects: {0}")]
    NotAList(String),
    /// One of the objects asks for something that is not possible: the lines about it, in Barman's words.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
    /// Changes that are next in the queue cannot be made.
    #[error("Unable to process a set of changes. Exiting.")]
    Stuck {
        /// Why not.
        reason: String,
    },
    /// Another process is changing the configuration.
    #[error("another process is updating barman configuration files")]
    Busy,
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(LockError),
    /// No model has this name.
    #[error("Unknown model '{0}'")]
    UnknownModel(String),
    /// The model is for the servers of another cluster.
    #[error(
        "Model '{model}' has 'cluster={theirs}', which is not compatible with 'cluster={ours}' from server '{server}'"
    )]
    OtherCluster {
        /// The model.
        model: String,
        /// Its cluster.
        theirs: String,
        /// The cluster of the server.
        ours: String,
        /// The server.
        server: String,
    },
    /// A file cannot be changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl From<LockError> for ChangeError {
    fn from(error: LockError) -> ChangeError {
        match error {
            LockError::Busy { .. } => ChangeError::Busy,
            other => ChangeError::Lock(other),
        }
    }
}
