//! `inet`, `cidr` and `macaddr`.

use std::fmt::Write as _;
use std::net::IpAddr;

/// An address with the bits of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::masking) struct Address {
    pub ip: IpAddr,
    pub prefix: u8,
}

impl Address {
    /// One host.
    pub fn host(ip: IpAddr) -> Self {
        Self { ip, prefix: if ip.is_ipv4() { 32 } else { 128 } }
    }

    /// `10.0.0.1`, `10.0.0.0/8`, `2001:db8::1`.
    pub fn of_text(text: &str) -> Option<Self> {
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let host = Self::host(ip.parse().ok()?);
        let prefix = prefix.unwrap_or(host.prefix);
        (prefix <= host.prefix).then_some(Self { prefix, ..host })
    }

    /// Family (2 or 3), bits, is it a cidr, bytes of the address, the address.
    pub fn of_binary(bytes: &[u8]) -> Option<Self> {
        let ip = match bytes {
            [2, _, _, 4, rest @ ..] => IpAddr::from(<[u8; 4]>::try_from(rest).ok()?),
            [3, _, _, 16, rest @ ..] => IpAddr::from(<[u8; 16]>::try_from(rest).ok()?),
            _ => return None,
        };
        let prefix = *bytes.get(1)?;
        (prefix <= Self::host(ip).prefix).then_some(Self { ip, prefix })
    }

    pub fn to_text(self, is_cidr: bool) -> String {
        if self.prefix == Self::host(self.ip).prefix && !is_cidr {
            return self.ip.to_string();
        }
        format!("{}/{}", self.ip, self.prefix)
    }

    pub fn to_binary(self, is_cidr: bool) -> Vec<u8> {
        let (family, bytes) = match self.ip {
            IpAddr::V4(ip) => (2, ip.octets().to_vec()),
            IpAddr::V6(ip) => (3, ip.octets().to_vec()),
        };
        let length = if family == 2 { 4 } else { 16 };
        let mut out = vec![family, self.prefix, u8::from(is_cidr), length];
        out.extend(bytes);
        out
    }

    /// The network of at most `v4` or `v6` bits that it is in.
    pub fn network(self, v4: u8, v6: u8) -> Self {
        match self.ip {
            IpAddr::V4(ip) => {
                let prefix = self.prefix.min(v4);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Self { ip: IpAddr::from((ip.to_bits() & mask).to_be_bytes()), prefix }
            }
            IpAddr::V6(ip) => {
                let prefix = self.prefix.min(v6);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Self { ip: IpAddr::from((ip.to_bits() & mask).to_be_bytes()), prefix }
            }
        }
    }
}

/// A hardware address of six or eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::masking) struct Hardware {
    bytes: [u8; 8],
    length: usize,
}

impl Hardware {
    pub fn of_binary(bytes: &[u8]) -> Option<Self> {
        let mut all = [0; 8];
        let length = bytes.len();
        matches!(length, 6 | 8).then_some(())?;
        all.get_mut(..length)?.copy_from_slice(bytes);
        Some(Self { bytes: all, length })
    }

    pub fn of_text(text: &[u8]) -> Option<Self> {
        let text: Vec<u8> = text.iter().copied().filter(|b| *b != b':').collect();
        Self::of_binary(&hex::decode(text).ok()?)
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    pub fn to_text(self) -> String {
        let mut text = String::new();
        for (at, byte) in self.bytes().iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}{byte:02x}", if at == 0 { "" } else { ":" });
        }
        text
    }
}
