//! An SMTP session, command by command (RFC 5321, RFC 4954). The server decides when to refuse, delay or close.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Mail, Shared};

/// RFC 5321, 4.5.3.1: a line of text without its end.
const LINE_MAX: usize = 998;

/// Bounds memory.
const MAIL_MAX: usize = 1 << 20;

/// The state between `MAIL` and the end of the mail.
#[derive(Default)]
struct Envelope {
    greeted: bool,
    from: Option<String>,
    to: Vec<String>,
}

enum Next {
    Go,
    Over,
    Tls,
}

impl Shared {
    /// Serves until the client leaves; returns the connection if it asked for TLS on it.
    pub(super) fn converse<W: Read + Write>(&self, wire: W, greets: bool, secure: bool) -> io::Result<Option<W>> {
        let mut wire = BufReader::new(wire);
        if greets {
            self.reply(&mut wire, "220 mail.example ESMTP of a test")?;
        }
        let mut envelope = Envelope::default();
        while let Some(line) = self.line(&mut wire)? {
            self.change(|state| state.commands.push(line.clone()));
            match self.command(&mut wire, &line, &mut envelope, secure)? {
                Next::Go => {}
                Next::Over => return Ok(None),
                // Bytes sent together with the command are not read as if TLS had carried them.
                Next::Tls => return Ok(Some(wire.into_inner())),
            }
        }
        Ok(None)
    }

    fn reply<W: Read + Write>(&self, wire: &mut BufReader<W>, text: &str) -> io::Result<()> {
        self.when_not_held()?;
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.len() - 1;
        let mut bytes = String::new();
        for (number, line) in lines.iter().enumerate() {
            let (code, rest) = line.split_at(3);
            let divider = if number == last { " " } else { "-" };
            let _ = write!(bytes, "{code}{divider}{}\r\n", rest.trim_start());
        }
        wire.get_mut().write_all(bytes.as_bytes())?;
        wire.get_mut().flush()
    }

    /// A line without its end; `None` if the client has closed.
    fn line<W: Read + Write>(&self, wire: &mut BufReader<W>) -> io::Result<Option<String>> {
        let mut bytes = vec![];
        let most = u64::try_from(MAIL_MAX).unwrap_or(u64::MAX);
        wire.by_ref().take(most).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let Some(line) = bytes.strip_suffix(b"\r\n") else {
            let gone = !bytes.ends_with(b"\n");
            if !gone {
                self.fault(format!("a line ends in LF alone: {}", bytes.escape_ascii()));
            }
            return Ok(None);
        };
        if line.iter().any(|byte| [b'\r', b'\0'].contains(byte)) || line.len() > LINE_MAX {
            self.fault(format!("a line of {} bytes: {}", line.len(), line.escape_ascii()));
        }
        Ok(Some(String::from_utf8_lossy(line).into_owned()))
    }

    /// The reply with which a test refuses this command.
    fn refusal(&self, line: &str) -> Option<String> {
        let line = line.to_uppercase();
        let state = self.lock();
        state.refusals.iter().find(|(command, _)| line.starts_with(command)).map(|(_, reply)| reply.clone())
    }

    fn command<W: Read + Write>(
        &self,
        wire: &mut BufReader<W>,
        line: &str,
        envelope: &mut Envelope,
        secure: bool,
    ) -> io::Result<Next> {
        if let Some(reply) = self.refusal(line) {
            self.reply(wire, &reply)?;
            return Ok(Next::Go);
        }
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_uppercase().as_str() {
            "EHLO" | "HELO" => self.greet(wire, argument, envelope, secure)?,
            "AUTH" if self.offer.auth => self.authenticate(wire, argument)?,
            "STARTTLS" if self.offer.starttls && !secure => {
                self.reply(wire, "220 go on")?;
                return Ok(Next::Tls);
            }
            "MAIL" => self.begin_mail(wire, argument, envelope)?,
            "RCPT" => self.add_recipient(wire, argument, envelope)?,
            "DATA" => return self.take_mail(wire, envelope),
            "RSET" => {
                *envelope = Envelope { greeted: envelope.greeted, ..Envelope::default() };
                self.reply(wire, "250 forgotten")?;
            }
            "NOOP" => self.reply(wire, "250 yes")?,
            "QUIT" => {
                self.reply(wire, "221 bye")?;
                return Ok(Next::Over);
            }
            _ => {
                self.fault(format!("{verb:?} was not offered"));
                self.reply(wire, "500 unknown")?;
            }
        }
        Ok(Next::Go)
    }

