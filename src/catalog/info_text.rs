//! The text of a `backup.info`: `key=value` lines, sorted by key (catalog reference §3).

use std::path::Path;

use crate::base::calendar::{self, Timestamp};
use crate::postgres::lsn::Lsn;
use crate::postgres::wal_name::{DEFAULT_SEGMENT_SIZE, SegmentName};

use super::error::CatalogError;
use super::info::{BackupInfo, CopyStats, Tablespace};
use super::python_literal::{self, Literal};
use super::{BackupId, BackupStatus};

impl BackupInfo {
    /// The lines of the file, in the exact bytes Barman writes.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(2048);
        for (key, value) in self.to_pairs() {
            text.push_str(key);
            text.push('=');
            // A line cannot hold a newline: only free texts could, and Barman writes their first line.
            text.push_str(
                value
                    .unwrap_or_else(|| "None".to_owned())
                    .lines()
                    .next()
                    .unwrap_or_default(),
            );
            text.push('\n');
        }
        text
    }

    /// The keys in their order, with the text of their values. The two keys that Barman hides when they are null are
    /// left out then.
    fn to_pairs(&self) -> Vec<(&'static str, Option<String>)> {
        let mut pairs = vec![
            (
                "backup_label",
                self.backup_label.as_deref().map(python_literal::string_repr),
            ),
            ("backup_name", self.backup_name.clone()),
            ("begin_offset", text(&self.begin_offset)),
            ("begin_time", self.begin_time.as_ref().map(calendar::python_str)),
            ("begin_wal", text(&self.begin_wal)),
            ("begin_xlog", text(&self.begin_xlog)),
            (
                "children_backup_ids",
                self.children_backup_ids.as_deref().map(join),
            ),
            ("cluster_size", text(&self.cluster_size)),
            ("compression", self.compression.clone()),
            ("config_file", self.config_file.clone()),
            (
                "copy_stats",
                self.copy_stats
                    .as_ref()
                    .map(|stats| python_literal::repr(stats.literal())),
            ),
            ("data_checksums", self.data_checksums.clone()),
            ("deduplicated_size", text(&self.deduplicated_size)),
            ("encryption", self.encryption.clone()),
            ("end_offset", text(&self.end_offset)),
            ("end_time", self.end_time.as_ref().map(calendar::python_str)),
            ("end_wal", text(&self.end_wal)),
            ("end_xlog", text(&self.end_xlog)),
            ("error", self.error.clone()),
            ("hba_file", self.hba_file.clone()),
            ("ident_file", self.ident_file.clone()),
            (
                "included_files",
                self.included_files.as_deref().map(python_strings),
            ),
            ("mode", self.mode.clone()),
            ("parent_backup_id", text(&self.parent_backup_id)),
            ("pgdata", self.pgdata.clone()),
            ("server_name", self.server_name.clone()),
            ("size", text(&self.size)),
            (
                "snapshots_info",
                self.snapshots_info.as_ref().map(python_literal::repr),
            ),
            ("status", Some(self.status.to_string())),
            ("summarize_wal", self.summarize_wal.clone()),
            ("systemid", self.systemid.clone()),
            ("tablespaces", self.tablespaces.as_deref().map(python_tablespaces)),
            ("timeline", text(&self.timeline)),
            ("version", text(&self.version)),
            ("xlog_segment_size", Some(self.xlog_segment_size.to_string())),
        ];
        pairs.retain(|(key, value)| value.is_some() || !matches!(*key, "backup_name" | "snapshots_info"));
        pairs
    }

    /// Reads the text of a file. `path` is for error messages only.
    ///
    /// # Errors
    /// A line without `=`, a key that Barman 3.19.1 does not know, or a value that does not fit its key.
    pub fn from_text(id: BackupId, text: &str, path: &Path) -> Result<BackupInfo, CatalogError> {
        let mut info = BackupInfo::empty(id);
        for line in text.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(CatalogError::InvalidLine {
                    line: line.to_owned(),
                    path: path.to_path_buf(),
                });
            };
            let value = Some(value.trim()).filter(|value| *value != "None");
            info.set(key.trim(), value).map_err(|problem| problem.at(path))?;
        }
        Ok(info)
    }

    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), Problem> {
        let field = Field { key, value };
        match key {
            "backup_label" => self.backup_label = field.label()?,
            "backup_name" => self.backup_name = field.string(),
            "begin_offset" => self.begin_offset = field.number()?,
            "begin_time" => self.begin_time = field.time()?,
            "begin_wal" => self.begin_wal = field.segment()?,
            "begin_xlog" => self.begin_xlog = field.lsn()?,
            "children_backup_ids" => self.children_backup_ids = field.ids()?,
            "cluster_size" => self.cluster_size = field.number()?,
            "compression" => self.compression = field.string(),
            "config_file" => self.config_file = field.string(),
            "copy_stats" => self.copy_stats = field.copy_stats()?,
            "data_checksums" => self.data_checksums = field.string(),
            "deduplicated_size" => self.deduplicated_size = field.number()?,
            "encryption" => self.encryption = field.string(),
            "end_offset" => self.end_offset = field.number()?,
            "end_time" => self.end_time = field.time()?,
            "end_wal" => self.end_wal = field.segment()?,
            "end_xlog" => self.end_xlog = field.lsn()?,
            "error" => self.error = field.string(),
            "hba_file" => self.hba_file = field.string(),
            "ident_file" => self.ident_file = field.string(),
            "included_files" => self.included_files = field.strings()?,
            "mode" => self.mode = field.string(),
            "parent_backup_id" => self.parent_backup_id = field.id()?,
            "pgdata" => self.pgdata = field.string(),
            "server_name" => self.server_name = field.string(),
            "size" => self.size = field.number()?,
            "snapshots_info" => self.snapshots_info = field.literal()?,
            "status" => self.status = field.status()?,
            "summarize_wal" => self.summarize_wal = field.string(),
            "systemid" => self.systemid = field.string(),
            "tablespaces" => self.tablespaces = field.tablespaces()?,
            "timeline" => self.timeline = field.number()?,
            "version" => self.version = field.number()?,
            "xlog_segment_size" => self.xlog_segment_size = field.number()?.unwrap_or(DEFAULT_SEGMENT_SIZE),
            _ => return Err(Problem::UnknownField(key.to_owned())),
        }
        Ok(())
    }
}

