//! The writers on streams in memory.

#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;

/// A stream that can be read back.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream that fails.
struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const STYLE: Style = Style {
    format: Format::Console,
    quiet: false,
    debug: false,
    color: false,
    progress: false,
};

struct Lab {
    output: Output,
    out: Shared,
    err: Shared,
}

fn lab(style: Style) -> Lab {
    let (out, err) = (Shared::default(), Shared::default());
    let output = Output {
        screen: Screen::of(Box::new(out.clone()), Box::new(err.clone()), style.color),
        ..Output::new(style)
    };
    Lab { output, out, err }
}

fn speak(output: &Output) {
    output.info("an info password=x");
    output.warning("a warning");
    output.error("an error");
    output.debug("a detail");
    output.exception_line("a surprise");
}

struct Greeting;

impl Render for Greeting {
    fn console(&self, page: &mut Page) {
        page.line(format!("hello: {}", page.good("OK")));
    }
    fn json(&self, document: &mut Map<String, Value>) {
        document.insert("hello".to_owned(), json!({"conninfo": "password=x", "é": 1}));
    }
}

#[test]
fn the_console_separates_lines_from_problems() {
    let lab = lab(STYLE);
    speak(&lab.output);
    lab.output.show(&Greeting);
    assert_eq!(lab.out.text(), "an info password=*REDACTED*\nhello: OK\n");
    assert_eq!(
        lab.err.text(),
        "WARNING: a warning\nERROR: an error\nEXCEPTION: a surprise\nSee log file for more details.\n"
    );
    assert_eq!(lab.output.finish(), 1);
}

#[test]
fn colours_wrap_whole_problems_and_single_words() {
    let lab = lab(Style {
        color: true,
        debug: true,
        ..STYLE
    });
    speak(&lab.output);
    lab.output.show(&Greeting);
    assert_eq!(
        lab.out.text(),
        "an info password=*REDACTED*\nhello: \u{1b}[32mOK\u{1b}[0m\n"
    );
    assert_eq!(
        lab.err.text(),
        "\u{1b}[33mWARNING: a warning\u{1b}[0m\n\u{1b}[31mERROR: an error\u{1b}[0m\nDEBUG: a detail\n\
         \u{1b}[31mEXCEPTION: a surprise\nSee log file for more details.\u{1b}[0m\n"
    );
}

#[test]
fn quiet_leaves_problems() {
    let lab = lab(Style { quiet: true, ..STYLE });
    speak(&lab.output);
    lab.output.show(&Greeting);
    assert_eq!(lab.out.text(), "");
    assert!(
        lab.err
            .text()
            .starts_with("WARNING: a warning\nERROR: an error\n")
    );
}

#[test]
fn json_is_one_document_at_the_end() {
    let lab = lab(Style {
        format: Format::Json,
        debug: true,
        ..STYLE
    });
    speak(&lab.output);
    lab.output.show(&Greeting);
    assert_eq!(lab.out.text(), "");
    assert_eq!(lab.output.finish(), 1);
    assert_eq!(lab.err.text(), "");
    assert_eq!(
        lab.out.text(),
        r#"{"_DEBUG": ["a detail"], "_ERROR": ["an error"], "_EXCEPTION": ["a surprise\nSee log file for more details."], "_INFO": ["an info password=*REDACTED*"], "_WARNING": ["a warning"], "hello": {"conninfo": "password=*REDACTED*", "\u00e9": 1}}"#
    );
}

#[test]
fn quiet_json_is_nothing() {
    let lab = lab(Style {
        format: Format::Json,
        quiet: true,
        ..STYLE
    });
    speak(&lab.output);
    assert_eq!(lab.output.finish(), 1);
    assert_eq!(lab.out.text() + &lab.err.text(), "");
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    for (kind, code) in [(io::ErrorKind::BrokenPipe, 0), (io::ErrorKind::StorageFull, 1)] {
        let err = Shared::default();
        let output = Output {
            screen: Screen::of(Box::new(Failing(kind)), Box::new(err.clone()), false),
            ..Output::new(STYLE)
        };
        output.info("one");
        output.info("two");
        assert_eq!(output.finish(), code, "{kind:?}");
        assert_eq!(err.text().lines().count(), usize::from(code), "{kind:?}");
    }
}

#[test]
fn own_exit_codes_win() {
    let lab = lab(STYLE);
    lab.output.fail_with(3);
    lab.output.error("an error");
    assert_eq!(lab.output.finish(), 3);
}
