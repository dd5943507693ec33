//! Templates: Jinja syntax, no I/O, bounded in steps and in bytes.
//!
//! What could grow a value inside the engine (assignments, macros, concatenation, arithmetic, the built-in filters) is
//! refused before rendering; what is written goes through a writer with an end. Values are handed over as objects that
//! write themselves, so the engine keeps no copy of them. Messages name the line, never what stood there.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior,
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
    value::{Object, ObjectRepr, Value},
};

use crate::secret::SecretValue;

/// The longest result of one template: what a Secret can hold.
const MAX_BYTES: usize = 1 << 20;
/// Steps of the engine for one template.
const FUEL: u64 = 100_000;

/// Checks a template without values.
///
/// # Errors
/// What is wrong, and where.
pub fn check(template: &str) -> Result<(), String> {
    guard(template)?;
    environment().template_from_str(template).map(|_| ()).map_err(|e| describe(&e))
}

/// Renders a template over the other keys: `{{ DB_USER }}`, or `{{ data["tls.crt"] }}`.
///
/// # Errors
/// What is wrong, and where; never a value.
pub fn render(template: &str, data: &BTreeMap<String, SecretValue>) -> Result<SecretValue, String> {
    guard(template)?;
    let env = environment();
    let compiled = env.template_from_str(template).map_err(|e| describe(&e))?;
    let values = data.iter().map(|(k, v)| (k.clone(), Value::from_object(Text(v.clone())))).collect();
    let out = Bounded::default();
    match compiled.render_captured_to(Value::from_object(Context(values)), out.clone()) {
        Ok(_) => Ok(SecretValue::new(std::mem::take(&mut out.lock()))),
        Err(e) if e.kind() == ErrorKind::WriteFailure => Err(format!("the result is longer than {MAX_BYTES} bytes")),
        Err(e) => Err(describe(&e)),
    }
}

fn environment() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_syntax(syntax());
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(32);
    env.add_test("defined", |v: &Value| !v.is_undefined());
    env.add_filter("b64encode", |v: &Value| text(v).map(|t| emit(STANDARD.encode(t.expose()).into_bytes()))?);
    env.add_filter("b64decode", |v: &Value| {
        let decoded = super::property::decode_base64(&text(v)?);
        emit(decoded.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, ""))?.expose().to_vec())
    });
    env.add_filter("tojson", |v: &Value| {
        let quoted =
            serde_json::to_vec(&str_of(&text(v)?)?).map_err(|_| Error::new(ErrorKind::BadSerialization, ""))?;
        emit(quoted)
    });
    env.add_filter("urlencode", |v: &Value| emit(urlencode(text(v)?.expose())));
    env.add_filter("trim", |v: &Value| emit(str_of(&text(v)?)?.trim().as_bytes().to_vec()));
    env.add_filter("upper", |v: &Value| emit(str_of(&text(v)?)?.to_uppercase().into_bytes()));
    env.add_filter("lower", |v: &Value| emit(str_of(&text(v)?)?.to_lowercase().into_bytes()));
    env
}

/// A configuration file ends as it is written.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default()
}

/// Refuses what could grow without bound or hide a value's way.
fn guard(template: &str) -> Result<(), String> {
    let mut after_block_start = false;
    for token in tokenize(template, false, syntax()) {
        let (token, span) = token.map_err(|e| describe(&e))?;
        let refused = match &token {
            Token::Tilde | Token::Plus | Token::Mul | Token::Div | Token::FloorDiv | Token::Pow | Token::Mod => {
                Some("operators are not available: write values side by side")
            }
            Token::Ident(word)
                if after_block_start && !matches!(*word, "if" | "elif" | "else" | "endif" | "for" | "endfor") =>
            {
                Some("only if and for blocks are available")
            }
            _ => None,
        };
        if let Some(what) = refused {
            return Err(format!("line {}: {what}", span.start_line));
        }
        after_block_start = matches!(token, Token::BlockStart);
    }
    Ok(())
}

/// The kind and the line: an engine's details may quote values.
fn describe(error: &Error) -> String {
    match error.line() {
        Some(line) => format!("line {line}: {}", error.kind()),
        None => error.kind().to_string(),
    }
}

fn text(value: &Value) -> Result<SecretValue, Error> {
    if let Some(Text(value)) = value.downcast_object_ref::<Text>() {
        return Ok(value.clone());
    }
    match value.as_str() {
        Some(literal) => Ok(literal.to_owned().into()),
        None if value.is_undefined() => Err(ErrorKind::UndefinedError.into()),
        None => Err(ErrorKind::InvalidOperation.into()),
    }
}

