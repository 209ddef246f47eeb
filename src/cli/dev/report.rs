//! What `wharfinger dev` tells: what happened, and commands to paste.

use super::super::say;
use super::client::{Done, REPOSITORY, TAG};
use super::folder::Folder;
use super::pki::{BUILDER, READER};
use std::net::SocketAddr;
use std::time::Duration;

pub(super) fn tell(folder: &Folder, address: SocketAddr, done: &Done, ready: Duration) {
    let host = format!("127.0.0.1:{}", address.port());
    let (config, certificates) = (folder.config(), folder.certificates());
    let (config, certificates) = (config.display(), certificates.display());
    let (token, authority) = (folder.jwt_svid(), folder.authority());
    let (token, authority) = (token.display(), authority.display());
    let Done { digest, pushed, pulled, refused } = done;
    say(&format!(
        "\
Wharfinger serves https://{host}, ready after {ready:.0?}, from {config}

  pushed  {REPOSITORY}:{TAG}  {digest}
          X.509-SVID over mTLS; username {BUILDER}
          allowed by '**': {pushed}
  pulled  {REPOSITORY}:{TAG}  {digest}
          JWT-SVID as bearer token; username {READER}
          allowed by '**': {pulled}
  refused a push by {READER}
          it may only read: {refused}

Try it:

  curl --cacert {authority} -H \"Authorization: Bearer $(cat {token})\" https://{host}/v2/{REPOSITORY}/tags/list

  skopeo copy --src-cert-dir {certificates} --dest-cert-dir {certificates} docker://{host}/{REPOSITORY}:{TAG} docker://{host}/{REPOSITORY}:v2

  export SSL_CERT_FILE={authority}
  crane auth login {host} -u jwt -p \"$(cat {token})\" && crane manifest {host}/{REPOSITORY}:{TAG}
"
    ));
}
