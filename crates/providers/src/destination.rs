//! Owns where credentials may go: to the host they were configured for, and to another one only with consent.

use provision_diagnostic::{Code, Failure};
use provision_registry::{Destination, Manifest, Trust};

/// Who named an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The configuration, which may be somebody else's.
    File,
    /// A variable that the manifest reads: the user's own environment.
    Environment,
    /// The manifest's default.
    Manifest,
}

/// What a project trusts, and what of it comes with the project itself.
#[derive(Clone, Copy)]
pub struct Consents<'a> {
    pub trust: &'a Trust,
    /// The manifest is the project's: its endpoint, and the variables it reads, are as foreign as the configuration.
    pub foreign: bool,
}

/// Refuses an endpoint that must not get the account's credentials.
pub fn check(
    account: &str,
    manifest: &Manifest,
    url: &str,
    named: Named,
    credentials: &[String],
    consents: Consents<'_>,
) -> Result<(), Failure> {
    if manifest.auth.is_empty() {
        return Ok(());
    }
    let to = Destination::of(url)?;
    if to.is_loopback {
        // Nothing leaves this machine.
        return Ok(());
    }
    let (name, host) = (&manifest.name, &to.host);
    if credentials.iter().any(|credential| credential.starts_with(SANDBOX)) {
        let message = format!("the sandbox's credentials are not sent to {host}, the endpoint of `{account}`");
        return Err(Failure::new(Code::ProviderUntrusted, message).with_help(
            "Unset the sandbox's credentials and set those of the account, or point the endpoint at the sandbox.",
        ));
    }
    let configured = !consents.foreign && named != Named::File;
    if configured && to.is_encrypted || consents.trust.allows_host(name, host) {
        return Ok(());
    }
    let why = match named {
        _ if configured => "it is not encrypted",
        Named::File => "only the configuration names it",
        _ => "only the project's own extension names it",
    };
    let message = format!("the credentials of `{account}` are not sent to {host}: {why}");
    Err(Failure::new(Code::ProviderUntrusted, message)
        .with_help(format!("If that host may have them, run `provision trust add host {host} --provider {name}`.")))
}

/// What the sandbox's credentials begin with.
const SANDBOX: &str = "sandbox";

#[cfg(test)]
mod tests {
    use super::*;
    use provision_registry::Consent;

    fn manifest() -> Manifest {
        serde_json::from_value(serde_json::json!({
            "name": "acme", "version": "1.0.0", "api": "1", "protocol": "rest-json",
            "endpoint": {"default": "https://api.acme.example"}, "types": {},
            "auth": [{"kind": "bearer", "token": {"setting": "token", "env": ["ACME_TOKEN"]}}],
        }))
        .unwrap()
    }

    #[test]
    fn a_credential_goes_where_the_user_says_and_elsewhere_only_with_consent() {
        let manifest = manifest();
        let mut trust = Trust::default();
        let ask = |trust: &Trust, url: &str, named: Named, foreign: bool| {
            check("acme", &manifest, url, named, &["t0ken".to_owned()], Consents { trust, foreign })
        };
        for (url, named, foreign, allowed) in [
            ("https://api.acme.example", Named::Manifest, false, true),
            ("https://api.acme.example", Named::Manifest, true, false),
            ("https://eu.acme.example", Named::Environment, false, true),
            ("https://eu.acme.example", Named::Environment, true, false),
            ("http://eu.acme.example", Named::Environment, false, false),
            ("https://evil.example", Named::File, false, false),
            ("http://127.0.0.1:1/v1", Named::File, true, true),
            ("http://127.0.0.1.evil.example", Named::File, false, false),
        ] {
            let asked = ask(&trust, url, named, foreign);
            assert_eq!(asked.is_ok(), allowed, "{url} {named:?} {foreign}");
            if let Err(failure) = asked {
                assert_eq!(failure.code(), Code::ProviderUntrusted);
                assert!(failure.first.help.unwrap().contains("provision trust add host http"));
            }
        }
        trust.add(&Consent::Host { provider: "acme".into(), host: "https://evil.example".into() });
        assert!(ask(&trust, "https://evil.example/v1", Named::File, true).is_ok());
        assert!(ask(&trust, "http://evil.example/v1", Named::File, true).is_err());
    }

    #[test]
    fn the_credentials_of_the_sandbox_stay_on_this_machine() {
        let (manifest, trust) = (manifest(), Trust::default());
        let consents = Consents { trust: &trust, foreign: false };
        let ask = |url: &str| check("acme", &manifest, url, Named::Manifest, &["sandbox-5".to_owned()], consents);
        assert!(ask("https://api.acme.example").unwrap_err().to_string().contains("sandbox"));
        assert!(ask("http://localhost:8").is_ok());
    }
}
