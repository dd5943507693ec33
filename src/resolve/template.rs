//! Templates: Jinja syntax, no I/O, bounded in steps and in bytes, for all templates of a reference together.
//!
//! What could grow a value inside the engine is refused before rendering ([`guard`]); what is written goes through a
//! writer with an end; every byte that goes into a filter, comes out of one or is written counts. Values are handed
//! over as objects that write themselves, so the engine keeps no copy of them. Messages name the line, never what
//! stood there.

mod guard;

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use guard::{guard, syntax};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior,
    value::{Object, ObjectRepr, Value},
};

use crate::secret::SecretValue;

/// The longest result of one template: what a Secret can hold.
const MAX_BYTES: usize = 1 << 20;
/// Steps of the engine for all templates of one reference.
const FUEL: u64 = 100_000;
/// Bytes that all templates of one reference may move: at most a tenth of a second, whatever the filters are.
const WORK: i64 = 8 << 20;

const TOO_MUCH: &str = "does too much work: use fewer filters, loops or templates";

/// Checks a template without values.
///
/// # Errors
/// What is wrong, and where.
pub fn check(template: &str) -> Result<(), String> {
    guard(template)?;
    environment(&Work::default()).template_from_str(template).map(|_| ()).map_err(|e| describe(&e))
}

/// Renders the templates of one reference, which share what they may cost.
pub struct Renderer {
    env: Environment<'static>,
    fuel: u64,
    work: Work,
}

impl Default for Renderer {
    fn default() -> Self {
        let work = Work::default();
        Self { env: environment(&work), fuel: FUEL, work }
    }
}

impl Renderer {
    /// Renders a template over the other keys: `{{ DB_USER }}`, or `{{ data["tls.crt"] }}`.
    ///
    /// # Errors
    /// What is wrong, and where; never a value.
    pub fn render(&mut self, template: &str, data: &BTreeMap<String, SecretValue>) -> Result<SecretValue, String> {
        guard(template)?;
        self.env.set_fuel(Some(self.fuel));
        let compiled = self.env.template_from_str(template).map_err(|e| describe(&e))?;
        let values = data.iter().map(|(k, v)| (k.clone(), Value::from_object(Text(v.clone())))).collect();
        let out = Bounded { bytes: Arc::default(), work: self.work.clone() };
        match compiled.render_captured_to(Value::from_object(Context(values)), out.clone()) {
            Ok(done) => {
                self.fuel = done.state().fuel_levels().map_or(0, |(_, left)| left);
                Ok(SecretValue::new(std::mem::take(&mut out.lock())))
            }
            Err(e) if self.work.is_spent() || e.kind() == ErrorKind::OutOfFuel => Err(TOO_MUCH.to_owned()),
            Err(e) if e.kind() == ErrorKind::WriteFailure => {
                Err(format!("the result is longer than {MAX_BYTES} bytes"))
            }
            Err(e) => Err(describe(&e)),
        }
    }
}

fn environment(work: &Work) -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_syntax(syntax());
    env.set_recursion_limit(32);
    env.add_test("defined", |v: &Value| !v.is_undefined());
    let mut filter = |name: &'static str, apply: fn(&SecretValue) -> Result<Vec<u8>, Error>| {
        let work = work.clone();
        env.add_filter(name, move |v: &Value| {
            let text = text(v)?;
            work.spend(text.len())?;
            let bytes = apply(&text)?;
            work.spend(bytes.len())?;
            emit(bytes)
        });
    };
    filter("b64encode", |t| Ok(STANDARD.encode(t.expose()).into_bytes()));
    filter("b64decode", |t| {
        let decoded = super::property::decode_base64(t);
        decoded.map(|d| d.expose().to_vec()).ok_or_else(|| ErrorKind::InvalidOperation.into())
    });
    filter("tojson", |t| serde_json::to_vec(str_of(t)?).map_err(|_| ErrorKind::BadSerialization.into()));
    filter("urlencode", |t| Ok(urlencode(t.expose())));
    filter("trim", |t| Ok(str_of(t)?.trim().as_bytes().to_vec()));
    filter("upper", |t| Ok(str_of(t)?.to_uppercase().into_bytes()));
    filter("lower", |t| Ok(str_of(t)?.to_lowercase().into_bytes()));
    env
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
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    out
}

/// What is left of the bytes that may be moved; clones share it.
#[derive(Clone)]
struct Work(Arc<AtomicI64>);

impl Default for Work {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(WORK)))
    }
}

impl Work {
    fn spend(&self, bytes: usize) -> Result<(), Error> {
        let bytes = i64::try_from(bytes).unwrap_or(WORK);
        if self.0.fetch_sub(bytes, Ordering::Relaxed) < bytes { Err(ErrorKind::OutOfFuel.into()) } else { Ok(()) }
    }

    fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) < 0
    }
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
#[derive(Clone)]
struct Bounded {
    bytes: Arc<Mutex<Vec<u8>>>,
    work: Work,
}

impl Bounded {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = self.lock();
        if self.work.spend(bytes.len()).is_err() || out.len() + bytes.len() > MAX_BYTES {
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
mod fuzz;
#[cfg(test)]
mod tests;
