//! That a peer holds the key of the certificate which it presents: the signature over the handshake.
//!
//! The library reads certificates of version 3 only. Servers often have version 1, as `openssl x509 -req` writes it;
//! whose key it is can be told all the same. Whether it is trusted is another question: `roots.rs`.

use super::roots::Roots;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error};
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer, X509Certificate};

impl Roots {
    pub(super) fn holds_key_tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match verify_tls12_signature(message, certificate, signed, algorithms) {
            Err(Error::InvalidCertificate(_)) => {}
            settled => return settled,
        }
        let key = public_key(certificate)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| bad_encoding())?;
        let fitting = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let valid = fitting
            .flat_map(|(_, candidates)| candidates.iter())
            .any(|candidate| key.verify_signature(*candidate, message, signed.signature()).is_ok());
        match valid {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }

    pub(super) fn holds_key_tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match verify_tls13_signature(message, certificate, signed, algorithms) {
            Err(Error::InvalidCertificate(_)) => {}
            settled => return settled,
        }
        verify_tls13_signature_with_raw_key(message, &public_key(certificate)?, signed, algorithms)
    }
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| bad_encoding())?;
    Ok(SubjectPublicKeyInfoDer::from(parsed.public_key().raw.to_vec()))
}

fn bad_encoding() -> Error {
    CertificateError::BadEncoding.into()
}
