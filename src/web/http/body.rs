//! Reading a request's body: how much, how fast, in which format, and a strict reader of its fields. What the fields
//! mean, and whether one that is unknown matters, is for each dialect's wire.rs.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::Payload;
use futures_util::StreamExt;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::core::error::{Error, FieldError, FieldRule, Refusal};
use crate::secret::Secret;

/// The largest body that is read.
pub const BODY_MAX: usize = 16 * 1024;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(8);

/// The fields of a JSON object, taken one by one; what is wrong with each is collected and told at once.
#[derive(Debug, Default)]
pub struct Fields {
    entries: Map<String, Value>,
    faults: Vec<FieldError>,
}

impl Fields {
    /// Reads a body that must be there.
    pub async fn required(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        let body = collect(request, payload).await?;
        if !is_json(request) {
            return Err(Refusal::UnsupportedMediaType.into());
        }
        Ok(Self::parse(&body)?)
    }

    /// Reads a body that may be absent, whatever its content type then.
    pub async fn optional(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        let body = collect(request, payload).await?;
        match (body.is_empty(), is_json(request)) {
            (true, _) => Ok(Self::default()),
            (false, false) => Err(Refusal::UnsupportedMediaType.into()),
            (false, true) => Ok(Self::parse(&body)?),
        }
    }

    /// Reads a body that may be absent, as JSON or as a form.
    pub async fn json_or_form(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        if !is_of(request, "application/x-www-form-urlencoded") {
            return Self::optional(request, payload).await;
        }
        Self::form(request, payload).await
    }

    /// Reads a form, and nothing but a form.
    pub async fn form(request: &HttpRequest, payload: &mut Payload) -> Result<Self, Error> {
        let body = collect(request, payload).await?;
        if !is_of(request, "application/x-www-form-urlencoded") {
            return Err(Refusal::UnsupportedMediaType.into());
        }
        let mut entries = Map::new();
        for (name, value) in url::form_urlencoded::parse(&body) {
            if entries.insert(name.into_owned(), Value::String(value.into_owned())).is_some() {
                return Err(Refusal::MalformedBody("a field of the form stands twice".to_owned()).into());
            }
        }
        Ok(Self { entries, faults: Vec::new() })
    }

    /// Reads a JSON object, strictly: nothing after it, no member twice.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let member = RefCell::new(None);
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let read = Strict { member: Some(&member) }.deserialize(&mut deserializer);
        let value = read.and_then(|value| deserializer.end().map(|()| value));
        let value = value.map_err(|why| Refusal::MalformedBody(explain(&why, member.borrow().as_deref())))?;
        match value {
            Value::Object(entries) => Ok(Self { entries, faults: Vec::new() }),
            _ => Err(Refusal::InvalidFields(vec![FieldError::new("body", FieldRule::Type("an object"))])),
        }
    }

    /// A text, if there; `null` counts as absent.
    pub fn text(&mut self, field: &str) -> Option<String> {
        match self.entries.shift_remove(field)? {
            Value::Null => None,
            Value::String(text) => Some(text),
            _ => self.fault(field, FieldRule::Type("text")),
        }
    }

    /// A text of at most so many characters, if there and not empty.
    pub fn short_text(&mut self, field: &str, most: usize) -> Option<String> {
        let text = self.text(field).filter(|text| !text.is_empty())?;
        if text.chars().count() > most {
            return self.fault(field, FieldRule::TooLong(most));
        }
        if text.chars().any(char::is_control) {
            return self.fault(field, FieldRule::Type("text without control characters"));
        }
        Some(text)
    }

    /// A text or `null`: `None` when the field is absent, `Some(None)` when it is to be emptied.
    pub fn text_or_null(&mut self, field: &str) -> Option<Option<String>> {
        match self.entries.shift_remove(field)? {
            Value::Null => Some(None),
            Value::String(text) => Some(Some(text).filter(|text| !text.is_empty())),
            _ => self.fault(field, FieldRule::Type("text or null")),
        }
    }

    /// A secret, if there.
    pub fn secret(&mut self, field: &str) -> Option<Secret> {
        self.text(field).map(Secret::new)
    }

    /// A secret that must be there.
    pub fn required_secret(&mut self, field: &str) -> Secret {
        let faults = self.faults.len();
        let secret = self.secret(field);
        if secret.is_none() && faults == self.faults.len() {
            self.faults.push(FieldError::new(field, FieldRule::Missing));
        }
        secret.unwrap_or_else(|| Secret::new(""))
    }

    /// A switch, if there.
    pub fn switch(&mut self, field: &str) -> Option<bool> {
        match self.entries.shift_remove(field)? {
            Value::Null => None,
            Value::Bool(on) => Some(on),
            _ => self.fault(field, FieldRule::Type("true or false")),
        }
    }

    /// An object, if there, as JSON text.
    pub fn object(&mut self, field: &str) -> Option<String> {
        match self.entries.shift_remove(field)? {
            Value::Null => None,
            Value::Object(object) => Some(Value::Object(object).to_string()),
            _ => self.fault(field, FieldRule::Type("an object")),
        }
    }

    /// Every field that was not taken yet, in the order in which they stand.
    pub fn others(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.entries)
    }

    /// Whether a field has broken a rule so far.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Notes that a field breaks a rule.
    pub fn fault<T>(&mut self, field: &str, rule: FieldRule) -> Option<T> {
        self.faults.push(FieldError::new(field, rule));
        None
    }

    /// A value as it was sent.
    pub fn value(&mut self, field: &str) -> Option<Value> {
        self.entries.shift_remove(field)
    }

    /// Ends the reading where unknown fields are nobody's business.
    pub fn end(self) -> Result<(), Refusal> {
        if self.faults.is_empty() { Ok(()) } else { Err(Refusal::InvalidFields(self.faults)) }
    }

    /// Ends the reading: what was not taken is a field that this request does not have.
    pub fn end_strictly(mut self) -> Result<(), Refusal> {
        for field in self.entries.keys() {
            let shown: String = field.chars().filter(|c| !c.is_control()).take(64).collect();
            self.faults.push(FieldError::new(shown, FieldRule::Unknown));
        }
        self.end()
    }
}

