//! `secretref render`

use std::{
    collections::BTreeMap,
    error::Error,
    io::{self, Write},
};

use serde_json::Value;

use super::{
    Exit, NO,
    masks::{self, Spelling},
    question::{Question, runtime},
};
use crate::{
    api::SecretReference,
    operator::{
        model::{ObjectKey, Reference},
        target::Desired,
    },
    resolver::{Configuration, Resolution},
    secret::SecretValue,
};

/// Show the Secret that the operator would write
#[derive(Debug, clap::Args)]
#[command(after_help = "Values are masked unless --reveal is given; what is no secret is masked, too.\n\n\
Examples:\n  secretref render --org acme -f payments.yaml\n  \
secretref render --org acme -f payments.yaml --format dotenv --reveal > .env.resolved")]
pub struct Args {
    #[command(flatten)]
    question: Question,
    /// yaml: the Secret; env: for a shell; json: a map; dotenv: a .env file
    #[arg(long, value_enum, default_value = "yaml")]
    format: Format,
    /// Show the values
    #[arg(long)]
    reveal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Yaml,
    Env,
    Json,
    Dotenv,
}

/// Prints it.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let configurations = args.question.configurations()?;
    let org = args.question.org(&configurations)?;
    let resolver = args.question.resolver(configurations)?;
    let resolutions = runtime()?.block_on(async {
        let mut out = Vec::new();
        for configuration in resolver.configurations() {
            out.push((configuration, resolver.resolve(&org, configuration).await?));
        }
        Ok::<_, crate::resolver::ResolveError>(out)
    })?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.format == Format::Yaml {
        for (configuration, resolution) in resolutions {
            secret(&mut out, configuration, resolution, args.reveal)?;
        }
    } else {
        let mut merged = BTreeMap::new();
        merged.extend(resolutions.into_iter().flat_map(|(_, resolution)| resolution.resolved.data));
        flat(&mut out, &merged, args.format, args.reveal)?;
    }
    out.flush()?;
    Ok(())
}

/// One document. Everything is quoted: a key or a label may look like something else.
fn secret(
    out: &mut impl Write,
    configuration: &Configuration,
    resolution: Resolution,
    reveal: bool,
) -> Result<(), Box<dyn Error>> {
    let object = configuration.object.as_deref().cloned();
    let object = object.unwrap_or_else(|| SecretReference::new("config", configuration.spec.clone()));
    let reference = Reference::new(ObjectKey::of(&object.metadata), &object)?;
    let desired = Desired::new(&reference, &object.spec, resolution.resolved.data);
    writeln!(out, "---\n# The operator adds its stamp and the owner reference.")?;
    writeln!(out, "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}", Value::from(&*reference.target))?;
    if !reference.key.namespace.is_empty() {
        writeln!(out, "  namespace: {}", Value::from(&*reference.key.namespace))?;
    }
    for (field, map) in [("labels", &desired.labels), ("annotations", &desired.annotations)] {
        if !map.is_empty() {
            writeln!(out, "  {field}:")?;
        }
        for (key, value) in map {
            writeln!(out, "    {}: {}", Value::from(key.as_str()), Value::from(value.as_str()))?;
        }
    }
    if let Some(kind) = &desired.r#type {
        writeln!(out, "type: {}", Value::from(kind.as_str()))?;
    }
    if desired.immutable {
        writeln!(out, "immutable: true")?;
    }
    writeln!(out, "data:{}", if reveal { "" } else { "    # masked; --reveal shows the values" })?;
    for (key, value) in &desired.data {
        write!(out, "  {}: ", Value::from(key.as_str()))?;
        masks::write(out, reveal.then_some(value), Spelling::Base64)?;
        writeln!(out)?;
    }
    Ok(())
}

fn flat(
    out: &mut impl Write,
    data: &BTreeMap<String, SecretValue>,
    format: Format,
    reveal: bool,
) -> Result<(), Box<dyn Error>> {
    let no = |key: &str, what: &str| Box::new(Exit { code: NO, message: format!("{key}: {what}") });
    let mut between = if format == Format::Json { "{\n" } else { "" };
    for (key, value) in data {
        write!(out, "{between}")?;
        let is_name = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !key.starts_with(|c: char| c.is_ascii_digit());
        let spelling = match format {
            Format::Json => {
                write!(out, "  {}: ", Value::from(key.as_str()))?;
                between = ",\n";
                Spelling::Json
            }
            Format::Env if !is_name => {
                return Err(no(key, "is no name of a shell variable: use --format json or dotenv"));
            }
            Format::Env => {
                write!(out, "export {key}=")?;
                between = "\n";
                Spelling::Shell
            }
            Format::Dotenv | Format::Yaml => {
                write!(out, "{key}=")?;
                between = "\n";
                Spelling::Dotenv
            }
        };
        if !masks::write(out, reveal.then_some(value), spelling)? {
            return Err(no(key, "the value is not text: use --format yaml"));
        }
    }
    let end = match (format, data.is_empty()) {
        (Format::Json, true) => "{}\n",
        (Format::Json, false) => "\n}\n",
        (_, true) => "",
        _ => "\n",
    };
    write!(out, "{end}")?;
    Ok(())
}
