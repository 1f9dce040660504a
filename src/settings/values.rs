//! How the values of settings are written: durations, switches, lists, origins, networks. Each reader says in one
//! sentence what was expected; which value is sensible is for the setting's own file.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

/// Seconds (`90`), or numbers with units, largest first: `15m`, `30d`, `1h30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write seconds (90) or units (15m, 12h, 30d)");
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let mut total = 0_u64;
    let mut number = String::new();
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            number.push(letter);
            continue;
        }
        let unit: u64 = match letter {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            _ => return Err(wrong()),
        };
        let count: u32 = number.parse().map_err(|_not_a_number| wrong())?;
        total = total.saturating_add(unit.saturating_mul(count.into()));
        number.clear();
    }
    if !number.is_empty() || text.is_empty() {
        return Err(wrong());
    }
    Ok(Duration::from_secs(total))
}

/// A duration of at least a second.
pub fn lifetime(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("nothing can live for 0 seconds; use at least 1".to_owned()),
        some => Ok(some),
    }
}

/// `true` or `false`.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

/// An address to listen on; `localhost` is understood.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let localhost = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let text = localhost.as_deref().unwrap_or(text);
    text.parse().map_err(|_why| format!("{text:?} is no address; write 127.0.0.1:9154 or [::]:9154"))
}

/// Scheme, host and port, nothing after them: the serialised origin of the WHATWG URL standard.
pub fn origin(text: &str) -> Result<Url, String> {
    let shape = "write scheme, host and, if needed, port: https://app.example.com";
    let url = Url::parse(text).map_err(|why| format!("{text:?} is no URL ({why}); {shape}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!("{text:?} is neither http nor https; {shape}"));
    }
    if url.host_str().is_some_and(|host| host.contains('*')) {
        return Err(format!(
            "{text:?} is a pattern; name each origin: https://app.example.com,https://shop.example.com"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("it holds a user name or password; {shape}"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} goes on after the host; {shape}"));
    }
    Ok(url)
}

/// An address or a network: `10.0.0.0/8`, `::1`.
pub fn network(text: &str) -> Result<IpNet, String> {
    let one_address = || text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address));
    let net = text.parse::<IpNet>().ok().or_else(one_address);
    net.ok_or_else(|| format!("{text:?} is no network; write 10.0.0.0/8 or an address"))
}

/// A role's name: it stands in tokens and headers, so it is plain.
pub fn role(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
        return Err(format!("{text:?} is no role; use up to 64 letters, digits, _ and -"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_units() {
        for (text, seconds) in [("90", 90), ("15m", 900), ("30d", 2_592_000), ("1h30m", 5400), ("5s", 5), ("0", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in
            ["", "m", "15", "1.5h", "-5", "15 m", "15min", "99999999999d", "5m5"].into_iter().filter(|t| *t != "15")
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(lifetime("0").is_err());
    }

    #[test]
    fn an_origin_ends_with_its_port() {
        assert_eq!(origin("https://a.example:8443").unwrap().port(), Some(8443));
        for wrong in ["a.example", "https://a.example/x", "ftp://a", "https://u:p@a", "https://a?x", "*", "null"] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_network_may_be_one_address() {
        assert!(network("127.0.0.1").unwrap().contains(&"127.0.0.1".parse::<std::net::IpAddr>().unwrap()));
        assert!(network("10.0.0.0/33").is_err());
    }
}
