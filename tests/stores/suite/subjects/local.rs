//! Local values: a `.env` file of its own for each case.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use secretref::{
    naming::{Scheme, StoreKey},
    stores::{Payload, Store, local},
};

use crate::suite::{Fault, Subject, Who};

pub struct Local {
    file: PathBuf,
    values: Mutex<Vec<(String, String)>>,
}

impl Local {
    pub async fn new() -> Self {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("suite-{:016x}.env", rand::random::<u64>()));
        Self { file, values: Mutex::default() }
    }

    fn save(&self, values: &[(String, String)]) {
        let escapes = [("\\", r"\\"), ("\"", "\\\""), ("$", r"\$"), ("\n", r"\n"), ("\r", r"\r"), ("\t", r"\t")];
        let quoted = |value: &str| escapes.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to));
        let lines: String = values.iter().map(|(name, value)| format!("{name}=\"{}\"\n", quoted(value))).collect();
        std::fs::write(&self.file, lines).unwrap();
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

#[async_trait]
impl Subject for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn scheme(&self) -> Scheme {
        Scheme::ENVIRONMENT
    }

    fn store(&self, _: Who) -> Arc<dyn Store> {
        Arc::new(local::Local::new([], Some(self.file.clone())))
    }

    async fn plant(&self, key: &StoreKey, payload: &Payload) {
        let Payload::Single(value) = payload else { panic!("a variable holds no map") };
        let mut values = self.values.lock().unwrap();
        values.retain(|(name, _)| name != key.as_str());
        values.push((key.as_str().to_owned(), value.expose_str().expect("text").to_owned()));
        self.save(&values);
    }

    async fn withdraw(&self, key: &StoreKey) {
        let mut values = self.values.lock().unwrap();
        values.retain(|(name, _)| name != key.as_str());
        self.save(&values);
    }

    async fn fault(&self, _: Option<Fault>) -> bool {
        false
    }

    fn requests(&self) -> Vec<String> {
        Vec::new()
    }

    fn with_another_ca(&self) -> Option<Arc<dyn Store>> {
        None
    }

    fn has_identities(&self) -> bool {
        false
    }

    fn logins(&self) -> Option<usize> {
        None
    }

    async fn end_sessions(&self) -> bool {
        false
    }

    async fn rights(&self, _: bool) {}
}
