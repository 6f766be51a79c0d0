//! The binding to libpq, PostgreSQL's own client library: a connection, queries with text results, and the parser of
//! connection strings. Everything about sessions (settings, health, interrupts) is in [`super::client`].
//!
//! libpq is used, rather than a protocol implementation of our own, so that every keyword, service file, password
//! file, TLS and GSSAPI setting means exactly what it means to psql. Facts: PostgreSQL documentation, chapter "libpq".
//!
//! This is one of the two places with unsafe code. The rules that make it sound:
//! * a `PGconn` belongs to exactly one [`Connection`], is never null, and is used through `&mut self` only, so that two
//!   threads never use it at the same time (libpq's one condition on threads);
//! * a `PGresult` and an array of options are freed by the value that received them, after their text was copied;
//! * every string that libpq returns is copied before the next call into libpq.

#![allow(unsafe_code)]

mod library;

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::time::Duration;

use library::{
    CONNECTION_OK, Library, PG_DIAG_SQLSTATE, PGRES_COMMAND_OK, PGRES_COPY_BOTH, PGRES_COPY_IN,
    PGRES_COPY_OUT, PGRES_EMPTY_QUERY, PGRES_TUPLES_OK, PGconn, PGresult, library,
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What the server or libpq answered instead of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The SQLSTATE, five characters; absent when the failure is not the server's.
    pub sqlstate: Option<String>,
    /// The text, without the severity and without the newline at its end, as psycopg2 gives it.
    pub message: String,
}

/// The rows of an answer, all values as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Rows {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The names of the columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The value in row `row` (from 0) of the column `column`; `None` when it is null or there is no such value.
    #[must_use]
    pub fn get(&self, row: usize, column: &str) -> Option<&str> {
        let index = self.columns.iter().position(|name| name == column)?;
        self.rows.get(row)?.get(index)?.as_deref()
    }

    /// The first value of the first row.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }

    /// The rows, values in the order of the columns.
    pub fn iter(&self) -> impl Iterator<Item = &[Option<String>]> {
        self.rows.iter().map(Vec::as_slice)
    }
}

/// A connection to a server. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    pq: &'static Library,
    raw: NonNull<PGconn>,
}

// SAFETY: a PGconn may be used by any thread, one at a time; `&mut self` on every method that talks to the server
// guarantees the latter.
unsafe impl Send for Connection {}

impl Connection {
    /// Connects; blocks until it is done. Later options override earlier ones; the value of `dbname` may be a whole
    /// connection string, which is then expanded in its place.
    ///
    /// # Errors
    /// libpq's text about the failure.
    pub fn open(options: &[(&str, &str)]) -> Result<Connection, String> {
        let pq = library()?;
        let mut keywords = Vec::with_capacity(options.len());
        let mut values = Vec::with_capacity(options.len());
        for (keyword, value) in options {
            keywords.push(c_string(keyword)?);
            values.push(c_string(value)?);
        }
        let keyword_pointers = null_terminated(&keywords);
        let value_pointers = null_terminated(&values);
        // SAFETY: both arrays end with a null pointer, and their strings live until the end of this function.
        let raw = unsafe { (pq.PQconnectdbParams)(keyword_pointers.as_ptr(), value_pointers.as_ptr(), 1) };
        let connection = Connection {
            pq,
            raw: NonNull::new(raw).ok_or_else(|| "out of memory".to_owned())?,
        };
        if connection.is_open() {
            // SAFETY: the connection is valid; the callback has the required signature and ignores its argument.
            unsafe { (pq.PQsetNoticeProcessor)(raw, Some(log_notice), ptr::null_mut()) };
            Ok(connection)
        } else {
            Err(connection.error_message())
        }
    }

