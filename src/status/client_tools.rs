//! What is listed about the client programs of PostgreSQL on this host.

use crate::config::ServerConfig;
use crate::postgres::client_program::ClientProgram;
use crate::postgres::facts::Facts;
use crate::postgres::replication::is_synchronous;
use crate::postgres::shown::Fact;

/// What is listed about `pg_basebackup`.
pub(super) fn base_backup(config: &ServerConfig, facts: Option<&Facts>) -> Vec<(&'static str, Fact)> {
    let tool = ClientProgram::find(&["pg_basebackup"], config.path_prefix.as_deref());
    // Bandwidth limits and tablespace mapping came with 9.4; older clients have not been shipped for years.
    let capable = || tool.as_ref().map_or(Fact::Null, |_| Fact::Bool(true));
    vec![
        ("pg_basebackup_installed", Fact::Bool(tool.is_some())),
        ("pg_basebackup_path", path(tool.as_ref())),
        ("pg_basebackup_version", version(tool.as_ref())),
        ("pg_basebackup_compatible", compatible(tool.as_ref(), facts)),
        ("pg_basebackup_bwlimit", capable()),
        ("pg_basebackup_tbls_mapping", capable()),
    ]
}

/// What is listed about `pg_receivewal`, under its old name.
pub(super) fn receive_wal(config: &ServerConfig, facts: Option<&Facts>) -> Vec<(&'static str, Fact)> {
    let tool = ClientProgram::find(
        &["pg_receivewal", "pg_receivexlog"],
        config.path_prefix.as_deref(),
    );
    let known = tool.as_ref().and(facts);
    let synchronous = known.map_or(Fact::Null, |facts| {
        Fact::Bool(is_synchronous(
            &facts.synchronous_standby_names,
            &config.streaming_archiver_name,
        ))
    });
    vec![
        ("pg_receivexlog_installed", Fact::Bool(tool.is_some())),
        ("pg_receivexlog_path", path(tool.as_ref())),
        ("pg_receivexlog_version", version(tool.as_ref())),
        ("pg_receivexlog_compatible", compatible(tool.as_ref(), facts)),
        (
            "pg_receivexlog_supports_slots",
            known.map_or(Fact::Null, |_| Fact::Bool(true)),
        ),
        ("pg_receivexlog_synchronous", synchronous),
    ]
}

fn path(tool: Option<&ClientProgram>) -> Fact {
    tool.map_or(Fact::Null, |tool| Fact::Text(tool.path.display().to_string()))
}

fn version(tool: Option<&ClientProgram>) -> Fact {
    Fact::text(tool.and_then(|tool| tool.version.as_ref()))
}

fn compatible(program: Option<&ClientProgram>, facts: Option<&Facts>) -> Fact {
    program
        .zip(facts)
        .and_then(|(program, facts)| program.fits(facts.version))
        .map_or(Fact::Null, Fact::Bool)
}
