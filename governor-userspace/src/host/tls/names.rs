//! What a certificate says about its owner: read for records, and copied into those that governor issues.

use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, GeneralName, X509Certificate, X509Version};

/// SHA-256 of the DER form.
pub(super) fn digest(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate.as_ref()).into()
}

/// Subject as text, cut at a bound. Empty where the certificate cannot be read.
pub(super) fn subject(certificate: &CertificateDer<'_>) -> String {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return String::new() };
    let mut text = parsed.subject().to_string();
    if let Some((cut, _)) = text.char_indices().nth(SUBJECT_CHARS_MAX) {
        text.truncate(cut);
    }
    text
}

/// Whether `unix_s` is within the certificate's validity.
pub(super) fn in_force(certificate: &CertificateDer<'_>, unix_s: u64) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let validity = parsed.validity();
    i64::try_from(unix_s)
        .is_ok_and(|now| validity.not_before.timestamp() <= now && now <= validity.not_after.timestamp())
}

/// It may sign others (RFC 5280 sections 4.2.1.3 and 4.2.1.9).
pub(super) fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| {
        let signs = match parsed.key_usage() {
            Ok(Some(usage)) => usage.value.key_cert_sign(),
            Ok(None) => true,
            Err(_) => false,
        };
        parsed.version() == X509Version::V3 && parsed.is_ca() && signs
    })
}

/// It may sign for some names only, or cannot be read.
pub(super) fn is_constrained(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate)
        .map_or(true, |(_, parsed)| !matches!(parsed.name_constraints(), Ok(None)))
}

/// It names hosts or addresses where clients look first; else they go by the common name.
pub(super) fn has_hosts(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| {
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        alternatives.iter().flat_map(|found| &found.value.general_names).any(is_host)
    })
}

/// Copies the names that a client compares with the host that it asked for: alternative names and the common name.
/// An error where the copy could mean something else than the original.
pub(super) fn copy_server(
    certificate: &CertificateDer<'_>,
    into: &mut CertificateParams,
) -> Result<(), String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let mut name = DistinguishedName::new();
    let mut common_names = parsed.subject().iter_common_name();
    let common_name = common_names.next().map(AttributeTypeAndValue::as_str);
    let mut faithful = common_names.next().is_none();
    match common_name {
        Some(Ok(text)) => name.push(DnType::CommonName, text),
        Some(Err(_)) => faithful = false,
        None => {}
    }
    into.distinguished_name = name;
    let alternatives = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    for general in alternatives.iter().flat_map(|found| &found.value.general_names) {
        match alternative(general) {
            Some(copied) => into.subject_alt_names.push(copied),
            None => faithful &= !is_host(general),
        }
    }
    if faithful { Ok(()) } else { Err("its names cannot be copied as they are".into()) }
}

/// Copies the whole subject, which a server maps to a login. An error where the copy could mean somebody else.
pub(super) fn copy_client(
    certificate: &CertificateDer<'_>,
    into: &mut CertificateParams,
) -> Result<(), String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let mut name = DistinguishedName::new();
    for attributes in parsed.subject().iter() {
        let mut attributes = attributes.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else {
            return Err("a part of its subject has several values".into());
        };
        let value = attribute.as_str().map_err(|_| "its subject is in an encoding that is not copied")?;
        let oid: Vec<u64> = attribute.attr_type().iter().ok_or("its subject has an unknown part")?.collect();
        let kind = match oid.as_slice() {
            [2, 5, 4, 3] => DnType::CommonName,
            [2, 5, 4, 6] => DnType::CountryName,
            [2, 5, 4, 7] => DnType::LocalityName,
            [2, 5, 4, 8] => DnType::StateOrProvinceName,
            [2, 5, 4, 10] => DnType::OrganizationName,
            [2, 5, 4, 11] => DnType::OrganizationalUnitName,
            other => DnType::from_oid(other),
        };
        // A second one of a kind would take the first one's place.
        if name.get(&kind).is_some() {
            return Err("its subject names a part twice".into());
        }
        name.push(kind, value);
    }
    into.distinguished_name = name;
    Ok(())
}

/// The kinds of name that clients check a database by.
fn is_host(general: &GeneralName<'_>) -> bool {
    // One that cannot be read may be any.
    matches!(general, GeneralName::DNSName(_) | GeneralName::IPAddress(_) | GeneralName::Invalid(..))
}

fn alternative(general: &GeneralName<'_>) -> Option<SanType> {
    match general {
        GeneralName::DNSName(name) => Some(SanType::DnsName((*name).try_into().ok()?)),
        GeneralName::IPAddress(bytes) => Some(SanType::IpAddress(match *bytes {
            [a, b, c, d] => IpAddr::from([*a, *b, *c, *d]),
            other => IpAddr::from(<[u8; 16]>::try_from(other).ok()?),
        })),
        _ => None,
    }
}

/// What a record keeps of a subject.
const SUBJECT_CHARS_MAX: usize = 512;
