//! `secretref podspec`

use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
};

use serde_json::Value;

use super::{Exit, NO};
use crate::{nearest::did_you_mean, resolver::Configuration};

/// Print how a pod, or a tool that reads variables, takes the keys of a reference
#[derive(Debug, clap::Args)]
#[command(after_help = "Nothing is resolved: there is never a value in it.\n\n\
Examples:\n  secretref podspec -f payments.yaml\n  secretref podspec -f payments.yaml --format env --key DB_PASSWORD\n  \
secretref podspec -f payments.yaml --format dbt")]
pub struct Args {
    /// A file with SecretReferences, or a config.yaml (which has no target: not for envfrom and env); may be repeated
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only this key; may be repeated
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// For whom
    #[arg(long, value_enum, default_value = "envfrom")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A container: every key of the target
    Envfrom,
    /// A container: key by key
    Env,
    /// profiles.yml, dbt_project.yml
    Dbt,
    /// A POSIX shell, which stops when one is missing
    Shell,
    /// compose.yaml, which stops when one is missing
    Compose,
    /// A unit that `secretref run` starts the manager of, or whose manager has the variables
    Systemd,
}

/// Prints it.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut configurations = Vec::new();
    for file in &args.files {
        configurations.extend(Configuration::read(file)?);
    }
    let known: Vec<&str> = configurations.iter().flat_map(Configuration::keys).collect();
    let more = configurations.iter().any(Configuration::has_more_keys);
    if let Some(unknown) = args.keys.iter().find(|key| !more && !known.contains(&key.as_str())) {
        let near = did_you_mean(unknown, known);
        return Err(Box::new(Exit { code: NO, message: format!("{unknown}: no file has this key{near}") }));
    }
    let text = snippet(&configurations, &args.keys, args.format)?;
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn snippet(configurations: &[Configuration], wanted: &[String], format: Format) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let head = match format {
        Format::Envfrom => "envFrom:\n",
        Format::Env => "env:\n",
        Format::Compose => "environment:\n",
        Format::Systemd => "[Service]\n",
        Format::Dbt | Format::Shell => "",
    };
    out.push_str(head);
    for configuration in configurations {
        let mut keys = configuration.keys();
        if !wanted.is_empty() {
            keys.retain(|key| wanted.iter().any(|w| w == key));
            // What a source of many keys may yield.
            let named = |w: &&String| !configurations.iter().any(|c| c.keys().contains(&w.as_str()));
            if configuration.has_more_keys() {
                keys.extend(wanted.iter().filter(named).map(String::as_str));
            }
        }
        keys.dedup();
        let target = || target(configuration);
        if format == Format::Envfrom {
            out.push_str(&format!("  - secretRef:\n      name: {}\n", Value::from(target()?)));
            continue;
        }
        if format == Format::Systemd && !keys.is_empty() {
            out.push_str(&format!("PassEnvironment={}\n", keys.join(" ")));
        }
        for key in &keys {
            let quoted = Value::from(*key);
            let variable = || -> Result<&str, Box<dyn Error>> {
                let good = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                    && !key.starts_with(|c: char| c.is_ascii_digit());
                let message = format!("{key} is no name of a variable: rename the key, or choose others with --key");
                if good { Ok(key) } else { Err(Box::new(Exit { code: NO, message })) }
            };
            match format {
                Format::Env => {
                    let optional = configuration.spec.data().iter().any(|entry| {
                        entry.key == *key && entry.secret_ref.as_ref().is_some_and(|s| s.optional == Some(true))
                    });
                    out.push_str(&format!(
                        "  - name: {quoted}\n    valueFrom:\n      secretKeyRef:\n        name: {}\n        key: {quoted}\n",
                        Value::from(target()?)
                    ));
                    if optional {
                        out.push_str("        optional: true\n");
                    }
                }
                Format::Dbt => out.push_str(&format!("{key}: \"{{{{ env_var('{}') }}}}\"\n", variable()?)),
                Format::Shell => {
                    let key = variable()?;
                    out.push_str(&format!("{key}=\"${{{key}:?{key} is not set}}\"\n"));
                }
                Format::Compose => {
                    let key = variable()?;
                    out.push_str(&format!("  {key}: \"${{{key}:?{key} is not set}}\"\n"));
                }
                Format::Systemd => {
                    variable()?;
                }
                Format::Envfrom => {}
            }
        }
        if configuration.has_more_keys() && wanted.is_empty() {
            out.push_str("# and the keys of spec.dataFrom, which only the store knows: name them with --key\n");
        }
    }
    Ok(out)
}

/// The target's name.
fn target(configuration: &Configuration) -> Result<String, Box<dyn Error>> {
    let Some(object) = &configuration.object else {
        let message = format!("{}: a config.yaml has no target: use a SecretReference", configuration.place);
        return Err(Box::new(Exit { code: NO, message }));
    };
    Ok(object.spec.target_name(object.metadata.name.as_deref().unwrap_or_default()).to_owned())
}
