//! The signing keys of tokens. They are generated and stored in the state directory, or an administrator
//! provides them in a file. The public keys are published as a JWK Set and are used for verification.
//!
//! The algorithm is ES256 (RFC 7518 3.4). The file in the state directory is a JWK Set with private keys (RFC
//! 7517, 9.2), readable only by its owner.

use super::ring::{self, Turn};
use crate::clock::Timestamp;
use crate::file_error::FileError;
use crate::owner_file::{self, Unreadable};
use crate::secret::Secret;
use crate::trust::jwks::{self, KeySet, UseRule};
use crate::trust::tls::{decrypt, is_encrypted};
use crate::trust::{Authorities, Slot, fingerprint};
use arc_swap::ArcSwap;
use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pki_types::PrivateKeyDer;
use pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Signs tokens, and provides the public keys for verification.
pub struct SigningKeys {
    place: Place,
    ring: ArcSwap<Vec<SigningKey>>,
    slot: Arc<Slot<KeySet>>,
    authorities: Arc<Authorities<KeySet>>,
}

#[derive(Debug)]
enum Place {
    /// Generated and rotated by the registry.
    Folder(PathBuf),
    /// Provided by an administrator. The first key signs, and all of them verify. A key that was added while
    /// the process runs waits before it signs, because other registries may read the file later.
    File(PathBuf),
    /// Lost when the process ends.
    Memory,
}

impl SigningKeys {
    /// Reads the keys in a folder. A missing folder is created, and without keys the first one is generated.
    pub fn in_folder(
        folder: impl Into<PathBuf>,
        session_lifetime: Duration,
        now: Timestamp,
    ) -> Result<Self, InvalidKeys> {
        let folder = folder.into();
        let unusable = |why: &io::Error| InvalidKeys::Unusable {
            path: folder.clone(),
            why: FileError::new(&folder, why),
        };
        owner_file::make_folder(&folder).map_err(|why| unusable(&why))?;
        let path = folder.join(FILE);
        if owner_file::is_shared(&std::fs::metadata(&folder).map_err(|why| unusable(&why))?) {
            tracing::warn!(
                "{}: other users may write here and could forge tokens: take that right from them (mode 0700)",
                folder.display()
            );
        }
        let kept = match read_own(&path)? {
            Some(bytes) => kept(&path, &bytes)?,
            None => Vec::new(),
        };
        let keys = Self::new(Place::Folder(folder), kept, now);
        keys.turn(session_lifetime, now)?;
        Ok(keys)
    }

    /// Reads the keys in a PEM file.
    pub fn from_file(path: impl Into<PathBuf>, now: Timestamp) -> Result<Self, InvalidKeys> {
        let path = path.into();
        let keys = from_pem(&path)?;
        Ok(Self::new(Place::File(path), keys, now))
    }

    /// Generates a key that is only in memory.
    pub fn in_memory(now: Timestamp) -> Result<Self, InvalidKeys> {
        let keys = Self::new(Place::Memory, Vec::new(), now);
        keys.turn(Duration::ZERO, now)?;
        Ok(keys)
    }

    fn new(place: Place, ring: Vec<SigningKey>, now: Timestamp) -> Self {
        let slot = Slot::new("our own tokens' keys");
        let keys = Self {
            place,
            ring: ArcSwap::from_pointee(Vec::new()),
            authorities: Arc::new(Authorities::new(vec![slot.clone()])),
            slot,
        };
        keys.publish(ring, now);
        keys
    }

    /// Rotates the keys if it is time, or reads the file again. Returns whether anything changed. This must
    /// be called regularly. An error leaves the keys unchanged.
    pub fn turn(&self, session_lifetime: Duration, now: Timestamp) -> Result<bool, InvalidKeys> {
        let ring = self.ring.load_full();
        if let Place::File(path) = &self.place {
            let mut keys = from_pem(path)?;
            let changed = !keys.iter().map(|key| &key.id).eq(ring.iter().map(|key| &key.id));
            if changed {
                for key in &mut keys {
                    let known = ring.iter().find(|known| known.id == key.id);
                    key.signs_from = known.map_or(now.plus(ring::PUBLISHED_BEFORE), |known| known.signs_from);
                }
                self.publish(keys, now);
            }
            return Ok(changed);
        }
        let signs_from: Vec<_> = ring.iter().map(|key| key.signs_from).collect();
        let Turn { drop, add } = ring::turn(&signs_from, session_lifetime, now);
        if drop == 0 && add.is_none() {
            return Ok(false);
        }
        let made = add.map(|from| SigningKey::make(from, now)).transpose()?;
        let keys: Vec<_> = ring.iter().skip(drop).cloned().chain(made).collect();
        if let Place::Folder(folder) = &self.place {
            keep(folder, &keys)?;
        }
        self.publish(keys, now);
        Ok(true)
    }

