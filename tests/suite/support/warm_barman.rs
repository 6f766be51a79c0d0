//! Real Barman, started once for many runs.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use std::sync::Mutex;

use serde_json::{Value, json};

/// A process that runs Barman when it is asked to, one run at a time.
#[derive(Debug)]
pub struct WarmBarman {
    child: Child,
    pipes: Mutex<Option<Pipes>>,
}

#[derive(Debug)]
struct Pipes {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a run needs.
#[derive(Debug)]
pub struct Request<'a> {
    pub words: &'a [&'a str],
    pub directory: &'a Path,
    /// All of its environment.
    pub environment: &'a [(&'a str, &'a str)],
    /// The files that its output goes to.
    pub stdout: &'a Path,
    pub stderr: &'a Path,
}

impl WarmBarman {
    /// Starts the Barman of a virtual environment.
    pub fn start(barman: &Path) -> WarmBarman {
        let mut child = Command::new(barman.with_file_name("python"))
            .args(["-c", include_str!("warm_barman.py")])
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pipes = Pipes {
            requests: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
        };
        WarmBarman {
            child,
            pipes: Mutex::new(Some(pipes)),
        }
    }

    /// Runs it; returns its exit code.
    pub fn run(&self, request: &Request<'_>) -> i32 {
        let environment: serde_json::Map<String, Value> = request
            .environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let line = json!({
            "words": request.words, "directory": request.directory, "environment": environment,
            "stdout": request.stdout, "stderr": request.stderr,
        });
        let mut pipes = self.pipes.lock().unwrap();
        let pipes = pipes.as_mut().unwrap();
        writeln!(pipes.requests, "{line}").unwrap();
        let mut answer = String::new();
        pipes.answers.read_line(&mut answer).unwrap();
        answer.trim().parse().unwrap()
    }
}

impl Drop for WarmBarman {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.pipes.lock().unwrap().take());
        let _ = self.child.wait();
    }
}
