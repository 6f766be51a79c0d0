//! Becoming `barman_user`: files of the catalog must never come to belong to root.
//!
//! A process of root becomes that user for good, with the user's own groups and home directory. Any other user than
//! the configured one is refused.

use std::ffi::CString;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{self, Uid, User};

use crate::base::python_repr::string_repr;

/// Why the program cannot run as the configured user. The texts are Barman's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrivilegeError {
    /// Started by a user who is neither root nor the configured one.
    #[error("ERROR: please run barman as '{user}' user")]
    WrongUser {
        /// The configured user.
        user: String,
    },
    /// The configured user does not exist.
    #[error("ERROR: the configured user {} does not exists", string_repr(user))]
    UnknownUser {
        /// The configured user.
        user: String,
    },
    /// The operating system refused.
    #[error("ERROR: cannot become the user '{user}': {}", reason.desc())]
    Refused {
        /// The configured user.
        user: String,
        /// Why.
        reason: Errno,
    },
}

/// Who the process runs as after [`become_user`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    /// The user it was started by.
    Unchanged,
    /// The configured user, with this home directory: the caller sets `HOME` to it for itself and its children, as
    /// Barman does, so that ssh and libpq find the user's own files.
    Changed {
        /// The home directory.
        home: PathBuf,
    },
}

/// Makes the process run as `user`.
///
/// # Errors
/// The user does not exist, or the process was started by somebody else who is not root.
pub fn become_user(user: &str) -> Result<Became, PrivilegeError> {
    let refused = |reason| PrivilegeError::Refused {
        user: user.to_owned(),
        reason,
    };
    let account = User::from_name(user)
        .map_err(refused)?
        .ok_or_else(|| PrivilegeError::UnknownUser {
            user: user.to_owned(),
        })?;
    let current = unistd::geteuid();
    if current == account.uid {
        return Ok(Became::Unchanged);
    }
    if current != Uid::from_raw(0) {
        return Err(PrivilegeError::WrongUser {
            user: user.to_owned(),
        });
    }
    // Groups first: afterwards there is no right left to change them.
    let name = CString::new(account.name.as_str()).map_err(|_| refused(Errno::EINVAL))?;
    unistd::initgroups(&name, account.gid).map_err(refused)?;
    unistd::setgid(account.gid).map_err(refused)?;
    unistd::setuid(account.uid).map_err(refused)?;
    Ok(Became::Changed { home: account.dir })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    #[test]
    fn a_user_that_does_not_exist_is_refused() {
        let error = become_user("no-such-user-here").expect_err("there is no such user");
        assert_eq!(
            error.to_string(),
            "ERROR: the configured user 'no-such-user-here' does not exists"
        );
    }

    #[test]
    fn the_current_user_stays() {
        let current = User::from_uid(unistd::geteuid())
            .ok()
            .flatten()
            .expect("this user has a name");
        assert_eq!(become_user(&current.name), Ok(Became::Unchanged));
    }
}
