//! `replication-status`.

use serde_json::{Map, Value, json};

use super::{Page, Render};
use crate::base::calendar;
use crate::base::size;
use crate::postgres::lsn::Lsn;
use crate::postgres::replication::{StreamingClient, Streams};
use crate::status::replication::{ReplicationStatus, distance, is_standby, stage};

impl Render for ReplicationStatus {
    fn console(&self, page: &mut Page) {
        let Some(streams) = &self.streams else { return };
        if self.minimal {
            self.lines(streams, page);
        } else {
            self.paragraphs(streams, page);
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        let mut server = Map::new();
        if let Some(streams) = &self.streams {
            server.insert("server_lsn".to_owned(), json!(shown(streams.current)));
            if streams.clients.is_empty() {
                let nobody = format!("No {} attached", self.target.title());
                server.insert("standby_info".to_owned(), json!(nobody));
            }
            let clients: Vec<Value> = streams
                .clients
                .iter()
                .map(|client| match self.minimal {
                    true => short(client),
                    false => long(client, streams.current),
                })
                .collect();
            server.insert(self.target.key().to_owned(), Value::Array(clients));
        }
        document.insert(self.server.clone(), Value::Object(server));
    }
}

impl ReplicationStatus {
    /// One line for each client.
    fn lines(&self, streams: &Streams, page: &mut Page) {
        page.line(format!(
            "{} for master '{}' (LSN @ {}):",
            capitalised(self.target.title()),
            self.server,
            shown(streams.current)
        ));
        if streams.clients.is_empty() {
            page.line(format!("  No {} attached", self.target.title()));
        }
        for (index, client) in streams.clients.iter().enumerate() {
            let positions = if is_standby(client) {
                format!(
                    "S:{} F:{} R:{}",
                    shown(client.sent),
                    shown(client.flushed),
                    shown(client.replayed)
                )
            } else {
                format!("S:{} W:{}", shown(client.sent), shown(client.written))
            };
            page.line(format!(
                "  {}. {}) {}@{} {positions} P:{} AN:{}",
                index + 1,
                letter(client),
                client.user,
                client.address.as_deref().unwrap_or("socket"),
                client.priority,
                client.application_name
            ));
        }
    }

