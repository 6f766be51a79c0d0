//! What a child process writes, line by line, while it runs.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::mpsc::{self, Receiver, Sender};

use crate::base::error::{PathContext, PathError};

/// The lines of both streams of `program`, in the order in which they arrive, until both have ended.
///
/// # Errors
/// No thread can be started.
pub fn of(child: &mut Child, program: &'static str) -> Result<Receiver<String>, PathError> {
    let (sender, lines) = mpsc::channel();
    if let Some(stream) = child.stdout.take() {
        read_on_thread(stream, sender.clone(), program)?;
    }
    if let Some(stream) = child.stderr.take() {
        read_on_thread(stream, sender, program)?;
    }
    Ok(lines)
}

fn read_on_thread(
    stream: impl Read + Send + 'static,
    sender: Sender<String>,
    program: &'static str,
) -> Result<(), PathError> {
    let read = move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            match stream.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {
                    let text = String::from_utf8_lossy(&line);
                    // Nobody listens any more: the process is on its way out.
                    if sender.send(text.trim_end().to_owned()).is_err() {
                        break;
                    }
                }
                Err(error) => {
                    log::warn!(target: "barman.command_wrappers", "cannot read the output of {program}: {error}");
                    break;
                }
            }
        }
    };
    std::thread::Builder::new()
        .name(program.to_owned())
        .spawn(read)
        .at("start a thread for", program)?;
    Ok(())
}
