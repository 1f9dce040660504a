//! A mail, read as a mail program does: headers unfolded, encoded words and bodies decoded (RFC 5322, 2045, 2047). What it
//! should say is left to the tests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

/// A mail as it was taken.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Whom the envelope names as its sender.
    pub from: String,
    /// Whom the envelope names as its recipients.
    pub to: Vec<String>,
    /// Unfolded, with encoded words decoded.
    pub headers: Vec<(String, String)>,
    /// Decoded, lines ended by LF.
    pub body: String,
    /// As it came, dots unstuffed.
    pub raw: String,
}

impl Mail {
    /// Reads one; what is wrong with it, if it is no mail.
    pub fn read(from: String, to: Vec<String>, raw: &str) -> Result<Self, String> {
        let (head, body) = raw.split_once("\r\n\r\n").ok_or("no empty line after the headers")?;
        if !head.is_ascii() {
            return Err("a header is not ASCII".to_owned());
        }
        let mut headers: Vec<(String, String)> = vec![];
        for line in head.split("\r\n") {
            if let (Some(more), Some((_, value))) = (line.strip_prefix([' ', '\t']), headers.last_mut()) {
                *value = format!("{value} {}", more.trim());
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(format!("the header {line:?}"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        for (_, value) in &mut headers {
            *value = with_words_decoded(value)?;
        }
        let mut mail = Self { from, to, headers, body: String::new(), raw: raw.to_owned() };
        let coding = mail.header("Content-Transfer-Encoding").unwrap_or("7bit").to_lowercase();
        let bytes = match coding.as_str() {
            "quoted-printable" => from_quoted_printable(body)?,
            "base64" => from_base64(body)?,
            "7bit" if !body.is_ascii() => return Err("7bit is not ASCII".to_owned()),
            "7bit" | "8bit" => body.as_bytes().to_vec(),
            other => return Err(format!("the encoding {other:?}")),
        };
        mail.body = String::from_utf8(bytes).map_err(|why| format!("the body: {why}"))?.replace("\r\n", "\n");
        Ok(mail)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// The header that every mail must have, once.
    pub fn the(&self, name: &str) -> &str {
        let named: Vec<_> = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).collect();
        assert_eq!(named.len(), 1, "{name} in {}", self.raw);
        &named[0].1
    }

    /// Whether the envelope leads to this address and to no other.
    pub fn is_to(&self, address: &str) -> bool {
        matches!(self.to.as_slice(), [only] if only.eq_ignore_ascii_case(address))
    }

    /// Every link in it.
    pub fn links(&self) -> Vec<Url> {
        let words = self.body.split_whitespace().map(|word| word.trim_matches(['<', '>']));
        let links = words.filter(|word| word.contains("://"));
        links.map(|link| Url::parse(link).unwrap_or_else(|why| panic!("{link}: {why}"))).collect()
    }

    /// Its only link.
    pub fn link(&self) -> Url {
        let mut links = self.links();
        assert_eq!(links.len(), 1, "one link: {}", self.body);
        links.remove(0)
    }

    /// The token in its only link.
    pub fn token(&self) -> String {
        let link = self.link();
        let mut tokens = link.query_pairs().filter(|(name, _)| name == "token").map(|(_, token)| token.into_owned());
        let token = tokens.next().unwrap_or_else(|| panic!("no token: {}", self.body));
        crate::support::secret_scanner::used("the token of a mail", &token);
        token
    }
}

fn from_base64(body: &str) -> Result<Vec<u8>, String> {
    let letters: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    STANDARD.decode(letters).map_err(|why| format!("base64: {why}"))
}

/// RFC 2045, 6.7.
fn from_quoted_printable(body: &str) -> Result<Vec<u8>, String> {
    let mut bytes = vec![];
    let mut rest = body.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'=', [b'\r', b'\n', after @ ..]) => rest = after,
            (b'=', [high, low, after @ ..]) => {
                bytes.push(hexadecimal(*high, *low)?);
                rest = after;
            }
            (b'=', _) => return Err("quoted-printable ends in =".to_owned()),
            (byte, _) if byte.is_ascii() => bytes.push(*byte),
            (byte, _) => return Err(format!("quoted-printable with the octet {byte}")),
        }
    }
    if body.split("\r\n").any(|line| line.len() > 76) {
        return Err("quoted-printable with a line over 76 characters".to_owned());
    }
    Ok(bytes)
}

fn hexadecimal(high: u8, low: u8) -> Result<u8, String> {
    let text = [high, low];
    let upper = text.iter().all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(digit));
    let text = std::str::from_utf8(&text).ok().filter(|_| upper).ok_or("quoted-printable with no hexadecimals")?;
    u8::from_str_radix(text, 16).map_err(|why| why.to_string())
}

/// RFC 2047: words such as `=?UTF-8?Q?=C3=BC?=`; blanks between two of them are none.
fn with_words_decoded(value: &str) -> Result<String, String> {
    let (mut text, mut rest, mut after_a_word) = (String::new(), value, false);
    while let Some((before, word)) = rest.split_once("=?") {
        // Only what stands by itself is one; an address may hold the same signs.
        if !before.is_empty() && !before.ends_with(' ') {
            text += before;
            text += "=?";
            (rest, after_a_word) = (word, false);
            continue;
        }
        let mut parts = word.splitn(3, '?');
        let (charset, coding) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (coded, after) =
            parts.next().and_then(|rest| rest.split_once("?=")).ok_or("an encoded word without an end")?;
        if !charset.eq_ignore_ascii_case("utf-8") {
            return Err(format!("the charset {charset}"));
        }
        let bytes = match coding {
            "B" | "b" => from_base64(coded)?,
            "Q" | "q" => from_quoted_printable(&coded.replace('_', "=20"))?,
            other => return Err(format!("an encoded word coded {other}")),
        };
        if !(after_a_word && before.trim().is_empty()) {
            text += before;
        }
        text += &String::from_utf8(bytes).map_err(|why| format!("an encoded word: {why}"))?;
        (rest, after_a_word) = (after, true);
    }
    Ok(text + rest)
}

#[test]
fn a_mail_is_decoded_as_its_headers_say() {
    let read = |raw: &str| Mail::read("a@b.example".to_owned(), vec!["c@d.example".to_owned()], raw);
    let quoted = "Subject: =?UTF-8?Q?=C3=A1_b?=\r\n =?utf-8?b?w6E=?= c\r\nX: y\r\n\tz\r\nContent-Transfer-Encoding: \
                  quoted-printable\r\n\r\n=C3=A1 <http://x.example/?token=3Dabc=\r\ndef>\r\n";
    let mail = read(quoted).unwrap();
    assert_eq!((mail.the("subject"), mail.the("x")), ("á bá c", "y z"));
    assert_eq!((mail.body.as_str(), mail.token().as_str()), ("á <http://x.example/?token=abcdef>\n", "abcdef"));
    assert_eq!(read("A: b\r\nContent-Transfer-Encoding: base64\r\n\r\nw6E=\r\n").unwrap().body, "á");
    assert_eq!(read("A: b\r\n\r\nplain\r\n").unwrap().body, "plain\n");
    assert_eq!(read("To: a=?b?=c@d.example\r\n\r\n").unwrap().the("to"), "a=?b?=c@d.example");
    for broken in ["A: b", "no header\r\n\r\n", "A: b\r\n\r\n\u{e1}", "A: \u{e1}\r\n\r\n", "A: =?utf-8?q?=C3?=\r\n\r\n"]
    {
        assert!(read(broken).is_err(), "{broken:?}");
    }
}
