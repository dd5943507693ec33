//! A fresh machine: an empty folder, a bare environment, the binary.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::harness::{Bao, unique};

pub const BINARY: &str = env!("CARGO_BIN_EXE_secretref");

pub struct Laptop {
    pub folder: PathBuf,
    environment: BTreeMap<String, String>,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Laptop {
    pub fn new() -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("laptop-{}", unique()));
        std::fs::create_dir_all(&folder).unwrap();
        let bin = Path::new(BINARY).parent().unwrap().display().to_string();
        let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
        let environment = [("PATH", path), ("HOME", folder.display().to_string())];
        Self { folder, environment: environment.map(|(name, value)| (name.to_owned(), value)).into() }
    }

    /// One with OpenBao, logged in as a reader.
    pub async fn with(bao: &Bao) -> Self {
        let laptop = Self::new();
        let ca = laptop.write("ca.crt", &bao.ca);
        let token = bao.token(&["reader"]).await;
        laptop
            .set("VAULT_ADDR", &bao.address)
            .set("VAULT_CACERT", ca.to_str().unwrap())
            .set("VAULT_NAMESPACE", &bao.namespace)
            .set("VAULT_TOKEN", &token)
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    /// A reference `app` with these entries, one YAML line each.
    pub fn reference(&self, entries: &[&str]) {
        let head = "apiVersion: secretref.dev/v1alpha1\nkind: SecretReference\nmetadata: { name: app }\nspec:\n  storeRef: { name: platform }\n  data:\n";
        let entries: String = entries.iter().map(|entry| format!("    - {entry}\n")).collect();
        self.write("app.yaml", &format!("{head}{entries}"));
    }

    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.folder).env_clear().envs(&self.environment).stdin(Stdio::null());
        command
    }

    pub fn try_secretref(&self, args: &[&str]) -> Said {
        said(self.command(BINARY, args).output().unwrap())
    }

    /// It succeeds; its standard output.
    #[track_caller]
    pub fn secretref(&self, args: &[&str]) -> String {
        let said = self.try_secretref(args);
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        said.out
    }

    /// It fails with this code; what it says of it, without a value.
    #[track_caller]
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let said = self.try_secretref(args);
        assert_eq!(said.code, Some(code), "{args:?}: {said:?}");
        assert!(!said.out.contains("canary") && !said.err.contains("canary"), "a value in {said:?}");
        said.out + &said.err
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
