//! The queue of changes, `config_changes_queue`: a JSON list that Barman's `config-update` and `cron` read and write as well.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Change, ChangeError, ChangeSet};
use crate::base::error::{PathContext, PathError};
use crate::base::report::Reporter;
use crate::base::{calendar, durable, json};
use crate::catalog::locks;
use crate::config::edit::{self, EditError};
use crate::config::{Config, MainConfig};

/// The queue of changes of the configuration.
#[derive(Debug)]
pub struct Queue {
    path: PathBuf,
    locks: PathBuf,
}

/// What came of the changes in the queue.
#[derive(Debug, Default)]
pub struct Applied {
    /// The sections that were changed, in the order of the alphabet.
    pub sections: Vec<String>,
    /// Why the next change cannot be made; it stays in the queue, with those behind it.
    pub stuck: Option<ChangeError>,
}

impl Queue {
    /// The queue that the configuration names.
    #[must_use]
    pub fn of(main: &MainConfig) -> Queue {
        Queue {
            path: main.config_changes_queue.clone(),
            locks: main.barman_lock_directory.clone(),
        }
    }

    /// Queues the changes behind those that are waiting, and makes them all.
    ///
    /// # Errors
    /// The queue is in use, or cannot be read or written.
    pub fn update(
        &self,
        changes: Vec<ChangeSet>,
        config: &Config,
        reporter: &dyn Reporter,
    ) -> Result<Applied, ChangeError> {
        let _lock = locks::config_update(&self.locks)?;
        let mut waiting = self.read(reporter)?;
        waiting.extend(changes);
        self.write(&waiting)?;
        self.apply(waiting, config, reporter)
    }

    /// Makes the changes that are waiting.
    ///
    /// # Errors
    /// As [`Queue::update`].
    pub fn process(&self, config: &Config, reporter: &dyn Reporter) -> Result<Applied, ChangeError> {
        let _lock = locks::config_update(&self.locks)?;
        let waiting = self.read(reporter)?;
        if waiting.is_empty() {
            self.write(&waiting)?;
        }
        self.apply(waiting, config, reporter)
    }

    fn apply(
        &self,
        mut waiting: Vec<ChangeSet>,
        config: &Config,
        reporter: &dyn Reporter,
    ) -> Result<Applied, ChangeError> {
        let mut applied = Applied::default();
        let mut made = BTreeMap::new();
        while let Some(next) = waiting.first() {
            let texts = match make(next, &self.before()) {
                Ok(texts) => texts,
                Err(reason) => {
                    log::error!(target: "barman.config", "cannot change section [{}]: {reason}", next.section);
                    applied.stuck = Some(ChangeError::Stuck { reason });
                    break;
                }
            };
            for (change, text) in next.changes_set.iter().zip(texts) {
                let (section, key) = (next.section.clone(), change.key.clone());
                let old = made
                    .insert((section, key), text.clone())
                    .or_else(|| config.written(&next.section, &change.key).map(str::to_owned));
                reporter.info(&format!(
                    "Changing value of option '{}' for section '{}' from '{}' to '{text}' through config-update.",
                    change.key,
                    next.section,
                    old.as_deref().unwrap_or("None")
                ));
            }
            applied.sections.push(next.section.clone());
            waiting.remove(0);
            self.write(&waiting)?;
        }
        applied.sections.sort();
        applied.sections.dedup();
        Ok(applied)
    }

    /// What is waiting. A file that cannot be understood is put aside, not overwritten.
    fn read(&self, reporter: &dyn Reporter) -> Result<Vec<ChangeSet>, ChangeError> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return self.read_interrupted(),
            other => other.at("read", &self.path)?,
        };
        if let Ok(waiting) = serde_json::from_str(&text) {
            return Ok(waiting);
        }
        reporter.warning(&format!(
            "Malformed or empty configuration change queue: {}",
            self.path.display()
        ));
        if !text.trim().is_empty() {
            let stamp = calendar::now().format("%Y%m%dT%H%M%S");
            let aside = durable::sibling(&self.path, &format!(".malformed-{stamp}"));
            durable::rename(&self.path, &aside)?;
            reporter.warning(&format!("its content is kept in {}", aside.display()));
        }
        Ok(Vec::new())
    }

    /// Barman moves the queue to `{queue}.old` before the new one takes its name; it may have been stopped in between.
    fn read_interrupted(&self) -> Result<Vec<ChangeSet>, ChangeError> {
        let old = durable::sibling(&self.path, ".old");
        let text = match fs::read_to_string(&old) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.at("read", &old)?,
        };
        log::warn!(target: "barman.config", "the queue of changes was being replaced; \"{}\" is used", old.display());
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Where the text of a file is kept that has to be written in place.
    fn before(&self) -> PathBuf {
        durable::sibling(&self.path, ".before")
    }

    fn write(&self, waiting: &[ChangeSet]) -> Result<(), PathError> {
        let text = json::indented_by(&waiting, 2)
            .map_err(io::Error::other)
            .at("write", &self.path)?;
        durable::write(&self.path, text.as_bytes())?;
        // What an interrupted Barman has left would be taken for the queue, should that ever be missing.
        durable::remove(&durable::sibling(&self.path, ".old"))
    }
}

