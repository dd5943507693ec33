//! Values as text for other programs, masked or revealed. What is written is wiped.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// What stands for a value.
pub const MASK: &str = "********";

/// How a value is spelled.
#[derive(Clone, Copy, Debug)]
pub enum Spelling {
    /// As YAML's `data` of a Secret has it.
    Base64,
    /// A JSON string.
    Json,
    /// For a POSIX shell, in single quotes.
    Shell,
    /// For a `.env` file, in double quotes.
    Dotenv,
}

/// Writes a value, or its mask, in this spelling; false: it is no text, and there is no such spelling of it.
pub fn write(out: &mut impl Write, value: Option<&SecretValue>, spelling: Spelling) -> io::Result<bool> {
    if let Spelling::Base64 = spelling {
        let text = value.map(|value| Zeroizing::new(STANDARD.encode(value.expose())));
        write!(out, "\"{}\"", text.as_ref().map_or(MASK, |text| text.as_str()))?;
        return Ok(true);
    }
    let Some(text) = value.map_or(Some(MASK), SecretValue::expose_str) else { return Ok(false) };
    match spelling {
        Spelling::Json => serde_json::to_writer(&mut *out, text)?,
        Spelling::Shell => {
            out.write_all(b"'")?;
            for (index, part) in text.split('\'').enumerate() {
                let joint: &[u8] = if index == 0 { b"" } else { b"'\\''" };
                out.write_all(joint)?;
                out.write_all(part.as_bytes())?;
            }
            out.write_all(b"'")?;
        }
        Spelling::Dotenv => {
            out.write_all(b"\"")?;
            for c in text.chars() {
                match c {
                    '\n' => out.write_all(b"\\n")?,
                    '\r' => out.write_all(b"\\r")?,
                    '"' | '\\' | '$' => write!(out, "\\{c}")?,
                    c => write!(out, "{c}")?,
                }
            }
            out.write_all(b"\"")?;
        }
        Spelling::Base64 => {}
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spelled(value: Option<&str>, spelling: Spelling) -> String {
        let mut out = Vec::new();
        assert!(write(&mut out, value.map(|v| v.to_owned().into()).as_ref(), spelling).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_in_its_own_way() {
        let nasty = Some("a'b\"c$d\\e\nf");
        assert_eq!(spelled(nasty, Spelling::Shell), "'a'\\''b\"c$d\\e\nf'");
        assert_eq!(spelled(nasty, Spelling::Dotenv), r#""a'b\"c\$d\\e\nf""#);
        assert_eq!(spelled(nasty, Spelling::Json), r#""a'b\"c$d\\e\nf""#);
        assert_eq!(spelled(Some("hi"), Spelling::Base64), r#""aGk=""#);
        for spelling in [Spelling::Base64, Spelling::Json, Spelling::Dotenv] {
            assert_eq!(spelled(None, spelling), format!("\"{MASK}\""));
        }
        let binary = SecretValue::new(vec![0xff]);
        assert!(!write(&mut Vec::new(), Some(&binary), Spelling::Shell).unwrap());
    }

    #[test]
    fn a_shell_reads_back_what_was_written() {
        let value = "it's \"$HOME\" `x` \\ \n end";
        let script = format!("printf %s {}", spelled(Some(value), Spelling::Shell));
        let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), value);
    }
}
