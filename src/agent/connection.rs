//! The near side of a conversation: starting the agent wherever it is, and its two directions.
//!
//! On another host [`super::bootstrap`] gets it to run. On this host the agent is a thread.

use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread::JoinHandle;

use serde::Serialize;

use super::bootstrap::{Greeting, await_banner, bootstrap, collect, upload};
use super::executable;
use super::message::{Failure, Request, Response, VERSION};
use super::serve::serve;
use crate::base::error::{PathContext, PathError};
use crate::transport::frame::{Frame, FrameError, FrameReader, FrameWriter, decode};
use crate::transport::patience::{PatientReader, PatientWriter, Stop};
use crate::transport::{Channel, Remote, TransportError};

/// Why there is no conversation.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host was reached and cannot run the agent: rsync may still work.
    #[error("the agent cannot run on {host}: {reason}")]
    CannotRun {
        /// The ssh command.
        host: String,
        /// Why, in the host's own words where it gave any.
        reason: String,
    },
    /// The host cannot be reached.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Something of this host failed.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// A failed exchange with the agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The agent is there and could not do it.
    #[error("{0}")]
    Failed(Failure),
    /// The conversation broke.
    #[error("connection to {host} lost: {source}")]
    Lost {
        /// The ssh command.
        host: String,
        /// What was seen.
        source: FrameError,
    },
}

/// Sends requests.
pub type Requests = FrameWriter<Box<dyn Write + Send>>;
/// Receives answers.
pub type Answers = FrameReader<Box<dyn Read + Send>>;

/// A conversation with an agent. Dropping it ends the agent and its connection.
pub struct Connection {
    // Dropped in this order: the requests' pipe first, which ends the agent.
    requests: Option<Requests>,
    answers: Answers,
    far: Far,
    host: String,
    noise: Vec<String>,
    aes: bool,
    quiet: bool,
}

/// Whether an ssh connection is shared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Shared,
    Own,
    /// An own one, over which `true` is run as well.
    Tried,
}

/// What is at the other end, to be waited for.
#[allow(clippy::large_enum_variant)] // one per connection
enum Far {
    Thread(Option<JoinHandle<Result<(), FrameError>>>),
    Process {
        channel: Option<crate::transport::Ending>,
        errors: Option<JoinHandle<Vec<u8>>>,
    },
}

impl Connection {
    /// Starts an agent. `stop` ends every wait of this conversation when it is raised.
    ///
    /// # Errors
    /// The host cannot be reached, or cannot run the agent.
    pub fn open(remote: &Remote, compress: bool, stop: &Stop) -> Result<Connection, ConnectError> {
        Self::start(remote, compress, stop, Line::Shared)
    }