    /// Returns the public keys for verification.
    #[must_use]
    pub fn authorities(&self) -> &Arc<Authorities<KeySet>> {
        &self.authorities
    }

    /// Returns the published JWK Set.
    #[must_use]
    pub fn published(&self) -> Value {
        json!({"keys": self.ring.load().iter().map(SigningKey::public).collect::<Vec<_>>()})
    }

    /// Signs claims. Returns a JWS in compact serialization (RFC 7515 3.1).
    pub(super) fn sign(&self, typ: &str, claims: &Value, now: Timestamp) -> Result<Secret, InvalidKeys> {
        let ring = self.ring.load();
        let index = match self.place {
            Place::File(_) => ring.iter().position(|key| key.signs_from <= now).unwrap_or(0),
            _ => ring::signer(ring.iter().map(|key| key.signs_from), now),
        };
        let key = ring.get(index).ok_or(InvalidKeys::Crypto)?;
        let header = json!({"alg": "ES256", "kid": key.id, "typ": typ});
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = key
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|_| InvalidKeys::Crypto)?;
        Ok(Secret::new(format!("{signed}.{}", encode(signature))))
    }

    /// Signs any claims for a test.
    #[cfg(test)]
    pub(crate) fn sign_for_test(&self, typ: &str, claims: &Value, now: Timestamp) -> String {
        self.sign(typ, claims, now).unwrap().expose().to_owned()
    }

    fn publish(&self, ring: Vec<SigningKey>, now: Timestamp) {
        let public = json!({"keys": ring.iter().map(SigningKey::public).collect::<Vec<_>>()});
        let keys = jwks::parse(public.to_string().as_bytes(), UseRule::Oidc)
            .map(|parsed| parsed.value)
            .unwrap_or_default();
        self.ring.store(Arc::new(ring));
        self.slot.publish(keys, now, Timestamp::MAX);
    }
}

/// Shows only the ids of the keys.
impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.ring.load().iter().map(|key| key.id.clone()).collect();
        f.debug_struct("SigningKeys")
            .field("place", &self.place)
            .field("keys", &ids)
            .finish()
    }
}

/// Why there are no signing keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    #[error("{} cannot be read or written: {why}", path.display())]
    Unusable { path: PathBuf, why: FileError },
    #[error(
        "{}: another user could have written it: it must be a regular file of the registry's user that only this user may write (for example mode 0600); \
         if it is not yours, remove it to have new keys made, which ends every session",
        path.display()
    )]
    Shared { path: PathBuf },
    #[error("{} is not a set of signing keys; restore it, or remove it to have new keys made, which ends every session", path.display())]
    Malformed { path: PathBuf },
    #[error(
        "{} holds no usable private key: expected one or more in PEM, each EC on P-256, as made by \
         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`; the first one signs, the others verify only",
        path.display()
    )]
    NotPem { path: PathBuf },
    #[error("the private key in {} is encrypted, and the registry asks for no passphrase: {}", path.display(), decrypt(path))]
    Encrypted { path: PathBuf },
    #[error("the cryptographic library failed to make or use a key")]
    Crypto,
}

#[derive(Clone)]
struct SigningKey {
    pair: Arc<EcdsaKeyPair>,
    id: String,
    made: Timestamp,
    signs_from: Timestamp,
}

impl SigningKey {
    fn make(signs_from: Timestamp, now: Timestamp) -> Result<Self, InvalidKeys> {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| InvalidKeys::Crypto)?;
        Ok(Self::of(pair, signs_from, now))
    }

    fn of(pair: EcdsaKeyPair, signs_from: Timestamp, made: Timestamp) -> Self {
        let id = fingerprint(pair.public_key().as_ref());
        Self {
            pair: Arc::new(pair),
            id,
            made,
            signs_from,
        }
    }

    fn public(&self) -> Value {
        let (x, y) = self.point();
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.id, "alg": "ES256", "use": "sig"})
    }

    fn point(&self) -> (String, String) {
        let coordinates = self.pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        (encode(x), encode(y))
    }
}

