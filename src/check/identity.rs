//! Whether everything belongs together: the configuration, and the server whose backups these are.

use super::context::Context;
use super::{Cancelled, Sink};

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let server = &context.server;
    // A model may disable a server without a mistake.
    let messages = match context.base_backup_ends() {
        Some(ends) => server.messages_between(ends),
        None => server.msg_list.clone(),
    };
    if !messages.is_empty() {
        sink.report("configuration", false, "")?;
        for message in &messages {
            sink.message(message)?;
        }
    }
    coherence(
        context,
        "systemid coherence",
        context
            .streaming()
            .and_then(|streaming| streaming.systemid.as_deref()),
        context.facts().and_then(|facts| facts.systemid.as_deref()),
        sink,
    )
}

/// The system identifiers of both connections and of the first backup must agree.
pub(super) fn coherence(
    context: &Context,
    check: &'static str,
    streaming: Option<&str>,
    postgres: Option<&str>,
    sink: &Sink,
) -> Result<(), Cancelled> {
    let Some(systemid) = streaming.or(postgres) else {
        return sink.report(check, true, "no system Id available");
    };
    if postgres.is_some_and(|postgres| postgres != systemid) {
        let hint = "is the streaming DSN targeting the same server of the PostgreSQL connection string?";
        return sink.report(check, false, hint);
    }
    let Ok(catalog) = &context.catalog else {
        return sink.report(check, true, "no system Id stored on disk");
    };
    match catalog.identity() {
        Ok(None) => sink.report(check, true, "no system Id stored on disk"),
        Ok(Some(identity)) if identity.systemid.as_deref() == Some(systemid) => sink.report(check, true, ""),
        Ok(Some(_)) => {
            let file = catalog.layout().identity_path();
            let hint = format!(
                "the system Id of the connected PostgreSQL server changed, stored in \"{}\"",
                file.display()
            );
            sink.report(check, false, hint)
        }
        Err(error) => sink.report(check, false, error.to_string()),
    }
}
