//! Getting the agent to run on another host, in one command and so in one round trip: from the cache directory, or as the
//! `barkeep` on the PATH when it is the same build, or after an upload, which is written to a temporary name, synced,
//! verified by its build id and renamed.

use std::io::{BufRead, PipeReader, Read, Write};
use std::path::Path;

use super::message::{BANNER, VERSION};
use crate::base::shell;
use crate::transport::frame::FrameError;

/// More noise than this before the banner is not a login shell's greeting.
const MAX_NOISE: usize = 64 << 10;
/// The line by which the far side asks for the executable.
const UPLOAD: &str = "BARKEEP-UPLOAD";
/// The line by which the far side says why it cannot run the agent.
const REFUSED: &str = "BARKEEP-REFUSED";

/// The command that finds, or receives, and runs the agent. For `sh`, whatever the login shell is.
pub(super) fn bootstrap(build_id: &str, size: u64) -> String {
    let script = format!(
        "d=\"${{XDG_CACHE_HOME:-$HOME/.cache}}/barkeep\"; a=\"$d/agent-{build_id}\"; \
         [ -x \"$a\" ] && exec \"$a\" agent; \
         b=$(command -v barkeep 2>/dev/null) && [ \"$(\"$b\" agent --build-id 2>/dev/null)\" = {build_id} ] && \
         exec \"$b\" agent; \
         refuse() {{ rm -f \"$t\"; echo; echo \"{REFUSED} $1\"; exit 1; }}; t=\"$a.$$\"; \
         mkdir -p \"$d\" && chmod 700 \"$d\" || refuse \"cannot create $d\"; \
         echo; echo {UPLOAD}; \
         (umask 077; head -c {size} > \"$t\") || refuse \"cannot write $t\"; \
         chmod 700 \"$t\"; sync \"$t\" 2>/dev/null; \
         i=$(\"$t\" agent --build-id) || refuse \"it does not run there\"; \
         [ \"$i\" = {build_id} ] || refuse \"it arrived damaged\"; \
         mv -f \"$t\" \"$a\" || refuse \"cannot rename $t\"; \
         exec \"$a\" agent"
    );
    format!("exec sh -c {}", shell::quote(&script))
}

/// What the far side begins with.
pub(super) enum Greeting {
    Ready,
    WantsUpload,
    Refused(String),
}

/// Reads lines until one of ours; the others are noise.
pub(super) fn await_banner(
    answers: &mut impl BufRead,
    noise: &mut Vec<String>,
) -> Result<Greeting, FrameError> {
    let mut heard = 0;
    loop {
        let mut line = Vec::new();
        let limit = (MAX_NOISE - heard) as u64;
        heard += answers.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(if heard >= MAX_NOISE {
                FrameError::Protocol("no agent, but a lot of noise".to_owned())
            } else {
                noise.extend(Some(text_of(&line)).filter(|text| !text.is_empty()));
                FrameError::Closed
            });
        }
        let text = text_of(&line);
        let banner = text_of(BANNER);
        if let Some(version) = text.strip_prefix(banner.as_str()) {
            return match version.trim().parse() {
                Ok(VERSION) => Ok(Greeting::Ready),
                _ => Ok(Greeting::Refused(format!("it speaks version {version}"))),
            };
        }
        if text == UPLOAD {
            return Ok(Greeting::WantsUpload);
        }
        if let Some(reason) = text.strip_prefix(REFUSED) {
            return Ok(Greeting::Refused(reason.trim().to_owned()));
        }
        noise.extend(Some(text).filter(|text| !text.is_empty()));
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Sends the executable.
pub(super) fn upload(executable: &Path, requests: &mut (impl Write + ?Sized)) -> std::io::Result<()> {
    let mut file = std::fs::File::open(executable)?;
    std::io::copy(&mut file, requests)?;
    requests.flush()
}

/// What a command says on its standard error, the first part of it.
pub(super) fn collect(mut errors: PipeReader) -> Vec<u8> {
    let mut said = Vec::new();
    let _ = errors.by_ref().take(MAX_NOISE as u64).read_to_end(&mut said);
    // Beyond that it is only taken off the pipe.
    let _ = std::io::copy(&mut errors, &mut std::io::sink());
    said
}