/// A key as it is stored in the folder.
#[derive(Serialize, Deserialize)]
struct Kept {
    kty: String,
    crv: String,
    x: String,
    y: String,
    d: String,
    /// When it was generated, in seconds since 1970.
    iat: i64,
    /// When it starts to sign, in seconds since 1970.
    nbf: i64,
}

#[derive(Serialize, Deserialize)]
struct KeptSet {
    keys: Vec<Kept>,
}

/// Reads the file, unless another user could have written it. A user who knows a key can issue tokens for any
/// identity.
fn read_own(path: &Path) -> Result<Option<Vec<u8>>, InvalidKeys> {
    owner_file::read(path, LARGEST).map_err(|why| match why {
        Unreadable::Io(why) => InvalidKeys::Unusable {
            path: path.to_owned(),
            why,
        },
        Unreadable::Shared => InvalidKeys::Shared {
            path: path.to_owned(),
        },
    })
}

fn kept(path: &Path, bytes: &[u8]) -> Result<Vec<SigningKey>, InvalidKeys> {
    let malformed = || InvalidKeys::Malformed {
        path: path.to_owned(),
    };
    let set: KeptSet = serde_json::from_slice(bytes).map_err(|_| malformed())?;
    let read = |key: Kept| {
        let number = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed());
        let public = [vec![UNCOMPRESSED_POINT], number(&key.x)?, number(&key.y)?].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &number(&key.d)?,
            &public,
        );
        let from = Timestamp::from_secs(key.nbf);
        let made = Timestamp::from_secs(key.iat);
        Ok(SigningKey::of(pair.map_err(|_| malformed())?, from, made))
    };
    set.keys.into_iter().map(read).collect()
}

/// Replaces the file in the folder. When it returns, the new file survives a power cut.
fn keep(folder: &Path, keys: &[SigningKey]) -> Result<(), InvalidKeys> {
    let entry = |key: &SigningKey| {
        let (x, y) = key.point();
        let d: EcPrivateKeyBin<'_> = key
            .pair
            .private_key()
            .as_be_bytes()
            .map_err(|_| InvalidKeys::Crypto)?;
        let iat = key.made.as_secs();
        let nbf = key.signs_from.as_secs();
        Ok(Kept {
            kty: "EC".into(),
            crv: "P-256".into(),
            x,
            y,
            d: encode(d.as_ref()),
            iat,
            nbf,
        })
    };
    let set = KeptSet {
        keys: keys.iter().map(entry).collect::<Result<_, _>>()?,
    };
    let text = serde_json::to_vec(&set).map_err(|_| InvalidKeys::Crypto)?;
    let path = folder.join(FILE);
    owner_file::replace(&path, &text).map_err(|why| InvalidKeys::Unusable { path, why })
}

fn from_pem(path: &Path) -> Result<Vec<SigningKey>, InvalidKeys> {
    let text = std::fs::read(path).map_err(|why| InvalidKeys::Unusable {
        path: path.to_owned(),
        why: FileError::new(path, &why),
    })?;
    if is_encrypted(&text) {
        return Err(InvalidKeys::Encrypted {
            path: path.to_owned(),
        });
    }
    let not_pem = || InvalidKeys::NotPem {
        path: path.to_owned(),
    };
    let mut keys = Vec::new();
    for key in PrivateKeyDer::pem_slice_iter(&text) {
        let key = key.map_err(|_| not_pem())?;
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der())
            .map_err(|_| not_pem())?;
        keys.push(SigningKey::of(
            pair,
            Timestamp::from_secs(0),
            Timestamp::from_secs(0),
        ));
    }
    if keys.is_empty() { Err(not_pem()) } else { Ok(keys) }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

const FILE: &str = "signing-keys.json";
/// In bytes: many more keys than are ever kept.
const LARGEST: u64 = 1024 * 1024;
const UNCOMPRESSED_POINT: u8 = 4;
