//! The purpose of a chain, and how strict its rules are. An X.509-SVID must follow its standard exactly. A
//! plain certificate must follow RFC 5280 as Go implements it: anyExtendedKeyUsage allows every use, and an
//! authority may have no key usage.

use webpki::{
    Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// A client's X.509-SVID.
    Svid,
    /// A server's X.509-SVID.
    ServerSvid,
    /// A client's certificate that is not an X.509-SVID.
    Plain,
}

impl Profile {
    /// Whether every authority in the path must have a key usage.
    pub(super) const fn demands_key_usage(self) -> bool {
        !matches!(self, Self::Plain)
    }

    /// Whether clients send such a chain.
    pub(super) const fn is_a_clients(self) -> bool {
        !matches!(self, Self::ServerSvid)
    }

    const fn usage(self) -> KeyUsage {
        match self {
            Self::Svid | Self::Plain => KeyUsage::client_auth(),
            Self::ServerSvid => KeyUsage::server_auth(),
        }
    }
}

impl ExtendedKeyUsageValidator for Profile {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        if *self != Self::Plain {
            return self.usage().validate(purposes);
        }
        let mut absent = true;
        for purpose in purposes {
            let purpose = purpose?;
            if purpose == KeyPurposeId::new(CLIENT_AUTH) || purpose == KeyPurposeId::new(ANY) {
                return Ok(());
            }
            absent = false;
        }
        let missing = RequiredEkuNotFoundContext {
            required: self.usage(),
            present: Vec::new(),
        };
        if absent {
            Ok(())
        } else {
            Err(Error::RequiredEkuNotFoundContext(missing))
        }
    }
}

/// 1.3.6.1.5.5.7.3.2
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
/// 2.5.29.37.0
const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0];
