//! Whom TLS trusts: the system's certificates (or `SSL_CERT_FILE`), Mozilla's where the system has none, and
//! Docker's extra ones for a registry.

use std::fs;
use std::path::Path;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

const CERTS_D: &str = "/etc/docker/certs.d";

/// The TLS configuration for a registry. As Docker does, certificates of insecure registries, such as this machine's, are
/// not checked.
pub(super) fn config(host: &str, insecure: bool) -> TlsConfig {
    if insecure {
        return TlsConfig::builder().disable_verification(true).build();
    }
    let system = rustls_native_certs::load_native_certs().certs;
    if system.is_empty() {
        return TlsConfig::default();
    }
    let system = system.iter().map(|der| Certificate::from_der(der).to_owned());
    let roots: Vec<_> = system.chain(extra(&Path::new(CERTS_D).join(host))).collect();
    TlsConfig::builder().root_certs(RootCerts::from(roots)).build()
}

/// The `*.crt` files of a directory.
fn extra(dir: &Path) -> Vec<Certificate<'static>> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "crt"));
    let texts = files.filter_map(|path| fs::read(path).ok());
    let items = texts.flat_map(|text| parse_pem(&text).collect::<Vec<_>>());
    let certificates = items.filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    certificates.collect()
}
