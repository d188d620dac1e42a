//! Certificates that providers sign with (RFC 5280): whose they are, from when until when, and their keys.

use chrono::{DateTime, Utc};
use x509_cert::{
    Certificate as X509,
    der::{Decode, Encode},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::public::{Scheme, first_in_pem};

/// What is needed of a certificate with an RSA key.
///
/// Says nothing of who has issued it. Whoever has got it from an address of the provider's own, by TLS, knows that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    names: Vec<String>,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    key: Vec<u8>,
}

/// Why bytes are no certificate that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not of that form.
    #[error("there is no certificate in PEM (RFC 7468): it begins with -----BEGIN CERTIFICATE-----")]
    NotPem,
    /// Of that form, but something else.
    #[error("the certificate cannot be read (RFC 5280)")]
    Unreadable,
    /// Its key is of another kind.
    #[error("the certificate's key is not of RSA")]
    NotRsa,
}

impl Certificate {
    /// Reads the first certificate in a PEM text: of a chain, that of the signer.
    ///
    /// # Errors
    /// When there is none, or its key is not of RSA.
    pub fn read(pem: &str) -> Result<Self, CertificateError> {
        let (der, _) = first_in_pem(pem, "CERTIFICATE").ok_or(CertificateError::NotPem)?;
        Self::of(&der)
    }

    /// Reads all that are in a PEM text, one behind the other.
    ///
    /// # Errors
    /// When there is none, when one cannot be used, and when something else stands before, between or behind them.
    pub fn read_all(pem: &str) -> Result<Vec<Self>, CertificateError> {
        let (mut all, mut rest) = (Vec::new(), pem);
        while all.is_empty() || !rest.is_empty() {
            let (der, behind) = first_in_pem(rest, "CERTIFICATE").ok_or(CertificateError::NotPem)?;
            all.push(Self::of(&der)?);
            rest = behind;
        }
        Ok(all)
    }

    fn of(der: &[u8]) -> Result<Self, CertificateError> {
        let read = X509::from_der(der).map_err(|_| CertificateError::Unreadable)?.tbs_certificate;
        let names = read.get::<SubjectAltName>().map_err(|_| CertificateError::Unreadable)?;
        let info = read.subject_public_key_info.to_der().map_err(|_| CertificateError::Unreadable)?;
        let key = Scheme::Rsa.key_of(&info).ok_or(CertificateError::NotRsa)?;
        Ok(Self {
            names: names.map(|(_, names)| names.0.into_iter().filter_map(dns_name).collect()).unwrap_or_default(),
            from: read.validity.not_before.to_system_time().into(),
            until: read.validity.not_after.to_system_time().into(),
            key: key.to_vec(),
        })
    }

    /// When it ends: it need not be kept for longer.
    pub fn until(&self) -> DateTime<Utc> {
        self.until
    }

    /// From when it holds.
    pub(crate) fn from(&self) -> DateTime<Utc> {
        self.from
    }

    /// The DNS names that it is for, in lower case.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it is for one of these DNS names, which are written in lower case. Its common name is not looked at.
    pub(crate) fn is_of(&self, names: &[&str]) -> bool {
        self.names.iter().any(|name| names.contains(&name.as_str()))
    }

    /// Whether it holds at this moment.
    pub(crate) fn holds(&self, now: DateTime<Utc>) -> bool {
        (self.from..=self.until).contains(&now)
    }

    /// Whether its key signed these parts, one behind the other, with SHA-256.
    pub(crate) fn signed(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        Scheme::Rsa.verifies(&self.key, parts, signature)
    }
}

fn dns_name(name: GeneralName) -> Option<String> {
    if let GeneralName::DnsName(name) = name { Some(name.as_str().to_ascii_lowercase()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    const ONE: &str = include_str!("paypal/sandbox.pem");
    const FIVE: &str = include_str!("paypal/made.pem");

    #[test]
    fn a_certificate_says_whose_it_is_and_when_it_holds() {
        let certificate = Certificate::read(ONE).unwrap();

        assert!(certificate.is_of(&["a.example", "messageverificationcerts.sandbox.paypal.com"]));
        assert!(!certificate.is_of(&["messageverificationcerts.paypal.com", "paypal.com"]) && !certificate.is_of(&[]));
        // 2015-03-18T00:00:00Z to 2017-03-22T12:00:00Z, the last second too.
        let holds = [1_426_636_799, 1_426_636_800, 1_490_184_000, 1_490_184_001].map(|now| certificate.holds(at(now)));
        assert_eq!(holds, [false, true, true, false]);
        assert_eq!(certificate.until(), at(1_490_184_000));
    }

    #[test]
    fn of_several_the_first_is_the_signers_and_all_can_be_had() {
        let all = Certificate::read_all(FIVE).unwrap();

        assert_eq!((all.len(), Certificate::read(FIVE).as_ref()), (5, Ok(&all[0])));
        assert_eq!(Certificate::read_all(&format!("\n{ONE}\r\n{FIVE}")).map(|all| all.len()), Ok(6));
    }

    #[test]
    fn what_is_no_certificate_is_refused_with_what_is_wrong() {
        let key = ONE.replace("CERTIFICATE", "PUBLIC KEY");
        let emptied = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----";

        for (pem, error) in [
            ("", CertificateError::NotPem),
            ("MIIHqDCC", CertificateError::NotPem),
            (&key, CertificateError::NotPem),
            (ONE.trim_end().strip_suffix('-').unwrap(), CertificateError::NotPem),
            (emptied, CertificateError::Unreadable),
            (include_str!("paypal/p256.pem"), CertificateError::NotRsa),
        ] {
            assert_eq!(Certificate::read(pem), Err(error), "{pem}");
            assert_eq!(Certificate::read_all(pem), Err(error), "{pem}");
        }
        assert_eq!(Certificate::read_all(&format!("{ONE}x")), Err(CertificateError::NotPem));
    }
}
