//! The host that is restored to: this one, or another one behind `--remote-ssh-command`.
//!
//! Single files, links and directories are made here (the bulk of the data goes through the copy engine). On another host
//! everything is done by small POSIX shell scripts, so that nothing needs to be installed there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::durable;
use crate::base::error::{PathContext, PathError};
use crate::base::shell::quote;
use crate::transport::{Remote, RunOutput, SshOptions};

use super::configuration::Written;
use super::error::RestoreError;

/// Permissions of the directories that hold a cluster's data.
const PRIVATE: u32 = 0o700;

/// What is in front of the name of a file that is being written.
pub(super) const TEMPORARY_PREFIX: &str = ".barkeep-";

/// The host restored to.
#[derive(Debug)]
pub struct Destination {
    remote: Remote,
}

impl Destination {
    /// This host.
    #[must_use]
    pub fn local() -> Destination {
        Destination {
            remote: Remote::local(),
        }
    }

    /// Another host; tries the connection.
    ///
    /// # Errors
    /// It does not answer.
    pub fn connect(command: &str) -> Result<Destination, RestoreError> {
        let refused = |reason: String| {
            log::error!(target: "barman.recovery_executor", "cannot connect with '{command}': {reason}");
            RestoreError::Connect {
                command: command.to_owned(),
            }
        };
        let remote = Remote::ssh(command, SshOptions::RESTORE).map_err(|error| refused(error.to_string()))?;
        let output = remote.run("true").map_err(|error| refused(error.to_string()))?;
        if output.code != 0 {
            return Err(refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Ok(Destination { remote })
    }

    /// The host as the copy engine sees it.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Whether it is this host.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.remote.is_local()
    }

    /// A path as an absolute one: relative paths start at the working directory here, at the home directory there.
    ///
    /// # Errors
    /// The working directory is gone, or the other host does not tell.
    pub fn absolute(&self, path: &Path) -> Result<PathBuf, RestoreError> {
        if path.is_absolute() {
            return Ok(path.to_path_buf());
        }
        if self.is_local() {
            return Ok(std::path::absolute(path).at("resolve", path)?);
        }
        let home = self.script("pwd -P", "resolve", path)?;
        Ok(PathBuf::from(home.trim_end_matches('\n')).join(path))
    }

    /// The names in a directory, hidden ones included (Barman overlooks those, gotcha B17). None when it does not exist;
    /// a file in its place counts as its own content.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn occupants(&self, directory: &Path) -> Result<Vec<String>, RestoreError> {
        if !self.is_local() {
            let place = shown(directory);
            let listing = self.script(
                &format!("if [ -e {place} ] || [ -L {place} ]; then ls -A {place}; fi"),
                "list",
                directory,
            )?;
            return Ok(listing.lines().map(str::to_owned).collect());
        }
        match fs::symlink_metadata(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PathError::new("inspect", directory, error).into()),
            Ok(_) if !directory.is_dir() => {
                let name = directory.file_name().unwrap_or(directory.as_os_str());
                return Ok(vec![name.to_string_lossy().into_owned()]);
            }
            Ok(_) => {}
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).at("list", directory)? {
            let entry = entry.at("list", directory)?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// The content of a file, if it exists.
    ///
    /// # Errors
    /// It exists and cannot be read.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, RestoreError> {
        if self.is_local() {
            return match fs::read(path) {
                Ok(content) => Ok(Some(content)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(PathError::new("read", path, error).into()),
            };
        }
        let place = shown(path);
        let content = self.script(
            &format!("if [ -e {place} ]; then echo; cat {place}; fi"),
            "read",
            path,
        )?;
        Ok(content
            .strip_prefix('\n')
            .map(|content| content.as_bytes().to_vec()))
    }

    /// The pid of the PostgreSQL server that runs in a data directory.
    ///
    /// # Errors
    /// The directory cannot be looked into.
    pub fn postmaster(&self, data: &Path) -> Result<Option<u32>, RestoreError> {
        let Some(content) = self.read(&data.join("postmaster.pid"))? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&content);
        let Some(pid) = text
            .lines()
            .next()
            .and_then(|line| line.trim().parse::<u32>().ok())
        else {
            return Ok(None);
        };
        let alive = if self.is_local() {
            crate::base::process::alive(pid)
        } else {
            let script = format!("if [ -d /proc/{pid} ] || kill -0 {pid} 2>/dev/null; then echo alive; fi");
            !self.script(&script, "inspect", data)?.is_empty()
        };
        Ok(alive.then_some(pid))
    }

