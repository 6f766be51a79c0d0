//! TODO
use super::runner::{Case, case};
pub fn cases() -> Vec<Case> {
    Vec::new()
}
