//! Form and JSON body extractor: size limit, deadline, content type, and a strict parser whose fields are taken one by one.
//! What the fields mean, and whether unknown ones are errors, is decided by each dialect's wire.rs.

mod multipart;

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::Payload;
use futures_util::StreamExt;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::core::error::{FieldError, FieldRule, Refusal};
use crate::secret::Secret;
use crate::web::response::error::{RequestError, WebError};

/// The largest body that is read.
pub const BODY_MAX: usize = 16 * 1024;

/// The deadline for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(8);

/// The fields of a JSON object or a form, taken one by one. Their errors are collected, so that one response lists them all.
#[derive(Debug, Default)]
pub struct Fields {
    entries: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Reads a required JSON body.
    pub async fn required(request: &HttpRequest, payload: &mut Payload) -> Result<Self, WebError> {
        let body = collect(request, payload).await?;
        if !is_json(request) {
            return Err(RequestError::UnsupportedMediaType.into());
        }
        Self::parse(&body)
    }

    /// Reads an optional JSON body; an empty one may have any content type.
    pub async fn optional(request: &HttpRequest, payload: &mut Payload) -> Result<Self, WebError> {
        let body = collect(request, payload).await?;
        match (body.is_empty(), is_json(request)) {
            (true, _) => Ok(Self::default()),
            (false, false) => Err(RequestError::UnsupportedMediaType.into()),
            (false, true) => Self::parse(&body),
        }
    }

    /// Reads an optional body, as JSON or as a form.
    pub async fn json_or_form(request: &HttpRequest, payload: &mut Payload) -> Result<Self, WebError> {
        if !has_content_type(request, "application/x-www-form-urlencoded") {
            return Self::optional(request, payload).await;
        }
        Self::form(request, payload).await
    }

    /// As `json_or_form`, or as a form in the encoding of a script's FormData.
    pub async fn json_or_any_form(request: &HttpRequest, payload: &mut Payload) -> Result<Self, WebError> {
        if !multipart::is_multipart(request) {
            return Self::json_or_form(request, payload).await;
        }
        let body = collect(request, payload).await?;
        Self::of_form(multipart::fields(request, body).await?)
    }

    /// Reads a form and no other format.
    pub async fn form(request: &HttpRequest, payload: &mut Payload) -> Result<Self, WebError> {
        let body = collect(request, payload).await?;
        if !has_content_type(request, "application/x-www-form-urlencoded") {
            return Err(RequestError::UnsupportedMediaType.into());
        }
        let fields = url::form_urlencoded::parse(&body);
        Self::of_form(fields.map(|(name, value)| (name.into_owned(), value.into_owned())))
    }

    fn of_form(fields: impl IntoIterator<Item = (String, String)>) -> Result<Self, WebError> {
        let mut entries = Map::new();
        for (name, value) in fields {
            if entries.insert(name, Value::String(value)).is_some() {
                return Err(RequestError::MalformedBody("a field of the form appears twice".to_owned()).into());
            }
        }
        Ok(Self { entries, errors: Vec::new() })
    }

    /// Reads a JSON object, strictly: nothing after it, no member twice.
    pub fn parse(body: &[u8]) -> Result<Self, WebError> {
        let member = RefCell::new(None);
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let read = UniqueMembers { member: Some(&member) }.deserialize(&mut deserializer);
        let value = read.and_then(|value| deserializer.end().map(|()| value));
        let describe = |error: &serde_json::Error| describe_syntax_error(error, member.borrow().as_deref());
        let value = value.map_err(|error| RequestError::MalformedBody(describe(&error)))?;
        match value {
            Value::Object(entries) => Ok(Self { entries, errors: Vec::new() }),
            _ => Err(Refusal::InvalidFields(vec![FieldError::new("body", FieldRule::Type("an object"))]).into()),
        }
    }

    /// Fields that were read elsewhere.
    pub fn of(entries: Map<String, Value>) -> Self {
        Self { entries, errors: Vec::new() }
    }

