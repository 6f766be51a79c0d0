//! Whether the clocks of the hosts agree: the times of backups and of WAL are taken on both, and an operator names the
//! moment to recover to by one of them.

use super::Finding;
use super::probe::{Answers, Offset};
use crate::base::duration;
use crate::check::advice::Advice;

/// The largest difference that does not matter, in seconds.
const TOLERANCE: f64 = 5.0;

pub(super) fn examine(answers: &Answers) -> Option<Finding> {
    let postgres = answers.reached().and_then(|postgres| postgres.clock);
    let ssh = answers.ssh.as_ref().and_then(|ssh| ssh.clock);
    let offset = [postgres, ssh]
        .into_iter()
        .flatten()
        .find(|offset| disagrees(*offset))?;
    let direction = if offset.seconds > 0.0 {
        "ahead of"
    } else {
        "behind"
    };
    let advice = Advice::broken(format!(
        "the clock of the PostgreSQL host is {} {direction} the one here",
        duration::human(offset.seconds.abs())
    ));
    Some(Finding::new(
        "clocks",
        advice.here("timedatectl status    (on both hosts: which one is synchronised?)"),
    ))
}

fn disagrees(offset: Offset) -> bool {
    offset.seconds.abs() - offset.uncertainty > TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_no_proof() {
        let offset = |seconds, uncertainty| Offset { seconds, uncertainty };
        assert!(disagrees(offset(-6.0, 0.5)));
        assert!(disagrees(offset(3600.0, 4.0)));
        assert!(!disagrees(offset(6.0, 2.0)));
        assert!(!disagrees(offset(-4.0, 0.0)));
    }
}