    fn paragraphs(&self, streams: &Streams, page: &mut Page) {
        let title = self.target.title();
        page.line(format!("Status of {title} for server '{}':", self.server));
        page.line(format!("  Current LSN on master: {}", shown(streams.current)));
        if streams.clients.is_empty() {
            page.line(format!("  No {title} attached"));
            return;
        }
        page.line(format!("  Number of {title}: {}", streams.clients.len()));
        for (index, client) in streams.clients.iter().enumerate() {
            page.blank();
            page.line(format!("  {}. {}", index + 1, name(client)));
            describe(client, streams.current, page);
        }
    }
}

fn describe(client: &StreamingClient, current: Option<Lsn>, page: &mut Page) {
    let mut item = |label: &str, text: &str| page.line(format!("     {label}: {text}"));
    item("Application name", &client.application_name);
    item("Sync stage      ", stage(client, current));
    item("Communication   ", communication(client));
    if let Some(address) = &client.address {
        let port = client.port.unwrap_or_default();
        let host = client.host.as_deref().unwrap_or("-");
        item(
            "IP Address      ",
            &format!("{address} / Port: {port} / Host: {host}"),
        );
    }
    item("User name       ", &client.user);
    let state = format!("{} ({})", text(&client.state), text(&client.sync_state));
    item("Current state   ", &state);
    if let Some(slot) = &client.slot {
        item("Replication slot", slot);
    }
    item("WAL sender PID  ", &client.pid.to_string());
    if let Some(started) = &client.started {
        item("Started at      ", &calendar::python_str(started));
    }
    if let Some(xmin) = &client.xmin {
        item("Standby's xmin  ", xmin);
    }
    for (label, _, position) in positions(client) {
        if let Some(position) = position {
            item(
                label,
                &format!("{position} (diff: {})", behind(position, current)),
            );
        }
    }
}

fn long(client: &StreamingClient, current: Option<Lsn>) -> Value {
    let mut shown = Map::new();
    let mut item = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    item("name", json!(name(client)));
    item("application_name", json!(client.application_name));
    item("sync_stage", json!(stage(client, current)));
    item("communication", json!(communication(client)));
    if let Some(address) = &client.address {
        item("ip_address", json!(address));
        item("port", json!(client.port));
        item("host", json!(client.host));
    }
    item("user_name", json!(client.user));
    item("current_state", json!(client.state));
    item("current_sync_state", json!(client.sync_state));
    if let Some(slot) = &client.slot {
        item("replication_slot", json!(slot));
    }
    item("wal_sender_pid", json!(client.pid));
    if let Some(started) = &client.started {
        item("started_at", json!(calendar::python_str(started)));
    }
    if let Some(xmin) = &client.xmin {
        item("standbys_xmin", json!(xmin));
    }
    for (_, key, position) in positions(client) {
        if let Some(position) = position {
            item(key, json!(position.to_string()));
            item(&format!("{key}_diff"), json!(behind(position, current)));
            item(&format!("{key}_diff_bytes"), json!(distance(position, current)));
        }
    }
    Value::Object(shown)
}

fn short(client: &StreamingClient) -> Value {
    let mut value = json!({
        "application_name": client.application_name,
        "client_addr": client.address.as_deref().unwrap_or("socket"),
        "sent_lsn": shown(client.sent),
        "sync_priority": client.priority,
        "user_name": client.user,
    });
    let more = if is_standby(client) {
        json!({
            "flush_lsn": shown(client.flushed),
            "replay_lsn": shown(client.replayed),
            "sync_state": letter(client),
        })
    } else {
        json!({"write_lsn": shown(client.written)})
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

/// The labels on the console and the keys in JSON.
fn positions(client: &StreamingClient) -> [(&'static str, &'static str, Option<Lsn>); 4] {
    [
        ("Sent LSN   ", "sent_lsn", client.sent),
        ("Write LSN  ", "write_lsn", client.written),
        ("Flush LSN  ", "flush_lsn", client.flushed),
        ("Replay LSN ", "replay_lsn", client.replayed),
    ]
}

#[allow(clippy::cast_precision_loss)] // for display only
fn behind(position: Lsn, current: Option<Lsn>) -> String {
    size::pretty(distance(position, current) as f64)
}

fn name(client: &StreamingClient) -> String {
    let place = match client.priority {
        0 => String::new(),
        priority => format!("#{priority} "),
    };
    let kind = if is_standby(client) {
        "standby"
    } else {
        "WAL streamer"
    };
    format!("{place}{} {kind}", capitalised(text(&client.sync_state)))
}

fn letter(client: &StreamingClient) -> String {
    if is_standby(client) {
        text(&client.sync_state)
            .chars()
            .take(1)
            .flat_map(char::to_uppercase)
            .collect()
    } else {
        "W".to_owned()
    }
}

fn communication(client: &StreamingClient) -> &'static str {
    match client.address {
        Some(_) => "TCP/IP",
        None => "Unix domain socket",
    }
}

/// The first letter large, the others small, as Python's `capitalize` does it.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters.flat_map(char::to_lowercase)).collect()
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("None")
}

fn shown(position: Option<Lsn>) -> String {
    position.map_or_else(|| "None".to_owned(), |position| position.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::replication::Target;

    fn client(replayed: Option<Lsn>) -> StreamingClient {
        StreamingClient {
            pid: 7,
            user: "rep".to_owned(),
            application_name: "stand".to_owned(),
            address: None,
            host: None,
            port: Some(-1),
            started: None,
            xmin: Some("737".to_owned()),
            state: Some("streaming".to_owned()),
            sent: Some(Lsn(0x0B03_6530)),
            written: Some(Lsn(0x0B03_6530)),
            flushed: Some(Lsn(0x0B03_6530)),
            replayed,
            priority: 2,
            sync_state: Some("sync".to_owned()),
            slot: None,
        }
    }

    fn page(minimal: bool, clients: Vec<StreamingClient>) -> String {
        let status = ReplicationStatus {
            server: "main".to_owned(),
            target: Target::All,
            minimal,
            streams: Some(Streams {
                current: Some(Lsn(0x0B03_6530)),
                clients,
            }),
        };
        let mut page = Page::new(false);
        status.console(&mut page);
        page.text().to_owned()
    }

    #[test]
    fn a_standby_that_lags_behind() {
        let lagging = client(Some(Lsn(0x0B00_0060)));
        let text = page(false, vec![lagging.clone()]);
        assert!(text.contains(
            "\n  1. #2 Sync standby\n     Application name: stand\n     Sync stage      : 4/5 2-safe\n"
        ));
        assert!(
            text.contains("     Replay LSN : 0/B000060 (diff: -217.2 KiB)\n"),
            "{text}"
        );
        assert!(!text.contains("IP Address"));
        assert!(
            page(true, vec![lagging])
                .ends_with("  1. S) rep@socket S:0/B036530 F:0/B036530 R:0/B000060 P:2 AN:stand\n")
        );
    }

    #[test]
    fn a_receiver_and_nobody() {
        let mut receiver = client(None);
        receiver.written = Some(Lsn(0));
        receiver.priority = 0;
        receiver.sync_state = Some("async".to_owned());
        let text = page(false, vec![receiver]);
        assert!(
            text.contains("  1. Async WAL streamer\n") && text.contains("2/3 WAL Sent (min)"),
            "{text}"
        );
        assert_eq!(
            page(false, Vec::new()),
            "Status of streaming clients for server 'main':\n  Current LSN on master: 0/B036530\n  No streaming clients attached\n"
        );
    }
}