/// Exactly `application/json`, with a charset at most: a form of another site can send neither (a text/plain form can
/// carry JSON), and `+json` types are other formats.
fn is_json(request: &HttpRequest) -> bool {
    is_of(request, "application/json")
}

fn is_of(request: &HttpRequest, expected: &str) -> bool {
    let mut types = request.headers().get_all(CONTENT_TYPE);
    let (Some(content_type), None) = (types.next(), types.next()) else { return false };
    let Ok(text) = content_type.to_str() else { return false };
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(expected));
    essence && parts.all(|parameter| parameter.eq_ignore_ascii_case("charset=utf-8") || parameter.is_empty())
}

async fn collect(request: &HttpRequest, payload: &mut Payload) -> Result<Vec<u8>, Error> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > BODY_MAX as u64) {
        return Err(Refusal::BodyTooLarge.into());
    }
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_torn| Refusal::MalformedBody("the body broke off".to_owned()))?;
            if body.len() + chunk.len() > BODY_MAX {
                return Err(Refusal::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(body) => Ok(body?),
        Err(_elapsed) => Err(Refusal::BodyTooSlow.into()),
    }
}

/// Where the body cannot be read, without a word of what stands there: it may be a password.
fn explain(why: &serde_json::Error, member: Option<&str>) -> String {
    let place = match member {
        Some(member) => format!("in {member:?}, line {} column {}", why.line(), why.column()),
        None => format!("line {} column {}", why.line(), why.column()),
    };
    if why.is_data() { format!("a member stands twice ({place})") } else { format!("the body is no JSON ({place})") }
}

/// Builds a `Value` and refuses an object that has a member twice, at any depth: two readers would believe two things.
/// Remembers the outermost member that it was in.
#[derive(Clone, Copy)]
struct Strict<'a> {
    member: Option<&'a RefCell<Option<String>>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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
        while let Some(item) = items.next_element_seed(Strict { member: None })? {
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
            object.insert(key, members.next_value_seed(Strict { member: None })?);
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

    #[test]
    fn fields_are_taken_by_type_and_the_rest_is_unknown() {
        let mut fields = Fields::parse(br#"{"a":"x","b":true,"c":null,"d":1,"role":"ADMIN","e":{"k":[1]}}"#).unwrap();
        assert_eq!(fields.text("a").as_deref(), Some("x"));
        assert_eq!(fields.switch("b"), Some(true));
        assert_eq!(fields.text_or_null("c"), Some(None));
        assert_eq!(fields.text("d"), None);
        assert_eq!(fields.object("e").as_deref(), Some(r#"{"k":[1]}"#));
        assert_eq!(fields.text("absent"), None);
        let Err(Refusal::InvalidFields(faults)) = fields.end_strictly() else { panic!("faults expected") };
        assert_eq!(
            faults,
            [FieldError::new("d", FieldRule::Type("text")), FieldError::new("role", FieldRule::Unknown)]
        );
    }

    #[test]
    fn what_is_no_json_says_where_and_not_what() {
        for (body, place) in [
            (&b"{\"password\": hunter2}"[..], "in \"password\", line 1 column 14"),
            (b"", "line 1 column 0"),
            (b"{\"a\":1,\"a\":2}", "a member stands twice (in \"a\", line 1"),
            (b"{\"a\":{\"b\":1,\"b\":2}}", "a member stands twice (in \"a\""),
            (b"{} {}", "line 1 column 4"),
            (b"{\"a\":\"\xff\"}", "in \"a\""),
        ] {
            let Err(Refusal::MalformedBody(told)) = Fields::parse(body) else { panic!("{body:?} was read") };
            assert!(told.contains(place) && !told.contains("hunter2"), "{told}");
        }
        assert!(matches!(Fields::parse(b"[\"a\",\"b\"]"), Err(Refusal::InvalidFields(_))));
        assert!(Fields::parse("[".repeat(10_000).as_bytes()).is_err());
    }
}
