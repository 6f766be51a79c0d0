//! Tests of `get-wal`.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::archive::sandbox::{Sandbox, segment};
use crate::codec::wal::compress_file;

const NAME: &str = "0000000100000000000000FE";

fn get(sandbox: &Sandbox, name: &str, form: Form, partial: bool) -> Result<(String, Vec<u8>), GetWalError> {
    let mut output = Vec::new();
    let codec = WalCodec::default();
    let found = send(&sandbox.places(), &codec, name, form, partial, &mut output)?;
    Ok((found, output))
}

fn archive_compressed(sandbox: &Sandbox, name: &str, compression: Compression) {
    let source = sandbox.write("source", &segment(name, 1));
    let target = sandbox.places().archived(name).unwrap();
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    compress_file(&source, &target, compression, Level::Low).unwrap();
}

#[test]
fn a_file_is_sent_in_the_form_that_is_wanted() {
    let sandbox = Sandbox::new();
    archive_compressed(&sandbox, NAME, Compression::Gzip);
    let stored = fs::read(sandbox.places().archived(NAME).unwrap()).unwrap();
    let plain = segment(NAME, 1);
    assert_eq!(get(&sandbox, NAME, Form::Plain, false).unwrap().1, plain);
    assert_eq!(get(&sandbox, NAME, Form::Stored, false).unwrap().1, stored);
    let gzip = Form::Compressed(Compression::Gzip);
    assert_eq!(get(&sandbox, NAME, gzip, false).unwrap().1, stored);
    let bzip2 = get(&sandbox, NAME, Form::Compressed(Compression::Bzip2), false)
        .unwrap()
        .1;
    assert!(bzip2.starts_with(b"BZh"));
}

#[test]
fn incomplete_segments_are_sent_only_on_request_and_as_they_are() {
    let sandbox = Sandbox::new();
    sandbox.write(&format!("streaming/{NAME}.partial"), b"\x1f\x8b\x08 not really");
    let error = get(&sandbox, NAME, Form::Plain, false).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let (found, content) = get(&sandbox, NAME, Form::Plain, true).unwrap();
    assert_eq!(found, format!("{NAME}.partial"));
    assert_eq!(content, b"\x1f\x8b\x08 not really");
    assert_eq!(get(&sandbox, "x", Form::Plain, true).unwrap_err().exit_code(), 3);
}

#[test]
fn an_output_file_is_complete_or_absent() {
    let sandbox = Sandbox::new();
    let codec = WalCodec::default();
    let places = sandbox.places();
    let into = |name: &str| {
        send_to_directory(
            &places,
            &codec,
            name,
            Form::Plain,
            false,
            &sandbox.root.join("meta"),
        )
    };
    assert_eq!(into(NAME).unwrap_err().exit_code(), 1);
    archive_compressed(&sandbox, NAME, Compression::Zstd);
    let archived = places.archived(NAME).unwrap();
    let stored = fs::read(&archived).unwrap();
    fs::write(&archived, &stored[..stored.len() / 2]).unwrap();
    assert_eq!(into(NAME).unwrap_err().exit_code(), 1);
    assert_eq!(sandbox.list("meta"), [""; 0]);
    fs::write(&archived, &stored).unwrap();
    into(NAME).unwrap();
    assert_eq!(sandbox.list("meta"), [NAME]);
}

#[test]
fn peek_follows_the_size_in_the_header_and_guesses_without_one() {
    let sandbox = Sandbox::new();
    let codec = WalCodec::default();
    let peek = |name: &str, limit| super::peek(&sandbox.places(), &codec, name, limit).unwrap();
    // One MiB segments: 4096 of them per log, so FF is followed by 100 and not by the next log.
    for name in [NAME, "0000000100000000000000FF", "000000010000000000000100"] {
        archive_compressed(&sandbox, name, Compression::Lz4);
    }
    sandbox.write("incoming/000000010000000100000000", b"x");
    assert_eq!(
        peek(NAME, 9),
        [NAME, "0000000100000000000000FF", "000000010000000000000100"]
    );
    assert_eq!(peek(NAME, 1), [NAME]);
    // No header to read: after a gap at a power of two the next log may follow.
    sandbox.write("incoming/0000000200000000000000FF", b"x");
    sandbox.write("incoming/000000020000000100000000", b"x");
    assert_eq!(
        peek("0000000200000000000000FF", 9),
        ["0000000200000000000000FF", "000000020000000100000000"]
    );
    assert_eq!(peek("00000009.history", 3), [""; 0]);
}
