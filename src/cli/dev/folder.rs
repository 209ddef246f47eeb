//! The folder of `wharfinger dev`: what is in it, and what of it must be issued anew.

use super::pki::{AUDIENCE, AUTHORITY_LIFE, Authority, BUILDER, Pair, PkiError, READER, SVID_LIFE, TRUST_DOMAIN};
use crate::clock::Timestamp;
use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A folder that has everything.
pub(super) struct Folder(PathBuf);

#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("{}: {why}; is the folder writable? --folder names another", path.display())]
    Io { path: PathBuf, why: io::Error },
    #[error("{}: {why}; remove the folder to begin anew", path.display())]
    Pki { path: PathBuf, why: PkiError },
    #[error("{}: holds no certificate; remove the folder to begin anew", path.display())]
    NoCertificate { path: PathBuf },
}

impl Folder {
    pub(super) fn config(&self) -> PathBuf {
        self.0.join("config.yaml")
    }

    /// In docker's layout, as `--cert-dir` takes it: `ca.crt`, `client.cert`, `client.key`.
    pub(super) fn certificates(&self) -> PathBuf {
        self.0.join("certs")
    }

    pub(super) fn authority(&self) -> PathBuf {
        self.certificates().join("ca.crt")
    }

    pub(super) fn jwt_svid(&self) -> PathBuf {
        self.0.join("jwt-svid.txt")
    }

    pub(super) fn svid(&self) -> (PathBuf, PathBuf) {
        (self.certificates().join("client.cert"), self.certificates().join("client.key"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Makes what is missing and issues anew what has expired or soon will.
pub(super) fn prepare(path: &Path, port: u16, now: Timestamp) -> Result<Folder, FolderError> {
    make(path)?;
    let path = fs::canonicalize(path).map_err(|why| FolderError::Io { path: path.to_owned(), why })?;
    let folder = Folder(path);
    make(&folder.certificates())?;
    let pki = |why| FolderError::Pki { path: folder.0.clone(), why };
    let (ca_key, token_key) = (folder.path("ca.key"), folder.path("jwt.key"));
    let new_authority = !ca_key.exists() || !token_key.exists() || is_old(&folder.authority(), now, AUTHORITY_LIFE / 12);
    if new_authority {
        let (authority, tokens) = Authority::create(now).map_err(pki)?;
        write(&ca_key, &authority.key)?;
        write(&token_key, &tokens)?;
        write(&folder.authority(), &authority.certificate)?;
    }
    let authority = Authority::load(&read(&ca_key)?, &read(&token_key)?).map_err(pki)?;
    if new_authority || !folder.path("bundle.json").exists() {
        let der = CertificateDer::from_pem_slice(read(&folder.authority())?.as_bytes());
        let der = der.map_err(|_| FolderError::NoCertificate { path: folder.authority() })?;
        write(&folder.path("bundle.json"), &authority.bundle(&der))?;
    }
    let pair = |certificate: &Path, key: &Path, issue: &dyn Fn() -> Result<Pair, PkiError>| -> Result<(), FolderError> {
        if new_authority || !key.exists() || is_old(certificate, now, SVID_LIFE / 24) {
            let pair = issue().map_err(pki)?;
            write(key, &pair.key)?;
            write(certificate, &pair.certificate)?;
        }
        Ok(())
    };
    let (svid, svid_key) = folder.svid();
    pair(&svid, &svid_key, &|| authority.x509_svid(BUILDER, now))?;
    pair(&folder.path("server.crt"), &folder.path("server.key"), &|| authority.server_certificate(now))?;
    // A token is cheap to sign, and reading its expiry back would be more work than signing it.
    write(&folder.jwt_svid(), &authority.jwt_svid(READER, now).map_err(pki)?)?;
    write(&folder.config(), &config(port))?;
    Ok(folder)
}

fn config(port: u16) -> String {
    format!(
        "# Written by `wharfinger dev` at every start. Copy it to change it: `wharfinger serve` takes it as it is.
storage:
  rootDirectory: store
http:
  address: 127.0.0.1
  port: {port}
  tls:
    cert: server.crt
    key: server.key
  auth:
    spiffe:
      trustDomains:
        - name: {TRUST_DOMAIN}
          audiences: [{AUDIENCE}]
          bundle:
            - file: bundle.json
accessControl:
  repositories:
    '**':
      policies:
        - users: ['{BUILDER}']
          actions: [read, create, update, delete]
        - users: ['spiffe://{TRUST_DOMAIN}/ns/default/']
          actions: [read]
log:
  level: warn
"
    )
}

/// Whether a certificate is missing, cannot be read, or ends within `left`.
fn is_old(certificate: &Path, now: Timestamp, left: std::time::Duration) -> bool {
    let end = read(certificate).ok().and_then(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok()).and_then(|der| not_after(&der));
    end.is_none_or(|end| end < now.plus(left))
}

fn not_after(der: &CertificateDer<'_>) -> Option<Timestamp> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Timestamp::from_secs(certificate.validity().not_after.timestamp()))
}

fn make(path: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(path).map_err(|why| FolderError::Io { path: path.to_owned(), why })
}

fn read(path: &Path) -> Result<String, FolderError> {
    fs::read_to_string(path).map_err(|why| FolderError::Io { path: path.to_owned(), why })
}

/// Beside it and then over it, so that a stop in between leaves the old one; readable for its owner alone.
fn write(path: &Path, text: &str) -> Result<(), FolderError> {
    let beside = path.with_extension("new");
    let written = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, path)
    };
    written().map_err(|why| FolderError::Io { path: path.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn a_second_start_reuses_what_is_good_and_reissues_what_is_old() {
        let temporary = tempfile::tempdir().unwrap();
        let contents = |now: Timestamp| {
            let folder = prepare(temporary.path(), 0, now).unwrap();
            [folder.authority(), folder.svid().0, folder.path("bundle.json"), folder.path("server.crt")].map(|path| read(&path).unwrap())
        };
        let first = contents(NOW);
        assert_eq!(contents(NOW.plus(Duration::from_secs(60))), first);
        let next_day = contents(NOW.plus(SVID_LIFE));
        assert_eq!((&next_day[0], &next_day[2]), (&first[0], &first[2]), "the authority stays");
        assert!(next_day[1] != first[1] && next_day[3] != first[3], "what it issued does not");
        let next_year = contents(NOW.plus(AUTHORITY_LIFE));
        assert!((0..4).all(|i| next_year[i] != next_day[i]));
    }

    #[test]
    fn keys_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().unwrap();
        let folder = prepare(temporary.path(), 0, NOW).unwrap();
        for path in [folder.path("ca.key"), folder.path("jwt.key"), folder.svid().1, folder.jwt_svid()] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_path() {
        let temporary = tempfile::tempdir().unwrap();
        prepare(temporary.path(), 0, NOW).unwrap();
        fs::write(temporary.path().join("ca.key"), "no key").unwrap();
        let why = prepare(temporary.path(), 0, NOW).map(drop).unwrap_err();
        assert!(matches!(why, FolderError::Pki { .. }) && why.to_string().contains("remove the folder"), "{why}");
    }
}
