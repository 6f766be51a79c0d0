//! File systems of another kind than the machine's: images, mounted through a loop device.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cleanup;
use super::process::{Account, run};
use super::scratch::{Scratch, make_directory};

/// A mounted image, unmounted when this value goes away. It must go before the scratch that holds the image.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
}

impl Mount {
    /// An XFS with reflinks at `path`, which belongs to `owner`. What is in the way of it is the error: no loop devices,
    /// no permission, no XFS in the kernel.
    pub fn xfs(scratch: &Scratch, path: &Path, size: u64, owner: &Account) -> Result<Mount, String> {
        let image = scratch.join(format!("{}.img", path.file_name().unwrap_or_default().display()));
        let file = std::fs::File::create(&image).map_err(|e| e.to_string())?;
        file.set_len(size).map_err(|e| e.to_string())?;
        let mut format = Command::new("mkfs.xfs");
        format.args(["-q", "-m", "reflink=1"]).arg(&image);
        step(format, "mkfs.xfs")?;
        std::fs::create_dir_all(path).map_err(|e| e.to_string())?;
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(&image).arg(path);
        step(mount, "mount")?;
        cleanup::watch_mount(path);
        make_directory(path, owner);
        Ok(Mount {
            path: path.to_path_buf(),
        })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(&self.path);
        cleanup::forget_mount(&self.path);
    }
}

/// Takes the mount away even while somebody looks at it; the loop device goes with its last user.
pub fn unmount(path: &Path) {
    let mut umount = Command::new("umount");
    umount.arg("-l").arg(path);
    let _ = umount.output();
}

fn step(command: Command, what: &str) -> Result<(), String> {
    if std::env::var_os("PATH").is_none_or(|path| {
        !std::env::split_paths(&path).any(|directory| directory.join(command.get_program()).exists())
    }) {
        return Err(format!("{what} is not installed"));
    }
    let finished = run(command);
    if finished.code == 0 {
        return Ok(());
    }
    Err(format!("{what}: {}", finished.stderr.trim()))
}
