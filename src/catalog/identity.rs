//! Which PostgreSQL the backups of a server are of: `identity.json` (catalog reference §5).

use std::fs;

use serde::{Deserialize, Serialize};

use crate::base::error::{PathContext, PathError};
use crate::base::{durable, json};

use super::{Catalog, CatalogError};

/// The content of `identity.json`. Written once, by the first backup, and compared from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// PostgreSQL's system identifier.
    pub systemid: Option<String>,
    /// The major version: `15`.
    pub version: Option<String>,
}

impl Catalog {
    /// The identity of the server; `None` before the first backup.
    ///
    /// # Errors
    /// The file cannot be read or is not what was written.
    pub fn identity(&self) -> Result<Option<Identity>, CatalogError> {
        let path = self.layout.identity_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(PathError::new("read", &path, error).into()),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| CatalogError::InvalidIdentity {
                path,
                reason: error.to_string(),
            })
    }

    /// Writes the identity of the server, durably.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save_identity(&self, identity: &Identity) -> Result<(), PathError> {
        let path = self.layout.identity_path();
        let text = json::indented(identity)
            .map_err(std::io::Error::other)
            .at("write", &path)?;
        durable::write(&path, format!("{text}\n").as_bytes())
    }
}