    /// Whether libpq takes the connection for open. It learns of a lost connection only by using it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        // SAFETY: the connection is valid.
        unsafe { (self.pq.PQstatus)(self.raw.as_ptr()) == CONNECTION_OK }
    }

    /// Takes in what the server sent without being asked, and says whether the connection is still there. Does not
    /// block; only between statements.
    pub fn look(&mut self) -> bool {
        // SAFETY: the connection is valid.
        unsafe {
            let raw = self.raw.as_ptr();
            (self.pq.PQconsumeInput)(raw) == 1 && {
                // Lets libpq act on what it read: notices, and the end of the session.
                (self.pq.PQisBusy)(raw);
                (self.pq.PQstatus)(raw) == CONNECTION_OK
            }
        }
    }

    /// The server's version as PostgreSQL numbers it: 150018 for 15.18, 90624 for 9.6.24; 0 when unknown.
    #[must_use]
    pub fn server_version(&self) -> u32 {
        // SAFETY: the connection is valid.
        let version = unsafe { (self.pq.PQserverVersion)(self.raw.as_ptr()) };
        u32::try_from(version).unwrap_or(0)
    }

    /// Sends a statement. Without parameters it goes by the simple protocol, the only one that replication connections
    /// understand.
    ///
    /// # Errors
    /// It could not be sent.
    pub fn send(&mut self, statement: &str, parameters: &[&str]) -> Result<(), ServerError> {
        let statement = c_string(statement).map_err(local_error)?;
        let raw = self.raw.as_ptr();
        let sent = if parameters.is_empty() {
            // SAFETY: the connection is valid and the statement a C string.
            unsafe { (self.pq.PQsendQuery)(raw, statement.as_ptr()) }
        } else {
            let values: Vec<CString> = parameters
                .iter()
                .map(|value| c_string(value))
                .collect::<Result<_, _>>()
                .map_err(local_error)?;
            let pointers = null_terminated(&values);
            let count =
                c_int::try_from(values.len()).map_err(|_| local_error("too many parameters".to_owned()))?;
            // SAFETY: `pointers` has `count` strings that outlive the call (libpq copies them into its buffer); null
            // for types, lengths and formats means: inferred, unused, text.
            unsafe {
                (self.pq.PQsendQueryParams)(
                    raw,
                    statement.as_ptr(),
                    count,
                    ptr::null(),
                    pointers.as_ptr(),
                    ptr::null(),
                    ptr::null(),
                    0,
                )
            }
        };
        if sent == 1 {
            Ok(())
        } else {
            Err(local_error(self.error_message()))
        }
    }

    /// Waits up to `patience` for the next result; true when [`Connection::next_result`] will not block.
    ///
    /// # Errors
    /// The socket cannot be waited for.
    pub fn wait(&mut self, patience: Duration) -> io::Result<bool> {
        // SAFETY: the connection is valid.
        if unsafe { (self.pq.PQisBusy)(self.raw.as_ptr()) } == 0 {
            return Ok(true);
        }
        // SAFETY: the connection is valid.
        let socket = unsafe { (self.pq.PQsocket)(self.raw.as_ptr()) };
        if socket < 0 {
            return Ok(true); // closed: the next result is the error
        }
        // SAFETY: the descriptor stays open during this call: libpq closes it only in calls on this connection.
        let descriptor = unsafe { BorrowedFd::borrow_raw(socket) };
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        // SAFETY: the connection is valid.
        let (consumed, busy) = unsafe {
            let raw = self.raw.as_ptr();
            ((self.pq.PQconsumeInput)(raw), (self.pq.PQisBusy)(raw))
        };
        Ok(consumed == 0 || busy == 0)
    }

    /// The next result of the statement that was sent; `None` when there is no other. Blocks unless
    /// [`Connection::wait`] returned true.
    pub fn next_result(&mut self) -> Option<Result<Rows, ServerError>> {
        // SAFETY: the connection is valid.
        let result = NonNull::new(unsafe { (self.pq.PQgetResult)(self.raw.as_ptr()) })?;
        let result = Answer {
            pq: self.pq,
            raw: result,
        };
        match result.status() {
            PGRES_COMMAND_OK | PGRES_TUPLES_OK | PGRES_EMPTY_QUERY => Some(Ok(result.rows())),
            PGRES_COPY_IN | PGRES_COPY_OUT | PGRES_COPY_BOTH => Some(Err(local_error(
                "COPY is not supported on this connection".to_owned(),
            ))),
            _ => Some(Err(result.error(self))),
        }
    }

    /// Asks the server, over a second connection, to give up the statement that is running.
    ///
    /// # Errors
    /// The server could not be asked.
    pub fn cancel(&mut self) -> Result<(), String> {
        // SAFETY: the connection is valid; the handle is freed below, exactly once.
        let handle = NonNull::new(unsafe { (self.pq.PQgetCancel)(self.raw.as_ptr()) })
            .ok_or_else(|| "the connection is closed".to_owned())?;
        let mut buffer = [0 as c_char; 256];
        // SAFETY: the handle is valid and the buffer as long as stated; libpq ends its text with a zero byte.
        let asked = unsafe {
            let asked = (self.pq.PQcancel)(handle.as_ptr(), buffer.as_mut_ptr(), 256);
            (self.pq.PQfreeCancel)(handle.as_ptr());
            asked
        };
        if asked == 1 {
            Ok(())
        } else {
            // SAFETY: the buffer was zeroed and its last byte is never written with anything else.
            Err(unsafe { copied(buffer.as_ptr()) }.trim_end().to_owned())
        }
    }

    fn error_message(&self) -> String {
        // SAFETY: the connection is valid; the text is copied at once.
        let text = unsafe { copied((self.pq.PQerrorMessage)(self.raw.as_ptr())) };
        without_severity(&text)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the connection is valid and never used again.
        unsafe { (self.pq.PQfinish)(self.raw.as_ptr()) };
    }
}

