//! A restore by rsync.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use super::command::{Rsync, near, run};
use super::pull::named;
use crate::agent::filter::Rule;
use crate::base::report::Reporter;
use crate::base::shell;
use crate::copy::CopyError;
use crate::copy::plan::{PushItem, PushPlan};
use crate::copy::report::{CopyReport, ItemReport, Method};
use crate::transport::Remote;

/// What a delta restore would remove at the destination, as rsync itself says.
pub(in crate::copy) fn deletions(plan: &PushPlan, destination: &Remote) -> Result<Vec<PathBuf>, CopyError> {
    let mut found = Vec::new();
    if !plan.delta {
        return Ok(found);
    }
    for item in &plan.items {
        let mut arguments = arguments(plan, destination, item);
        arguments.insert(0, "--dry-run".into());
        let output = run(&item.label, &arguments)?;
        let lines = output.split(|byte| *byte == b'\n');
        let names = lines.filter_map(|line| line.strip_prefix(b"*deleting "));
        found.extend(names.map(|name| item.destination.join(named(name.trim_ascii()))));
    }
    Ok(found)
}

/// Restores every item.
pub(in crate::copy) fn push(
    plan: &PushPlan,
    destination: &Remote,
    reporter: &dyn Reporter,
    reason: String,
) -> Result<CopyReport, CopyError> {
    let begin = Instant::now();
    let mut report = CopyReport {
        method: Method::Rsync { reason },
        workers: 1,
        ..CopyReport::default()
    };
    for item in &plan.items {
        let started = Instant::now();
        reporter.debug(&format!("rsync restores {}", item.destination.display()));
        let place = shell::quote(&item.destination.to_string_lossy());
        command(destination, &format!("umask 077; mkdir -p {place}"), item)?;
        run(&item.label, &arguments(plan, destination, item))?;
        let seconds = started.elapsed().as_secs_f64();
        report.items.push(ItemReport {
            label: item.label.clone(),
            copy_seconds: seconds,
            serialized_copy_seconds: seconds,
            ..ItemReport::default()
        });
    }
    if let Some(item) = plan.items.last() {
        // rsync syncs nothing by itself.
        command(destination, "sync", item)?;
    }
    report.copy_seconds = report.items.iter().map(|item| item.copy_seconds).sum();
    report.total_seconds = begin.elapsed().as_secs_f64();
    Ok(report)
}

fn command(destination: &Remote, script: &str, item: &PushItem) -> Result<(), CopyError> {
    let output = destination.run(script)?;
    if output.code == 0 {
        return Ok(());
    }
    Err(CopyError::Rsync {
        item: item.label.clone(),
        code: output.code,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn arguments(plan: &PushPlan, destination: &Remote, item: &PushItem) -> Vec<OsString> {
    let rsync = Rsync {
        remote: destination,
        compress: plan.compress,
        bandwidth_kib: item.bandwidth_kib.or(plan.bandwidth_kib),
    };
    let mut arguments = rsync.arguments(&item.filter, None);
    if plan.delta {
        arguments.extend(["--delete", "--checksum"].map(OsString::from));
        // Before all other rules: the first that matches decides about a file of the destination.
        let owned = item.owned.iter().map(|name| format!("--filter=R_/{name}"));
        let below = item.owned.iter().map(|name| format!("--filter=R_/{name}/**"));
        let others = (!item.owned.is_empty()).then(|| "--filter=P_/**".to_owned());
        let protected = item.filter.rules().iter().filter_map(|rule| match rule {
            Rule::ExcludeAndProtect(path) => Some(format!("--filter=P_{path}")),
            Rule::Include(_) | Rule::Exclude(_) => None,
        });
        let rules: Vec<OsString> = protected
            .chain(owned)
            .chain(below)
            .chain(others)
            .map(OsString::from)
            .collect();
        arguments.splice(0..0, rules);
    } else {
        // Without a delta nothing is ever removed.
        arguments.retain(|argument| argument != "--delete-excluded");
    }
    arguments.extend([near(&item.source, true), rsync.far(&item.destination, true)]);
    arguments
}
