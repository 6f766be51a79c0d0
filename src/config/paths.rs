//! Directories that must not be shared, within a server and between servers.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::options::ServerConfig;

/// The longest chain of symbolic links that is followed.
const MAX_LINKS: usize = 40;

/// Finds shared directories: disables a server that uses one twice, and returns the lines about directories that two
/// servers use.
pub(super) fn conflicts(servers: &mut BTreeMap<String, ServerConfig>) -> Vec<String> {
    let mut taken: BTreeMap<PathBuf, (String, &'static str)> = BTreeMap::new();
    let mut errors = Vec::new();
    for server in servers.values_mut() {
        let mut own: BTreeMap<PathBuf, &'static str> = BTreeMap::new();
        for (option, path) in directories(server) {
            let real = real_path(&path);
            // A trailing slash counts as a difference, as in Barman.
            let link = if real.as_os_str() == path.as_os_str() {
                String::new()
            } else {
                format!(" (symlink to: {})", real.display())
            };
            let stated = format!("Conflicting path: {option}={}{link}", path.display());
            if let Some(other) = own.get(&real) {
                server.disable(format!(
                    "{stated} conflicts with '{other}' for server '{}'",
                    server.name
                ));
            } else if let Some((name, other)) = taken.get(&real) {
                errors.push(format!(
                    "{stated} for server '{}' conflicts with '{other}' for server '{name}'",
                    server.name
                ));
            }
            own.entry(real).or_insert(option);
        }
        for (real, option) in own {
            taken.entry(real).or_insert_with(|| (server.name.clone(), option));
        }
    }
    errors
}

/// The directories that must differ, in the order in which they are looked at. Object stores are left out.
fn directories(server: &ServerConfig) -> Vec<(&'static str, PathBuf)> {
    let mut directories = vec![("backup_directory", server.backup_directory.clone())];
    if let Ok(path) = server.basebackups_directory.local() {
        directories.push(("basebackups_directory", path.to_path_buf()));
    }
    directories.push(("errors_directory", server.errors_directory.clone()));
    directories.push(("incoming_wals_directory", server.incoming_wals_directory.clone()));
    directories.push((
        "streaming_wals_directory",
        server.streaming_wals_directory.clone(),
    ));
    if let Ok(path) = server.wals_directory.local() {
        directories.push(("wals_directory", path.to_path_buf()));
    }
    directories
}

/// The path without symbolic links, `.` and `..`, also where parts of it do not exist yet.
fn real_path(path: &Path) -> PathBuf {
    let start = if path.is_absolute() {
        PathBuf::new()
    } else {
        std::env::current_dir().unwrap_or_default()
    };
    resolve(start, path, MAX_LINKS)
}

fn resolve(mut resolved: PathBuf, path: &Path, links: usize) -> PathBuf {
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            Component::RootDir | Component::Prefix(_) => resolved = PathBuf::from("/"),
            Component::Normal(name) => {
                let next = resolved.join(name);
                resolved = match std::fs::read_link(&next) {
                    Ok(target) if links > 0 => resolve(resolved, &target, links - 1),
                    _ => next,
                };
            }
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn real_paths_need_not_exist() {
        let directory = std::env::temp_dir().join(format!("barkeep-paths-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let link = directory.join("link");
        std::os::unix::fs::symlink("target/../other", &link).unwrap();
        let real = real_path(&directory);
        assert_eq!(real_path(&link.join("x/../y")), real.join("other/y"));
        assert_eq!(real_path(&directory.join("no/./such/")), real.join("no/such"));
        std::os::unix::fs::symlink("loop", directory.join("loop")).unwrap();
        assert!(real_path(&directory.join("loop")).starts_with(&real));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