    /// Creates a directory with mode 700, and its missing parents.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn create_private(&self, directory: &Path) -> Result<(), RestoreError> {
        if !self.is_local() {
            let script = format!("mkdir -p -m 700 {}", shown(directory));
            return self.script(&script, "create directory", directory).map(drop);
        }
        if directory.is_dir() {
            return Ok(());
        }
        if let Some(parent) = directory.parent() {
            durable::create_dir_all(parent)?;
        }
        DirBuilder::new()
            .mode(PRIVATE)
            .create(directory)
            .at("create directory", directory)?;
        Ok(durable::sync_parent(directory)?)
    }

    /// Creates a directory with the permissions of the umask.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn create(&self, directory: &Path) -> Result<(), RestoreError> {
        if self.is_local() {
            return Ok(durable::create_dir_all(directory)?);
        }
        self.script(
            &format!("mkdir -p {}", shown(directory)),
            "create directory",
            directory,
        )
        .map(drop)
    }

    /// Tries whether files can be made in a directory, before hours are spent on filling it.
    ///
    /// # Errors
    /// They cannot.
    pub fn check_writable(&self, directory: &Path) -> Result<(), RestoreError> {
        let probe = directory.join(".barman_write_check");
        if !self.is_local() {
            let script = format!("touch {0} && rm {0}", shown(&probe));
            return self.script(&script, "write to", directory).map(drop);
        }
        File::create(&probe).at("create", &probe)?;
        Ok(fs::remove_file(&probe).at("remove", &probe)?)
    }

    /// Writes a file durably: a temporary name, then the name itself.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, root: &Path, file: &Written) -> Result<(), RestoreError> {
        let path = root.join(&file.path);
        if self.is_local() {
            return Ok(write_local(&path, file)?);
        }
        let place = shown(&path);
        let temporary = shown(&temporary_of(&path));
        let mode = file
            .mode
            .map_or_else(String::new, |mode| format!("chmod {mode:o} {temporary} && "));
        let time = file.modified.map_or_else(String::new, |time| {
            format!("touch -d {} {temporary} && ", touch_date(time))
        });
        let script = format!(
            "cat > {temporary} && {mode}{time}dd if=/dev/null of={temporary} conv=notrunc,fsync 2>/dev/null && \
             mv -f {temporary} {place}"
        );
        self.script_with_input(&script, &file.content, "write", &path)
            .map(drop)
    }

    /// Makes `link` a symbolic link to `target`, in place of what link is there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn link(&self, target: &Path, link: &Path) -> Result<(), RestoreError> {
        if !self.is_local() {
            let place = shown(link);
            let script = format!(
                "if [ -L {place} ]; then rm -f {place}; fi; if [ -d {place} ]; then rmdir {place}; fi; \
                 mkdir -p -m 700 \"$(dirname {place})\" && ln -s {} {place}",
                shown(target)
            );
            return self.script(&script, "link", link).map(drop);
        }
        if let Some(parent) = link.parent() {
            self.create_private(parent)?;
        }
        match fs::symlink_metadata(link) {
            Ok(metadata) if metadata.is_symlink() => fs::remove_file(link).at("remove", link)?,
            Ok(metadata) if metadata.is_dir() => fs::remove_dir(link).at("remove", link)?,
            _ => {}
        }
        std::os::unix::fs::symlink(target, link).at("link", link)?;
        Ok(durable::sync_parent(link)?)
    }

    /// Renames a file that may be missing.
    ///
    /// # Errors
    /// It exists and cannot be renamed.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), RestoreError> {
        if !self.is_local() {
            let script = format!("if [ -e {0} ]; then mv -f {0} {1}; fi", shown(from), shown(to));
            return self.script(&script, "rename", from).map(drop);
        }
        if from.exists() {
            durable::rename(from, to)?;
        }
        Ok(())
    }

    /// Removes a file that may be missing.
    ///
    /// # Errors
    /// It exists and cannot be removed.
    pub fn remove(&self, path: &Path) -> Result<(), RestoreError> {
        if self.is_local() {
            return Ok(durable::remove(path)?);
        }
        self.script(&format!("rm -f {}", shown(path)), "remove", path)
            .map(drop)
    }

    /// Makes empty files in a directory.
    ///
    /// # Errors
    /// One cannot be made.
    pub fn touch(&self, directory: &Path, names: &[String]) -> Result<(), RestoreError> {
        if !self.is_local() {
            let list = names.join("\n") + "\n";
            let script = format!(
                "cd {} && while read -r name; do : > \"$name\" || exit 1; done",
                shown(directory)
            );
            return self
                .script_with_input(&script, list.as_bytes(), "create files in", directory)
                .map(drop);
        }
        for name in names {
            let path = directory.join(name);
            File::create(&path).at("create", &path)?;
        }
        Ok(durable::sync_dir(directory)?)
    }

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// It cannot be synced.
    pub fn sync(&self, directory: &Path) -> Result<(), RestoreError> {
        if self.is_local() {
            return Ok(durable::sync_dir(directory)?);
        }
        // `sync FILE` is younger than POSIX; without it everything is synced.
        let script = format!("sync {} 2>/dev/null || sync", shown(directory));
        self.script(&script, "sync", directory).map(drop)
    }

    fn script(&self, script: &str, action: &'static str, path: &Path) -> Result<String, RestoreError> {
        self.script_with_input(script, &[], action, path)
    }

    fn script_with_input(
        &self,
        script: &str,
        input: &[u8],
        action: &'static str,
        path: &Path,
    ) -> Result<String, RestoreError> {
        // The login shell may be any: the script is for sh.
        let RunOutput { stdout, stderr, code } = self
            .remote
            .run_with_input(&format!("sh -c {}", quote(script)), input)?;
        if code == 0 {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        Err(RestoreError::Remote {
            host: self.remote.describe(),
            action,
            path: path.to_path_buf(),
            message: match String::from_utf8_lossy(&stderr).trim() {
                "" => format!("exit code {code}"),
                text => text.to_owned(),
            },
        })
    }
}