fn text<T: ToString>(value: &Option<T>) -> Option<String> {
    value.as_ref().map(ToString::to_string)
}

fn join(ids: &[BackupId]) -> String {
    ids.iter().map(BackupId::as_str).collect::<Vec<_>>().join(",")
}

fn python_strings(strings: &[String]) -> String {
    python_literal::repr(&Literal::List(strings.iter().map(Literal::str).collect()))
}

fn python_tablespaces(tablespaces: &[Tablespace]) -> String {
    let items = tablespaces
        .iter()
        .map(|tablespace| {
            Literal::Tuple(vec![
                Literal::str(&tablespace.name),
                Literal::Int(tablespace.oid.into()),
                Literal::str(&tablespace.location),
            ])
        })
        .collect();
    python_literal::repr(&Literal::List(items))
}

/// Why a line was refused, before the path is known.
enum Problem {
    UnknownField(String),
    Value { key: String, reason: String },
}

impl Problem {
    fn at(self, path: &Path) -> CatalogError {
        match self {
            Problem::UnknownField(key) => CatalogError::UnknownField { key },
            Problem::Value { key, reason } => CatalogError::InvalidValue {
                key,
                path: path.to_path_buf(),
                reason,
            },
        }
    }
}

/// The text of one key, `None` when it is null.
struct Field<'a> {
    key: &'a str,
    value: Option<&'a str>,
}