    /// An optional text; `null` counts as absent.
    pub fn text(&mut self, field: &str) -> Option<String> {
        match self.entries.shift_remove(field)? {
            Value::Null => None,
            Value::String(text) => Some(text),
            _ => self.add_error(field, FieldRule::Type("text")),
        }
    }

    /// An optional text of at most this many characters; an empty one counts as absent.
    pub fn short_text(&mut self, field: &str, max: usize) -> Option<String> {
        let text = self.text(field).filter(|text| !text.is_empty())?;
        if text.chars().count() > max {
            return self.add_error(field, FieldRule::TooLong(max));
        }
        if text.chars().any(char::is_control) {
            return self.add_error(field, FieldRule::ControlCharacter);
        }
        Some(text)
    }

    /// Whether a field is there and `null`.
    pub fn is_null(&self, field: &str) -> bool {
        self.entries.get(field) == Some(&Value::Null)
    }

    /// A text or `null`: `None` when the field is absent, `Some(None)` when it is to be cleared.
    pub fn text_or_null(&mut self, field: &str) -> Option<Option<String>> {
        match self.entries.shift_remove(field)? {
            Value::Null => Some(None),
            Value::String(text) => Some(Some(text).filter(|text| !text.is_empty())),
            _ => self.add_error(field, FieldRule::Type("text or null")),
        }
    }

    /// An optional secret.
    pub fn secret(&mut self, field: &str) -> Option<Secret> {
        self.text(field).map(Secret::new)
    }

    /// A required secret. An absent one is an error of the field and yields an empty secret here, so that the other fields are
    /// checked too; `finish` or `deny_unknown_fields` then refuse the request.
    pub fn required_secret(&mut self, field: &str) -> Secret {
        let errors_before = self.errors.len();
        let secret = self.secret(field);
        if secret.is_none() && errors_before == self.errors.len() {
            self.errors.push(FieldError::new(field, FieldRule::Missing));
        }
        secret.unwrap_or_else(|| Secret::new(""))
    }

    /// An optional boolean.
    pub fn bool(&mut self, field: &str) -> Option<bool> {
        match self.entries.shift_remove(field)? {
            Value::Null => None,
            Value::Bool(on) => Some(on),
            _ => self.add_error(field, FieldRule::Type("true or false")),
        }
    }

    /// An optional object, as JSON text.
    pub fn object(&mut self, field: &str) -> Option<String> {
        match self.entries.shift_remove(field)? {
            Value::Null => None,
            Value::Object(object) => Some(Value::Object(object).to_string()),
            _ => self.add_error(field, FieldRule::Type("an object")),
        }
    }

    /// Takes every remaining field, in the order of the body.
    pub fn take_rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.entries)
    }

    /// Whether a field taken so far breaks a rule.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Records that a field breaks a rule.
    pub fn add_error<T>(&mut self, field: &str, rule: FieldRule) -> Option<T> {
        self.errors.push(FieldError::new(field, rule));
        None
    }

    /// A value of any type.
    pub fn value(&mut self, field: &str) -> Option<Value> {
        self.entries.shift_remove(field)
    }

    /// Finishes reading and ignores the remaining fields.
    pub fn finish(self) -> Result<(), Refusal> {
        if self.errors.is_empty() { Ok(()) } else { Err(Refusal::InvalidFields(self.errors)) }
    }

    /// Finishes reading; each remaining field is an error, since the request does not have it.
    pub fn deny_unknown_fields(mut self) -> Result<(), Refusal> {
        for field in self.entries.keys() {
            let shown: String = field.chars().filter(|c| !c.is_control()).take(64).collect();
            self.errors.push(FieldError::new(shown, FieldRule::Unknown));
        }
        self.finish()
    }
}

/// Exactly `application/json`, optionally with a charset. A form of another site cannot send it without a CORS preflight,
/// whereas a text/plain form can carry JSON; `+json` types are other formats.
fn is_json(request: &HttpRequest) -> bool {
    has_content_type(request, "application/json")
}

fn has_content_type(request: &HttpRequest, expected: &str) -> bool {
    let mut types = request.headers().get_all(CONTENT_TYPE);
    let (Some(content_type), None) = (types.next(), types.next()) else { return false };
    let Ok(text) = content_type.to_str() else { return false };
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(expected));
    // A value may be quoted (RFC 9110 section 5.6.6).
    let is_utf8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
    };
    essence && parts.all(|parameter| parameter.is_empty() || is_utf8(parameter))
}

