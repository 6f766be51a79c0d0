//! libpq, loaded when PostgreSQL is first talked to.
//!
//! Most commands never do, and the loader would take most of their time for libpq and the twenty libraries behind it:
//! `barman-wal-archive` and `put-wal` run once for every WAL segment. On the hosts of databases, where this program runs as
//! an agent, libpq need not be where the loader looks.
//!
//! The signatures are those of `libpq-fe.h`; they have been the same since PostgreSQL 9.

#![allow(non_snake_case)]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

/// The name that libpq has had since PostgreSQL 8.
const NAME: &str = "libpq.so.5";

/// A connection.
#[repr(C)]
pub(super) struct PGconn(c_void);

/// An answer.
#[repr(C)]
pub(super) struct PGresult(c_void);

/// A handle for a request to cancel.
#[repr(C)]
pub(super) struct PGcancel(c_void);

/// One option of a connection string.
#[repr(C)]
pub(super) struct PQconninfoOption {
    pub(super) keyword: *mut c_char,
    envvar: *mut c_char,
    compiled: *mut c_char,
    pub(super) val: *mut c_char,
    label: *mut c_char,
    pub(super) dispchar: *mut c_char,
    dispsize: c_int,
}

/// The `ConnStatusType` of an open connection.
pub(super) const CONNECTION_OK: c_uint = 0;
/// Values of `ExecStatusType`.
pub(super) const PGRES_EMPTY_QUERY: c_uint = 0;
pub(super) const PGRES_COMMAND_OK: c_uint = 1;
pub(super) const PGRES_TUPLES_OK: c_uint = 2;
pub(super) const PGRES_COPY_OUT: c_uint = 3;
pub(super) const PGRES_COPY_IN: c_uint = 4;
pub(super) const PGRES_COPY_BOTH: c_uint = 8;
/// The field of an error that holds its SQLSTATE.
pub(super) const PG_DIAG_SQLSTATE: c_int = b'C' as c_int;

/// What receives notices.
pub(super) type NoticeProcessor = unsafe extern "C" fn(*mut c_void, *const c_char);

/// Declares the functions that are used, and how they are looked up.
macro_rules! functions {
    ($($name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions of libpq.
        #[derive(Debug)]
        pub(super) struct Library {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Library {
            fn load(name: &str) -> Result<Library, String> {
                let explain = |error: libloading::Error| {
                    format!("cannot load PostgreSQL's client library: {error}. Install libpq (package libpq5 or postgresql-libs)")
                };
                // SAFETY: what libpq and the libraries behind it do when they are loaded has no preconditions.
                let library = unsafe { libloading::Library::new(name) }.map_err(explain)?;
                // SAFETY: the signatures are those of libpq-fe.h, and the library is never unloaded.
                let functions = unsafe {
                    Library {
                        $($name: *library.get(concat!(stringify!($name), "\0").as_bytes()).map_err(explain)?,)*
                    }
                };
                std::mem::forget(library);
                Ok(functions)
            }
        }
    };
}

functions! {
    PQconnectdbParams(*const *const c_char, *const *const c_char, c_int) -> *mut PGconn;
    PQsetNoticeProcessor(*mut PGconn, Option<NoticeProcessor>, *mut c_void) -> Option<NoticeProcessor>;
    PQfinish(*mut PGconn);
    PQstatus(*const PGconn) -> c_uint;
    PQsocket(*const PGconn) -> c_int;
    PQserverVersion(*const PGconn) -> c_int;
    PQerrorMessage(*const PGconn) -> *mut c_char;
    PQsendQuery(*mut PGconn, *const c_char) -> c_int;
    PQsendQueryParams(
        *mut PGconn, *const c_char, c_int, *const c_uint, *const *const c_char, *const c_int, *const c_int, c_int
    ) -> c_int;
    PQconsumeInput(*mut PGconn) -> c_int;
    PQisBusy(*mut PGconn) -> c_int;
    PQgetResult(*mut PGconn) -> *mut PGresult;
    PQgetCancel(*mut PGconn) -> *mut PGcancel;
    PQcancel(*mut PGcancel, *mut c_char, c_int) -> c_int;
    PQfreeCancel(*mut PGcancel);
    PQresultStatus(*const PGresult) -> c_uint;
    PQresultErrorField(*const PGresult, c_int) -> *mut c_char;
    PQresultErrorMessage(*const PGresult) -> *mut c_char;
    PQntuples(*const PGresult) -> c_int;
    PQnfields(*const PGresult) -> c_int;
    PQfname(*const PGresult, c_int) -> *mut c_char;
    PQgetvalue(*const PGresult, c_int, c_int) -> *mut c_char;
    PQgetisnull(*const PGresult, c_int, c_int) -> c_int;
    PQclear(*mut PGresult);
    PQconninfoParse(*const c_char, *mut *mut c_char) -> *mut PQconninfoOption;
    PQconninfoFree(*mut PQconninfoOption);
    PQfreemem(*mut c_void);
}

/// libpq, loaded once.
///
/// # Errors
/// It is not installed, with what to do about that.
pub(super) fn library() -> Result<&'static Library, String> {
    static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| Library::load(NAME))
        .as_ref()
        .map_err(Clone::clone)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn where_it_is_missing_the_package_is_named() {
        let error = Library::load("libpq-that-is-nowhere.so.5").unwrap_err();
        assert!(
            error.contains("libpq-that-is-nowhere.so.5") && error.contains("package libpq5"),
            "{error}"
        );
        assert!(library().is_ok());
    }
}
