//! Owns call errors: what a failed call means for the operation it belongs to.

use provision_diagnostic::{Code, Failure};
use std::fmt;

/// What can be done about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It never left this machine, or was refused without effect; the same call may be sent again.
    NotSent,
    /// The answer was lost after sending: it may have taken effect.
    InDoubt,
    /// Too many requests.
    Throttle,
    /// Locked or in a passing state.
    Busy,
    /// Something with that name or key is there already.
    Conflict,
    /// The thing is not there.
    Gone,
    Credentials,
    Quota,
    Protected,
    Rejected,
    /// A command raised an error that does not say whether it had an effect: that is looked for, and it is not sent again.
    Raised,
    /// The answer is not of the documented shape.
    Malformed,
    /// A reading call kept failing.
    Unavailable,
    /// The caller asked to stop.
    Interrupted,
}

impl Class {
    /// Whether a change whose call failed so may have been made all the same: the cloud has to be asked.
    pub fn is_unclear(self) -> bool {
        matches!(self, Class::InDoubt | Class::Malformed | Class::Raised)
    }
}

/// A failed call.
#[derive(Debug, Clone)]
pub struct CallError {
    pub class: Class,
    pub provider: Box<str>,
    /// The vendor's own code, where it gave one.
    pub code: String,
    /// The vendor's text; never holds a credential.
    pub message: String,
    /// When the vendor says it may be asked again.
    pub retry_after: Option<std::time::Duration>,
    /// When the call was sent, where nobody knows whether it has arrived: it still may, for as long as a request can be
    /// under way.
    pub unanswered: Option<std::time::Instant>,
    /// The next step, where there is a better one than its class gives.
    pub help: Option<Box<str>>,
}

impl CallError {
    pub fn new(class: Class, provider: &str, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            provider: provider.into(),
            code: code.into(),
            message: message.into(),
            retry_after: None,
            unanswered: None,
            help: None,
        }
    }

    /// The same with a next step of its own.
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into().into()), ..self }
    }

    /// The same of a call that may still be on its way.
    pub fn sent_at(self, sent: std::time::Instant) -> Self {
        Self { unanswered: Some(sent), ..self }
    }

    /// The same without the secrets that the cloud repeats: what was sent may have been secret.
    pub fn masked(mut self, mask: impl Fn(&str) -> String) -> Self {
        self.message = mask(&self.message);
        self.code = mask(&self.code);
        self.help = self.help.as_deref().map(|help| mask(help).into());
        self
    }

    /// As an error for people.
    pub fn failure(&self, what: &str) -> Failure {
        let code = match self.class {
            Class::Credentials => Code::ProviderUnauthorized,
            Class::Quota => Code::ProviderQuota,
            Class::Conflict => Code::PlanSomeoneElses,
            Class::Malformed => Code::ProviderMalformed,
            Class::Raised => Code::ProviderModule,
            Class::Rejected | Class::Gone | Class::Protected => Code::ProviderRejected,
            Class::Busy => Code::ProviderBusy,
            _ => Code::ProviderUnavailable,
        };
        let help = match self.class {
            Class::Credentials => "Check the credential of this account; its value is never shown.",
            Class::Quota => "Raise the quota, or choose another size or location.",
            Class::Conflict => "Choose another name, or remove the other resource.",
            Class::Malformed => {
                "Check the endpoint of this account; a Nushell module has to give what its `schema` says."
            }
            Class::Raised => "Mend the module, or what it works on, as its message says.",
            Class::Rejected | Class::Gone | Class::Protected => "Mend the resource as the cloud's message says.",
            Class::Busy => {
                "Something uses it, or works on it. Where others need what is replaced, give it \
                 `lifecycle.create_before_destroy = true`; else run the same again: what is done stays done."
            }
            _ => "Run the same again when the cloud can be reached; what is done stays done.",
        };
        Failure::new(code, format!("{what}: {self}")).with_help(self.help.as_deref().unwrap_or(help))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.provider)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cloud_repeats_of_a_secret_is_not_told() {
        let error = CallError::new(Class::Rejected, "acme", "bad_hunter2", "`hunter2` is too short");
        let masker = provision_diagnostic::Masker::new(["hunter2"]);
        let told = error.masked(|text| masker.mask(text).into_owned()).failure("create failed").to_string();
        assert!(!told.contains("hunter2") && told.contains("too short"), "{told}");
    }
}