fn str_of(value: &SecretValue) -> Result<&str, Error> {
    value.expose_str().ok_or_else(|| ErrorKind::InvalidOperation.into())
}

fn emit(bytes: Vec<u8>) -> Result<Value, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(ErrorKind::WriteFailure.into());
    }
    Ok(Value::from_object(Text(SecretValue::new(bytes))))
}

fn urlencode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

/// A value that writes itself.
#[derive(Debug)]
struct Text(SecretValue);

impl Object for Text {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        !self.0.is_empty()
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.expose_str().ok_or(fmt::Error)?)
    }
}

/// The names that a template sees: every key, and `data` for keys that are no identifiers.
#[derive(Debug)]
struct Context(BTreeMap<String, Value>);

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        match self.0.get(key) {
            Some(value) => Some(value.clone()),
            None if key == "data" => Some(Value::from_dyn_object(self.clone())),
            None => None,
        }
    }
}

/// A writer with an end; clones write to the same place.
#[derive(Clone, Default)]
struct Bounded(Arc<Mutex<Vec<u8>>>);

impl Bounded {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = self.lock();
        if out.len() + bytes.len() > MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn data() -> BTreeMap<String, SecretValue> {
        [("DB_USER", "bob"), ("DB_PASSWORD", "p@ss \"w\""), ("tls.crt", "PEM"), ("EMPTY", "")]
            .map(|(k, v)| (k.to_owned(), v.to_owned().into()))
            .into()
    }

    fn ok(template: &str) -> String {
        render(template, &data()).unwrap().expose_str().unwrap().to_owned()
    }

    #[test]
    fn renders_what_the_design_promises() {
        assert_eq!(
            ok("url=postgres://{{ DB_USER }}:{{ DB_PASSWORD|urlencode }}@db\n"),
            "url=postgres://bob:p%40ss%20%22w%22@db\n"
        );
        assert_eq!(
            ok(r#"{"p":{{ DB_PASSWORD|tojson }},"c":"{{ data["tls.crt"] }}"}"#),
            r#"{"p":"p@ss \"w\"","c":"PEM"}"#
        );
        assert_eq!(
            ok("{% if EMPTY %}no{% elif NONE is defined %}no{% else %}{{ DB_USER|upper|b64encode }}{% endif %}"),
            "Qk9C"
        );
        assert_eq!(ok("{{ 'aGk='|b64decode }}{# gone #}{% raw %}{{ }}{% endraw %}"), "hi{{ }}");
    }

    #[test]
    fn errors_name_the_line_and_never_a_value() {
        for bad in [
            "{{ NOPE }}",
            "{{ DB_PASSWORD.x.y }}",
            "{{ DB_PASSWORD|nope }}",
            "{{ DB_PASSWORD() }}",
            "{{ DB_PASSWORD|b64decode }}",
            "{{",
            "{% if %}",
            "{% for x in DB_PASSWORD %}{{ x }}{% endfor %}",
            "{{ DB_PASSWORD[0] }}",
            "{{ DB_PASSWORD < 3 }}{{ -DB_PASSWORD }}",
            "{{ data[DB_PASSWORD] }}",
        ] {
            let error = render(bad, &data()).map(|v| v.expose_str().map(str::to_owned)).unwrap_err();
            assert!(!error.contains("p@ss") && !error.contains("bob"), "{bad}: {error}");
        }
    }

    #[test]
    fn refuses_what_grows() {
        for bad in [
            "{% set x = 1 %}",
            "{% macro m() %}{% endmacro %}",
            "{% include 'x' %}",
            "{% import 'x' as y %}",
            "{% extends 'x' %}",
            "{% block b %}{% endblock %}",
            "{%- set x = 1 -%}",
            "{{ 'a' * 1000000000 }}",
            "{{ DB_USER ~ DB_USER }}",
            "{{ range(1000000000) }}",
            "{% for a in [1,2,3,4,5,6,7,8,9] %}{% for b in [1,2,3,4,5,6,7,8,9] %}{% for c in [1,2,3,4,5,6,7,8,9] %}{% for d in [1,2,3,4,5,6,7,8,9] %}{% for e in [1,2,3,4,5,6,7,8,9] %}{{ a }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
        ] {
            assert!(render(bad, &data()).is_err(), "{bad}");
        }
        let big = BTreeMap::from([("B".to_owned(), SecretValue::new(vec![b'x'; 600_000]))]);
        assert!(render("{{ B }}{{ B }}", &big).unwrap_err().contains("longer than"));
    }
}
