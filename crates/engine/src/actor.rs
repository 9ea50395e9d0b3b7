//! Owns who acts, and who vouches for that: the operating system, or nobody but the environment.

use provision_diagnostic::{Code, Failure};

/// Names the source of the local actor: empty or `os` for the operating system, `env` for the variable `USER`.
const SOURCE: &str = "PROVISION_ACTOR";

/// A person at a prompt, or a script of theirs.
const CLI: &str = "cli";

/// Who acts: the principal of policy questions and the name in history and audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub id: String,
    /// What it came through: `cli`, `webhook`, `mcp`, …
    pub source: String,
    /// The environment alone says so, and the audit log says that.
    pub claimed: bool,
}

impl Actor {
    /// Somebody that the caller vouches for.
    pub fn vouched(id: impl Into<String>, source: impl Into<String>) -> Actor {
        Actor { id: id.into(), source: source.into(), claimed: false }
    }

    /// The actor of a command that a person runs here. `system` is the name of the user whose process this is.
    ///
    /// This is the only place that reads `PROVISION_ACTOR`, so what acts for others does not call it: a service makes an
    /// `Actor` of whom its door let in, and must refuse to start where the variable is set to `env`.
    pub fn local(env: &dyn Fn(&str) -> Option<String>, system: &str) -> Result<Actor, Failure> {
        match env(SOURCE).as_deref() {
            None | Some("" | "os") => Ok(Actor::vouched(system, CLI)),
            Some("env") => match env("USER").filter(|name| !name.is_empty()) {
                Some(id) => Ok(Actor { claimed: true, ..Actor::vouched(id, CLI) }),
                None => Err(Failure::new(Code::ConfigSetting, "PROVISION_ACTOR is `env`, and USER is not set")
                    .with_help("Set USER, or remove PROVISION_ACTOR to act as the operating system's user.")),
            },
            Some(other) => Err(Failure::new(Code::ConfigSetting, format!("PROVISION_ACTOR is `{other}`"))
                .with_help("Set it to `os`, which is the default, or to `env` to take the name from USER.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_counts_only_where_it_is_asked_for() {
        let of = |source: Option<&str>, user: Option<&str>| {
            let env = |name: &str| if name == "USER" { user } else { source }.map(str::to_owned);
            Actor::local(&env, "ann").map(|actor| (actor.id, actor.claimed)).map_err(|error| error.code().to_owned())
        };
        assert_eq!(of(None, Some("boss")), Ok(("ann".to_owned(), false)));
        assert_eq!(of(Some("os"), Some("boss")), Ok(("ann".to_owned(), false)));
        assert_eq!(of(Some("env"), Some("boss")), Ok(("boss".to_owned(), true)));
        for (source, user) in [(Some("env"), None), (Some("env"), Some("")), (Some("ldap"), Some("boss"))] {
            assert_eq!(of(source, user), Err(Code::ConfigSetting));
        }
    }
}
