//! Copying WAL from the primary node: `sync-wals`.
//!
//! Files arrive beside the archive, some hundred at a time, and are moved into it when they are on disk and have the size that
//! the primary node's database says; then they are recorded. Killed at any point, the archive has nothing but whole files, and
//! the next run goes on from what is recorded. (Barman writes in place, and has files recorded twice when it has to make the
//! database anew in between.)

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::base::durable;
use crate::base::error::PathContext;
use crate::base::interrupt;
use crate::base::lock::LockFile;
use crate::base::report::Reporter;
use crate::base::size;
use crate::catalog::{Backups, Catalog, CatalogError, WalEntry};
use crate::config::ServerConfig;
use crate::copy::{self, CopyItem, CopyPlan, Filter, ItemContent};
use crate::postgres::wal_name::{SegmentName, WalKind, hash_directory};
use crate::transport::Remote;

use super::copying::plan_of;
use super::decision::{Decision, decide};
use super::{SyncError, Told, primary};

/// So many files are copied, and recorded, at once.
const BATCH: usize = 256;

/// In the archive, where files arrive. Neither tool looks two levels below for WAL (observed of Barman).
const ARRIVALS: &str = ".sync-wals";

/// What is to be copied.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// These files, in this order.
    Copy(Vec<WalEntry>),
    /// Nothing for now. Why, in Barman's words.
    Wait(String),
}

/// Copies the WAL that the primary node has told of and this node does not have.
///
/// # Errors
/// It cannot be copied. What has been recorded by then stays.
pub fn run(config: &ServerConfig, catalog: &Catalog, reporter: &dyn Reporter) -> Result<(), SyncError> {
    let told = told(config, catalog)?;
    let _lock = LockFile::acquire(&catalog.locks().sync_wal_path())?;
    match plan(config, catalog, &told)? {
        Plan::Wait(why) => reporter.warning(&why),
        Plan::Copy(files) => {
            catalog.create_directories()?;
            let arriving = Arriving {
                config,
                catalog,
                told: &told,
                directory: catalog.layout().wals.join(ARRIVALS),
            };
            arriving.clear()?;
            if !files.is_empty() {
                let remote = primary::connect(config)?;
                for batch in files.chunks(BATCH) {
                    interrupt::check()?;
                    arriving.take(&remote, batch, reporter)?;
                }
                arriving.clear()?;
            }
            primary::note_reached(catalog.layout(), &told)?;
        }
    }
    Ok(())
}

/// Says what [`run`] would do.
///
/// # Errors
/// As [`run`], as far as can be known.
pub fn explain(config: &ServerConfig, catalog: &Catalog, reporter: &dyn Reporter) -> Result<(), SyncError> {
    let told = told(config, catalog)?;
    match plan(config, catalog, &told)? {
        Plan::Wait(why) => reporter.info(&why),
        Plan::Copy(files) => {
            let bytes: u64 = files.iter().map(|file| file.size).sum();
            reporter.info(&format!(
                "{} WAL files ({}) would be copied from \"{}\" of the primary node",
                files.len(),
                size::pretty_bytes(bytes),
                told.wal_archive.display()
            ));
            files
                .iter()
                .for_each(|file| reporter.info(&format!("\t{}", file.name)));
        }
    }
    Ok(())
}

fn told(config: &ServerConfig, catalog: &Catalog) -> Result<Told, SyncError> {
    if !config.is_passive() {
        return Err(SyncError::NotPassive(config.name.clone()));
    }
    primary::last_told(catalog.layout())
}

/// WAL files are copied as they are stored.
///
/// # Errors
/// The nodes compress WAL in different ways.
pub fn check_compression(config: &ServerConfig, told: &Told) -> Result<(), SyncError> {
    let here = config.compression.map(|compression| compression.to_string());
    if here == told.compression {
        return Ok(());
    }
    let word = |name: &Option<String>| name.clone().unwrap_or_else(|| "None".to_owned());
    Err(SyncError::Compression {
        server: config.name.clone(),
        there: word(&told.compression),
        here: word(&here),
    })
}

/// What is missing here of what the primary node has told.
///
/// # Errors
/// The catalog cannot be read, or the nodes compress WAL in different ways.
pub fn plan(config: &ServerConfig, catalog: &Catalog, told: &Told) -> Result<Plan, SyncError> {
    let server = &config.name;
    check_compression(config, told)?;
    let backups = catalog.backups()?;
    let Some(begin) = oldest_need(&backups) else {
        return Ok(Plan::Wait(format!("No base backup for server {server}")));
    };
    let mut missing = told.wals.clone();
    if !missing.is_empty() {
        let known = recorded(catalog)?;
        missing.retain(|file| !known.contains(&file.name));
    }
    let before = |file: &WalEntry| segment(&file.name).is_some_and(|segment| segment < begin);
    if let Some(first) = missing.iter().find(|file| before(file))
        && wants_older(config, catalog, told, &backups, begin)?
    {
        return Ok(Plan::Wait(format!(
            "Skipping WAL synchronisation for server {server}: no available local backup for {}",
            first.name
        )));
    }
    // What no backup here can use is not copied.
    missing.retain(|file| !before(file));
    Ok(Plan::Copy(missing))
}

