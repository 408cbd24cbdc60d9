//! Where requests to addresses of an operator's choice may go. A name is checked again by the addresses that it resolves to,
//! each time a connection is opened: a name server may answer otherwise then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Metadata services of clouds, which give credentials to every process of the machine. Most others are link-local.
const METADATA_V4: [Ipv4Addr; 3] = [
    // Alibaba Cloud
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle Cloud
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 2] = [
    // Amazon
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254),
    // Google Cloud
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254),
];

/// Why a request is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    #[error("the address is no URL: {0}")]
    NoUrl(#[from] url::ParseError),
    #[error("the address has no host")]
    NoHost,
    #[error("the address begins with `{0}:`: write https, or http for this machine itself")]
    Scheme(String),
    #[error("http is for this machine itself only: write https")]
    NotEncrypted,
    #[error("the address has a user or password, which would be sent to whoever answers: leave them out")]
    Login,
    #[error(
        "{0} belongs to this machine's network or to its cloud, and nobody is reached there: name another address"
    )]
    Forbidden(IpAddr),
}

/// Checks an address before it is stored.
///
/// # Errors
/// When a request to it would never be sent.
pub fn check_url(text: &str) -> Result<Url, OutboundError> {
    let url = Url::parse(text)?;
    let is_encrypted = match url.scheme() {
        "https" => true,
        "http" => false,
        other => return Err(OutboundError::Scheme(other.to_owned())),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(OutboundError::Login);
    }
    match url.host().ok_or(OutboundError::NoHost)? {
        Host::Ipv4(address) => check_address(address.into(), is_encrypted)?,
        Host::Ipv6(address) => check_address(address.into(), is_encrypted)?,
        Host::Domain(name) if !is_encrypted && !crate::tls::is_local(name) => {
            return Err(OutboundError::NotEncrypted);
        }
        Host::Domain(_) => {}
    }
    Ok(url)
}

/// Checks the address that a connection is about to be opened to.
///
/// # Errors
/// When it is link-local or of a metadata service, is no single machine, or would be reached without encryption.
pub fn check_address(address: IpAddr, is_encrypted: bool) -> Result<(), OutboundError> {
    let reached = reached(address);
    let is_forbidden = match reached {
        IpAddr::V4(v4) => {
            v4.octets()[0] == 0
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || METADATA_V4.contains(&v4)
        }
        IpAddr::V6(v6) => {
            v6.is_unspecified()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                || METADATA_V6.contains(&v6)
        }
    };
    if is_forbidden {
        return Err(OutboundError::Forbidden(address));
    }
    if !is_encrypted && !reached.is_loopback() {
        return Err(OutboundError::NotEncrypted);
    }
    Ok(())
}

/// The address that is reached in the end: some IPv6 addresses contain the IPv4 address that a gateway passes them on to.
fn reached(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address.to_canonical() else {
        return address.to_canonical();
    };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        // NAT64, and the compatible addresses of old; ::1 is loopback
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        // 6to4
        [0x2002, high, low, ..] => v4(high, low),
        _ => IpAddr::V6(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_goes_anywhere_and_http_to_this_machine() {
        for text in [
            "https://hooks.example.com/T0/B0/x?y=1",
            "https://10.1.2.3:8443/",
            "https://[2001:db8::1]/",
            "http://localhost:8080/hook",
            "http://127.0.0.1/",
            "http://[::1]:9/",
        ] {
            assert!(check_url(text).is_ok(), "{text}: {:?}", check_url(text));
        }
        for text in [
            "http://example.com/",
            "http://10.1.2.3/",
            "http://localhost.example.com/",
        ] {
            assert_eq!(check_url(text), Err(OutboundError::NotEncrypted), "{text}");
        }
        for text in ["ftp://example.com/", "file:///etc/passwd", "gopher://x/"] {
            assert!(matches!(check_url(text), Err(OutboundError::Scheme(_))), "{text}");
        }
        assert_eq!(
            check_url("https://user:pw@example.com/"),
            Err(OutboundError::Login)
        );
        assert!(matches!(
            check_url("hooks.example.com"),
            Err(OutboundError::NoUrl(_))
        ));
    }

    /// Every way to write an address that must not be reached.
    #[test]
    fn link_local_and_metadata_addresses_are_refused_however_they_are_written() {
        for host in [
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "0251.0376.0251.0376",
            "169.254.1",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[::169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::1]",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "0.0.0.0",
            "0.1.2.3",
            "[::]",
            "224.0.0.1",
            "255.255.255.255",
            "[ff02::1]",
        ] {
            let text = format!("https://{host}/latest/meta-data");
            assert!(
                matches!(check_url(&text), Err(OutboundError::Forbidden(_))),
                "{text}: {:?}",
                check_url(&text)
            );
        }
    }

    #[test]
    fn an_address_without_encryption_is_loopback() {
        let check = |text: &str, is_encrypted| check_address(text.parse().unwrap(), is_encrypted);
        assert_eq!(check("127.8.9.10", false), Ok(()));
        assert_eq!(check("::ffff:127.0.0.1", false), Ok(()));
        assert_eq!(check("192.0.2.1", false), Err(OutboundError::NotEncrypted));
        assert_eq!(check("192.0.2.1", true), Ok(()));
    }
}
