//! The output of `wharfinger dev`: what happened, and commands to paste.

use super::super::say;
use super::folder::Folder;
use super::pki::{BUILDER, READER};
use super::round_trip::{Done, REPOSITORY, TAG};
use crate::shell::quoted;
use std::net::SocketAddr;
use std::time::Duration;

/// Prints what happened at `address`.
pub(super) fn tell(folder: &Folder, address: SocketAddr, done: &Done, ready: Duration) {
    let config = folder.config();
    let Done {
        digest,
        pushed,
        pulled,
        refused,
    } = done;
    say(&format!(
        "\
Wharfinger serves https://{address}, ready after {ready:.0?}, from {}

  pushed  {REPOSITORY}:{TAG}  {digest}
          X.509-SVID over mTLS; username {BUILDER}
          allowed by '**': {pushed}
  pulled  {REPOSITORY}:{TAG}  {digest}
          JWT-SVID as bearer token; username {READER}
          allowed by '**': {pulled}
  refused a push by {READER}
          this identity may only read: {refused}
",
        config.display()
    ));
}

/// Prints commands to try while the registry serves.
pub(super) fn tell_to_try(folder: &Folder, listening: SocketAddr, address: SocketAddr) {
    if !listening.ip().is_loopback() {
        let where_to = if listening.ip().is_unspecified() {
            "every address of this machine".to_owned()
        } else {
            listening.ip().to_string()
        };
        say(&format!(
            "\
The registry listens on {where_to}, so other machines can reach it. It accepts only credentials from
{}. Keep that folder private, and use this registry for trials only.
",
            folder.whole().display()
        ));
    }
    let certificates = quoted(&folder.certificates());
    let token = quoted(&folder.jwt_svid());
    let authority = quoted(&folder.authority());
    say(&format!(
        "\
Try it:

  curl --cacert {authority} -H \"Authorization: Bearer $(cat {token})\" https://{address}/v2/{REPOSITORY}/tags/list

  podman pull --cert-dir {certificates} {address}/{REPOSITORY}:{TAG}

  skopeo copy --src-cert-dir {certificates} --dest-cert-dir {certificates} docker://{address}/{REPOSITORY}:{TAG} docker://{address}/{REPOSITORY}:v2

  export SSL_CERT_FILE={authority}
  crane auth login {address} -u jwt -p \"$(cat {token})\" && crane manifest {address}/{REPOSITORY}:{TAG}

Press Ctrl-C to stop.
"
    ));
}
