//! Why a connection was not made, told from libpq's words and the server's.
//!
//! libpq gives no code for a failed connection, only a text. Its own part is in English, because this program sets no
//! locale; the server's part follows `lc_messages` there, and in another language the kind is [`ConnectFailure::Other`].
//! Facts: the messages of PostgreSQL 9.6 to 18 (`fe-connect.c`, `auth.c`, `miscinit.c`, `postinit.c`), observed.

/// The kinds of failure that call for different repairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The name of the host leads to no address.
    UnknownHost,
    /// The host answers, and nobody listens on the port.
    Refused,
    /// There is no socket file on this host.
    NoSocket,
    /// This user may not use the socket file.
    SocketForbidden,
    /// Nothing answers.
    Timeout,
    /// There is no way to the host.
    Unreachable,
    /// The password is wrong, or the role does not exist: the server does not say which.
    PasswordRejected,
    /// The server wants a password, and there is none.
    NoPassword,
    /// `peer`, `ident`, certificate or another method that takes no password did not accept the user.
    MethodRejected,
    /// `pg_hba.conf` has no line for this connection, or one that rejects it.
    Hba,
    /// The role does not exist.
    RoleMissing,
    /// The role may not log in.
    RoleCannotLogin,
    /// The database does not exist.
    DatabaseMissing,
    /// The role lacks the attribute `REPLICATION`.
    NotReplication,
    /// No connection is free.
    TooMany,
    /// The server is starting, stopping or recovering.
    NotReady,
    /// TLS could not be agreed on, or a certificate was refused.
    Tls,
    /// Something else answered, or the server ended.
    Closed,
    /// The connection string names a service that is not defined, or a file that is not there.
    Settings,
    /// None of these.
    Other,
}

use ConnectFailure as Kind;

/// Words and what they mean; the first that is found counts. The server's answers come before those of the network: with
/// several addresses the text has a line for each, and an answer says more than silence.
const WORDS: [(&str, Kind); 49] = [
    ("password authentication failed", Kind::PasswordRejected),
    ("no password supplied", Kind::NoPassword),
    ("no pg_hba.conf entry", Kind::Hba),
    ("pg_hba.conf rejects", Kind::Hba),
    ("must be superuser or replication role", Kind::NotReplication),
    ("permission denied to start WAL sender", Kind::NotReplication),
    ("is not permitted to log in", Kind::RoleCannotLogin),
    ("authentication failed for user", Kind::MethodRejected),
    ("too many clients", Kind::TooMany),
    ("too many connections", Kind::TooMany),
    ("connection slots are reserved", Kind::TooMany),
    ("exceeds max_wal_senders", Kind::TooMany),
    ("all replication slots are in use", Kind::TooMany),
    ("database system is starting up", Kind::NotReady),
    ("database system is shutting down", Kind::NotReady),
    ("database system is in recovery", Kind::NotReady),
    ("not yet accepting connections", Kind::NotReady),
    ("is not accepting connections", Kind::NotReady),
    ("not currently accepting connections", Kind::DatabaseMissing),
    ("server does not support SSL", Kind::Tls),
    ("SSL error", Kind::Tls),
    ("certificate", Kind::Tls),
    ("could not translate host name", Kind::UnknownHost),
    ("could not look up", Kind::UnknownHost),
    ("Name or service not known", Kind::UnknownHost),
    ("nodename nor servname", Kind::UnknownHost),
    ("Temporary failure in name resolution", Kind::UnknownHost),
    ("definition of service", Kind::Settings),
    ("service file", Kind::Settings),
    ("invalid connection option", Kind::Settings),
    ("invalid URI", Kind::Settings),
    ("missing \"=\"", Kind::Settings),
    ("Connection refused", Kind::Refused),
    ("could not connect to server: No such file", Kind::NoSocket),
    ("failed: No such file or directory", Kind::NoSocket),
    ("failed: Permission denied", Kind::SocketForbidden),
    ("timeout expired", Kind::Timeout),
    // What this program says itself.
    ("no answer from PostgreSQL", Kind::Timeout),
    ("timed out", Kind::Timeout),
    ("No route to host", Kind::Unreachable),
    ("Host is unreachable", Kind::Unreachable),
    ("Network is unreachable", Kind::Unreachable),
    ("Host is down", Kind::Unreachable),
    ("server closed the connection unexpectedly", Kind::Closed),
    ("Connection reset by peer", Kind::Closed),
    ("expected authentication request", Kind::Closed),
    ("invalid response to SSL negotiation", Kind::Closed),
    ("received invalid response", Kind::Closed),
    ("Broken pipe", Kind::Closed),
];

impl ConnectFailure {
    /// The kind of failure that a text of libpq is about.
    #[must_use]
    pub fn of(text: &str) -> ConnectFailure {
        if let Some(missing) = missing_object(text) {
            return missing;
        }
        WORDS
            .iter()
            .find(|(words, _)| text.contains(words))
            .map_or(Kind::Other, |(_, kind)| *kind)
    }
}