    fn greet<W: Read + Write>(
        &self,
        wire: &mut BufReader<W>,
        name: &str,
        envelope: &mut Envelope,
        secure: bool,
    ) -> io::Result<()> {
        let of_domain = |c: char| c.is_ascii_alphanumeric() || "-.[]:".contains(c);
        if name.is_empty() || !name.chars().all(of_domain) {
            self.fault(format!("{name:?} greets, which is neither a domain nor an address"));
        }
        *envelope = Envelope { greeted: true, ..Envelope::default() };
        let mut text = "250 mail.example\n250 8BITMIME\n250 SIZE 1048576".to_owned();
        if self.offer.starttls && !secure {
            text += "\n250 STARTTLS";
        }
        if self.offer.auth {
            text += "\n250 AUTH PLAIN LOGIN";
        }
        self.reply(wire, &text)
    }

    fn authenticate<W: Read + Write>(&self, wire: &mut BufReader<W>, argument: &str) -> io::Result<()> {
        let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        let mut send_request = |prompt: &str| -> io::Result<Vec<u8>> {
            self.reply(wire, &format!("334 {prompt}"))?;
            Ok(decoded(&self.line(wire)?.unwrap_or_default()))
        };
        let (name, password) = match (mechanism.to_uppercase().as_str(), initial) {
            ("LOGIN", "") => (send_request("VXNlcm5hbWU6")?, send_request("UGFzc3dvcmQ6")?),
            ("LOGIN", name) => (decoded(name), send_request("UGFzc3dvcmQ6")?),
            (_, initial) => {
                let whole = if initial.is_empty() { send_request("")? } else { decoded(initial) };
                let mut parts = whole.splitn(3, |byte| *byte == 0).skip(1).map(<[u8]>::to_vec);
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            }
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.change(|state| state.credentials.push((text(name), text(password))));
        self.reply(wire, "235 welcome")
    }

    fn begin_mail<W: Read + Write>(
        &self,
        wire: &mut BufReader<W>,
        argument: &str,
        envelope: &mut Envelope,
    ) -> io::Result<()> {
        let address = address_in(argument, "FROM:");
        match address {
            Some(address) if envelope.greeted && envelope.from.is_none() => {
                envelope.from = Some(address);
                self.reply(wire, "250 go on")
            }
            _ => {
                self.fault(format!("MAIL {argument} out of its turn"));
                self.reply(wire, "503 not now")
            }
        }
    }

    fn add_recipient<W: Read + Write>(
        &self,
        wire: &mut BufReader<W>,
        argument: &str,
        envelope: &mut Envelope,
    ) -> io::Result<()> {
        match address_in(argument, "TO:") {
            Some(address) if envelope.from.is_some() => {
                envelope.to.push(address);
                self.reply(wire, "250 go on")
            }
            _ => {
                self.fault(format!("RCPT {argument} out of its turn"));
                self.reply(wire, "503 not now")
            }
        }
    }

    fn take_mail<W: Read + Write>(&self, wire: &mut BufReader<W>, envelope: &mut Envelope) -> io::Result<Next> {
        let Some(from) = envelope.from.take().filter(|_| !envelope.to.is_empty()) else {
            self.fault("DATA without a recipient".to_owned());
            self.reply(wire, "503 not now")?;
            return Ok(Next::Go);
        };
        self.reply(wire, "354 go on")?;
        let mut text = String::new();
        loop {
            let Some(line) = self.line(wire)? else { return Ok(Next::Over) };
            if line == "." {
                break;
            }
            // A dot before a dot (RFC 5321, 4.5.2).
            text += line.strip_prefix('.').unwrap_or(&line);
            text += "\r\n";
            if text.len() > MAIL_MAX {
                self.fault("a mail without an end".to_owned());
                return Ok(Next::Over);
            }
        }
        let to = std::mem::take(&mut envelope.to);
        let reply = self.refusal(".");
        if reply.is_none() {
            match Mail::read(from, to, &text) {
                Ok(mail) => self.change(|state| state.mails.push(mail)),
                Err(why) => self.fault(format!("{why}: {text}")),
            }
        }
        self.reply(wire, reply.as_deref().unwrap_or("250 taken"))?;
        Ok(Next::Go)
    }
}

fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text.trim()).unwrap_or_default()
}

/// The address in angle brackets after this word.
fn address_in(argument: &str, word: &str) -> Option<String> {
    let rest =
        argument.get(..word.len()).filter(|start| start.eq_ignore_ascii_case(word)).map(|_| &argument[word.len()..]);
    let (address, _) = rest?.trim_start().strip_prefix('<')?.split_once('>')?;
    Some(address.to_owned())
}