    /// [`Connection::open`] with an ssh connection of its own, for parallel bulk data.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn open_own(remote: &Remote, compress: bool, stop: &Stop) -> Result<Connection, ConnectError> {
        Self::start(remote, compress, stop, Line::Own)
    }

    /// [`Connection::open_own`], trying with a command that says nothing whether anything else does: see
    /// [`Connection::is_quiet`].
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn open_tried(remote: &Remote, compress: bool, stop: &Stop) -> Result<Connection, ConnectError> {
        Self::start(remote, compress, stop, Line::Tried)
    }

    fn start(remote: &Remote, compress: bool, stop: &Stop, line: Line) -> Result<Connection, ConnectError> {
        let mut connection = if remote.is_local() {
            local(stop)?
        } else {
            over_ssh(remote, stop, line)?
        };
        let cannot = |reason: String| ConnectError::CannotRun {
            host: remote.describe(),
            reason,
        };
        let hello = Request::Hello {
            version: VERSION,
            compress,
        };
        connection
            .ask(&hello)
            .map_err(|error| cannot(error.to_string()))?;
        match connection.answer() {
            Ok(Response::Hello {
                version: VERSION,
                aes,
                ..
            }) => connection.aes = aes,
            Ok(Response::Hello { version, .. }) => {
                return Err(cannot(format!("it speaks version {version}")));
            }
            Ok(other) => return Err(cannot(format!("unexpected answer {other:?}"))),
            Err(error) => return Err(cannot(error.to_string())),
        }
        if let Some(requests) = connection.requests.as_mut().filter(|_| compress) {
            requests.compress().map_err(|error| cannot(error.to_string()))?;
        }
        Ok(connection)
    }

    /// The host's name in messages.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the agent's processor has AES instructions.
    #[must_use]
    pub fn has_aes(&self) -> bool {
        self.aes
    }

    /// Whether `true` was run over this connection, and neither it, nor a shell's start file, nor ssh wrote anything.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Lines that came before the agent's banner.
    #[must_use]
    pub fn noise(&self) -> &[String] {
        &self.noise
    }

    /// The two directions, for threads of their own.
    ///
    /// # Errors
    /// The conversation is over.
    pub fn split(&mut self) -> Result<(&mut Requests, &mut Answers), AgentError> {
        match &mut self.requests {
            Some(requests) => Ok((requests, &mut self.answers)),
            None => Err(AgentError::Lost {
                host: self.host.clone(),
                source: FrameError::Closed,
            }),
        }
    }

    /// Sends one request at once.
    ///
    /// # Errors
    /// The conversation broke.
    pub fn ask<T: Serialize>(&mut self, request: &T) -> Result<(), AgentError> {
        let host = self.host.clone();
        let (requests, _) = self.split()?;
        requests
            .message(request)
            .and_then(|()| requests.flush())
            .map_err(|source| AgentError::Lost { host, source })
    }

    /// Sends raw bytes that belong to the request before.
    ///
    /// # Errors
    /// The conversation broke.
    pub fn data(&mut self, data: &[u8]) -> Result<(), AgentError> {
        let host = self.host.clone();
        let (requests, _) = self.split()?;
        requests
            .data(data)
            .and_then(|()| requests.flush())
            .map_err(|source| AgentError::Lost { host, source })
    }

    /// The next answer, which must be a message.
    ///
    /// # Errors
    /// The agent could not do it, or the conversation broke.
    pub fn answer(&mut self) -> Result<Response, AgentError> {
        match next_answer(&mut self.answers) {
            Ok(Answer::Message(Response::Failed(failure))) => Err(AgentError::Failed(failure)),
            Ok(Answer::Message(response)) => Ok(response),
            Ok(Answer::Data(_)) => Err(self.lost(FrameError::Protocol("unexpected data".to_owned()))),
            Err(source) => Err(self.lost(source)),
        }
    }

    /// Sends a request and takes its only answer.
    ///
    /// # Errors
    /// As [`Connection::answer`].
    pub fn call(&mut self, request: &Request) -> Result<Response, AgentError> {
        self.ask(request)?;
        self.answer()
    }

    /// The whole of a small file.
    ///
    /// # Errors
    /// As [`Connection::answer`].
    pub fn read_small(&mut self, path: &Path, limit: u64) -> Result<Vec<u8>, AgentError> {
        self.ask(&Request::Read {
            path: path.as_os_str().as_bytes().to_vec(),
            limit,
        })?;
        let mut content = Vec::new();
        loop {
            match next_answer(&mut self.answers) {
                Ok(Answer::Data(data)) if (content.len() + data.len()) as u64 <= limit => {
                    content.extend_from_slice(data)
                }
                Ok(Answer::Message(Response::Done)) => return Ok(content),
                Ok(Answer::Message(Response::Failed(failure))) => return Err(AgentError::Failed(failure)),
                Ok(_) => return Err(self.lost(FrameError::Protocol("unexpected answer to read".to_owned()))),
                Err(source) => return Err(self.lost(source)),
            }
        }
    }

    /// Bytes received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.answers.consumed()
    }

    /// The error of a broken conversation.
    #[must_use]
    pub fn lost(&self, source: FrameError) -> AgentError {
        AgentError::Lost {
            host: self.host.clone(),
            source,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.requests = None;
        // Our reading end goes too: an agent that writes to nobody ends.
        self.answers = FrameReader::new(Box::new(std::io::empty()));
        match &mut self.far {
            Far::Thread(thread) => {
                // It ends by itself once its pipes are closed; its errors are those of the closed pipes.
                if let Some(thread) = thread.take() {
                    let _ = thread.join();
                }
            }
            Far::Process { channel, errors } => {
                drop(channel.take());
                let said = errors
                    .take()
                    .and_then(|thread| thread.join().ok())
                    .unwrap_or_default();
                for line in String::from_utf8_lossy(&said).lines() {
                    log::info!(target: "barman.copy_controller", "{}: {line}", self.host);
                }
            }
        }
    }
}

/// One frame of the agent.
pub enum Answer<'a> {
    /// A message.
    Message(Response),
    /// Raw bytes.
    Data(&'a [u8]),
}

/// Takes the next frame.
///
/// # Errors
/// The conversation broke, or ended.
pub fn next_answer(answers: &mut Answers) -> Result<Answer<'_>, FrameError> {
    match answers.next_frame()? {
        Some(Frame::Message(payload)) => decode(payload).map(Answer::Message),
        Some(Frame::Data(payload)) => Ok(Answer::Data(payload)),
        None => Err(FrameError::Closed),
    }
}

