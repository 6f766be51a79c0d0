//! Every accepted form, and what is refused.
#![allow(clippy::unwrap_used)]
use super::*;

fn iso(text: &str) -> String {
    calendar::python_str(&parse(text).unwrap().time)
}

#[test]
fn forms_with_a_zone() {
    for (text, expected) in [
        ("2026-11-20 21:30:45+00", "2026-11-20 21:30:45+00:00"),
        (
            "2026-11-20 21:30:45.123456+05:30",
            "2026-11-20 21:30:45.123456+05:30",
        ),
        ("2026-11-20T21:30:45Z", "2026-11-20 21:30:45+00:00"),
        ("2026-11-20T21:30:45,5-0330", "2026-11-20 21:30:45.500000-03:30"),
        (
            "2026-11-20 21:30:45.1234567899Z",
            "2026-11-20 21:30:45.123456+00:00",
        ),
        ("20261120T213045Z", "2026-11-20 21:30:45+00:00"),
        ("20261120 213045 UTC", "2026-11-20 21:30:45+00:00"),
        ("20261120213045Z", "2026-11-20 21:30:45+00:00"),
        ("2026-11-20T21Z", "2026-11-20 21:00:00+00:00"),
        ("2026/11/20 9:30 pm GMT", "2026-11-20 21:30:00+00:00"),
        ("11/20/2026 21:30:45 UTC", "2026-11-20 21:30:45+00:00"),
        ("20/11/2026 21:30:45 UTC", "2026-11-20 21:30:45+00:00"),
        ("01/02/2026 21:30:45 UTC", "2026-01-02 21:30:45+00:00"),
        ("Fri, 20 Nov 2026 21:30:45 +0100", "2026-11-20 21:30:45+01:00"),
        ("Fri Nov 20 21:30:45 UTC 2026", "2026-11-20 21:30:45+00:00"),
        ("Fri Nov 20 09:30:45 PM UTC 2026", "2026-11-20 21:30:45+00:00"),
        ("Fri Nov 20 21:30:45 2026 UTC", "2026-11-20 21:30:45+00:00"),
        ("November 20th, 2026 at 12am Z", "2026-11-20 00:00:00+00:00"),
        ("20-Nov-2026 12:00 pm Z", "2026-11-20 12:00:00+00:00"),
        ("Sept. 1 2026 00:00Z", "2026-09-01 00:00:00+00:00"),
    ] {
        assert_eq!(iso(text), expected, "{text}");
        assert!(!parse(text).unwrap().zone_assumed);
    }
}

#[test]
fn without_a_zone_the_time_is_local() {
    for text in [
        "2026-11-20",
        "2026-11-20 00:00",
        "Fri Nov 20 00:00:00 2026",
        "20261120",
    ] {
        let target = parse(text).unwrap();
        assert!(target.zone_assumed, "{text}");
        assert_eq!(
            target.time.naive_local().to_string(),
            "2026-11-20 00:00:00",
            "{text}"
        );
    }
}

#[test]
fn what_could_mean_something_else_is_refused() {
    for text in [
        "garbage",
        "",
        "  ",
        "infinity",
        "now",
        "yesterday",
        "2026-W47-5",
        "1 2 3 4",
        "2026-11-20 21",
        "++",
        "é",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    for text in ["10:30", "2026", "Nov 20", "20 Nov 26 10:00", "1/2/26"] {
        assert!(
            matches!(
                parse(text),
                Err(TargetTimeError::Incomplete | TargetTimeError::Repeated(_))
            ),
            "{text}"
        );
    }
    for text in [
        "2026-02-30",
        "2026-11-20 24:00:00",
        "2026-11-20 10:60",
        "2026-11-20 13:00 pm",
        "2026-11-20 10:00+99",
    ] {
        assert_eq!(parse(text), Err(TargetTimeError::OutOfRange), "{text}");
    }
    for text in ["2026-11-20 10:00 CET", "2026-11-20 10:00 UTC+3"] {
        assert!(matches!(parse(text), Err(TargetTimeError::Zone(_))), "{text}");
    }
    assert!(matches!(
        parse("Mon Nov 20 10:00:00 2026"),
        Err(TargetTimeError::Weekday(_))
    ));
    assert!(matches!(
        parse("2026-11-20 2026-11-21"),
        Err(TargetTimeError::Repeated(_))
    ));
}

#[test]
fn garbage_never_panics() {
    let pieces = [
        "2026",
        "-",
        "11",
        ":",
        "T",
        "Z",
        "+",
        ".",
        ",",
        "/",
        "pm",
        "Nov",
        "Fri",
        " ",
        "00",
        "123456789012345",
    ];
    for first in pieces {
        for second in pieces {
            for third in pieces {
                let _ = parse(&format!("{first}{second}{third}"));
                let _ = parse(&format!("2026-11-20{first}{second}{third}"));
            }
        }
    }
}
