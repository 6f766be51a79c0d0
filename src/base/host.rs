//! Facts about this machine and this user.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The home directory of the current user: `HOME`, else the password database.
#[must_use]
pub fn home() -> Option<PathBuf> {
    match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Some(PathBuf::from(home)),
        None => nix::unistd::User::from_uid(nix::unistd::getuid())
            .ok()
            .flatten()
            .map(|user| user.dir),
    }
}

/// Expands a leading `~` or `~/`, as Python's `expanduser` does for the current user.
#[must_use]
pub fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix('~'), home()) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            home.join(rest.trim_start_matches('/'))
        }
        _ => PathBuf::from(path),
    }
}

/// This machine's name as the kernel knows it.
#[must_use]
pub fn name() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Whether the first process of the system (of the container) is an init, which does not mind children that are not its
/// own: root's, or one of those made for containers. The first program that comes to mind may be any, PostgreSQL for one.
#[must_use]
pub fn has_init() -> bool {
    let Ok(first) = std::fs::metadata("/proc/1") else {
        // A system that shows nobody the processes of others (hidepid) would show us our own.
        return std::fs::metadata("/proc/self").is_ok();
    };
    let name = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    is_init(first.uid(), nix::unistd::geteuid().as_raw(), name.trim_end())
}

fn is_init(owner: u32, us: u32, name: &str) -> bool {
    const INITS: [&str; 9] = [
        "catatonit",
        "docker-init",
        "dumb-init",
        "init",
        "pause",
        "runit",
        "s6-svscan",
        "systemd",
        "tini",
    ];
    INITS.contains(&name) || owner == 0 || owner != us
}

/// The name of the user this process runs as.
#[must_use]
pub fn user() -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
        .map(|user| user.name)
}

/// Whether the processor has AES instructions.
#[must_use]
pub fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    let present = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let present = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let present = false;
    present
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_may_be_postgresql() {
        assert!(is_init(0, 999, "systemd"));
        assert!(is_init(0, 999, "bash"));
        assert!(is_init(999, 999, "tini"));
        assert!(!is_init(999, 999, "postgres"));
        assert!(!is_init(999, 999, "patroni"));
    }
}