/// Where the WAL begins that the backups here need.
fn oldest_need(backups: &Backups) -> Option<SegmentName> {
    backups
        .values()
        .filter(|info| info.status.copy_done())
        .find_map(|info| info.begin_wal)
}

/// Whether an older backup than those here is still to come. Then its WAL has to come first: Barman asks for what follows
/// the last file that was copied, and never again for what is older.
fn wants_older(
    config: &ServerConfig,
    catalog: &Catalog,
    told: &Told,
    backups: &Backups,
    begin: SegmentName,
) -> Result<bool, SyncError> {
    for (id, info) in &told.backups {
        let older = info.begin_wal.is_some_and(|segment| segment < begin);
        if older && matches!(decide(catalog, config, told, backups, id)?, Decision::Copy(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The segment that a file is, begins or describes; `None` for histories, which are always copied.
fn segment(name: &str) -> Option<SegmentName> {
    match WalKind::of(name)? {
        WalKind::History(_) => None,
        WalKind::Segment(name) | WalKind::BackupLabel(name) | WalKind::Partial(name) => Some(name),
    }
}

fn recorded(catalog: &Catalog) -> Result<HashSet<String>, CatalogError> {
    let mut names = HashSet::new();
    catalog.xlogdb().scan(|line| {
        names.insert(line.name.to_owned());
        Ok::<_, CatalogError>(ControlFlow::Continue(()))
    })?;
    Ok(names)
}

/// Files on their way into the archive.
struct Arriving<'a> {
    config: &'a ServerConfig,
    catalog: &'a Catalog,
    told: &'a Told,
    directory: PathBuf,
}

impl Arriving<'_> {
    /// Removes what an earlier run has left.
    fn clear(&self) -> Result<(), SyncError> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).at("remove", &self.directory)?
            }
            _ => Ok(()),
        }
    }

    fn take(&self, remote: &Remote, batch: &[WalEntry], reporter: &dyn Reporter) -> Result<(), SyncError> {
        let plan = CopyPlan {
            items: self.items(batch),
            ..plan_of(self.config)
        };
        copy::pull(&plan, remote, reporter)?;
        let mut arrived = Vec::new();
        let mut directories: Vec<PathBuf> = Vec::new();
        for file in batch {
            let source = self.place(&file.name);
            let Some(target) = self.catalog.layout().wal_path(&file.name) else {
                continue;
            };
            if !source.exists() {
                reporter.warning(&format!(
                    "WAL file {} has gone from the primary node of server {}",
                    file.name, self.config.name
                ));
                continue;
            }
            check_size(&source, file)?;
            if let Some(parent) = target.parent() {
                durable::create_dir_all(parent)?;
                if !directories.iter().any(|directory| directory == parent) {
                    directories.push(parent.to_path_buf());
                }
            }
            // Their content is on disk already; the directories are synced once.
            fs::rename(&source, &target).at("rename to", &target)?;
            arrived.push(file.clone());
        }
        directories
            .iter()
            .try_for_each(|directory| durable::sync_dir(directory))?;
        self.catalog.xlogdb().append(&arrived)?;
        Ok(())
    }

    /// One item for each directory of the archive.
    fn items(&self, batch: &[WalEntry]) -> Vec<CopyItem> {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in batch {
            let directory = hash_directory(&file.name).unwrap_or_default();
            names
                .entry(directory)
                .or_default()
                .push(format!("/{}", file.name));
        }
        let item = |(directory, names): (String, Vec<String>)| CopyItem {
            label: "wal".to_owned(),
            content: ItemContent::Tablespace,
            source: match directory.as_str() {
                "" => self.told.wal_archive.clone(),
                directory => self.told.wal_archive.join(directory),
            },
            destination: self.arrivals_of(&directory),
            reference: None,
            filter: Filter::default().include(names).exclude(["/*"]),
            bandwidth_kib: None,
        };
        names.into_iter().map(item).collect()
    }

    fn place(&self, name: &str) -> PathBuf {
        let directory = hash_directory(name).unwrap_or_default();
        self.arrivals_of(&directory).join(name)
    }

    /// Two levels below the archive, also for histories: what lies one level below is WAL to a `rebuild-xlogdb`.
    fn arrivals_of(&self, directory: &str) -> PathBuf {
        self.directory.join(if directory.is_empty() {
            "history"
        } else {
            directory
        })
    }
}

fn check_size(path: &Path, file: &WalEntry) -> Result<(), SyncError> {
    let found = fs::metadata(path).at("examine", path)?.len();
    if found == file.size {
        return Ok(());
    }
    Err(SyncError::WalSize {
        name: file.name.clone(),
        found,
        expected: file.size,
    })
}
