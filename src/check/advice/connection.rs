//! Advice about the connections to PostgreSQL and what the role may do there.

use super::{Advice, Failed};
use crate::postgres::client::PgError;
use crate::postgres::connect_failure::ConnectFailure;
use crate::postgres::conninfo;
use crate::postgres::facts::Facts;

/// Where a connection string leads.
struct Goal {
    host: String,
    port: String,
    user: String,
    database: String,
    /// Whether the host is this one, reached by a socket.
    socket: bool,
}

impl Goal {
    /// What the string says; where it leaves it to the environment, the usual.
    fn of(conninfo: &str) -> Goal {
        let value = |keyword: &str| conninfo::value_of(conninfo, keyword).ok().flatten();
        let host = value("host").or_else(|| value("hostaddr"));
        let socket = host.as_deref().is_none_or(|host| host.starts_with('/'));
        Goal {
            host: host.filter(|_| !socket).unwrap_or_else(|| "this host".to_owned()),
            port: value("port").unwrap_or_else(|| "5432".to_owned()),
            user: value("user").unwrap_or_else(|| crate::base::host::user().unwrap_or_default()),
            database: value("dbname").unwrap_or_else(|| "postgres".to_owned()),
            socket,
        }
    }
}

/// A name in SQL.
#[must_use]
pub fn identifier(name: &str) -> String {
    let plain =
        |character: char| character.is_ascii_lowercase() || character == '_' || character.is_ascii_digit();
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with(|first: char| first.is_ascii_digit())
    {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A text in SQL.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What a role needs to take backups, as statements: what Barman's manual asks for, by version.
pub(super) fn grants(facts: &Facts) -> Vec<String> {
    let role = identifier(facts.user.as_deref().unwrap_or("barman"));
    let mut statements = Vec::new();
    if !facts.has_monitoring_privileges {
        statements.push(if facts.version.at_least(10) {
            format!("GRANT pg_monitor TO {role};")
        } else {
            format!("ALTER ROLE {role} SUPERUSER;")
        });
    }
    statements.extend(
        facts
            .forbidden_functions
            .iter()
            .map(|function| format!("GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {role};")),
    );
    statements
}

impl Failed<'_> {
    /// The host of PostgreSQL, for commands.
    pub(super) fn postgres_host(&self) -> String {
        Goal::of(self.context.server.conninfo.as_deref().unwrap_or_default()).host
    }

    pub(super) fn postgres(&self) -> Advice {
        let Some(conninfo) = self.context.server.conninfo.as_deref() else {
            return Advice::broken("conninfo is not set").file(
                self.file_of("conninfo"),
                "conninfo = host=HOST user=barman dbname=postgres",
            );
        };
        match self.context.no_answer() {
            Some(PgError::Refused { message, .. }) => Advice::broken(format!(
                "PostgreSQL accepted the connection and refused a question: {}",
                first_line(message)
            )),
            Some(error) => self.connection(&error.to_string(), conninfo, "conninfo"),
            None if self.context.facts().is_none() => Advice::follows(
                "configuration",
                "conninfo cannot be read, so PostgreSQL was not asked",
            ),
            None => Advice::broken("this version of PostgreSQL is older than 9.6")
                .note("backups of it cannot be taken: upgrade it"),
        }
    }

    pub(super) fn replication_connection(&self) -> Advice {
        let server = &self.context.server;
        let wal_host = self.name.ends_with("(WAL streaming)");
        let (option, conninfo) = match &server.wal_streaming_conninfo {
            Some(conninfo) if wal_host => ("wal_streaming_conninfo", conninfo.as_str()),
            _ => (
                "streaming_conninfo",
                server.streaming_conninfo.as_deref().unwrap_or_default(),
            ),
        };
        self.connection(self.hint, conninfo, option)
    }

    /// What to do about a connection that was not made, by its reason.
    fn connection(&self, text: &str, conninfo: &str, option: &str) -> Advice {
        use ConnectFailure as Kind;
        let goal = Goal::of(conninfo);
        let role = identifier(&goal.user);
        let Goal {
            host,
            port,
            user,
            database,
            socket,
        } = &goal;
        let file = self.file_of(option);
        let test = format!("psql \"{}\" -c 'SELECT 1'", conninfo::redacted(conninfo));
        match ConnectFailure::of(text) {
            Kind::UnknownHost => Advice::broken(format!("the host name \"{host}\" leads to no address"))
                .here(format!("getent hosts {host}"))
                .file(file, format!("correct the host in {option}")),
            Kind::Refused => Advice::broken(format!(
                "{host} answers, and nothing listens on its port {port}: PostgreSQL is down, or listens on another port or \
                 address"
            ))
            .there(host, "systemctl status 'postgresql*'")
            .there(host, "psql -c 'SHOW listen_addresses' -c 'SHOW port'"),
            Kind::NoSocket => Advice::broken(format!("there is no socket of PostgreSQL here: {}", first_line(text)))
                .here("systemctl status 'postgresql*'")
                .file(file, format!("name the host or the socket directory in {option}")),
            Kind::SocketForbidden => Advice::broken(format!("the socket may not be used: {}", first_line(text)))
                .sql("SHOW unix_socket_permissions;"),
            Kind::Timeout => Advice::broken(format!(
                "nothing answers from {host} port {port}: the host is down, or a firewall drops the packets"
            ))
            .here(format!("ping -c 3 {host}; nc -vz -w 5 {host} {port}")),
            Kind::Unreachable => {
                Advice::broken(format!("there is no way to {host}")).here(format!("ip route get {host}"))
            }
            Kind::PasswordRejected => Advice::broken(format!(
                "the password of role {user} is wrong, or the role does not exist; the server does not say which"
            ))
            .sql(format!("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = {};", literal(user)))
            .sql(format!("\\password {role}"))
            .file("~/.pgpass", format!("{}:{port}:*:{user}:PASSWORD", pgpass_host(host, *socket))),
            Kind::NoPassword => Advice::broken(format!("the server wants a password for role {user}, and none is known here"))
                .file("~/.pgpass", format!("{}:{port}:*:{user}:PASSWORD", pgpass_host(host, *socket)))
                .here("chmod 600 ~/.pgpass"),
            Kind::MethodRejected => Advice::broken(format!(
                "the server does not take this user for role {user}: {}",
                server_words(text)
            ))
            .note(format!("change the method in the line of pg_hba.conf that matches: {}", hba_line(text, &goal)))
            .sql("SELECT pg_reload_conf();"),
            Kind::Hba => Advice::broken(format!("pg_hba.conf does not let this host in: {}", server_words(text)))
                .note(format!("pg_hba.conf needs{}: {}", hba_place(text), hba_line(text, &goal)))
                .sql("SELECT pg_reload_conf();"),
            Kind::RoleMissing => Advice::broken(format!("the role {user} does not exist"))
                .there(host, createuser(option, &role)),
            Kind::RoleCannotLogin => Advice::broken(format!("the role {user} may not log in"))
                .sql(format!("ALTER ROLE {role} LOGIN;")),
            Kind::DatabaseMissing => Advice::broken(format!("the database {database} does not exist"))
                .file(file, format!("dbname=postgres in {option}")),
            Kind::NotReplication => Advice::broken(format!("the role {user} lacks the attribute REPLICATION"))
                .sql(format!("ALTER ROLE {role} REPLICATION;")),
            Kind::TooMany => Advice::broken(format!("no connection is free: {}", server_words(text)))
                .sql("SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 DESC;"),
            Kind::NotReady => Advice::not_yet(format!("PostgreSQL is starting or stopping: {}", server_words(text)))
                .note("wait, and look into its log if it takes long"),
            Kind::Tls => Advice::broken(format!("TLS: {}", first_line(text)))
                .file(file, format!("sslmode, sslrootcert, sslcert in {option}")),
            Kind::Closed => Advice::broken(format!("{host} port {port} broke the connection off: {}", first_line(text)))
                .there(host, "look into the log of PostgreSQL; is it PostgreSQL that listens there?"),
            Kind::Settings => Advice::broken(first_line(text).to_owned()).file(file, format!("correct {option}")),
            Kind::Other => Advice::broken(server_words(text)).here(test),
        }
    }

    pub(super) fn backup_functions(&self) -> Advice {
        let Some(facts) = self.context.facts() else {
            return Advice::follows("PostgreSQL", "it could not be asked");
        };
        let role = facts.user.as_deref().unwrap_or("barman");
        let statements = grants(facts);
        let cause = format!(
            "role {role} lacks {} of the privileges that backups need",
            statements.len()
        );
        statements.into_iter().fold(Advice::broken(cause), Advice::sql)
    }

    pub(super) fn monitoring_functions(&self) -> Advice {
        let server = &self.context.server;
        let conninfo = server
            .wal_conninfo
            .as_deref()
            .or(server.wal_streaming_conninfo.as_deref());
        let role = identifier(&Goal::of(conninfo.unwrap_or_default()).user);
        Advice::broken(
            "the host that WAL is streamed from does not answer, or the role may not see its statistics",
        )
        .sql(format!("GRANT pg_monitor TO {role};"))
    }

    pub(super) fn wal_level(&self) -> Advice {
        Advice::broken("with wal_level = minimal no backup can be recovered")
            .sql("ALTER SYSTEM SET wal_level = 'replica';")
            .there(
                self.postgres_host(),
                "restart PostgreSQL (a reload is not enough)",
            )
    }

    pub(super) fn primary(&self) -> Advice {
        Advice::broken(self.hint).file(
            self.file_of("primary_conninfo"),
            "conninfo leads to the standby, primary_conninfo to its primary",
        )
    }

    pub(super) fn exclusive(&self) -> Advice {
        if self.context.facts().is_none() {
            return Advice::follows("PostgreSQL", "it could not be asked");
        }
        Advice::broken(self.hint).file(
            self.file_of("backup_options"),
            "backup_options = concurrent_backup",
        )
    }

    pub(super) fn identity(&self) -> Advice {
        if self.hint.starts_with("is the streaming DSN") {
            return Advice::broken("conninfo and streaming_conninfo lead to two different clusters").file(
                self.file_of("streaming_conninfo"),
                "the same host and port in both",
            );
        }
        Advice::broken("this is not the cluster that the backups here were taken from")
            .note("a wrong host or port in conninfo? then correct it: backups and WAL of two clusters must not mix")
            .note(
                "a new cluster (initdb, pg_upgrade)? then give it a server of its own in the configuration; the old one becomes \
                 active = off and keeps its backups",
            )
    }
}

/// The command that makes the role that an option names. What it needs besides is said once it can log in.
fn createuser(option: &str, role: &str) -> String {
    let attribute = if option.contains("streaming") {
        "--replication "
    } else {
        ""
    };
    format!("createuser {attribute}-P {role}")
}

/// The first line of a text of libpq.
pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

/// The server's own words in a text of libpq, without the address before them.
fn server_words(text: &str) -> String {
    let line = first_line(text);
    line.split_once("FATAL:")
        .map_or(line, |(_, words)| words.trim())
        .to_owned()
}

/// The host as `.pgpass` knows it.
fn pgpass_host(host: &str, socket: bool) -> &str {
    if socket { "localhost" } else { host }
}

/// Where in `pg_hba.conf` a line counts: the first that matches does.
fn hba_place(text: &str) -> &'static str {
    if text.contains("pg_hba.conf rejects") {
        ", above the line with reject"
    } else {
        ""
    }
}

