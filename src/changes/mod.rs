//! Changing the configuration from the command line: `config-update` and its queue, and `config-switch` (configuration
//! reference §5 and §6).
//!
//! A change is first validated, then queued durably, then made in the file that has the option, and then taken off the
//! queue: whatever happens in between, it is made once more or again, and never half.

mod error;
mod queue;
mod request;
mod switch;

pub use error::ChangeError;
pub use queue::{Applied, Queue};
pub use request::requested;
pub use switch::{Switched, reset, switch};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is to change in one section. The form in which Barman queues it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeSet {
    /// The section: a server or a model.
    pub section: String,
    /// The options.
    pub changes_set: Vec<Change>,
}

/// An option and the value it is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The option.
    pub key: String,
    /// Its value as it is written in the file: a text. Barman also queues others, and never gets past them.
    pub value: Value,
    /// The file in which it is written.
    pub config_file: String,
}