fn local(stop: &Stop) -> Result<Connection, ConnectError> {
    let (agent_input, requests) = crate::transport::pipe()?;
    let (answers, agent_output) = crate::transport::pipe()?;
    let thread = std::thread::Builder::new()
        .name("agent".to_owned())
        .spawn(move || serve(agent_input, agent_output))
        .at("start", "agent thread")?;
    let mut answers: Answers = FrameReader::new(Box::new(
        PatientReader::new(answers, stop.clone()).at("set up", "pipe")?,
    ));
    let requests: Box<dyn Write + Send> =
        Box::new(PatientWriter::new(requests, stop.clone()).at("set up", "pipe")?);
    let mut noise = Vec::new();
    let greeting = await_banner(answers.stream(), &mut noise);
    let connection = Connection {
        requests: Some(FrameWriter::new(requests)),
        answers,
        far: Far::Thread(Some(thread)),
        host: "local".to_owned(),
        noise,
        aes: false,
        quiet: false,
    };
    match greeting {
        Ok(Greeting::Ready) => Ok(connection),
        _ => Err(ConnectError::CannotRun {
            host: "local".to_owned(),
            reason: "its thread ended".to_owned(),
        }),
    }
}

fn over_ssh(remote: &Remote, stop: &Stop, line: Line) -> Result<Connection, ConnectError> {
    let executable = executable::path()?;
    let build_id = executable::known_build_id(&executable)?;
    let size = std::fs::metadata(&executable).at("look at", &executable)?.len();
    let command = bootstrap(&build_id, size);
    let (channel, quiet) = match line {
        Line::Shared => (remote.open(&command)?, false),
        Line::Own => (remote.open_own(&command, stop)?, false),
        Line::Tried => remote.open_tried(&command, stop)?,
    };
    let Channel {
        input,
        output,
        errors,
        ending,
    } = channel;
    let mut requests: Box<dyn Write + Send> =
        Box::new(PatientWriter::new(input, stop.clone()).at("set up", "pipe")?);
    let mut answers: Answers = FrameReader::new(Box::new(
        PatientReader::new(output, stop.clone()).at("set up", "pipe")?,
    ));
    let listener = std::thread::Builder::new()
        .name("agent-errors".to_owned())
        .spawn(move || collect(errors))
        .at("start", "thread")?;
    let mut noise = Vec::new();
    let mut greeting = await_banner(answers.stream(), &mut noise);
    if matches!(greeting, Ok(Greeting::WantsUpload)) {
        log::info!(target: "barman.copy_controller", "sending the agent to {}", remote.describe());
        greeting = match upload(&executable, &mut requests) {
            Ok(()) => await_banner(answers.stream(), &mut noise),
            Err(error) => Err(FrameError::Io(error)),
        };
    }
    let connection = Connection {
        requests: Some(FrameWriter::new(requests)),
        answers,
        far: Far::Process {
            channel: Some(ending),
            errors: Some(listener),
        },
        host: remote.describe(),
        noise,
        aes: false,
        quiet,
    };
    match greeting {
        Ok(Greeting::Ready) => Ok(connection),
        other => Err(connection.refusal(remote, other)),
    }
}

impl Connection {
    /// Tells a host that cannot run the agent from one that was not reached: ssh itself ends with 255.
    fn refusal(mut self, remote: &Remote, greeting: Result<Greeting, FrameError>) -> ConnectError {
        self.requests = None;
        self.answers = FrameReader::new(Box::new(std::io::empty()));
        let (code, said) = match &mut self.far {
            Far::Process { channel, errors } => {
                let code = channel.take().map_or(Ok(0), crate::transport::Ending::wait);
                (
                    code,
                    errors
                        .take()
                        .and_then(|thread| thread.join().ok())
                        .unwrap_or_default(),
                )
            }
            Far::Thread(_) => (Ok(0), Vec::new()),
        };
        if let Err(interrupted) = crate::base::interrupt::check() {
            return TransportError::from(interrupted).into();
        }
        let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
        match (code, greeting) {
            (Ok(255), _) => TransportError::Connect {
                command: remote.describe(),
                code: 255,
                stderr: said,
            }
            .into(),
            (Err(error), _) => error.into(),
            (_, Ok(Greeting::Refused(reason))) if said.is_empty() => ConnectError::CannotRun {
                host: remote.describe(),
                reason,
            },
            (_, Ok(Greeting::Refused(reason))) => ConnectError::CannotRun {
                host: remote.describe(),
                reason: format!("{reason}: {said}"),
            },
            (Ok(code), _) => {
                let heard = self.noise.join("; ");
                let reason = [said, heard].into_iter().find(|text| !text.is_empty());
                let reason = reason.unwrap_or_else(|| format!("the command ended with code {code}"));
                ConnectError::CannotRun {
                    host: remote.describe(),
                    reason,
                }
            }
        }
    }
}