impl Field<'_> {
    fn refuse(&self, reason: impl ToString) -> Problem {
        Problem::Value {
            key: self.key.to_owned(),
            reason: reason.to_string(),
        }
    }

    fn string(&self) -> Option<String> {
        self.value.map(str::to_owned)
    }

    fn number<T: std::str::FromStr<Err: ToString>>(&self) -> Result<Option<T>, Problem> {
        self.value
            .map(|text| {
                text.parse()
                    .map_err(|error: T::Err| self.refuse(error.to_string()))
            })
            .transpose()
    }

    fn time(&self) -> Result<Option<Timestamp>, Problem> {
        self.value
            .map(|text| {
                calendar::parse(text).ok_or_else(|| self.refuse(format!("{text:?} is not a point in time")))
            })
            .transpose()
    }

    fn segment(&self) -> Result<Option<SegmentName>, Problem> {
        self.value
            .map(|text| {
                SegmentName::parse(text)
                    .ok_or_else(|| self.refuse(format!("{text:?} is not the name of a WAL segment")))
            })
            .transpose()
    }

    fn lsn(&self) -> Result<Option<Lsn>, Problem> {
        self.value
            .map(|text| text.parse().map_err(|error| self.refuse(error)))
            .transpose()
    }

    fn status(&self) -> Result<BackupStatus, Problem> {
        let text = self.value.unwrap_or("EMPTY");
        BackupStatus::parse(text).ok_or_else(|| self.refuse(format!("{text:?} is not a status of a backup")))
    }

    fn id(&self) -> Result<Option<BackupId>, Problem> {
        self.value
            .map(|text| {
                BackupId::from_file_name(text)
                    .ok_or_else(|| self.refuse(format!("{text:?} is not the name of a backup")))
            })
            .transpose()
    }

    fn ids(&self) -> Result<Option<Vec<BackupId>>, Problem> {
        let Some(text) = self.value else { return Ok(None) };
        let are_ids = |whole: &String| {
            whole
                .split(',')
                .all(|name| BackupId::parse(name.trim()).is_some())
        };
        let whole = undo_explosion(text)
            .filter(are_ids)
            .unwrap_or_else(|| text.to_owned());
        whole
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| {
                BackupId::from_file_name(name)
                    .ok_or_else(|| self.refuse(format!("{name:?} is not the name of a backup")))
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn literal(&self) -> Result<Option<Literal>, Problem> {
        match self.value.map(python_literal::parse).transpose() {
            Ok(literal) => Ok(literal.filter(|literal| *literal != Literal::None)),
            Err(error) => Err(self.refuse(error)),
        }
    }

    fn label(&self) -> Result<Option<String>, Problem> {
        let Some(literal) = self.literal()? else {
            return Ok(None);
        };
        let label = literal.as_str().ok_or_else(|| self.refuse("expected a string"))?;
        // A passive node of Barman quotes the label a second time.
        Ok(Some(match python_literal::parse(label) {
            Ok(Literal::Str(inner)) => inner,
            _ => label.to_owned(),
        }))
    }

    fn strings(&self) -> Result<Option<Vec<String>>, Problem> {
        let Some(literal) = self.literal()? else {
            return Ok(None);
        };
        let strings = literal.items().and_then(|items| {
            items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        });
        strings
            .map(Some)
            .ok_or_else(|| self.refuse("expected a list of strings"))
    }

    fn copy_stats(&self) -> Result<Option<CopyStats>, Problem> {
        let Some(literal) = self.literal()? else {
            return Ok(None);
        };
        CopyStats::from_literal(literal)
            .map(Some)
            .ok_or_else(|| self.refuse("expected a dict"))
    }

    fn tablespaces(&self) -> Result<Option<Vec<Tablespace>>, Problem> {
        let Some(literal) = self.literal()? else {
            return Ok(None);
        };
        let tablespaces = literal
            .items()
            .and_then(|items| items.iter().map(tablespace).collect::<Option<Vec<_>>>());
        tablespaces
            .map(Some)
            .ok_or_else(|| self.refuse("expected a list of ('name', oid, 'location')"))
    }
}

fn tablespace(literal: &Literal) -> Option<Tablespace> {
    match literal.items()? {
        [name, oid, location] => Some(Tablespace {
            name: name.as_str()?.to_owned(),
            oid: match oid {
                Literal::Int(number) => u32::try_from(*number).ok()?,
                Literal::Str(text) => text.parse().ok()?,
                _ => return None,
            },
            location: location.as_str()?.to_owned(),
        }),
        _ => None,
    }
}

/// A passive node of Barman writes a list of ids with a comma after every character: `2,0,2,6,…`.
fn undo_explosion(text: &str) -> Option<String> {
    let characters: Vec<char> = text.chars().collect();
    let exploded = characters.len() > 2
        && characters.len() % 2 == 1
        && characters
            .iter()
            .skip(1)
            .step_by(2)
            .all(|character| *character == ',');
    exploded.then(|| characters.into_iter().step_by(2).collect())
}

#[cfg(test)]
mod tests;
