//! Owns the check of AWS Signature Version 4: the header's shape, the date, and the signature itself.

use super::{bad, xml};
use crate::call::{Call, Reply};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// Who asks what of which region.
pub struct Signed {
    pub region: String,
    pub service: String,
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Checks the signature of a request.
pub fn check(call: &Call, access_key: &str, secret: &str) -> Result<Signed, Reply> {
    let header = call.header("authorization").ok_or_else(|| {
        xml::error(403, "MissingAuthenticationToken", "The request must contain a valid authorization header")
    })?;
    let incomplete = |what: &str| bad("IncompleteSignature", format!("Authorization header requires '{what}'"));
    let fields = header.strip_prefix(ALGORITHM).ok_or_else(|| incomplete(ALGORITHM))?;
    let field = |name: &str| {
        let all = fields.split(',').map(str::trim).filter_map(|part| part.split_once('='));
        all.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next().ok_or_else(|| incomplete(name))
    };
    let credential = field("Credential")?;
    let signed_headers = field("SignedHeaders")?;
    let signature = field("Signature")?;
    let scope: Vec<&str> = credential.split('/').collect();
    let [key, day, region, service, "aws4_request"] = scope.as_slice() else {
        return Err(incomplete("Credential"));
    };
    if !matches!(*service, "ec2" | "sts") {
        return Err(xml::error(403, "SignatureDoesNotMatch", "Credential should be scoped to correct service: 'ec2'."));
    }
    let date = call.header("x-amz-date").ok_or_else(|| incomplete("X-Amz-Date"))?;
    let sent = chrono::NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ").map_err(|_| incomplete("X-Amz-Date"))?;
    if !date.starts_with(day) {
        return Err(xml::error(403, "SignatureDoesNotMatch", "Date in Credential scope does not match X-Amz-Date."));
    }
    if (sent.and_utc().timestamp_millis() - call.now).abs() > 15 * 60 * 1000 {
        return Err(bad("RequestExpired", "Request has expired."));
    }
    let names: Vec<&str> = signed_headers.split(';').collect();
    if !names.contains(&"host") || !names.contains(&"x-amz-date") {
        return Err(incomplete("SignedHeaders"));
    }
    if *key != access_key {
        let message = "AWS was not able to validate the provided access credentials";
        return Err(xml::error(401, "AuthFailure", message));
    }
    let text = string_to_sign(call, &names, &signed_headers, date, &scope[1..].join("/"));
    let mut signing = format!("AWS4{secret}").into_bytes();
    for part in &scope[1..] {
        signing = mac(&signing, part)?.finalize().into_bytes().to_vec();
    }
    let given = unhex(&signature).unwrap_or_default();
    // The comparison of the library takes the same time wherever the difference is.
    if mac(&signing, &text)?.verify_slice(&given).is_err() {
        let message = "The request signature we calculated does not match the signature you provided. Check your AWS \
                       Secret Access Key and signing method.";
        return Err(xml::error(403, "SignatureDoesNotMatch", message));
    }
    Ok(Signed { region: (*region).to_owned(), service: (*service).to_owned() })
}

fn mac(key: &[u8], text: &str) -> Result<Hmac<Sha256>, Reply> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| bad("IncompleteSignature", "key"))?;
    mac.update(text.as_bytes());
    Ok(mac)
}

fn string_to_sign(call: &Call, names: &[&str], signed_headers: &str, date: &str, scope: &str) -> String {
    let mut headers = String::new();
    for name in names {
        let values: Vec<String> = call
            .headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let mut query: Vec<&str> = call.raw_query.split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    let body = call.header("x-amz-content-sha256").map_or_else(|| hex(&Sha256::digest(&call.body)), str::to_owned);
    let canonical =
        format!("{}\n{}\n{}\n{headers}\n{signed_headers}\n{body}", call.method, call.raw_path, query.join("&"));
    format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
