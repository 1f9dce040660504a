//! Parsers of setting values: durations, numbers, booleans, lists, origins, networks. An error says what is wrong with the value
//! and what to write instead; which values make sense for one setting is decided in the file of that setting.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

/// Why a value is not valid: a sentence without the setting's name, which the caller puts before it.
#[derive(Debug)]
pub struct InvalidValue {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl InvalidValue {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// An error with this message and the error that led to it.
    pub fn caused_by(message: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self { message: message.into(), source: Some(Box::new(source)) }
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for InvalidValue {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// Seconds (`90`), or numbers with units: `15m`, `30d`, `1h30m`.
pub fn duration(text: &str) -> Result<Duration, InvalidValue> {
    let message = || format!("{text:?} is not a valid duration; write seconds (90) or units (15m, 12h, 30d)");
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
            _ => return Err(InvalidValue::new(message())),
        };
        let count: u32 = number.parse().map_err(|error| InvalidValue::caused_by(message(), error))?;
        total = total.saturating_add(unit.saturating_mul(count.into()));
        number.clear();
    }
    // A number without a unit after one with a unit is ambiguous: `5m5`.
    if !number.is_empty() || text.is_empty() {
        return Err(InvalidValue::new(message()));
    }
    Ok(Duration::from_secs(total))
}

/// A duration of at least one second.
pub fn lifetime(text: &str) -> Result<Duration, InvalidValue> {
    match duration(text)? {
        Duration::ZERO => Err(InvalidValue::new("a duration of 0 seconds is too short; use at least 1s")),
        positive => Ok(positive),
    }
}

/// `true` or `false`, and their usual synonyms.
pub fn boolean(text: &str) -> Result<bool, InvalidValue> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        other => Err(InvalidValue::new(format!("{other:?} is not a valid boolean; use true or false"))),
    }
}

/// A whole number within the range.
pub fn number<T>(text: &str, range: RangeInclusive<T>) -> Result<T, InvalidValue>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        InvalidValue::new(format!(
            "{text:?} is not valid; write a whole number from {} to {}",
            range.start(),
            range.end()
        ))
    })
}

/// A socket address to listen on. `localhost` stands for 127.0.0.1; other host names are not resolved.
pub fn address(text: &str) -> Result<SocketAddr, InvalidValue> {
    let localhost = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let text = localhost.as_deref().unwrap_or(text);
    text.parse().map_err(|error| {
        let message = format!("{text:?} is not a valid address; write IP:PORT, as in 127.0.0.1:9154 or [::]:9154");
        InvalidValue::caused_by(message, error)
    })
}

/// Scheme, host and port, and nothing after them: the serialised origin of the WHATWG URL standard.
pub fn origin(text: &str) -> Result<Url, InvalidValue> {
    let shape = "write scheme, host and, if needed, port: https://app.example.com";
    let url = Url::parse(text)
        .map_err(|error| InvalidValue::caused_by(format!("{text:?} is not a valid URL ({error}); {shape}"), error))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(InvalidValue::new(format!("{text:?} is not an http or https URL; {shape}")));
    }
    if url.host_str().is_some_and(|host| host.contains('*')) {
        let message =
            format!("{text:?} is a pattern; list each origin: https://app.example.com,https://shop.example.com");
        return Err(InvalidValue::new(message));
    }
    // Not quoted: the URL contains a password.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidValue::new(format!("the URL contains a user name or password; {shape}")));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidValue::new(format!("{text:?} has a path, query or fragment; {shape}")));
    }
    Ok(url)
}

/// The entries of a list: separated by commas or line breaks, without blanks around them. Empty entries, as after a comma at
/// the end, are none.
pub fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n', '\r']).map(str::trim).filter(|entry| !entry.is_empty())
}

/// A network or a single address: `10.0.0.0/8`, `::1`.
pub fn network(text: &str) -> Result<IpNet, InvalidValue> {
    let single_address = || text.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address));
    let network = text.parse::<IpNet>().ok().or_else(single_address);
    network.ok_or_else(|| {
        InvalidValue::new(format!("{text:?} is not a valid network; write 10.0.0.0/8, or a single address"))
    })
}

/// A role's name. It becomes part of tokens, headers and rule files, so its characters are restricted.
pub fn role(text: &str) -> Result<String, InvalidValue> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if text.is_empty() || text.len() > 64 || !text.chars().all(is_allowed) {
        return Err(InvalidValue::new(format!("{text:?} is not a valid role; use up to 64 letters, digits, _ and -")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_units() {
        for (text, seconds) in [("90", 90), ("15m", 900), ("30d", 2_592_000), ("1h30m", 5400), ("5s", 5), ("0", 0)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for invalid in ["", "m", "1.5h", "-5", "15 m", "15min", "99999999999d", "5m5"] {
            assert!(duration(invalid).is_err(), "{invalid}");
        }
        assert!(lifetime("0").is_err());
    }

    #[test]
    fn an_origin_ends_with_its_port() {
        assert_eq!(origin("https://a.example:8443").unwrap().port(), Some(8443));
        for invalid in ["a.example", "https://a.example/x", "ftp://a", "https://u:p@a", "https://a?x", "*", "null"] {
            assert!(origin(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn list_entries_are_separated_by_commas_or_line_breaks() {
        for list in ["a,b", " a , b ", "a,b,", ",a,,b", "a\nb", "\n  a,\n  b,\n", "a\r\nb\r\n", "\ta\t,\tb"] {
            assert_eq!(entries(list).collect::<Vec<_>>(), ["a", "b"], "{list:?}");
        }
        assert_eq!(entries("a b, c").collect::<Vec<_>>(), ["a b", "c"]);
        assert_eq!(entries(" , ,\n").count(), 0);
    }

    #[test]
    fn a_network_may_be_one_address() {
        assert!(network("127.0.0.1").unwrap().contains(&"127.0.0.1".parse::<std::net::IpAddr>().unwrap()));
        assert!(network("10.0.0.0/33").is_err());
    }

    #[test]
    fn an_invalid_value_keeps_its_cause() {
        let error = address("here").unwrap_err();
        assert!(error.to_string().starts_with("\"here\" is not a valid address;") && error.source().is_some());
    }
}
