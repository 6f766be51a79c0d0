//! What the replication protocol says about a server (behaviour reference §3, "Streaming").

use super::client::{PgError, Session};
use super::shown::Fact;
use super::version::PgVersion;

/// The answer of a replication connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamingFacts {
    /// Why there is no connection.
    pub connection_error: Option<String>,
    /// Whether the server can stream, as far as its version tells.
    pub supported: Option<bool>,
    /// Whether the connection is one for replication.
    pub streaming: Option<bool>,
    /// The system identifier.
    pub systemid: Option<String>,
    /// The timeline.
    pub timeline: Option<String>,
    /// The flush position of the WAL.
    pub xlogpos: Option<String>,
    /// Whether the version can be backed up.
    pub version_supported: Option<bool>,
}

impl StreamingFacts {
    /// Connects and asks. A server that cannot be reached is a fact, not an error.
    ///
    /// # Errors
    /// The program was asked to stop.
    pub fn gather(conninfo: &str, application_name: &str) -> Result<StreamingFacts, PgError> {
        let mut session = match Session::connect_replication(conninfo, application_name) {
            Ok(session) => session,
            Err(error @ PgError::Interrupted(_)) => return Err(error),
            Err(error) => {
                return Ok(StreamingFacts {
                    connection_error: Some(error.to_string()),
                    ..StreamingFacts::default()
                });
            }
        };
        let supported = session.version() >= PgVersion::MINIMAL;
        let mut facts = StreamingFacts {
            supported: Some(true),
            streaming: Some(false),
            version_supported: Some(supported),
            ..StreamingFacts::default()
        };
        match session.query("IDENTIFY_SYSTEM", &[]) {
            Ok(rows) => {
                let text = |column| rows.get(0, column).map(str::to_owned);
                facts.systemid = text("systemid");
                facts.timeline = text("timeline");
                facts.xlogpos = text("xlogpos");
                facts.streaming = Some(true);
            }
            Err(error @ PgError::Interrupted(_)) => return Err(error),
            Err(error) => facts.connection_error = Some(error.to_string()),
        }
        Ok(facts)
    }

    /// The facts under Barman's names.
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static str, Fact)> {
        let truth = |value: Option<bool>| value.map_or(Fact::Null, Fact::Bool);
        vec![
            ("connection_error", Fact::text(self.connection_error.as_ref())),
            ("streaming_supported", truth(self.supported)),
            ("streaming", truth(self.streaming)),
            ("streaming_systemid", Fact::text(self.systemid.as_ref())),
            (
                "timeline",
                Fact::integer(self.timeline.as_ref().and_then(|text| text.parse().ok())),
            ),
            ("xlogpos", Fact::text(self.xlogpos.as_ref())),
            ("version_supported", truth(self.version_supported)),
        ]
    }
}
