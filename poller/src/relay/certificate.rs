//! A relay's certificate that is not to be trusted: why, and what mends it.

use std::error::Error;
use std::{io, iter};

use rustls::CertificateError;

/// Why the other side's certificate was refused; `None` when that is not what went wrong.
pub(super) fn refusal(error: &reqwest::Error) -> Option<String> {
    let causes = iter::successors(Some(error as &(dyn Error + 'static)), |&cause| cause.source());
    match causes.filter_map(as_tls).next()? {
        rustls::Error::InvalidCertificate(problem) => Some(advice(problem)),
        _ => None,
    }
}

fn as_tls<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    // What an I/O error was made of, another one perhaps, is no source of it.
    match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => as_tls(inner),
        None => cause.downcast_ref(),
    }
}

fn advice(problem: &CertificateError) -> String {
    let advice = match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired: renew it at the relay, or set this host's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet: set the clocks of the relay's host and of this one"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name: --relay must name the relay as its certificate does"
        }
        other => {
            return format!(
                "nobody whom this host trusts has signed it ({other}): use one of a public CA, or name the file of your own CA in SSL_CERT_FILE"
            );
        }
    };
    advice.to_owned()
}
