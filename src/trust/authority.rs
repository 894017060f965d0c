//! The local authority: a key, and the certificate that browsers are asked to trust.
//!
//! It can sign for names below `localhost` and `internal` and for loopback addresses, and for nothing else: its
//! certificate says so in a critical extension (RFC 5280 §4.2.1.10), so that whoever stole the key could impersonate
//! nobody on the Internet. It signs servers only, and no further authorities.

use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::{Span, Zoned};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData,
    SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use crate::paths;

/// What every authority of ours is called, before the number that tells it from others.
const NAME: &str = "wharf authority";
/// How long the authority is good for.
const YEARS: i32 = 10;
/// How long what it signs is good for.
const DAYS: i32 = 30;
/// Below these, any name; they lead nowhere but to this machine (RFC 6761 §6.3) and its private names.
const DOMAINS: [&str; 2] = ["localhost", "internal"];

/// Where an authority is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// The private key (PKCS #8, PEM), for nobody but its user.
    pub(crate) key: PathBuf,
    /// The certificate (PEM).
    pub(crate) certificate: PathBuf,
}

impl Files {
    /// Those of this user; they need not be there.
    pub(crate) fn of_user() -> Self {
        Self::below(&paths::state_place().join("authority"))
    }

    /// Those in a directory.
    pub(crate) fn below(directory: &Path) -> Self {
        Self {
            key: directory.join("key.pem"),
            certificate: directory.join("certificate.pem"),
        }
    }

    /// Whether an authority was made and not removed since.
    pub(crate) fn exist(&self) -> bool {
        self.key.exists() && self.certificate.exists()
    }

    fn directory(&self) -> &Path {
        self.key.parent().expect("it was made by joining")
    }

    /// Removes both, the key first.
    ///
    /// # Errors
    /// Those of unlink(2), but that they aren't there.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for file in [&self.key, &self.certificate] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        // Somebody may have put something of their own there.
        fs::remove_dir(self.directory()).ok();
        Ok(())
    }
}

/// An authority that can sign.
#[derive(Debug)]
pub(crate) struct Authority {
    name: String,
    issuer: Issuer<'static, KeyPair>,
}

/// An authority that was made and not yet written anywhere.
#[derive(Debug)]
pub(crate) struct Draft {
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl Draft {
    /// Makes one.
    pub(crate) fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = params(&key);
        limit(&mut params, Span::new().years(YEARS));
        let certificate = params.self_signed(&key)?;
        Ok(Self { key, certificate })
    }

    /// What it will be called.
    pub(crate) fn name(&self) -> String {
        name(&self.key)
    }

    /// Writes it, the key last: an authority is there with its key or not at all.
    pub(crate) fn write(&self, files: &Files) -> Result<()> {
        paths::private(files.directory())?;
        write(&files.certificate, &self.certificate.pem())?;
        write(&files.key, &self.key.serialize_pem())
    }
}

impl Authority {
    /// Reads the key of one that was made; everything else follows from it.
    pub(crate) fn read(files: &Files) -> Result<Self> {
        let shown = || format!("cannot read {}", files.key.display());
        let key = fs::read_to_string(&files.key).with_context(shown)?;
        let key = KeyPair::from_pem(&key).with_context(shown)?;
        Ok(Self {
            name: name(&key),
            issuer: Issuer::new(params(&key), key),
        })
    }

    /// What it is called in lists of authorities: no other has this name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A certificate for a server of this name with this key, and for `localhost` and the loopback addresses if it asked
    /// for no name.
    pub(crate) fn sign(
        &self,
        server: Option<&str>,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = match server {
            Some(server) => vec![SanType::DnsName(server.try_into()?)],
            None => vec![
                SanType::DnsName("localhost".try_into()?),
                SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
                SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
            ],
        };
        limit(&mut params, Span::new().days(DAYS));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // All have one key, and Firefox refuses two certificates of one number.
        let mut number: [u8; 16] = rand::random();
        number[0] = number[0] & 0x3f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&number));
        Ok(params.signed_by(key, &self.issuer)?.der().clone())
    }
}

