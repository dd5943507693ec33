//! `secretref check`

use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
};

use serde::Serialize;

use super::{Exit, NO, STORE, question::Question, question::runtime};
use crate::{
    manifest::{self, Document},
    naming::Org,
    resolver::{Configuration, ResolveError, Resolver},
};

/// Validate files exactly as the API server would, without one
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The definitions' own schema and rules decide, then what only resolution can tell: names in the store's spelling, \
templates, types. With --org every entry is looked up, too; no value is printed. Objects of other kinds are passed over.\n\n\
Examples:\n  secretref check deploy/*.yaml\n  secretref check --org acme deploy/payments.yaml\n  \
secretref check --output github deploy/*.yaml\n\n\
Exit codes: 0 all are valid; 1 some are not; 2 the command line is wrong; 3 a store could not be asked."
)]
pub struct Args {
    /// Manifests, or a config.yaml
    #[arg(value_name = "FILE")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    question: Question,
    /// How to print: for people, as annotations of a pull request, or as JSON
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Github,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warning,
}

#[derive(Debug, Serialize)]
struct Line {
    file: String,
    line: usize,
    field: String,
    level: Level,
    message: String,
    #[serde(skip)]
    of_store: bool,
}

/// Judges every file.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let files: Vec<&PathBuf> = args.paths.iter().chain(&args.question.files).collect();
    if files.is_empty() {
        return Err(Exit::usage("no file: name one"));
    }
    let mut lines = Vec::new();
    let mut objects = 0;
    for path in &files {
        let file = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                lines.push(error_line(&file, 1, "", format!("cannot be read ({})", error.kind())));
                continue;
            }
        };
        objects += judge(args, &file, &text, &mut lines)?;
    }
    let mut out = io::stdout().lock();
    print(&mut out, args.output, &lines)?;
    let errors = lines.iter().filter(|line| line.level == Level::Error).count();
    if args.output == Output::Text {
        writeln!(out, "{} files, {objects} objects, {errors} errors", files.len())?;
    }
    out.flush()?;
    if errors == 0 {
        return Ok(());
    }
    let only_stores = lines.iter().all(|line| line.of_store || line.level == Level::Warning);
    Err(Exit::silent(if only_stores { STORE } else { NO }))
}

/// Answers how many objects were judged.
fn judge(args: &Args, file: &str, text: &str, lines: &mut Vec<Line>) -> Result<usize, Box<dyn Error>> {
    let documents = match manifest::read(text) {
        Ok(documents) => documents,
        Err(found) => {
            lines.push(error_line(file, found.line, "", found.message));
            return Ok(0);
        }
    };
    let plain = |d: &&Document| d.value.get("kind").is_none() && d.value.get("apiVersion").is_none();
    let ours: Vec<&Document> = documents.iter().filter(|d| d.is_ours() || plain(d)).collect();
    let found: Vec<_> = ours.iter().filter(|d| !plain(d)).flat_map(|d| d.judge()).collect();
    let valid = found.is_empty();
    lines.extend(found.into_iter().map(|f| error_line(file, f.line, &f.field, f.message)));
    if !valid || !ours.iter().any(|d| plain(d) || d.kind() == "SecretReference") {
        return Ok(ours.len());
    }
    match Configuration::parse(file, text) {
        Err(error) => {
            let line = error.place.rsplit_once(':').and_then(|(_, line)| line.parse().ok()).unwrap_or(1);
            lines.push(error_line(file, line, "", error.what));
        }
        Ok(configurations) => {
            let documents: Vec<&Document> =
                ours.iter().filter(|d| plain(d) || d.kind() == "SecretReference").copied().collect();
            let org = args.question.org(&configurations).ok();
            let resolver = args.question.resolver(configurations)?;
            for (configuration, document) in resolver.configurations().iter().zip(documents) {
                resolution(args, file, &resolver, configuration, document, org.as_ref(), lines)?;
            }
        }
    }
    Ok(ours.len())
}

/// What only resolution can tell.
fn resolution(
    args: &Args,
    file: &str,
    resolver: &Resolver,
    configuration: &Configuration,
    document: &Document,
    org: Option<&Org>,
    lines: &mut Vec<Line>,
) -> Result<(), Box<dyn Error>> {
    for spelling in configuration.meeting() {
        let message =
            format!("names meet in the local variable ORG__{spelling}: it cannot be used until one of them is renamed");
        lines.push(Line {
            level: Level::Warning,
            ..error_line(file, document.line_of("spec.data"), "spec.data", message)
        });
    }
    let answer = match (org, &args.question.org) {
        (Some(org), Some(_)) => runtime()?.block_on(async { resolver.resolve(org, configuration).await.map(|_| ()) }),
        _ => resolver.inspect(org, configuration),
    };
    let Err(error) = answer else { return Ok(()) };
    let field = field(&error, document);
    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let of_store = error.is_of_store();
    let message = format!("{error}{hint}");
    lines.push(Line { of_store, ..error_line(file, document.line_of(&field), &field, message) });
    Ok(())
}

/// The entry that a sentence speaks of, as a field of the document.
fn field(error: &ResolveError, document: &Document) -> String {
    let entries = document.value.pointer("/spec/data").and_then(|data| data.as_array());
    let named = |key: &str| {
        error.message.starts_with(&format!("{key}: ")) || error.message.contains(&format!("spec.data[{key}]"))
    };
    let keys = entries.into_iter().flatten().map(|entry| entry["key"].as_str().unwrap_or_default());
    let found = keys.enumerate().find(|(_, key)| named(key)).map(|(index, _)| format!("spec.data[{index}]"));
    let plain = || document.value.as_object()?.keys().find(|key| named(key)).cloned();
    found.or_else(plain).unwrap_or_else(|| "spec".to_owned())
}

fn error_line(file: &str, line: usize, field: &str, message: String) -> Line {
    Line { file: file.to_owned(), line, field: field.to_owned(), level: Level::Error, message, of_store: false }
}

fn print(out: &mut impl Write, output: Output, lines: &[Line]) -> io::Result<()> {
    if output == Output::Json {
        serde_json::to_writer_pretty(&mut *out, lines)?;
        return writeln!(out);
    }
    for line in lines {
        let level = if line.level == Level::Error { "error" } else { "warning" };
        let field = if line.field.is_empty() { String::new() } else { format!("{}: ", line.field) };
        if output == Output::Text {
            writeln!(out, "{}:{}: {level}: {field}{}", line.file, line.line, line.message)?;
        } else {
            let file = escape(&line.file).replace(':', "%3A").replace(',', "%2C");
            writeln!(out, "::{level} file={file},line={}::{}{}", line.line, escape(&field), escape(&line.message))?;
        }
    }
    Ok(())
}

/// As the workflow commands of GitHub want it.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