/// An answer of the server, freed when dropped.
struct Answer {
    pq: &'static Library,
    raw: NonNull<PGresult>,
}

impl Answer {
    fn status(&self) -> c_uint {
        // SAFETY: the result is valid.
        unsafe { (self.pq.PQresultStatus)(self.raw.as_ptr()) }
    }

    fn rows(&self) -> Rows {
        let raw = self.raw.as_ptr();
        // SAFETY: the result is valid; row and column numbers stay below the counts that libpq gives; texts are
        // copied while the result lives.
        unsafe {
            let columns = (self.pq.PQnfields)(raw);
            let value = |row, column| {
                let null = (self.pq.PQgetisnull)(raw, row, column) == 1;
                (!null).then(|| copied((self.pq.PQgetvalue)(raw, row, column)))
            };
            Rows {
                columns: (0..columns)
                    .map(|column| copied((self.pq.PQfname)(raw, column)))
                    .collect(),
                rows: (0..(self.pq.PQntuples)(raw))
                    .map(|row| (0..columns).map(|column| value(row, column)).collect())
                    .collect(),
            }
        }
    }

    fn error(&self, connection: &Connection) -> ServerError {
        // SAFETY: the result is valid; the texts (null when absent) are copied while it lives.
        let (sqlstate, message) = unsafe {
            let raw = self.raw.as_ptr();
            let sqlstate = (self.pq.PQresultErrorField)(raw, PG_DIAG_SQLSTATE);
            (
                (!sqlstate.is_null()).then(|| copied(sqlstate)),
                copied((self.pq.PQresultErrorMessage)(raw)),
            )
        };
        let message = if message.is_empty() {
            connection.error_message()
        } else {
            without_severity(&message)
        };
        ServerError { sqlstate, message }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the result is valid and never used again.
        unsafe { (self.pq.PQclear)(self.raw.as_ptr()) };
    }
}

/// One keyword that a connection string sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The keyword, as libpq spells it.
    pub keyword: String,
    /// Its value.
    pub value: String,
    /// Whether libpq marks it as one that must not be shown.
    pub secret: bool,
}

/// Parses a connection string, `key=value` or URI, into the keywords that it sets.
///
/// # Errors
/// libpq's text about the mistake.
pub fn parse_conninfo(conninfo: &str) -> Result<Vec<Setting>, String> {
    let pq = library()?;
    let text = c_string(conninfo)?;
    let mut message: *mut c_char = ptr::null_mut();
    // SAFETY: the text is a C string, and `message` a place for one pointer.
    let options = unsafe { (pq.PQconninfoParse)(text.as_ptr(), &raw mut message) };
    if options.is_null() {
        if message.is_null() {
            return Err("out of memory".to_owned());
        }
        // SAFETY: libpq allocated the message; it is copied, then freed once.
        return Err(unsafe {
            let copy = copied(message);
            (pq.PQfreemem)(message.cast::<c_void>());
            copy.trim_end().to_owned()
        });
    }
    let mut settings = Vec::new();
    // SAFETY: the array ends with an entry whose keyword is null; its texts are copied before it is freed.
    unsafe {
        let mut option = options;
        while !(*option).keyword.is_null() {
            if !(*option).val.is_null() {
                settings.push(Setting {
                    keyword: copied((*option).keyword),
                    value: copied((*option).val),
                    secret: copied((*option).dispchar) == "*",
                });
            }
            option = option.add(1);
        }
        (pq.PQconninfoFree)(options);
    }
    Ok(settings)
}

/// Logs what the server says besides results; libpq's own habit is to print it on standard error.
unsafe extern "C" fn log_notice(_argument: *mut c_void, message: *const c_char) {
    // SAFETY: libpq passes a C string that lives during the call.
    let text = unsafe { copied(message) };
    // A panic must not unwind into C.
    let logged = std::panic::catch_unwind(|| {
        let level = if text.starts_with("WARNING") {
            log::Level::Warn
        } else {
            log::Level::Debug
        };
        log::log!(target: "barman.postgres", level, "PostgreSQL says: {}", text.trim_end());
    });
    drop(logged);
}

/// Copies a C string; null is the empty string.
///
/// # Safety
/// `text` is null or points to a string that ends with a zero byte.
unsafe fn copied(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and by contract a C string.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| "a zero byte cannot be sent to PostgreSQL".to_owned())
}

fn null_terminated(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

fn local_error(message: String) -> ServerError {
    ServerError {
        sqlstate: None,
        message,
    }
}

fn without_severity(message: &str) -> String {
    ["ERROR:  ", "FATAL:  ", "PANIC:  "]
        .iter()
        .find_map(|severity| message.strip_prefix(severity))
        .unwrap_or(message)
        .trim_end()
        .to_owned()
}
