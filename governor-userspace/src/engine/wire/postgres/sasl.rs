//! SASL within authentication: which mechanisms a server offers, and what a client says about channel binding.
//!
//! Protocol: <https://www.postgresql.org/docs/current/sasl-authentication.html>, RFC 5802 sections 5.1 and 6.

use super::{InMessage, ProtocolViolation};
use crate::engine::wire::reader::Reader;

/// Request code of AuthenticationSASL.
pub const REQUEST: u32 = 10;
/// Ends the names of mechanisms with channel binding, which proves that both ends see the same TLS connection
/// (RFC 5802 section 4).
pub const BINDING_SUFFIX: &[u8] = b"-PLUS";

/// The mechanisms in the body of an AuthenticationSASL message, which begins with its request code.
pub fn mechanisms(body: &[u8]) -> Result<Vec<&[u8]>, ProtocolViolation> {
    let m = "AuthenticationSASL";
    let mut r = Reader::new(body);
    r.u32().in_message(m)?;
    let mut mechanisms = Vec::new();
    loop {
        match r.cstr().in_message(m)? {
            [] => break,
            name => mechanisms.push(name),
        }
    }
    r.finish().in_message(m)?;
    Ok(mechanisms)
}

/// What a client says about channel binding (RFC 5802, `gs2-cbind-flag`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// `n`: it does not do that.
    Unsupported,
    /// `y`: it would, but thinks that the server does not. A server that does refuses this.
    ThinksServerCannot,
    /// `p`: it binds.
    Bound,
}

/// Reads the body of a SASLInitialResponse. `None`: the response is no SCRAM message, or is left out.
pub fn initial_response(body: &[u8]) -> Result<Option<ChannelBinding>, ProtocolViolation> {
    let m = "SASLInitialResponse";
    let mut r = Reader::new(body);
    r.cstr().in_message(m)?;
    let length = r.i32().in_message(m)?;
    let Ok(length) = usize::try_from(length) else { return Ok(None) };
    let data = r.take(length).in_message(m)?;
    r.finish().in_message(m)?;
    Ok(match data.first() {
        Some(b'n') => Some(ChannelBinding::Unsupported),
        Some(b'y') => Some(ChannelBinding::ThinksServerCannot),
        Some(b'p') => Some(ChannelBinding::Bound),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OFFER: &[u8] = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";

    #[test]
    fn reads_the_offer_and_nothing_less() {
        assert_eq!(mechanisms(OFFER).unwrap(), [&b"SCRAM-SHA-256-PLUS"[..], b"SCRAM-SHA-256"]);
        for cut in 0..OFFER.len() {
            assert!(mechanisms(&OFFER[..cut]).is_err(), "cut at {cut}");
        }
        assert!(mechanisms(&[OFFER, b"x"].concat()).is_err());
    }

    #[test]
    fn reads_the_binding_flag() {
        let response = |text: &[u8]| [b"SCRAM-SHA-256\0\0\0\0", &[text.len() as u8][..], text].concat();
        assert_eq!(initial_response(&response(b"n,,n=")), Ok(Some(ChannelBinding::Unsupported)));
        assert_eq!(initial_response(&response(b"y,,n=")), Ok(Some(ChannelBinding::ThinksServerCannot)));
        assert_eq!(initial_response(&response(b"p=x,,")), Ok(Some(ChannelBinding::Bound)));
        assert_eq!(initial_response(b"X\0\xff\xff\xff\xff"), Ok(None));
        assert!(initial_response(&response(b"n,,")[..17]).is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (mechanisms(&body), initial_response(&body));
        }
    }
}
