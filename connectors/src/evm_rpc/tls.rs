//! One TLS configuration for HTTP and WebSocket: rustls with ring and Mozilla's roots, whatever the machine has.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// The configuration of a client without a certificate of its own.
pub(super) fn client_config() -> ClientConfig {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of TLS 1.2 and 1.3");
    builder.with_root_certificates(roots).with_no_client_auth()
}
