#![allow(clippy::unwrap_used)]
use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

fn any_literal() -> impl Strategy<Value = Literal> {
    let leaf = prop_oneof![
        Just(Literal::None),
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(|number| Literal::Int(number.into())),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(Literal::Float),
        ".*".prop_map(Literal::Str),
        "[ -~\n\t'\"\\\\]*".prop_map(Literal::Str),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Literal::List),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Literal::Tuple),
            prop::collection::vec((".*".prop_map(Literal::Str), inner), 0..4).prop_map(Literal::Dict),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value in any_literal()) {
        prop_assert_eq!(parse(&repr(&value)).unwrap(), value);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".*") {
        let _ = parse(&text);
    }

    #[test]
    fn no_literal_like_text_makes_the_reader_panic(text in "[\\[\\](){},:'\"\\\\xuUN0-9eE.+ -]*") {
        let _ = parse(&text);
    }
}

#[test]
fn deep_nesting_is_refused() {
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&"(".repeat(100_000)).is_err());
}

#[test]
fn forms_of_python() {
    for (text, value) in [
        ("(1)", Literal::Int(1)),
        ("(1,)", Literal::Tuple(vec![Literal::Int(1)])),
        ("()", Literal::Tuple(vec![])),
        ("u'a' \"b\"", Literal::str("ab")),
        (r"'\x41\u00e9\101\q'", Literal::str("Aé\u{41}\\q")),
        ("1_000", Literal::Int(1000)),
        ("-1.5e-7", Literal::Float(-1.5e-7)),
        ("[1, 2,]", Literal::List(vec![Literal::Int(1), Literal::Int(2)])),
    ] {
        assert_eq!(parse(text).unwrap(), value, "{text}");
    }
    for bad in ["", "[1 2]", "[,]", "{1}", "'a", "nul", "1 2", "--1", "'\\x4'"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

/// Compares with a real Python, which is asked to print its own `repr` of what we wrote.
#[test]
fn python_writes_the_same() {
    let numbers = [
        0.0,
        -0.0,
        1.0,
        0.1,
        1e15,
        1e16,
        1.5e16,
        123_456_789.123_456_7,
        1e-4,
        0.000_099,
        1e22,
        5e-324,
        1.797e308,
        1_795_208_667.385_924_3,
    ];
    let strings = [
        "",
        "plain",
        "it's",
        "say \"hi\"",
        "both ' and \"",
        "tab\tline\nback\\slash\r",
        "\0\x07\x1b\x7f",
        "é漢𝄞",
        "\u{85}\u{a0}\u{ad}",
        "\u{200b}\u{2028}\u{3000}\u{feff}",
        "e\u{301}",
        "\u{e000}\u{10ffff}",
        "\u{378}",
    ];
    let mut items: Vec<Literal> = numbers.into_iter().map(Literal::Float).collect();
    items.extend(strings.into_iter().map(Literal::str));
    items.push(Literal::Tuple(vec![Literal::str("x")]));
    items.push(Literal::Dict(vec![(Literal::str("k"), Literal::None)]));
    let ours = repr(&Literal::List(items));

    let mut python = Command::new("python3")
        .args([
            "-c",
            "import ast, sys\nsys.stdout.buffer.write(repr(ast.literal_eval(sys.stdin.buffer.read().decode())).encode())",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(ours.as_bytes()).unwrap();
    let theirs = python.wait_with_output().unwrap();
    assert!(theirs.status.success());
    assert_eq!(String::from_utf8(theirs.stdout).unwrap(), ours);
}
