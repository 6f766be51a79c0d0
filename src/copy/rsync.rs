//! x
use super::*;
pub(super) fn pull(
    plan: &CopyPlan,
    source: &Remote,
    reporter: &dyn Reporter,
    reason: String,
) -> Result<CopyReport, CopyError> {
    let _ = (plan, reporter);
    Err(CopyError::Remote {
        host: source.describe(),
        message: reason,
    })
}
