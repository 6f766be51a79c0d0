//! `recovery-windows`.

use serde_json::{Map, Value, json};

use super::{Page, Render};
use crate::base::calendar;
use crate::recovery::windows::{BackupWindows, Cause, Gap, Point, Survey, Window};

/// Where one can recover to on a server.
#[derive(Debug)]
pub struct WindowsAnswer<'a> {
    /// The server.
    pub server: &'a str,
    /// What its archive has.
    pub survey: &'a Survey,
}

impl Render for WindowsAnswer<'_> {
    fn console(&self, page: &mut Page) {
        page.line(format!("Server {}:", self.server));
        if self.survey.backups.is_empty() {
            page.line("  There is no backup to recover from.");
        }
        for backup in &self.survey.backups {
            console_backup(page, backup);
        }
        for gap in &self.survey.gaps {
            let affected: Vec<&str> = gap.backups.iter().map(|id| id.as_str()).collect();
            page.line(format!("  Gap in {gap}"));
            page.line(format!("    cannot be passed from: {}", affected.join(", ")));
        }
        for history in &self.survey.unreadable {
            page.line(format!("  Not readable: {history}"));
        }
    }

    fn json(&self, document: &mut Map<String, Value>) {
        let backups: Vec<Value> = self.survey.backups.iter().map(backup_value).collect();
        let gaps: Vec<Value> = self.survey.gaps.iter().map(gap_value).collect();
        document.insert(
            self.server.to_owned(),
            json!({"backups": backups, "gaps": gaps, "unreadable_histories": self.survey.unreadable}),
        );
    }
}

fn console_backup(page: &mut Page, backup: &BackupWindows) {
    page.line(format!("  Backup {} (timeline {}):", backup.id, backup.timeline));
    if let Some(problem) = &backup.problem {
        page.line(format!("    cannot be restored: {problem}"));
    }
    for window in &backup.windows {
        page.line(format!(
            "    timeline {}: from {} to {}{}",
            window.timeline,
            point(&window.from),
            point(&window.to),
            if window.cut { ", where WAL is missing" } else { "" }
        ));
    }
}

fn point(point: &Point) -> String {
    match &point.time {
        Some(time) => format!("{} ({})", time.format("%Y-%m-%d %H:%M:%S%:z"), point.lsn),
        None => point.lsn.to_string(),
    }
}

fn backup_value(backup: &BackupWindows) -> Value {
    let windows: Vec<Value> = backup.windows.iter().map(window_value).collect();
    json!({
        "backup_id": backup.id.as_str(),
        "timeline": backup.timeline,
        "windows": windows,
        "problem": backup.problem,
    })
}

fn window_value(window: &Window) -> Value {
    json!({
        "timeline": window.timeline,
        "from": point_value(&window.from),
        "to": point_value(&window.to),
        "ends_at_gap": window.cut,
    })
}

fn point_value(point: &Point) -> Value {
    json!({
        "lsn": point.lsn.to_string(),
        "time": point.time.as_ref().map(calendar::python_iso),
    })
}

fn gap_value(gap: &Gap) -> Value {
    let causes: Vec<Value> = gap
        .causes
        .iter()
        .map(|(cause, count)| {
            let path = match cause {
                Cause::PutAside { path, .. } => Some(path.display().to_string()),
                _ => None,
            };
            let reason = match cause {
                Cause::PutAside { reason, .. } => reason.clone(),
                _ => None,
            };
            json!({"cause": cause.keyword(), "count": count, "path": path, "reason": reason})
        })
        .collect();
    let backups: Vec<&str> = gap.backups.iter().map(|id| id.as_str()).collect();
    json!({
        "timeline": gap.timeline,
        "first": gap.first.to_string(),
        "last": gap.last.to_string(),
        "count": gap.count,
        "causes": causes,
        "backups": backups,
    })
}
