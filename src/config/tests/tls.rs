//! TLS and client certificates.

use super::*;

#[test]
fn tls_needs_a_certificate_and_the_error_says_what_is_missing() {
    let pair = json!({"cert": "c", "key": "k"});
    for (tls, expected) in [
        (json!({"workloadAPI": false}), &["http.tls"][..]),
        (json!({"cert": "c"}), &["http.tls.key"]),
        (json!({"key": "k", "certificates": [pair]}), &["http.tls.cert"]),
        (json!({"workloadAPI": true}), &["http.auth.spiffe.workloadAPI"]),
        (
            json!({"certificates": [{"cert": "c"}]}),
            &["http.tls.certificates[0].key"],
        ),
    ] {
        assert_eq!(keys(&with(&[("/http/tls", tls.clone())])), expected, "{tls}");
    }
    let config = load(&with(&[(
        "/http/tls",
        json!({"cert": "a", "key": "b", "certificates": [pair]}),
    )]))
    .unwrap();
    assert_eq!(config.tls.unwrap().files.len(), 2);
    let spiffe = json!({"workloadAPI": "unix:///run/agent.sock", "trustDomains": []});
    let config = load(&with(&[
        ("/http/auth/spiffe", spiffe),
        ("/http/tls", json!({"workloadAPI": true})),
    ]))
    .unwrap();
    assert!(
        config.tls.unwrap().svid && config.ways_in.workload_api.as_deref() == Some("unix:///run/agent.sock")
    );
}

#[test]
fn client_certificates_need_tls_and_switch_client_auth_on() {
    let x509 =
        json!({"trustDomains": [{"name": "a.example", "svids": ["x509"], "bundle": [{"file": "a.pem"}]}]});
    assert_eq!(
        keys(&with(&[("/http/auth/spiffe", x509.clone())])),
        ["http.auth.spiffe.trustDomains[0].svids"]
    );
    let tls = json!({"cert": "c", "key": "k"});
    let config = load(&with(&[
        ("/http/auth/spiffe", x509.clone()),
        ("/http/tls", tls.clone()),
    ]))
    .unwrap();
    assert!(matches!(config.tls.unwrap().client_auth, ClientAuth::Optional));
    let off = json!({"cert": "c", "key": "k", "clientAuth": "off"});
    assert_eq!(
        keys(&with(&[("/http/auth/spiffe", x509), ("/http/tls", off)])),
        ["http.tls.clientAuth"]
    );
    assert!(matches!(
        load(&with(&[("/http/tls", tls)]))
            .unwrap()
            .tls
            .unwrap()
            .client_auth,
        ClientAuth::Off
    ));
}
