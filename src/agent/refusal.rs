//! Why a verb did not succeed on a host, whichever way it was asked.

use super::connection::AgentError;
use super::message::Failure;
use crate::transport::TransportError;

/// Why a verb did not succeed.
pub(super) enum Refusal {
    Failed(Failure),
    Transport(TransportError),
}

impl From<AgentError> for Refusal {
    fn from(error: AgentError) -> Refusal {
        match error {
            AgentError::Failed(failure) => Refusal::Failed(failure),
            AgentError::Lost { host, source } => Refusal::Transport(TransportError::Lost {
                peer: host,
                reason: source.to_string(),
            }),
        }
    }
}

impl From<TransportError> for Refusal {
    fn from(error: TransportError) -> Refusal {
        Refusal::Transport(error)
    }
}
