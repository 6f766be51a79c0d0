//! Advice: what is wrong, what comes first, and what to do, for `check` and `doctor`.

use serde_json::{Value, json};

use crate::check::advice::{Advice, Place, Standing, Step};

/// Why a check failed, in the words that tell "broken" from "not yet".
pub(super) fn cause(advice: &Advice) -> String {
    match advice.standing {
        Standing::Broken => format!("cause: {}", advice.cause),
        Standing::NotYet => format!("not yet: {}", advice.cause),
        Standing::Follows(check) => format!("first repair \"{check}\": {}", advice.cause),
    }
}

/// One thing to do.
pub(super) fn step(step: &Step) -> String {
    format!("{}: {}", step.place.words(), step.action)
}

/// Advice in JSON.
pub(super) fn value(advice: &Advice) -> Value {
    let (standing, first) = match advice.standing {
        Standing::Broken => ("broken", None),
        Standing::NotYet => ("not yet", None),
        Standing::Follows(check) => ("follows", Some(check)),
    };
    let steps: Vec<Value> = advice.steps.iter().map(step_value).collect();
    json!({"standing": standing, "first_repair": first, "cause": advice.cause, "steps": steps})
}

fn step_value(step: &Step) -> Value {
    let (place, where_) = match &step.place {
        Place::Here => ("backup host", None),
        Place::There(host) => ("postgresql host", Some(host.clone())),
        Place::Database => ("sql", None),
        Place::File(path) => ("file", Some(path.display().to_string())),
        Place::Anywhere => ("note", None),
    };
    json!({"place": place, "where": where_, "action": step.action})
}