/// Makes the changes of one set, and gives the texts of the new values. All changes of a file are made at once; the file that makes
/// a section a model comes first, so that nobody takes it for a server in between.
fn make(set: &ChangeSet, before: &Path) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    for Change { key, value, .. } in &set.changes_set {
        let text = value.as_str().ok_or_else(|| {
            format!(
                "the value of option '{key}' for section '{}' is not a text",
                set.section
            )
        })?;
        texts.push(text.to_owned());
    }
    let mut by_file: BTreeMap<(bool, &str), Vec<edit::Change<'_>>> = BTreeMap::new();
    for (change, value) in set.changes_set.iter().zip(&texts) {
        let file = change.config_file.as_str();
        let makes_model = |other: &Change| other.key == "model" && other.config_file == file;
        let later = !set.changes_set.iter().any(makes_model);
        by_file.entry((later, file)).or_default().push(edit::Change {
            section: &set.section,
            option: &change.key,
            value,
        });
    }
    by_file
        .into_iter()
        .try_for_each(|((_, file), changes)| edit::change(Path::new(file), &changes, before))
        .map_err(|error: EditError| error.to_string())?;
    Ok(texts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;
    use crate::base::report::{NoProgress, Progress, Total};
    use crate::config::Config;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Reporter for Lines {
        fn info(&self, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
        fn warning(&self, line: &str) {
            self.info(line);
        }
        fn error(&self, line: &str) {
            self.info(line);
        }
        fn debug(&self, _line: &str) {}
        fn progress(&self, _title: &str, _total: Total) -> Box<dyn Progress> {
            Box::new(NoProgress)
        }
    }

    struct Lab {
        directory: PathBuf,
        queue: Queue,
        config: Config,
        lines: Lines,
    }

    impl Lab {
        fn new(name: &str) -> Lab {
            let directory = std::env::temp_dir().join(format!("barkeep-queue-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir_all(&directory).unwrap();
            let file = directory.join("b.conf");
            let home = directory.display();
            let text =
                format!("[barman]\nbarman_home = {home}\nbarman_user = x\n[main]\ndescription = old\n[b]\n");
            fs::write(&file, text).unwrap();
            let config = Config::load(Some(&file), None).unwrap();
            let queue = Queue::of(&config.main);
            let lines = Lines::default();
            Lab {
                directory,
                queue,
                config,
                lines,
            }
        }

        fn queue_text(&self) -> String {
            fs::read_to_string(&self.queue.path).unwrap()
        }

        fn put(&self, section: &str, key: &str, value: &str, file: &str) {
            let mut waiting = self.queue.read(&self.lines).unwrap();
            waiting.push(ChangeSet {
                section: section.to_owned(),
                changes_set: vec![Change {
                    key: key.to_owned(),
                    value: serde_json::from_str(value).unwrap(),
                    config_file: self.directory.join(file).display().to_string(),
                }],
            });
            self.queue.write(&waiting).unwrap();
        }

        fn process(&self) -> Applied {
            self.queue.process(&self.config, &self.lines).unwrap()
        }
    }

    impl Drop for Lab {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }

    #[test]
    fn changes_are_made_in_order_and_taken_off() {
        let lab = Lab::new("order");
        lab.put("main", "description", "\"new\"", "b.conf");
        lab.put("main", "description", "\"newer\"", "b.conf");
        lab.put("b", "archiver", "\"on\"", ".barman.auto.conf");
        let applied = lab.process();
        assert!(applied.stuck.is_none());
        assert_eq!(applied.sections, ["b", "main"]);
        assert_eq!(lab.queue_text(), "[]");
        assert_eq!(
            *lab.lines.0.lock().unwrap(),
            [
                "Changing value of option 'description' for section 'main' from 'old' to 'new' through config-update.",
                "Changing value of option 'description' for section 'main' from 'new' to 'newer' through config-update.",
                "Changing value of option 'archiver' for section 'b' from 'None' to 'on' through config-update.",
            ]
        );
        let again = Config::load(Some(&lab.config.path), None).unwrap();
        assert_eq!(again.servers["main"].description.as_deref(), Some("newer"));
        assert!(again.servers["b"].archiver);
    }

    #[test]
    fn a_change_that_cannot_be_made_keeps_its_place() {
        let lab = Lab::new("stuck");
        lab.put("main", "description", "\"new\"", "b.conf");
        lab.put("main", "description", "7", "b.conf");
        lab.put("main", "description", "\"after\"", "b.conf");
        let applied = lab.process();
        assert_eq!(
            applied.stuck.unwrap().to_string(),
            "Unable to process a set of changes. Exiting."
        );
        assert_eq!(lab.queue.read(&lab.lines).unwrap().len(), 2);
        assert_eq!(applied.sections, ["main"]);
    }

    #[test]
    fn a_queue_that_makes_no_sense_is_kept() {
        let lab = Lab::new("nonsense");
        fs::write(&lab.queue.path, "{\"a\": 1}").unwrap();
        assert!(lab.process().sections.is_empty());
        assert_eq!(lab.queue_text(), "[]");
        let kept = crate::base::directory::names(&lab.directory).unwrap();
        let kept = kept.iter().find(|name| name.contains("malformed")).unwrap();
        assert_eq!(
            fs::read_to_string(lab.directory.join(kept)).unwrap(),
            "{\"a\": 1}"
        );
    }

    #[test]
    fn a_queue_that_barman_was_replacing_is_found() {
        let lab = Lab::new("old");
        lab.put("main", "description", "\"new\"", "b.conf");
        fs::rename(&lab.queue.path, durable::sibling(&lab.queue.path, ".old")).unwrap();
        assert_eq!(lab.process().sections, ["main"]);
        assert_eq!(lab.queue_text(), "[]");
        assert!(!durable::sibling(&lab.queue.path, ".old").exists());
    }

    #[test]
    fn two_do_not_change_the_configuration_at_once() {
        let lab = Lab::new("busy");
        let _held = locks::config_update(&lab.directory).unwrap();
        assert!(matches!(
            lab.queue.process(&lab.config, &lab.lines),
            Err(ChangeError::Busy)
        ));
    }
}
