//! Owns `local.tls_certificate`: a certificate, signed by itself or by another one's key, made anew before it expires.

use super::{Found, failed, flag, text, texts, time};
use crate::{CallError, Class};
use ::time::OffsetDateTime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use provision_model::{Json, Map};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::ext::pkix::{BasicConstraints, SubjectKeyIdentifier};

/// How long one lasts where nothing is said.
const VALIDITY: Duration = Duration::from_secs(365 * 86_400);
/// How long before its end it is made anew where nothing is said, where that is less than a third of its life.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

fn validity(fields: &Map) -> Option<Duration> {
    match text(fields, "validity") {
        Some(text) => time::parse(&text).filter(|length| length.as_secs() > 0),
        None => Some(VALIDITY),
    }
}

fn renew_before(fields: &Map) -> Option<Duration> {
    match text(fields, "renew_before") {
        Some(text) => time::parse(&text),
        None => Some(RENEW_BEFORE.min(validity(fields)? / 3)),
    }
}

pub fn prepare(found: &mut Found<'_>) {
    for name in ["validity", "renew_before"] {
        let Some(text) = found.text(name) else { continue };
        if time::parse(&text).is_none_or(|length| name == "validity" && length.as_secs() == 0) {
            found.object(name, format!("is no length of time: `{text}`"), time::FORM);
        }
    }
    if let (Some(whole), Some(before)) = (validity(found.fields), renew_before(found.fields))
        && before >= whole
        && found.known("renew_before").is_some()
    {
        let message = "is as long as it is valid: it would always be made anew";
        found.object("renew_before", message, "Give a shorter time than `validity`.");
    }
    for address in texts(found.fields, "ip_addresses") {
        if address.parse::<IpAddr>().is_err() {
            found.object(
                "ip_addresses",
                format!("holds what is no IP address: `{address}`"),
                "Put names into `dns_names`.",
            );
        }
    }
    for name in texts(found.fields, "dns_names") {
        if !is_dns_name(&name) {
            let help = "Write a name in ASCII, for example `example.org` or `*.example.org`.";
            found.object("dns_names", format!("holds what is no name: `{name}`"), help);
        }
    }
    match (found.has("ca_key"), found.has("ca_certificate")) {
        (true, false) => found.object("ca_certificate", "is absent, and `ca_key` is given", "Give both or none."),
        (false, true) => found.object("ca_key", "is absent, and `ca_certificate` is given", "Give both or none."),
        _ => {}
    }
    for name in ["private_key", "ca_key"] {
        if let Some(pem) = found.text(name)
            && KeyPair::from_pem(&pem).is_err()
        {
            let help = "Give a private key in PEM (PKCS #8), for example `p.ref \"key\" \"private_key\"` of a `local.tls_key`.";
            found.object(name, "is no private key that can sign", help);
        }
    }
    let Some(pem) = found.text("ca_certificate") else { return };
    let Some(ca) = Ca::read(&pem) else {
        let help = "Give the certificate in PEM, for example `p.ref \"ca\" \"certificate\"`.";
        return found.object("ca_certificate", "is no certificate", help);
    };
    if !ca.is_ca() {
        found.object("ca_certificate", "is no certificate of an authority", "Make it with `is_ca = true`.");
    }
    let key = found.text("ca_key").and_then(|pem| KeyPair::from_pem(&pem).ok());
    if key.is_some_and(|key| key.public_key_raw() != ca.public_key()) {
        found.object(
            "ca_key",
            "is not the key of `ca_certificate`",
            "Refer to the key that the certificate was made with.",
        );
    }
}

/// Whether a text can be a DNS name in a certificate, a wildcard included.
fn is_dns_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// The certificate of an authority.
struct Ca {
    certificate: Certificate,
}

impl Ca {
    /// The first certificate of a text in PEM.
    fn read(pem: &str) -> Option<Self> {
        let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
        let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
        let der = STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()?;
        Certificate::from_der(&der).ok().map(|certificate| Self { certificate })
    }

    fn is_ca(&self) -> bool {
        let found = self.certificate.tbs_certificate.get::<BasicConstraints>();
        found.is_ok_and(|found| found.is_some_and(|(_, constraints)| constraints.ca))
    }

    /// As it stands in the certificate, without its algorithm.
    fn public_key(&self) -> &[u8] {
        self.certificate.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes()
    }

    fn not_after(&self) -> i64 {
        let ends = self.certificate.tbs_certificate.validity.not_after.to_unix_duration();
        i64::try_from(ends.as_secs()).unwrap_or(i64::MAX)
    }

    /// What a signature needs of it: its name, and the id of its key.
    fn issuer(&self) -> Option<CertificateParams> {
        let tbs = &self.certificate.tbs_certificate;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for part in tbs.subject.0.iter().flat_map(|part| part.0.iter()) {
            let kind = DnType::from_oid(&part.oid.arcs().map(u64::from).collect::<Vec<_>>());
            let text = std::str::from_utf8(part.value.value()).ok()?;
            let value = match part.value.tag() {
                Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
                Tag::PrintableString => DnValue::PrintableString(text.try_into().ok()?),
                Tag::Ia5String => DnValue::Ia5String(text.try_into().ok()?),
                _ => return None,
            };
            params.distinguished_name.push(kind, value);
        }
        if let Ok(Some((_, id))) = tbs.get::<SubjectKeyIdentifier>() {
            params.key_identifier_method = KeyIdMethod::PreSpecified(id.0.as_bytes().to_vec());
        }
        Some(params)
    }

    /// Whether a certificate names this one as its issuer, to the letter: a chain hangs on it.
    fn issued(&self, der: &[u8]) -> bool {
        let subject = &self.certificate.tbs_certificate.subject;
        Certificate::from_der(der).is_ok_and(|made| made.tbs_certificate.issuer == *subject)
    }
}

