//! Owns putting credentials on a request.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine;
use std::time::SystemTime;

/// A way to authenticate with its credentials. Has no `Debug`: it must not be printed.
pub enum Authenticator {
    None,
    Header { name: String, value: String },
    Sigv4 { service: String, access_key: String, secret_key: String, session_token: Option<String> },
}

impl Authenticator {
    /// HTTP basic authentication.
    pub fn basic(username: &str, password: &str) -> Self {
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
        Self::Header { name: "Authorization".into(), value: format!("Basic {text}") }
    }

    /// The headers to add to a request.
    pub fn headers(
        &self,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: &[u8],
        region: &str,
        time: SystemTime,
    ) -> Result<Vec<(String, String)>, String> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Header { name, value } => Ok(vec![(name.clone(), value.clone())]),
            Self::Sigv4 { service, access_key, secret_key, session_token } => {
                let identity =
                    Credentials::new(access_key, secret_key, session_token.clone(), None, "nu-provision").into();
                let parameters = v4::SigningParams::builder()
                    .identity(&identity)
                    .region(region)
                    .name(service)
                    .time(time)
                    .settings(SigningSettings::default())
                    .build()
                    .map_err(|error| error.to_string())?
                    .into();
                let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                let request = SignableRequest::new(method, url, pairs, SignableBody::Bytes(body))
                    .map_err(|error| error.to_string())?;
                let (instructions, _) = sign(request, &parameters).map_err(|error| error.to_string())?.into_parts();
                Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
            }
        }
    }
}
