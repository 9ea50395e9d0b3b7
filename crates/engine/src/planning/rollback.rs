//! Owns what a row says of a way back that does not bring everything back. Pure.

use provision_model::{Action, PlanRow};

/// Says what going back does not bring back: a configuration comes back, data does not.
pub(crate) fn own_up(row: &mut PlanRow) {
    let said = match row.action {
        Action::Create => "; it comes back empty, the data it held does not",
        Action::Replace => "; the data of the one that goes is lost, and that of the earlier one does not come back",
        Action::Delete => "; the data it holds is lost",
        _ => return,
    };
    row.reason.push_str(said);
}
