//! Changed certificate files are used for new connections.

use super::*;

/// The certificate that the server shows to a new connection.
async fn shown(server: &Running, client: &Arc<ClientConfig>) -> CertificateDer<'static> {
    server
        .shake(client)
        .await
        .unwrap()
        .get_ref()
        .1
        .peer_certificates()
        .unwrap()[0]
        .clone()
}

#[tokio::test]
async fn t_11_a_reload_swaps_the_certificate_and_breaks_no_connection() {
    let pki = Pki::new();
    let first = pki.issue();
    let tls = pki.server(ClientAuth::Off, None);
    let server = Running::tls(tls.clone()).await;
    let client = Arc::new(pki.client(None));
    let mut before = server.shake(&client).await.unwrap();
    assert_eq!(tls.reload(), Reloaded::default(), "nothing changed");

    let second = pki.issue();
    assert_eq!(shown(&server, &client).await, first, "not before the reload");
    assert_eq!(
        tls.reload(),
        Reloaded {
            changed: vec![pki.files().cert],
            failed: vec![]
        }
    );
    assert_eq!(shown(&server, &client).await, second);
    assert_eq!(ask(&mut before).await.unwrap(), "true nobody 127.0.0.1");
}

#[tokio::test]
async fn a_broken_pair_leaves_the_old_one_in_use() {
    let pki = Pki::new();
    let first = pki.issue();
    let tls = pki.server(ClientAuth::Off, None);
    let server = Running::tls(tls.clone()).await;
    let client = Arc::new(pki.client(None));
    let PairFiles { cert, key } = pki.files();
    let good_cert = std::fs::read(&cert).unwrap();

    std::fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert_eq!(
        failed(&tls),
        InvalidTls::Mismatch {
            cert: cert.clone(),
            key: key.clone()
        }
    );
    std::fs::write(&key, "").unwrap();
    assert_eq!(failed(&tls), InvalidTls::NoKey { file: key.clone() });
    std::fs::write(&cert, "").unwrap();
    assert_eq!(failed(&tls), InvalidTls::NoCertificate { file: cert.clone() });
    std::fs::write(&cert, &good_cert[..good_cert.len() / 2]).unwrap();
    assert!(matches!(failed(&tls), InvalidTls::Pem { file, .. } if file == cert));
    std::fs::remove_file(&cert).unwrap();
    assert_eq!(
        failed(&tls),
        InvalidTls::Unreadable {
            file: cert.clone(),
            why: std::io::ErrorKind::NotFound.into()
        }
    );

    assert_eq!(shown(&server, &client).await, first);
    let second = pki.issue();
    assert_eq!(
        tls.reload(),
        Reloaded {
            changed: vec![pki.files().cert],
            failed: vec![]
        }
    );
    assert_eq!(shown(&server, &client).await, second);
}

#[tokio::test]
async fn a_changed_file_is_noticed() {
    let pki = Pki::new();
    let tls = pki.server(ClientAuth::Off, None);
    let server = Running::tls(tls.clone()).await;
    let client = Arc::new(pki.client(None));
    let watching = tokio::spawn(tls.watch(Duration::from_millis(5)));
    let second = pki.issue();
    let noticed = async {
        while shown(&server, &client).await != second {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed)
        .await
        .unwrap();
    watching.abort();
}
