//! Certificates for the names that clients ask for, signed when they do.
//!
//! Nothing is read or made before the first client comes: the daemon of a user who doesn't want HTTPS has no part in it.

use std::cell::OnceCell;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use lru::LruCache;
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};

use super::host::{self, Place};
use crate::trust::authority::{Authority, Files};

/// Names whose certificates are kept; the one longest unused makes room for another.
const KEPT: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// How long one is used: far less than it holds, so that none is ever shown that is about to end.
const RENEWED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// What is spoken inside of TLS (RFC 7301), the better first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// This user's authority, and what it has signed for this process.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: Files,
    config: OnceCell<Arc<ServerConfig>>,
}

impl Certificates {
    /// Those of an authority that is kept in these files.
    pub(crate) fn of(files: Files) -> Self {
        Self {
            files,
            config: OnceCell::new(),
        }
    }

    /// How the front speaks TLS.
    ///
    /// # Errors
    /// The authority can't be read; it is tried again with the next client.
    pub(super) fn config(&self) -> Result<Arc<ServerConfig>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let signer = Signer::new(Authority::read(&self.files)?)?;
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(signer));
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(config))))
    }
}

/// Whether a client could speak with the front, by the protocols that it offers (none: it says nothing about them).
pub(super) fn speaks_http<'a>(offered: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut offered = offered.peekable();
    offered.peek().is_none() || offered.any(|protocol| ALPN.contains(&protocol))
}

/// Signs for names, all with one key, which lives as long as this process.
#[derive(Debug)]
struct Signer {
    authority: Authority,
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    issued: Mutex<LruCache<Option<String>, Issued>>,
}

/// What was signed, and when.
type Issued = (Arc<CertifiedKey>, SystemTime);

impl Signer {
    fn new(authority: Authority) -> Result<Self> {
        let key = KeyPair::generate()?;
        let secret = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Self {
            authority,
            signing: ring::sign::any_ecdsa_type(&secret.into())?,
            key,
            issued: Mutex::new(LruCache::new(KEPT)),
        })
    }

    fn certificate(&self, name: Option<&str>) -> Result<Arc<CertifiedKey>> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name.map(str::to_ascii_lowercase);
        if let Some((certificate, since)) = issued.get(&name)
            && since.elapsed().is_ok_and(|age| age < RENEWED_AFTER)
        {
            return Ok(Arc::clone(certificate));
        }
        let signed = self.authority.sign(name.as_deref(), &self.key);
        let signed = signed.context("cannot sign a certificate")?;
        let certificate = CertifiedKey::new(vec![signed], Arc::clone(&self.signing));
        let certificate = Arc::new(certificate);
        issued.put(name, (Arc::clone(&certificate), SystemTime::now()));
        Ok(certificate)
    }
}

impl ResolvesServerCert for Signer {
    /// A certificate for a name that is ours to answer; others are turned away in the handshake.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        if let Some(name) = name
            && let None | Some(Place::Foreign) = host::place(name)
        {
            return None;
        }
        match self.certificate(name) {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                tracing::error!("{error:#}");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::authority::Draft;

    #[test]
    fn what_was_signed_is_kept_and_bounded() {
        let scratch = tempfile::tempdir().unwrap();
        let files = Files::below(scratch.path());
        Draft::new().unwrap().write(&files).unwrap();
        let signer = Signer::new(Authority::read(&files).unwrap()).unwrap();
        let first = signer.certificate(Some("a.localhost")).unwrap();
        let again = signer.certificate(Some("A.localhost")).unwrap();
        assert!(Arc::ptr_eq(&first, &again), "one name in two spellings");
        let none = signer.certificate(None).unwrap();
        assert!(!Arc::ptr_eq(&first, &none));
        for number in 0..KEPT.get() {
            let name = format!("{number}.localhost");
            signer.certificate(Some(&name)).unwrap();
        }
        assert_eq!(signer.issued.lock().unwrap().len(), KEPT.get());
        let anew = signer.certificate(Some("a.localhost")).unwrap();
        assert!(!Arc::ptr_eq(&first, &anew), "it had to make room");
    }

    #[test]
    fn clients_of_other_protocols_are_told_apart() {
        let speaks = |offered: &[&'static [u8]]| speaks_http(offered.iter().copied());
        assert!(speaks(&[]));
        assert!(speaks(&[b"http/1.1"]));
        assert!(speaks(&[b"h3", b"h2"]));
        assert!(!speaks(&[b"postgresql"]));
    }
}
