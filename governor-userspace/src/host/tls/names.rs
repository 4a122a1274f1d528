//! What a certificate says about its owner: read for records, and copied into those that governor issues.

use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

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

/// Copies subject and alternative names: a client that compares them with the host that it asked for must
/// come to the result that the original would give.
pub(super) fn copy(certificate: &CertificateDer<'_>, into: &mut CertificateParams) -> Result<(), String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let mut name = DistinguishedName::new();
    for attribute in parsed.subject().iter_attributes() {
        let Ok(value) = attribute.as_str() else { continue };
        let Some(oid) = attribute.attr_type().iter().map(Iterator::collect::<Vec<u64>>) else { continue };
        let kind = match oid.as_slice() {
            [2, 5, 4, 3] => DnType::CommonName,
            [2, 5, 4, 6] => DnType::CountryName,
            [2, 5, 4, 7] => DnType::LocalityName,
            [2, 5, 4, 8] => DnType::StateOrProvinceName,
            [2, 5, 4, 10] => DnType::OrganizationName,
            [2, 5, 4, 11] => DnType::OrganizationalUnitName,
            other => DnType::from_oid(other),
        };
        name.push(kind, value);
    }
    into.distinguished_name = name;
    let alternatives = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    for general in alternatives.iter().flat_map(|found| &found.value.general_names) {
        into.subject_alt_names.extend(alternative(general));
    }
    Ok(())
}

/// Kinds that nobody checks a database by are left out.
fn alternative(general: &GeneralName<'_>) -> Option<SanType> {
    match general {
        GeneralName::DNSName(name) => Some(SanType::DnsName((*name).try_into().ok()?)),
        GeneralName::RFC822Name(name) => Some(SanType::Rfc822Name((*name).try_into().ok()?)),
        GeneralName::URI(name) => Some(SanType::URI((*name).try_into().ok()?)),
        GeneralName::IPAddress(bytes) => Some(SanType::IpAddress(match *bytes {
            [a, b, c, d] => IpAddr::from([*a, *b, *c, *d]),
            other => IpAddr::from(<[u8; 16]>::try_from(other).ok()?),
        })),
        _ => None,
    }
}

/// What a record keeps of a subject.
const SUBJECT_CHARS_MAX: usize = 512;