/// `role "…" does not exist`, `database "…" does not exist`: the name may hold anything, so its quotes count.
fn missing_object(text: &str) -> Option<ConnectFailure> {
    let line = text.lines().find(|line| line.ends_with("does not exist"))?;
    if line.contains("database \"") {
        Some(Kind::DatabaseMissing)
    } else if line.contains("role \"") {
        Some(Kind::RoleMissing)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::ConnectFailure::{self, *};

    /// As libpq 15 to 17 write them.
    #[test]
    fn every_text_has_its_kind() {
        let tcp = "connection to server at \"db\" (10.0.0.5), port 5432 failed: ";
        for (text, kind) in [
            (
                "could not translate host name \"nohost\" to address: Name or service not known\n",
                UnknownHost,
            ),
            (
                "connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n\tIs the server running on that \
                 host and accepting TCP/IP connections?\n",
                Refused,
            ),
            (
                "connection to server on socket \"/tmp/.s.PGSQL.5432\" failed: No such file or directory\n\tIs the server \
                 running locally and accepting connections on that socket?\n",
                NoSocket,
            ),
            (
                "connection to server at \"10.0.0.5\", port 5432 failed: timeout expired\n",
                Timeout,
            ),
            (
                &format!("{tcp}FATAL:  password authentication failed for user \"barman\"\n"),
                PasswordRejected,
            ),
            (&format!("{tcp}fe_sendauth: no password supplied\n"), NoPassword),
            (
                &format!("{tcp}FATAL:  role \"barman\" does not exist\n"),
                RoleMissing,
            ),
            (
                &format!("{tcp}FATAL:  database \"role \"\" x\" does not exist\n"),
                DatabaseMissing,
            ),
            (
                &format!(
                    "{tcp}FATAL:  no pg_hba.conf entry for host \"10.0.0.9\", user \"b\", database \"p\", no encryption\n"
                ),
                Hba,
            ),
            (
                &format!(
                    "{tcp}FATAL:  no pg_hba.conf entry for replication connection from host \"10.0.0.9\", user \"b\"\n"
                ),
                Hba,
            ),
            (
                &format!("{tcp}FATAL:  Peer authentication failed for user \"b\"\n"),
                MethodRejected,
            ),
            (
                &format!("{tcp}FATAL:  role \"b\" is not permitted to log in\n"),
                RoleCannotLogin,
            ),
            (
                &format!("{tcp}FATAL:  must be superuser or replication role to start walsender\n"),
                NotReplication,
            ),
            (
                &format!(
                    "{tcp}FATAL:  permission denied to start WAL sender\nDETAIL:  Only roles with the REPLICATION attribute may \
                     start a WAL sender process.\n"
                ),
                NotReplication,
            ),
            (
                &format!("{tcp}FATAL:  sorry, too many clients already\n"),
                TooMany,
            ),
            (
                &format!("{tcp}FATAL:  the database system is starting up\n"),
                NotReady,
            ),
            (
                &format!("{tcp}server does not support SSL, but SSL was required\n"),
                Tls,
            ),
            ("definition of service \"x\" not found\n", Settings),
            (
                &format!("{tcp}FATAL:  Passwort-Authentifizierung fehlgeschlagen\n"),
                Other,
            ),
        ] {
            assert_eq!(ConnectFailure::of(text), kind, "{text}");
        }
    }

    /// With two addresses, the one that answered decides.
    #[test]
    fn an_answer_says_more_than_silence() {
        let text = "connection to server at \"db\" (::1), port 5432 failed: Connection refused\n\tIs the server running?\n\
                    connection to server at \"db\" (127.0.0.1), port 5432 failed: FATAL:  password authentication failed for \
                    user \"b\"\n";
        assert_eq!(ConnectFailure::of(text), PasswordRejected);
    }

    /// The words of a real server, as each kind of refusal comes about.
    #[test]
    fn a_server_refuses_in_these_words() {
        use crate::postgres::client::Session;
        use crate::postgres::scratch_cluster::ScratchCluster;
        let Some(cluster) = ScratchCluster::start("") else {
            return;
        };
        let mut session = Session::connect(&cluster.conninfo()).unwrap();
        for statement in [
            "CREATE ROLE secret LOGIN PASSWORD 'right'",
            "CREATE ROLE barred LOGIN",
            "CREATE ROLE plain LOGIN",
            "CREATE ROLE off NOLOGIN",
        ] {
            session.query(statement, &[]).unwrap();
        }
        let rules = "local all barred reject\nlocal all secret scram-sha-256\nlocal all postgres trust\n\
                     local postgres,nowhere all trust\nlocal replication plain trust\n";
        std::fs::write(cluster.data().join("pg_hba.conf"), rules).unwrap();
        session.query("SELECT pg_reload_conf()", &[]).unwrap();
        // The postmaster reads the file when it gets to it.
        let reloaded = "SELECT pg_conf_load_time() > pg_postmaster_start_time()";
        while !session.truth(reloaded).unwrap() {}
        let conninfo = |user: &str, database: &str, more: &str| {
            let of = cluster.conninfo().replace("user=postgres dbname=postgres", "");
            format!("{of} user={user} dbname={database} {more}")
        };
        let refused = |text: &str| ConnectFailure::of(&Session::connect(text).unwrap_err().to_string());
        assert_eq!(refused(&conninfo("nobody", "postgres", "")), RoleMissing);
        assert_eq!(refused(&conninfo("plain", "nowhere", "")), DatabaseMissing);
        assert_eq!(refused(&conninfo("plain", "template1", "")), Hba);
        assert_eq!(refused(&conninfo("barred", "postgres", "")), Hba);
        assert_eq!(refused(&conninfo("off", "postgres", "")), RoleCannotLogin);
        assert_eq!(
            refused(&conninfo("secret", "postgres", "password=wrong")),
            PasswordRejected
        );
        assert_eq!(
            refused(&conninfo("secret", "postgres", "passfile=/nonexistent/pgpass")),
            NoPassword
        );
        let replication = Session::connect_replication(&conninfo("plain", "postgres", ""), "x").unwrap_err();
        assert_eq!(ConnectFailure::of(&replication.to_string()), NotReplication);
        cluster.stop("fast");
        assert_eq!(refused(&conninfo("plain", "postgres", "")), NoSocket);
    }
}