/// Everything about the authority's certificate but its dates, which follows from the key.
fn params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, name(key));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let domains = DOMAINS.map(|domain| GeneralSubtree::DnsName(domain.into()));
    let loopback = [
        CidrSubnet::from_addr_prefix(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
        CidrSubnet::from_addr_prefix(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    ];
    let loopback = loopback.map(GeneralSubtree::IpAddress);
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: domains.into_iter().chain(loopback).collect(),
        excluded_subtrees: Vec::new(),
    });
    params
}

fn name(key: &KeyPair) -> String {
    let identifier = CertificateParams::default().key_identifier(key);
    let number = identifier.iter().take(4).map(|byte| format!("{byte:02x}"));
    format!("{NAME} {}", number.collect::<String>())
}

/// Has it hold from yesterday, whatever the zone of time, for as long as this.
fn limit(params: &mut CertificateParams, time: Span) {
    let today = Zoned::now().date();
    let [from, to] = [today - Span::new().days(1), today + time].map(|date| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        date_time_ymd(date.year().into(), month, day)
    });
    (params.not_before, params.not_after) = (from, to);
}

/// Writes a file that only its user may read.
fn write(path: &Path, content: &str) -> Result<()> {
    let shown = || format!("cannot write {}", path.display());
    // One that is there could be open to others.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(shown);
        }
        _ => {}
    }
    let options = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = options.with_context(shown)?;
    file.write_all(content.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(shown)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    fn authority() -> (tempfile::TempDir, Files, Authority) {
        let scratch = tempfile::tempdir().unwrap();
        let files = Files::below(&scratch.path().join("authority"));
        let draft = Draft::new().unwrap();
        draft.write(&files).unwrap();
        let authority = Authority::read(&files).unwrap();
        assert_eq!(authority.name(), draft.name());
        (scratch, files, authority)
    }

    /// Whether who trusts the authority believes that the server is this one.
    fn believed(
        files: &Files,
        authority: &Authority,
        signed_for: Option<&str>,
        server: &str,
    ) -> bool {
        let key = KeyPair::generate().unwrap();
        let certificate = authority.sign(signed_for, &key).unwrap();
        let mut roots = RootCertStore::empty();
        let trusted = CertificateDer::from_pem_file(&files.certificate).unwrap();
        roots.add(trusted).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let server = ServerName::try_from(server.to_owned()).unwrap();
        let now = UnixTime::now();
        let verdict =
            verifier
                .build()
                .unwrap()
                .verify_server_cert(&certificate, &[], &server, &[], now);
        verdict.is_ok()
    }

    #[test]
    fn what_it_signs_is_believed_below_localhost_and_internal_and_nowhere_else() {
        let (_scratch, files, authority) = authority();
        let believed = |signed_for, server| believed(&files, &authority, signed_for, server);
        for good in ["shop.localhost", "3000.shop.localhost", "shop.internal"] {
            assert!(believed(Some(good), good), "{good}");
        }
        for own in ["localhost", "127.0.0.1", "::1"] {
            assert!(believed(None, own), "{own}");
        }
        assert!(!believed(Some("a.localhost"), "b.localhost"));
        for foreign in ["example.com", "localhost.example.com", "notlocalhost"] {
            assert!(!believed(Some(foreign), foreign), "{foreign}");
        }
    }

    #[test]
    fn its_files_are_closed_to_others() {
        let (_scratch, files, _) = authority();
        for file in [&files.key, &files.certificate] {
            assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
        }
        let directory = fs::metadata(files.directory()).unwrap();
        assert_eq!(directory.mode() & 0o777, 0o700);
    }

    #[test]
    fn each_has_a_name_of_its_own_and_leaves_nothing() {
        let (_scratch, files, one) = authority();
        let (_other, _, two) = authority();
        assert_ne!(one.name(), two.name());
        assert!(files.exist());
        files.remove().unwrap();
        assert!(!files.exist() && !files.directory().exists());
        files.remove().unwrap();
        let error = Authority::read(&files).unwrap_err();
        assert!(error.to_string().contains("key.pem"), "{error}");
    }

    #[test]
    fn no_two_certificates_have_one_number() {
        let (_scratch, _, authority) = authority();
        let key = KeyPair::generate().unwrap();
        let [one, two] = [0; 2].map(|_| authority.sign(Some("a.localhost"), &key).unwrap());
        assert_ne!(one, two);
    }
}
