//! `storage.storageDriver`

use super::Interpreter;
use crate::config::raw::{Driver, StorageDriver};
use crate::config::settings::BucketPlace;
use crate::config::values::SecretText;
use crate::storage::bucket::{Credentials, Parts, Provider, Settings, Tls};
use std::path::PathBuf;

impl Interpreter<'_> {
    /// `agent` is the Workload API's address.
    pub(super) fn bucket(&mut self, driver: StorageDriver, agent: Option<&str>) -> BucketPlace {
        self.foreign_keys(&driver);
        let is_s3 = driver.name == Driver::S3;
        let bucket = match driver.name {
            Driver::S3 | Driver::Gcs => self.named("bucket", driver.bucket),
            Driver::Azure => self.named("container", driver.container),
        };
        let endpoint = match driver.name {
            Driver::S3 => self.service_url("regionendpoint", driver.regionendpoint, driver.secure),
            Driver::Azure => self.service_url("serviceurl", driver.serviceurl, None),
            Driver::Gcs => None,
        };
        if is_s3 && endpoint.is_none() {
            self.advise_amazon(driver.region.as_deref(), driver.secure);
        }
        if driver.v4auth == Some(false) {
            self.warn(
                key("v4auth"),
                "ignored: requests are always signed with version 4",
            );
        }
        if !is_s3 {
            self.warn(
                key("name"),
                "this driver is experimental: it has not been run on the real service",
            );
        }
        let provider = match driver.name {
            Driver::S3 => Provider::S3,
            Driver::Gcs => self.google(driver.keyfile, driver.credentials_file),
            Driver::Azure => self.azure(driver.accountname, driver.accountkey),
        };
        let plain = endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
        let has_keys = driver.accesskey.is_some() || driver.secretkey.is_some();
        let mut credentials = self.access_key(driver.accesskey, driver.secretkey, driver.sessiontoken);
        if let Some(given) = driver.webidentity {
            if has_keys {
                self.mistake(
                    key("webidentity"),
                    "cannot be combined with accesskey and secretkey: remove those",
                );
            }
            if let Some(identity) = self.web_identity(given, agent, plain) {
                credentials = Credentials::WebIdentity(identity);
            }
        }
        let skip_verify = driver.skipverify.unwrap_or(false);
        if skip_verify {
            self.warn(
                key("skipverify"),
                "true: the service's certificate is not verified, so anyone on the network path can read and change the content; use certificateAuthorityFile for a private CA",
            );
        }
        let authorities = driver.certificate_authority_file.or_else(|| {
            let bundle = self.around.environment.aws_ca_bundle.clone();
            bundle.filter(|_| is_s3)
        });
        let has_dot = bucket.contains('.');
        let settings = Settings {
            provider,
            root: self.root(driver.rootdirectory.as_deref()),
            region: driver.region.filter(|region| !region.is_empty()),
            path_style: driver.forcepathstyle.unwrap_or(endpoint.is_some() || has_dot),
            tls: Tls {
                plain,
                skip_verify,
                authorities: authorities.map(|file| self.around.path(&file)),
            },
            parts: Parts {
                equal: driver.equal_parts.unwrap_or(false),
                ..Parts::default()
            },
            bucket,
            endpoint,
            credentials,
        };
        BucketPlace {
            settings,
            single_replica: driver.single_replica.unwrap_or(false),
        }
    }

    /// Reports keys that belong to another driver.
    fn foreign_keys(&mut self, driver: &StorageDriver) {
        let given = [
            ("bucket", driver.bucket.is_some(), &[Driver::S3, Driver::Gcs][..]),
            ("region", driver.region.is_some(), &[Driver::S3]),
            ("regionendpoint", driver.regionendpoint.is_some(), &[Driver::S3]),
            ("forcepathstyle", driver.forcepathstyle.is_some(), &[Driver::S3]),
            ("secure", driver.secure.is_some(), &[Driver::S3]),
            ("accesskey", driver.accesskey.is_some(), &[Driver::S3]),
            ("secretkey", driver.secretkey.is_some(), &[Driver::S3]),
            ("sessiontoken", driver.sessiontoken.is_some(), &[Driver::S3]),
            ("webidentity", driver.webidentity.is_some(), &[Driver::S3]),
            ("v4auth", driver.v4auth.is_some(), &[Driver::S3]),
            ("keyfile", driver.keyfile.is_some(), &[Driver::Gcs]),
            (
                "credentialsFile",
                driver.credentials_file.is_some(),
                &[Driver::Gcs],
            ),
            ("container", driver.container.is_some(), &[Driver::Azure]),
            ("accountname", driver.accountname.is_some(), &[Driver::Azure]),
            ("accountkey", driver.accountkey.is_some(), &[Driver::Azure]),
            ("serviceurl", driver.serviceurl.is_some(), &[Driver::Azure]),
        ];
        for (name, is_given, drivers) in given {
            if is_given && !drivers.contains(&driver.name) {
                let other = drivers
                    .iter()
                    .map(|other| word(*other))
                    .collect::<Vec<_>>()
                    .join(" and ");
                self.mistake(
                    key(name),
                    format!(
                        "is a key of the driver {other}, and name says {}: remove it",
                        word(driver.name)
                    ),
                );
            }
        }
    }

    fn named(&mut self, name: &str, given: Option<String>) -> String {
        let given = given.unwrap_or_default();
        if given.is_empty() {
            self.mistake(
                key(name),
                format!("is missing: name the {name}, which must exist"),
            );
        } else if !given
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            self.mistake(
                key(name),
                format!(
                    "must be the name of a {name}, not {given:?}: a prefix inside it belongs in rootdirectory"
                ),
            );
        }
        given
    }

    fn root(&mut self, given: Option<&str>) -> String {
        let root = given.unwrap_or_default().trim_matches('/');
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=+@".contains(&byte);
        let is_good = |segment: &str| {
            !segment.is_empty() && !segment.bytes().all(|byte| byte == b'.') && segment.bytes().all(allowed)
        };
        if !root.is_empty() && !root.split('/').all(is_good) {
            self.mistake(
                key("rootdirectory"),
                format!("must be a path such as registry/production, of letters, digits and - _ . = + @, not {root:?}"),
            );
        }
        root.to_owned()
    }

    /// The URL of the service, with a scheme and without a slash at its end.
    pub(super) fn service_url(
        &mut self,
        name: &str,
        given: Option<String>,
        secure: Option<bool>,
    ) -> Option<String> {
        let given = given.filter(|given| !given.is_empty())?;
        let (scheme, rest) = match given.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None if secure == Some(false) => ("http".to_owned(), given.as_str()),
            None => ("https".to_owned(), given.as_str()),
        };
        let rest = rest.trim_end_matches('/');
        let host = rest.split('/').next().unwrap_or_default();
        let known = ["http", "https"].contains(&scheme.as_str());
        // The value is not repeated, because it may hold a password.
        if !known || host.is_empty() || rest.contains(['@', '?', '#', ' ']) {
            self.mistake(
                key(name),
                "must be a URL of http or https such as https://s3.example.org:9000, without a user, a query or a fragment",
            );
            return None;
        }
        if scheme == "http" && secure == Some(true) {
            self.warn(
                key("secure"),
                format!("true, but {name} begins with http://, which takes precedence: write https:// if the service has a certificate"),
            );
        } else if scheme == "http" && !is_here(host) {
            self.warn(
                key(name),
                format!(
                    "all content is sent to {host} in clear text: use https://, unless the network is private"
                ),
            );
        }
        Some(format!("{scheme}://{rest}"))
    }

    fn advise_amazon(&mut self, region: Option<&str>, secure: Option<bool>) {
        if region.unwrap_or_default().is_empty() {
            self.mistake(
                key("region"),
                "is missing: name the bucket's region, such as eu-central-1, or the service in regionendpoint",
            );
        }
        if secure == Some(false) {
            self.warn(key("secure"), "ignored: Amazon S3 is always reached by HTTPS");
        }
    }

    fn access_key(
        &mut self,
        access_key: Option<String>,
        secret_key: Option<SecretText>,
        session_token: Option<SecretText>,
    ) -> Credentials {
        let access_key = access_key.filter(|id| !id.is_empty());
        let secret_key = secret_key.and_then(SecretText::unless_empty);
        let session_token = session_token.and_then(SecretText::unless_empty);
        if session_token.is_some() {
            self.warn(
                key("sessiontoken"),
                "expires, and the registry cannot renew it: remove the keys and use a role or a web identity",
            );
        }
        match (access_key, secret_key) {
            (Some(access_key), Some(secret_key)) => Credentials::Given {
                access_key,
                secret_key,
                session_token,
            },
            (None, None) => {
                if session_token.is_some() {
                    self.mistake(key("sessiontoken"), "needs accesskey and secretkey");
                }
                Credentials::Found
            }
            (Some(_), None) => {
                self.mistake(key("secretkey"), "is missing, but accesskey is set");
                Credentials::Found
            }
            (None, Some(_)) => {
                self.mistake(key("accesskey"), "is missing, but secretkey is set");
                Credentials::Found
            }
        }
    }

    fn google(&mut self, distributions: Option<PathBuf>, zots: Option<PathBuf>) -> Provider {
        if distributions.is_some() && zots.is_some() {
            self.mistake(
                key("credentialsFile"),
                "is another name of keyfile: set only one of them",
            );
        }
        let file = distributions.or(zots);
        Provider::Gcs {
            key_file: file.map(|file| self.around.path(&file)),
        }
    }

    fn azure(&mut self, name: Option<String>, account_key: Option<SecretText>) -> Provider {
        let account = name.unwrap_or_default();
        if account.is_empty() {
            self.mistake(key("accountname"), "is missing: name the storage account");
        }
        Provider::Azure {
            account,
            key: account_key.and_then(SecretText::unless_empty),
        }
    }
}

fn key(name: &str) -> String {
    format!("storage.storageDriver.{name}")
}

const fn word(driver: Driver) -> &'static str {
    match driver {
        Driver::S3 => "s3",
        Driver::Gcs => "gcs",
        Driver::Azure => "azure",
    }
}

/// Whether the host is this machine.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
