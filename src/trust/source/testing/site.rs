//! Certificates of the servers that sources ask.

use wharfinger_testkit::{Ca, DerPair, uri};

/// Makes a server's certificate for `site.test`.
pub(in crate::trust) fn server(authority: &Ca) -> DerPair {
    authority.der_pair(&rcgen::CertificateParams::new(vec!["site.test".to_owned()]).unwrap())
}

/// Makes an X.509-SVID like SPIRE's.
pub(in crate::trust) fn svid(authority: &Ca, id: &str, usages: &[rcgen::ExtendedKeyUsagePurpose]) -> DerPair {
    svid_with(authority, id, usages, &[])
}

/// Makes an X.509-SVID with DNS names beside its SPIFFE ID.
pub(in crate::trust) fn svid_with(
    authority: &Ca,
    id: &str,
    usages: &[rcgen::ExtendedKeyUsagePurpose],
    dns: &[String],
) -> DerPair {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages.to_vec();
    let dns = dns
        .iter()
        .map(|name| rcgen::SanType::DnsName(name.as_str().try_into().unwrap()));
    params.subject_alt_names = dns.chain([uri(id)]).collect();
    authority.der_pair(&params)
}