/// The line that `pg_hba.conf` needs, with the address that the server saw when it says so.
fn hba_line(text: &str, goal: &Goal) -> String {
    let quoted = |key: &str| {
        let (_, rest) = text.split_once(&format!("{key} \""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let database = if text.contains("replication connection") {
        "replication"
    } else {
        "all"
    };
    let user = &goal.user;
    if goal.socket || text.contains("local connection") || text.contains("\"[local]\"") {
        return format!("local {database} {user} scram-sha-256");
    }
    let address = quoted("connection from host")
        .or_else(|| quoted("for host"))
        .unwrap_or_else(|| "ADDRESS_OF_THIS_HOST".to_owned());
    let bits = if address.contains(':') { 128 } else { 32 };
    format!("host {database} {user} {address}/{bits} scram-sha-256")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_pg_hba_needs_has_the_address_that_the_server_saw() {
        let goal = Goal::of("host=pg user=barman dbname=postgres");
        for (text, line) in [
            (
                "FATAL:  no pg_hba.conf entry for host \"10.0.0.9\", user \"barman\", database \"postgres\", no encryption",
                "host all barman 10.0.0.9/32 scram-sha-256",
            ),
            (
                "FATAL:  no pg_hba.conf entry for replication connection from host \"fe80::1\", user \"barman\"",
                "host replication barman fe80::1/128 scram-sha-256",
            ),
            (
                "FATAL:  no pg_hba.conf entry for host \"[local]\", user \"barman\", database \"postgres\"",
                "local all barman scram-sha-256",
            ),
        ] {
            assert_eq!(hba_line(text, &goal), line);
            assert_eq!(hba_place(text), "");
        }
        let rejected = "FATAL:  pg_hba.conf rejects connection for host \"10.0.0.9\", user \"barman\", database \"postgres\"";
        assert_eq!(hba_place(rejected), ", above the line with reject");
    }

    #[test]
    fn names_that_need_quotes_get_them() {
        for (name, sql) in [
            ("barman", "barman"),
            ("Barman", "\"Barman\""),
            ("a\"b", "\"a\"\"b\""),
            ("", "\"\""),
        ] {
            assert_eq!(identifier(name), sql);
        }
    }
}