fn write_local(path: &Path, file: &Written) -> Result<(), PathError> {
    let temporary = temporary_of(path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.mode(file.mode.unwrap_or(durable::CATALOG_FILE_MODE));
    let mut handle = options.open(&temporary).at("create", &temporary)?;
    handle.write_all(&file.content).at("write", &temporary)?;
    if let Some(mode) = file.mode {
        handle
            .set_permissions(fs::Permissions::from_mode(mode))
            .at("set the permissions of", &temporary)?;
    }
    if let Some(modified) = file.modified {
        handle.set_modified(modified).at("set the time of", &temporary)?;
    }
    handle.sync_all().at("sync", &temporary)?;
    drop(handle);
    durable::rename(&temporary, path)
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(TEMPORARY_PREFIX);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// A path as a word of a shell script.
pub(super) fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    // A leading dash would be an option.
    if text.starts_with('-') {
        quote(&format!("./{text}"))
    } else {
        quote(&text)
    }
}

/// A time for `touch -d`.
pub(super) fn touch_date(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("@{}.{:09}", since.as_secs(), since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::MetadataExt;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path =
                std::env::temp_dir().join(format!("barkeep-destination-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn hidden_files_and_files_in_place_of_directories_count() {
        let scratch = Scratch::new("occupants");
        let here = Destination::local();
        assert_eq!(here.occupants(&scratch.0).unwrap(), [] as [String; 0]);
        assert_eq!(
            here.occupants(&scratch.0.join("absent")).unwrap(),
            [] as [String; 0]
        );
        fs::write(scratch.0.join(".hidden"), "").unwrap();
        assert_eq!(here.occupants(&scratch.0).unwrap(), [".hidden"]);
        assert_eq!(here.occupants(&scratch.0.join(".hidden")).unwrap(), [".hidden"]);
    }

    #[test]
    fn files_keep_mode_and_time_and_links_are_replaced() {
        let scratch = Scratch::new("write");
        let here = Destination::local();
        let file = Written {
            path: PathBuf::from("a.conf"),
            content: b"x\n".to_vec(),
            mode: Some(0o640),
            modified: Some(UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5000)),
        };
        here.write(&scratch.0, &file).unwrap();
        let metadata = fs::metadata(scratch.0.join("a.conf")).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o640);
        assert_eq!(metadata.modified().unwrap(), file.modified.unwrap());
        let link = scratch.0.join("pg_tblspc/1");
        here.link(Path::new("/one"), &link).unwrap();
        here.link(Path::new("/two"), &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/two"));
        assert_eq!(here.read(&scratch.0.join("a.conf")).unwrap().unwrap(), b"x\n");
        assert_eq!(here.read(&scratch.0.join("none")).unwrap(), None);
        here.rename(&scratch.0.join("none"), &scratch.0.join("other"))
            .unwrap();
        here.check_writable(&scratch.0).unwrap();
        here.touch(&scratch.0, &["1.done".to_owned()]).unwrap();
        assert!(scratch.0.join("1.done").exists());
    }

    #[test]
    fn a_running_server_is_seen() {
        let scratch = Scratch::new("postmaster");
        let here = Destination::local();
        assert_eq!(here.postmaster(&scratch.0).unwrap(), None);
        fs::write(
            scratch.0.join("postmaster.pid"),
            format!("{}\n/x\n", std::process::id()),
        )
        .unwrap();
        assert_eq!(here.postmaster(&scratch.0).unwrap(), Some(std::process::id()));
        fs::write(scratch.0.join("postmaster.pid"), "2147483646\n").unwrap();
        assert_eq!(here.postmaster(&scratch.0).unwrap(), None);
    }
}
