//! What the retention policies would remove, for `cron --dry-run`. Nothing is started, locked or changed.

use std::path::Path;

use crate::base::lock::LockFile;
use crate::base::report::Reporter;
use crate::catalog::Catalog;
use crate::catalog::enforcement::{self, Foreseen, RetentionPlan};
use crate::config::ServerConfig;
use crate::hooks::HookRunner;

use super::CronError;

/// What would happen to the backups of one server.
#[derive(Debug)]
pub struct Forecast {
    /// The server.
    pub server: String,
    /// What the policy wants, and what would become of what it does not want; `None` without a policy.
    pub retention: Option<(RetentionPlan, Vec<Foreseen>)>,
    /// Why cron would do nothing now.
    pub postponed: Option<String>,
}

/// Looks ahead for each of `servers`. What goes wrong with one is reported and keeps none of the others.
#[must_use]
pub fn foresee(configuration: &Path, servers: &[&ServerConfig], reporter: &dyn Reporter) -> Vec<Forecast> {
    let mut forecasts = Vec::new();
    for server in servers {
        match look_ahead(configuration, server, reporter) {
            Ok(forecast) => forecasts.push(forecast),
            Err(error) => reporter.error(&format!("server {}: {error}", server.name)),
        }
    }
    forecasts
}

fn look_ahead(
    configuration: &Path,
    server: &ServerConfig,
    reporter: &dyn Reporter,
) -> Result<Forecast, CronError> {
    let catalog = Catalog::of(server)?;
    let hooks = HookRunner::of_server(server, configuration);
    let retention = enforcement::foresee(&catalog, server, &hooks, reporter)?;
    let owner = LockFile::owner(&catalog.locks().path("backup"))?;
    let postponed = if !server.active {
        Some("the server is inactive".to_owned())
    } else if server.disabled {
        Some("the configuration of the server is wrong".to_owned())
    } else {
        owner.map(|pid| format!("a backup or deletion is running (process {pid})"))
    };
    Ok(Forecast {
        server: server.name.clone(),
        retention,
        postponed,
    })
}
