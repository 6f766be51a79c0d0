//! What lies in the errors directory: how many objects of each kind, and of each kind the newest with its remedy.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::archive::archive_wal::errors_directory::{REASON, cluster_of, original_name};
use crate::archive::{Places, wal_codec};
use crate::base::durable;
use crate::base::error::{PathContext, PathError};

use super::context::Context;
use super::{Cancelled, Sink};

/// Why something was put aside, by the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Duplicate,
    Unknown,
    Damaged,
    Foreign,
    /// Not by Barman, nor by this program.
    Other,
}

/// The endings, as Barman and this program write them, with their names in the hint.
const KINDS: [(Kind, &str, &str); 5] = [
    (Kind::Duplicate, ".duplicate", "duplicates"),
    (Kind::Unknown, ".unknown", "unknown"),
    (Kind::Damaged, ".damaged", "damaged"),
    (Kind::Foreign, ".foreign", "foreign"),
    (Kind::Other, "", "unknown failure"),
];

pub(super) fn check(context: &Context, sink: &Sink) -> Result<(), Cancelled> {
    let directory = &context.server.errors_directory;
    let mut names = match names(directory) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return sink.note("archiver errors", false, error.to_string()),
    };
    names.retain(|name| !name.ends_with(REASON));
    let mut found: Vec<(Kind, Vec<String>)> = KINDS.iter().map(|(kind, ..)| (*kind, Vec::new())).collect();
    for name in names {
        let place = KINDS.iter().position(|(_, ending, _)| name.ends_with(ending));
        if let Some((_, of_kind)) = place.and_then(|place| found.get_mut(place)) {
            of_kind.push(name);
        }
    }
    let mut hint: Vec<String> = KINDS
        .iter()
        .zip(&found)
        .filter(|(_, (_, names))| !names.is_empty())
        .map(|((_, _, word), (_, names))| format!("{word}: {}", names.len()))
        .collect();
    let remedies = found
        .iter()
        .filter_map(|(kind, names)| remedy(context, *kind, names));
    hint.extend(remedies.collect::<Vec<_>>());
    sink.note("archiver errors", hint.is_empty(), hint.join(", "))
}

/// The newest object of a kind, why it is here, and what to do.
fn remedy(context: &Context, kind: Kind, names: &[String]) -> Option<String> {
    // Segments are numbered as they are written.
    let newest = names.iter().max()?;
    let path = context.server.errors_directory.join(newest);
    let (incoming, file) = (context.server.incoming_wals_directory.display(), path.display());
    let original = original_name(newest);
    Some(match kind {
        Kind::Duplicate => duplicate(context, &path, original),
        Kind::Unknown => {
            format!("'{file}': no WAL file; find out who puts it into '{incoming}', and remove it")
        }
        Kind::Damaged => format!(
            "'{file}': {}; copy {original} from pg_wal of the server or a standby to '{incoming}', then remove the damaged file",
            reason(&path)
        ),
        Kind::Foreign => foreign(context, &path),
        Kind::Other => return None,
    })
}

/// Which of the two is right cannot be told here, but which cluster the second is of can.
fn duplicate(context: &Context, path: &Path, name: &str) -> String {
    let file = path.display();
    let codec = wal_codec(&context.server);
    if let Some((other, own)) = cluster_of(&codec, path).zip(identity(context))
        && other != own
    {
        return format!(
            "'{file}': of the cluster {other}, not of this one, {own}; find out which server sends its WAL here, and remove the file"
        );
    }
    let known = Places::of(&context.server).ok().and_then(|places| {
        let candidates: [Option<PathBuf>; 2] = [places.archived(name), Some(places.incoming.join(name))];
        candidates.into_iter().flatten().find(|path| path.exists())
    });
    match known {
        Some(known) => format!(
            "'{file}': another content than '{}'; find out which of the two this server wrote (pg_waldump reads what \
             'barman get-wal {} {name}' sends), and remove the other",
            known.display(),
            context.server.name
        ),
        None => format!(
            "'{file}': another content than {name} had, which is gone; move it to '{}' as {name} if this server wrote it",
            context.server.incoming_wals_directory.display()
        ),
    }
}

/// The WAL of another server, or of this one after `pg_upgrade`.
fn foreign(context: &Context, path: &Path) -> String {
    let file = path.display();
    let connected = context
        .streaming()
        .and_then(|streaming| streaming.systemid.as_deref())
        .or_else(|| context.facts().and_then(|facts| facts.systemid.as_deref()));
    let connected = connected.and_then(|systemid| systemid.parse::<u64>().ok());
    let cluster = cluster_of(&wal_codec(&context.server), path);
    let renew = match &context.catalog {
        Ok(catalog) => format!(
            "remove '{}' and take a backup",
            catalog.layout().identity_path().display()
        ),
        Err(_) => "take a backup".to_owned(),
    };
    if cluster.is_some() && cluster == identity(context) {
        return format!(
            "'{file}': of this server after all; 'barman archive-wal {}' archives it",
            context.server.name
        );
    }
    if cluster.is_some() && cluster == connected {
        return format!(
            "'{file}': {}; that is the server as it is now, after pg_upgrade or initdb: {renew}, then it is archived with the \
             others",
            reason(path)
        );
    }
    format!(
        "'{file}': {}; find out which server sends its WAL here, and remove the file; if this server was upgraded or made \
         anew, {renew} instead",
        reason(path)
    )
}

/// The system identifier of the server whose backups these are.
fn identity(context: &Context) -> Option<u64> {
    let catalog = context.catalog.as_ref().ok()?;
    catalog.identity().ok()??.systemid?.parse().ok()
}

fn reason(path: &Path) -> String {
    fs::read_to_string(durable::sibling(path, REASON))
        .inspect_err(|error| log::debug!("{error}"))
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

fn names(directory: &Path) -> Result<Vec<String>, PathError> {
    fs::read_dir(directory)
        .at("list directory", directory)?
        .map(|entry| {
            let name = entry.at("list directory", directory)?.file_name();
            Ok(name.to_string_lossy().into_owned())
        })
        .collect()
}