/// The attributes of a new certificate.
pub fn make(fields: &Map, now: SystemTime) -> Result<Map, CallError> {
    let refused = |why: String| failed(Class::Rejected, why);
    let is_ca = flag(fields, "is_ca").unwrap_or(false);
    let key = text(fields, "private_key").and_then(|pem| KeyPair::from_pem(&pem).ok());
    let key = key.ok_or_else(|| refused("`private_key` is no private key that can sign".to_owned()))?;
    let begun = time::seconds(now);
    let length = validity(fields).unwrap_or(VALIDITY);
    let ends = begun.saturating_add(i64::try_from(length.as_secs()).unwrap_or(i64::MAX));
    let mut params = CertificateParams::default();
    params.not_before = moment(begun)?;
    params.not_after = moment(ends)?;
    let mut serial = [0; 16];
    rand::Rng::fill(&mut rand::rng(), &mut serial);
    // Positive, and of the same length every time (RFC 5280, section 4.1.2.2).
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    for (field, kind) in [("common_name", DnType::CommonName), ("organization", DnType::OrganizationName)] {
        if let Some(text) = text(fields, field) {
            params.distinguished_name.push(kind, text);
        }
    }
    for name in texts(fields, "dns_names") {
        let name = name.as_str().try_into().map_err(|_| refused(format!("`{name}` is no DNS name")))?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    for address in texts(fields, "ip_addresses") {
        let address = address.parse().map_err(|_| refused(format!("`{address}` is no IP address")))?;
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    if is_ca {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    } else {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    }
    let signed = match (text(fields, "ca_key"), text(fields, "ca_certificate")) {
        (Some(ca_key), Some(ca_pem)) => {
            let ca_key = KeyPair::from_pem(&ca_key);
            let ca_key = ca_key.map_err(|_| refused("`ca_key` is no private key that can sign".to_owned()))?;
            let ca = Ca::read(&ca_pem).ok_or_else(|| refused("`ca_certificate` is no certificate".to_owned()))?;
            if ca.not_after() <= begun {
                let message = format!("`ca_certificate` expired {}", time::show(ca.not_after()));
                return Err(refused(message).with_help("Make the authority's certificate anew first."));
            }
            params.use_authority_key_identifier_extension = true;
            let named = ca.issuer().and_then(|issuer| {
                let made = params.signed_by(&key, &Issuer::new(issuer, ca_key));
                // A name that has the same part twice cannot be repeated.
                made.as_ref().map_or(true, |made| ca.issued(made.der())).then_some(made)
            });
            named.ok_or_else(|| {
                refused("the name in `ca_certificate` is of a form that cannot be repeated".to_owned())
            })?
        }
        _ => params.self_signed(&key),
    };
    let signed = signed.map_err(|error| refused(format!("it cannot be signed: {error}")))?;
    Ok(Map::from_iter([
        ("certificate".to_owned(), Json::from(signed.pem())),
        ("not_before".to_owned(), Json::from(time::show(begun))),
        ("not_after".to_owned(), Json::from(time::show(ends))),
        ("serial_number".to_owned(), Json::from(HEXLOWER.encode(&serial))),
        ("sha256_fingerprint".to_owned(), Json::from(super::disk::digest(signed.der()))),
    ]))
}

fn moment(seconds: i64) -> Result<OffsetDateTime, CallError> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|_| failed(Class::Rejected, "its end is past the year 9999").with_help("Give a shorter `validity`."))
}

/// Why it is to be made anew: its end is near, or past.
pub fn due(fields: &Map, attributes: &Map, now: SystemTime) -> Option<String> {
    let not_after = text(attributes, "not_after")?;
    let ends = time::read(&not_after)?;
    let now = time::seconds(now);
    let before = i64::try_from(renew_before(fields)?.as_secs()).ok()?;
    if ends <= now {
        return Some(format!("it expired {not_after}"));
    }
    (ends.saturating_sub(before) <= now).then(|| format!("it expires {not_after}, which is soon"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_due_before_its_end_and_not_before_that() {
        let day = 86_400;
        let due = |fields: Json, left: i64| {
            let now = 1_800_000_000;
            let attributes = json!({"not_after": time::show(now + left)});
            let now = std::time::UNIX_EPOCH + Duration::from_secs(now.unsigned_abs());
            super::due(fields.as_object().unwrap(), attributes.as_object().unwrap(), now)
        };
        for (fields, left, is_due) in [
            (json!({}), 31 * day, false),
            (json!({}), 30 * day, true),
            (json!({"validity": "9day"}), 3 * day + 1, false),
            (json!({"validity": "9day"}), 3 * day, true),
            (json!({"validity": "9day", "renew_before": "1h"}), 3601, false),
            (json!({"validity": "9day", "renew_before": "1h"}), 3600, true),
            (json!({"renew_before": "0s"}), 1, false),
            (json!({"renew_before": {"$unknown": true}}), -1, true),
        ] {
            assert_eq!(due(fields.clone(), left).is_some(), is_due, "{fields}, {left} s before its end");
        }
        assert!(due(json!({}), 0).unwrap().starts_with("it expired 2027-"));
        assert!(due(json!({}), day).unwrap().starts_with("it expires 2027-"));
    }

    #[test]
    fn names_are_those_of_the_domain_name_system() {
        for good in ["localhost", "a.example.org", "*.example.org", "_acme.example.org", "1.2"] {
            assert!(is_dns_name(good), "{good}");
        }
        let long = "x".repeat(64);
        for bad in ["", "*", "a..b", "a.*.b", "-a.b", "a b", "ä.org", ".", &long] {
            assert!(!is_dns_name(bad), "{bad}");
        }
    }
}
