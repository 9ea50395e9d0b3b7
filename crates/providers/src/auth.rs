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

    /// The texts that are never to be shown, whoever repeats them.
    pub fn secrets(&self) -> Vec<String> {
        let mut out = Vec::new();
        match self {
            Self::None => {}
            Self::Header { value, .. } => {
                let credential = value.split_once(' ').map_or(value.as_str(), |(_, credential)| credential);
                out.push(credential.to_owned());
                // The password of basic authentication.
                let plain = base64::engine::general_purpose::STANDARD.decode(credential).ok();
                let plain = plain.filter(|_| value.starts_with("Basic ")).and_then(|it| String::from_utf8(it).ok());
                out.extend(plain.and_then(|plain| Some(plain.split_once(':')?.1.to_owned())));
            }
            Self::Sigv4 { secret_key, session_token, .. } => {
                out.push(secret_key.clone());
                out.extend(session_token.clone());
            }
        }
        out
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
