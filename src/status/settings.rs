//! `show-servers`: the configuration of a server and what its PostgreSQL says, one value per name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::base::calendar;
use crate::base::duration;
use crate::config::{ServerConfig, Shown};
use crate::postgres::client::PgError;
use crate::postgres::shown::Fact;

use super::{Remote, backups, enforced_policy, newest_backup_age};

/// One value of `show-servers`.
#[derive(Debug, Clone)]
pub enum Setting {
    /// From the configuration.
    Configured(Shown),
    /// From PostgreSQL.
    Found(Fact),
}

impl Setting {
    /// The value for people: Python's `str` of it.
    #[must_use]
    pub fn console(&self) -> String {
        match self {
            Setting::Configured(shown) => shown.console(),
            Setting::Found(fact) => fact.console(),
        }
    }

    /// The value in JSON output.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Setting::Configured(shown) => shown.json(),
            Setting::Found(fact) => fact.json(),
        }
    }

    /// The value in the document of `diagnose`.
    #[must_use]
    pub fn diagnose(&self) -> Value {
        match self {
            Setting::Configured(shown) => shown.diagnose(),
            Setting::Found(fact) => fact.diagnose(),
        }
    }
}

/// Everything `show-servers` says about one server.
#[derive(Debug)]
pub struct ServerSettings {
    /// Its configuration.
    pub config: ServerConfig,
    /// Its values, sorted by name.
    pub values: BTreeMap<&'static str, Setting>,
}

impl ServerSettings {
    /// Collects the values, asking PostgreSQL.
    ///
    /// # Errors
    /// The program was asked to stop.
    pub fn collect(config: &ServerConfig) -> Result<ServerSettings, PgError> {
        let mut values: BTreeMap<&'static str, Setting> = config
            .all_shown()
            .into_iter()
            .map(|(name, shown)| (name, Setting::Configured(shown)))
            .collect();
        let model = config.active_model.clone().map_or(Shown::Null, Shown::Text);
        values.insert("active_model", Setting::Configured(model));
        values.insert(
            "passive_node",
            Setting::Configured(Shown::Bool(config.is_passive())),
        );
        values.insert(
            "last_backup_maximum_age",
            Setting::Configured(maximum_age(config)),
        );
        if let Some(policy) = enforced_policy(config) {
            values.insert(
                "retention_policy",
                Setting::Configured(Shown::Text(policy.to_string())),
            );
            let policy = config.wal_retention_policy.to_uppercase();
            values.insert("wal_retention_policy", Setting::Configured(Shown::Text(policy)));
        }
        for (name, fact) in Remote::gather(config)?.shown {
            values.insert(name, Setting::Found(fact));
        }
        Ok(ServerSettings {
            config: config.clone(),
            values,
        })
    }

    /// The members of the JSON object of the server.
    #[must_use]
    pub fn json(&self) -> Value {
        let members: serde_json::Map<String, Value> = self
            .values
            .iter()
            .map(|(name, setting)| ((*name).to_owned(), setting.json()))
            .collect();
        json!(members)
    }
}

/// The age at which a backup is too old, with the age of the newest one.
fn maximum_age(config: &ServerConfig) -> Shown {
    let Some(limit) = config.last_backup_maximum_age else {
        // Barman shows a text even where there is nothing to say, and JSON has it so.
        return Shown::Text("None".to_owned());
    };
    #[allow(clippy::cast_precision_loss)] // ages of backups
    let limit_seconds = limit.num_seconds() as f64;
    let limit_text = duration::human(limit_seconds);
    let (backups, now) = (backups(config), calendar::now());
    let newest = backups.values().rfind(|backup| backup.status.copy_done());
    let young = newest
        .and_then(|backup| backup.end_time.as_ref())
        .is_some_and(|end| calendar::seconds_between(end, &now) <= limit_seconds);
    let age = newest_backup_age(&backups, &now).unwrap_or_else(|| "No available backups".to_owned());
    Shown::Text(if young {
        format!("{limit_text} (latest backup: {age} )")
    } else {
        format!("{limit_text} (WARNING! latest backup is {age} old)")
    })
}
