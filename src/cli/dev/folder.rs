//! The folder of `wharfinger dev`: its files, and which of them must be issued again.

use super::folder_error::FolderError;
use super::ledger::{Earlier, Ledger};
use super::pki::{
    AUDIENCE, AUTHORITY_LIFE, Authority, BUILDER, Pair, PkiError, READER, SVID_LIFE, TRUST_DOMAIN,
};
use crate::clock::Timestamp;
use crate::file_error::FileError;
use crate::owner_file;
use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A folder that holds every file that `dev` needs. Until this is dropped, no other `dev` uses it.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Locks a folder that exists.
    fn lock(path: &Path) -> Result<Self, FolderError> {
        let path = fs::canonicalize(path).map_err(|why| failed(path, &why))?;
        match owner_file::lock_folder(&path) {
            Ok(Some(lock)) => Ok(Self { path, _lock: lock }),
            Ok(None) => Err(FolderError::InUse { path }),
            Err(why) => Err(failed(&path, &why)),
        }
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// The folder for `--cert-dir`, in docker's layout: `ca.crt`, `client.cert`, `client.key`.
    pub(super) fn certificates(&self) -> PathBuf {
        self.path.join("certs")
    }

    pub(super) fn authority(&self) -> PathBuf {
        self.path.join(CA)
    }

    pub(super) fn jwt_svid(&self) -> PathBuf {
        self.path.join(TOKEN)
    }

    pub(super) fn svid(&self) -> (PathBuf, PathBuf) {
        (self.path.join(SVID), self.path.join(SVID_KEY))
    }

    pub(super) fn whole(&self) -> &Path {
        &self.path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Creates missing files and replaces credentials that have expired or soon will. Overwrites only files that
/// `dev` itself made.
pub(super) fn prepare(
    path: &Path,
    address: IpAddr,
    port: u16,
    now: Timestamp,
) -> Result<Folder, FolderError> {
    make(path)?;
    let folder = Folder::lock(path)?;
    let mut ledger = Ledger::open(&folder.path, &NAMES, &EARLIER)?;
    let mut foreign = ledger.foreign(&NAMES)?;
    if ledger.is_empty() {
        foreign.extend(Some(folder.path(STORE)).filter(|store| store.exists()));
    }
    if !foreign.is_empty() {
        return Err(FolderError::Foreign { paths: foreign });
    }
    ledger.remove_leftovers(&NAMES)?;
    make(&folder.certificates())?;
    let pki = |why| FolderError::Pki {
        path: folder.path.clone(),
        why,
    };
    let ca_key = folder.path(CA_KEY);
    let token_key = folder.path(TOKEN_KEY);
    let new_authority =
        !ca_key.exists() || !token_key.exists() || is_old(&folder.authority(), now, AUTHORITY_LIFE / 12);
    if new_authority {
        let (authority, tokens) = Authority::create(now).map_err(pki)?;
        ledger.write(CA_KEY, &authority.key)?;
        ledger.write(TOKEN_KEY, &tokens)?;
        ledger.write(CA, &authority.certificate)?;
    }
    let authority = Authority::load(&read(&ca_key)?, &read(&token_key)?).map_err(pki)?;
    if new_authority || !folder.path(BUNDLE).exists() {
        let der = CertificateDer::from_pem_slice(read(&folder.authority())?.as_bytes());
        let der = der.map_err(|_| FolderError::NoCertificate {
            path: folder.authority(),
        })?;
        ledger.write(BUNDLE, &authority.bundle(&der))?;
    }
    let mut pair = |certificate: &str,
                    key: &str,
                    fits: bool,
                    issue: &dyn Fn() -> Result<Pair, PkiError>|
     -> Result<(), FolderError> {
        if new_authority
            || !fits
            || !folder.path(key).exists()
            || is_old(&folder.path(certificate), now, SVID_LIFE / 24)
        {
            let pair = issue().map_err(pki)?;
            ledger.write(key, &pair.key)?;
            ledger.write(certificate, &pair.certificate)?;
        }
        Ok(())
    };
    pair(SVID, SVID_KEY, true, &|| authority.x509_svid(BUILDER, now))?;
    let names_it = names_address(&folder.path(SERVER), address);
    pair(SERVER, SERVER_KEY, names_it, &|| {
        authority.server_certificate(address, now)
    })?;
    // Signing a new token is cheaper than reading the old one's expiry.
    ledger.write(TOKEN, &authority.jwt_svid(READER, now).map_err(pki)?)?;
    ledger.write(CONFIG, &config(address, port))?;
    Ok(folder)
}

/// The rules come last, so that a reader of the tutorial can append one.
fn config(address: IpAddr, port: u16) -> String {
    format!(
        "{HEADER} at every start. Copy it to change it: `wharfinger serve` takes it as it is.
storage:
  rootDirectory: {STORE}
log:
  level: warn
http:
  address: '{address}'
  port: {port}
  tls:
    cert: {SERVER}
    key: {SERVER_KEY}
  auth:
    spiffe:
      trustDomains:
        - name: {TRUST_DOMAIN}
          audiences: [{AUDIENCE}]
          bundle:
            - file: {BUNDLE}
accessControl:
  repositories:
    '**':
      policies:
        - users: ['{BUILDER}']
          actions: [read, create, update, delete]
        - users: ['spiffe://{TRUST_DOMAIN}/ns/default/']
          actions: [read]
"
    )
}

/// The configuration of the earlier version, which kept no list of its files.
fn earlier_config(port: u16) -> String {
    format!(
        "{HEADER} at every start. Copy it to change it: `wharfinger serve` takes it as it is.
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
        - name: dev.wharfinger.test
          audiences: [wharfinger-dev]
          bundle:
            - file: bundle.json
accessControl:
  repositories:
    '**':
      policies:
        - users: ['spiffe://dev.wharfinger.test/ci/builder']
          actions: [read, create, update, delete]
        - users: ['spiffe://dev.wharfinger.test/ns/default/']
          actions: [read]
log:
  level: warn
"
    )
}

fn is_earlier(config: &str) -> bool {
    let port = config
        .lines()
        .find_map(|line| line.strip_prefix("  port: ")?.parse().ok());
    port.is_some_and(|port| config == earlier_config(port))
}

/// Whether a certificate is missing, cannot be read, or expires within `left`.
fn is_old(certificate: &Path, now: Timestamp, left: std::time::Duration) -> bool {
    let end = read(certificate)
        .ok()
        .and_then(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok())
        .and_then(|der| not_after(&der));
    end.is_none_or(|end| end < now.plus(left))
}

fn not_after(der: &CertificateDer<'_>) -> Option<Timestamp> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Timestamp::from_secs(certificate.validity().not_after.timestamp()))
}

/// Whether the server's certificate covers this address. It always covers the loopback addresses.
fn names_address(certificate: &Path, address: IpAddr) -> bool {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    if address.is_unspecified() || address.is_loopback() {
        return true;
    }
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let named = |der: &CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        Some(
            names
                .value
                .general_names
                .iter()
                .any(|name| matches!(name, GeneralName::IPAddress(ip) if *ip == octets)),
        )
    };
    let der = read(certificate)
        .ok()
        .and_then(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok());
    der.and_then(|der| named(&der)).unwrap_or(false)
}

fn make(path: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(path).map_err(|why| failed(path, &why))
}

fn read(path: &Path) -> Result<String, FolderError> {
    fs::read_to_string(path).map_err(|why| failed(path, &why))
}

fn failed(path: &Path, why: &io::Error) -> FolderError {
    FolderError::Io {
        path: path.to_owned(),
        why: FileError::new(path, why),
    }
}

/// How the configuration begins. The earlier version's configuration begins in the same way.
const HEADER: &str = "# Written by `wharfinger dev`";
const EARLIER: Earlier<'static> = Earlier {
    config: CONFIG,
    header: HEADER,
    is_unchanged: is_earlier,
};
const CONFIG: &str = "config.yaml";
const BUNDLE: &str = "bundle.json";
const CA_KEY: &str = "ca.key";
const TOKEN_KEY: &str = "jwt.key";
const TOKEN: &str = "jwt-svid.txt";
const SERVER: &str = "server.crt";
const SERVER_KEY: &str = "server.key";
const CA: &str = "certs/ca.crt";
const SVID: &str = "certs/client.cert";
const SVID_KEY: &str = "certs/client.key";
const NAMES: [&str; 10] = [
    CONFIG, BUNDLE, CA_KEY, TOKEN_KEY, TOKEN, SERVER, SERVER_KEY, CA, SVID, SVID_KEY,
];
const STORE: &str = "store";

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_second_start_reuses_valid_files_and_reissues_old_ones() {
        let temporary = tempfile::tempdir().unwrap();
        let contents = |now: Timestamp| {
            let folder = prepare(temporary.path(), HOME, 0, now).unwrap();
            [
                folder.authority(),
                folder.svid().0,
                folder.path("bundle.json"),
                folder.path("server.crt"),
            ]
            .map(|path| read(&path).unwrap())
        };
        let first = contents(NOW);
        assert_eq!(contents(NOW.plus(Duration::from_secs(60))), first);
        let next_day = contents(NOW.plus(SVID_LIFE));
        assert_eq!(
            (&next_day[0], &next_day[2]),
            (&first[0], &first[2]),
            "the authority stays"
        );
        assert!(
            next_day[1] != first[1] && next_day[3] != first[3],
            "the certificate that it issued is renewed"
        );
        let next_year = contents(NOW.plus(AUTHORITY_LIFE));
        assert!((0..4).all(|i| next_year[i] != next_day[i]));
    }

    #[test]
    fn only_the_owner_may_read_keys() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().unwrap();
        let folder = prepare(temporary.path(), HOME, 0, NOW).unwrap();
        for path in [
            folder.path("ca.key"),
            folder.path("jwt.key"),
            folder.svid().1,
            folder.jwt_svid(),
        ] {
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn unusable_files_are_reported_with_their_path() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("file");
        fs::write(&file, "").unwrap();
        let why = prepare(&file, HOME, 0, NOW).map(drop).unwrap_err().to_string();
        assert!(
            why.contains(&file.display().to_string()) && why.contains("--folder"),
            "{why}"
        );
        // Broken already when it was written.
        prepare(temporary.path(), HOME, 0, NOW).unwrap();
        Ledger::open(temporary.path(), &NAMES, &EARLIER)
            .unwrap()
            .write(CA_KEY, "no key")
            .unwrap();
        let why = prepare(temporary.path(), HOME, 0, NOW).map(drop).unwrap_err();
        assert!(
            matches!(why, FolderError::Pki { .. }) && why.to_string().contains("remove the folder"),
            "{why}"
        );
    }

    /// Every file in the folder, with its content.
    fn all(folder: &Path) -> Vec<(PathBuf, String)> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = names
            .flat_map(|path| {
                if path.is_dir() {
                    all(&path)
                } else {
                    vec![(path.clone(), read(&path).unwrap())]
                }
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn files_that_dev_did_not_make_are_not_overwritten() {
        for name in NAMES {
            let temporary = tempfile::tempdir().unwrap();
            fs::create_dir(temporary.path().join("certs")).unwrap();
            fs::write(temporary.path().join(name), "mine").unwrap();
            let before = all(temporary.path());
            let why = prepare(temporary.path(), HOME, 0, NOW).map(drop).unwrap_err();
            assert!(
                matches!(&why, FolderError::Foreign { paths } if paths[0].ends_with(name)),
                "{name}: {why}"
            );
            assert_eq!(all(temporary.path()), before, "{name}");
        }
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir(temporary.path().join(STORE)).unwrap();
        assert!(matches!(
            prepare(temporary.path(), HOME, 0, NOW),
            Err(FolderError::Foreign { .. })
        ));
    }

    #[test]
    fn changed_files_are_left_alone_too_and_other_files_are_ignored() {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("notes.new"), "mine").unwrap();
        fs::write(temporary.path().join("config.new"), "mine").unwrap();
        prepare(temporary.path(), HOME, 0, NOW).unwrap();
        prepare(temporary.path(), HOME, 1, NOW).unwrap();
        assert_eq!(read(&temporary.path().join("config.new")).unwrap(), "mine");
        let changed = read(&temporary.path().join(CONFIG)).unwrap() + "# mine\n";
        fs::write(temporary.path().join(CONFIG), &changed).unwrap();
        let before = all(temporary.path());
        let why = prepare(temporary.path(), HOME, 1, NOW.plus(AUTHORITY_LIFE))
            .map(drop)
            .unwrap_err();
        assert!(
            matches!(&why, FolderError::Foreign { paths } if paths.len() == 1),
            "{why}"
        );
        assert_eq!(all(temporary.path()), before);
    }

    /// A folder as it was left by a version that kept no list of its files.
    fn earlier(config: &str) -> tempfile::TempDir {
        let temporary = tempfile::tempdir().unwrap();
        prepare(temporary.path(), HOME, 0, NOW).unwrap();
        fs::create_dir(temporary.path().join(STORE)).unwrap();
        fs::remove_file(temporary.path().join(".made-by-dev")).unwrap();
        fs::write(temporary.path().join(CONFIG), config).unwrap();
        temporary
    }

    #[test]
    fn a_folder_of_an_earlier_version_is_taken_over() {
        let temporary = earlier(&earlier_config(8443));
        let before = read(&temporary.path().join(CA)).unwrap();
        prepare(temporary.path(), HOME, 0, NOW).unwrap();
        assert_eq!(read(&temporary.path().join(CA)).unwrap(), before);
        assert_eq!(read(&temporary.path().join(CONFIG)).unwrap(), config(HOME, 0));
    }

    #[test]
    fn a_configuration_of_an_earlier_version_that_was_changed_is_left_alone() {
        let changed = earlier_config(8443).replace("level: warn", "level: info");
        let temporary = earlier(&changed);
        let path = temporary.path().join(CONFIG);
        let before = read(&temporary.path().join(CA)).unwrap();
        for _ in 0..2 {
            let why = prepare(temporary.path(), HOME, 0, NOW).map(drop).unwrap_err();
            assert!(
                matches!(&why, FolderError::Foreign { paths } if paths.len() == 1 && paths[0].ends_with(CONFIG)),
                "{why}"
            );
            assert_eq!(read(&path).unwrap(), changed);
        }
        // Follow the message: rename the file. The keys are recognised without it.
        fs::rename(&path, temporary.path().join("mine.yaml")).unwrap();
        prepare(temporary.path(), HOME, 0, NOW).unwrap();
        assert_eq!(read(&temporary.path().join(CA)).unwrap(), before);
    }

    #[test]
    fn remains_of_a_killed_start_are_removed() {
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir(temporary.path().join("certs")).unwrap();
        let left = [
            "..made-by-dev.wharfinger-new",
            ".ca.key.wharfinger-new",
            "certs/.ca.crt.wharfinger-new",
        ];
        let kept = [".ca.key.new", ".notes.wharfinger-new"];
        let write = || {
            for name in left.into_iter().chain(kept) {
                fs::write(temporary.path().join(name), "half").unwrap();
            }
        };
        let exist = |names: &[&str]| names.iter().all(|name| temporary.path().join(name).exists());
        write();
        fs::write(temporary.path().join(CONFIG), "mine").unwrap();
        prepare(temporary.path(), HOME, 0, NOW).map(drop).unwrap_err();
        assert!(exist(&left), "nothing is removed in a folder that is not its own");
        fs::remove_file(temporary.path().join(CONFIG)).unwrap();
        prepare(temporary.path(), HOME, 0, NOW).unwrap();
        assert!(left.iter().all(|name| !exist(&[name])));
        assert!(exist(&kept), "a file that dev did not make stays");
        // The authority's key is good and is not written again, but what a start left of it goes.
        write();
        prepare(temporary.path(), HOME, 0, NOW).unwrap();
        assert!(left.iter().all(|name| !exist(&[name])));
        // A write that fails leaves nothing.
        let mut ledger = Ledger::open(temporary.path(), &NAMES, &EARLIER).unwrap();
        fs::remove_file(temporary.path().join(CONFIG)).unwrap();
        fs::create_dir(temporary.path().join(CONFIG)).unwrap();
        ledger.write(CONFIG, "").unwrap_err();
        assert!(!exist(&[&format!(".{CONFIG}.wharfinger-new")]));
    }

    #[test]
    fn a_second_start_on_one_folder_is_refused_before_it_changes_a_file() {
        let temporary = tempfile::tempdir().unwrap();
        let running = prepare(temporary.path(), HOME, 0, NOW).unwrap();
        fs::write(temporary.path().join(".ca.key.wharfinger-new"), "half").unwrap();
        let before = all(temporary.path());
        let why = prepare(temporary.path(), HOME, 1, NOW.plus(AUTHORITY_LIFE))
            .map(drop)
            .unwrap_err();
        assert!(
            matches!(&why, FolderError::InUse { .. }) && why.to_string().contains("--folder"),
            "{why}"
        );
        assert_eq!(all(temporary.path()), before);
        drop(running);
        prepare(temporary.path(), HOME, 1, NOW).unwrap();
    }

    #[test]
    fn the_server_is_known_by_the_address_that_it_listens_on() {
        let temporary = tempfile::tempdir().unwrap();
        let certificate = |address: &str| {
            let folder = prepare(temporary.path(), address.parse().unwrap(), 0, NOW).unwrap();
            (
                read(&folder.path(SERVER)).unwrap(),
                names_address(&folder.path(SERVER), address.parse().unwrap()),
            )
        };
        let (loopback, _) = certificate("127.0.0.1");
        assert_eq!(
            certificate("0.0.0.0"),
            (loopback.clone(), true),
            "clients call it by one of its addresses"
        );
        let (public, named) = certificate("192.0.2.7");
        assert!(named && public != loopback);
        assert_eq!(certificate("192.0.2.7"), (public, true));
        assert!(certificate("2001:db8::7").1);
    }
}
