//! Owns what a plan is asked for.

/// What to plan.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// Only these, what they need, and what must turn to what they replace; none of an empty list.
    pub target: Option<Vec<String>>,
    /// All but these and what depends on them.
    pub exclude: Vec<String>,
    /// Take everything down.
    pub destroy: bool,
    /// Do not look at the world.
    pub no_refresh: bool,
    /// Also read each resource by id.
    pub deep: bool,
    /// Keep the rows that change nothing.
    pub all: bool,
    /// Look for what the state may have lost even where nothing was ever made: an apply is about to make it.
    pub certain: bool,
    /// What the plan is for, where it is not to apply the configuration.
    pub purpose: Option<&'static str>,
}

/// The purpose of a plan back to an earlier configuration.
pub const ROLLBACK: &str = "rollback";

/// The purpose of a plan that undoes drift alone.
pub const HEAL: &str = "heal";