async fn collect(request: &HttpRequest, payload: &mut Payload) -> Result<Vec<u8>, RequestError> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > BODY_MAX as u64) {
        return Err(RequestError::BodyTooLarge);
    }
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk =
                chunk.map_err(|_connection_error| RequestError::MalformedBody("the body is incomplete".to_owned()))?;
            if body.len() + chunk.len() > BODY_MAX {
                return Err(RequestError::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(read) => read,
        Err(_elapsed) => Err(RequestError::BodyTooSlow),
    }
}

/// The place at which the body cannot be parsed, without its content: that may be a password.
fn describe_syntax_error(error: &serde_json::Error, member: Option<&str>) -> String {
    let place = match member {
        Some(member) => format!("in {member:?}, line {} column {}", error.line(), error.column()),
        None => format!("line {} column {}", error.line(), error.column()),
    };
    if error.is_data() {
        format!("a member appears twice ({place})")
    } else {
        format!("the body is not valid JSON ({place})")
    }
}

/// Deserializes a `Value` and refuses an object that has a member twice, at any depth: RFC 8259 leaves open which of them
/// counts, so that a proxy could check one and this service use the other. Records the outermost member that it is in.
#[derive(Clone, Copy)]
struct UniqueMembers<'a> {
    member: Option<&'a RefCell<Option<String>>>,
}

impl<'de> DeserializeSeed<'de> for UniqueMembers<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueMembers<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(UniqueMembers { member: None })? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if let Some(member) = self.member {
                *member.borrow_mut() = Some(key.chars().filter(|c| !c.is_control()).take(64).collect());
            }
            if object.contains_key(&key) {
                return Err(A::Error::custom("twice"));
            }
            object.insert(key, members.next_value_seed(UniqueMembers { member: None })?);
        }
        if let Some(member) = self.member {
            *member.borrow_mut() = None;
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::Error;

    #[test]
    fn body_fields_are_taken_by_type_and_the_rest_is_unknown() {
        let mut fields = Fields::parse(br#"{"a":"x","b":true,"c":null,"d":1,"role":"ADMIN","e":{"k":[1]}}"#).unwrap();
        assert_eq!(fields.text("a").as_deref(), Some("x"));
        assert_eq!(fields.bool("b"), Some(true));
        assert_eq!(fields.text_or_null("c"), Some(None));
        assert_eq!(fields.text("d"), None);
        assert_eq!(fields.object("e").as_deref(), Some(r#"{"k":[1]}"#));
        assert_eq!(fields.text("absent"), None);
        let Err(Refusal::InvalidFields(errors)) = fields.deny_unknown_fields() else { panic!("errors expected") };
        assert_eq!(
            errors,
            [FieldError::new("d", FieldRule::Type("text")), FieldError::new("role", FieldRule::Unknown)]
        );
    }

    #[test]
    fn json_syntax_error_names_the_place_and_not_the_content() {
        for (body, place) in [
            (&b"{\"password\": hunter2}"[..], "in \"password\", line 1 column 14"),
            (b"", "line 1 column 0"),
            (b"{\"a\":1,\"a\":2}", "a member appears twice (in \"a\", line 1"),
            (b"{\"a\":{\"b\":1,\"b\":2}}", "a member appears twice (in \"a\""),
            (b"{} {}", "line 1 column 4"),
            (b"{\"a\":\"\xff\"}", "in \"a\""),
        ] {
            let Err(WebError::Request(RequestError::MalformedBody(message))) = Fields::parse(body) else {
                panic!("{body:?} was read")
            };
            assert!(message.contains(place) && !message.contains("hunter2"), "{message}");
        }
        assert!(matches!(
            Fields::parse(b"[\"a\",\"b\"]"),
            Err(WebError::Core(Error::Refusal(Refusal::InvalidFields(_))))
        ));
        assert!(Fields::parse("[".repeat(10_000).as_bytes()).is_err());
    }
}
