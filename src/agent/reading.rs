//! Files on their way to the near side: whole, changed pages, rolling deltas, hashes alone.

use std::path::Path;

use super::conversation::{Session, Stopped};
use super::delta;
use super::message::{Checks, FetchMode, HASH_SIZE, Response};
use super::source::SourceFile;
use super::spans::{Base, Spans, window_for};
use crate::postgres::page::PAGE_SIZE;

/// Sends what of a file `mode` asks for.
pub(super) fn send(
    session: &mut Session,
    path: &Path,
    mode: FetchMode,
    checks: Option<Checks>,
    base: &mut Base,
) -> Result<(), Stopped> {
    let mut source = SourceFile::open(path, checks)?;
    let mut buffer = vec![0_u8; window_for(source.size())];
    let mut spans = Spans::default();
    loop {
        session.check()?;
        let count = source.read(&mut buffer)?;
        let content = buffer.get(..count).unwrap_or_default();
        if content.is_empty() {
            break;
        }
        match mode {
            FetchMode::HashOnly => {}
            FetchMode::Whole | FetchMode::Blocks(_) => spans.new_content(session, content)?,
            FetchMode::Pages => {
                let wanted = content.len().div_ceil(PAGE_SIZE) * HASH_SIZE;
                let hashes = base.take(session, wanted)?;
                spans.pages(session, content, source.pages(), &hashes)?;
            }
            FetchMode::Rolling => match base
                .take_frame(session)?
                .and_then(|old| delta::delta(&old, content))
            {
                Some(delta) => {
                    session.output.message(&Response::Delta {
                        bytes: content.len() as u64,
                    })?;
                    session.output.data(&delta)?;
                }
                None => spans.new_content(session, content)?,
            },
        }
    }
    spans.flush(session)?;
    session.output.message(&Response::Fetched(source.finish()))?;
    Ok(())
}

/// Sends all of a file.
pub(super) fn whole(session: &mut Session, path: &Path, checks: Option<Checks>) -> Result<(), Stopped> {
    let mut none = Base::new(true);
    send(session, path, FetchMode::Whole, checks, &mut none)
}

/// Answers [`super::message::Request::PageHashes`].
pub(super) fn page_hashes(session: &mut Session, path: &Path) -> Result<(), Stopped> {
    let mut source = SourceFile::open(path, None)?;
    let mut buffer = vec![0_u8; window_for(source.size())];
    loop {
        session.check()?;
        let count = source.read(&mut buffer)?;
        let content = buffer.get(..count).unwrap_or_default();
        if content.is_empty() {
            break;
        }
        let mut hashes = Vec::with_capacity(count.div_ceil(PAGE_SIZE) * HASH_SIZE);
        delta::page_hashes(content, &mut hashes);
        session.output.data(&hashes)?;
    }
    session.output.message(&Response::Fetched(source.finish()))?;
    Ok(())
}
