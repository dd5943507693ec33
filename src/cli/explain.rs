//! `secretref explain`

mod cluster;
mod leader;

use std::{
    error::Error,
    io::{self, Write},
};

use super::{
    Exit, NO,
    question::{Question, runtime},
};
use crate::resolver::{Configuration, ResolveError, Trace};

/// Say of every entry why it is what it is: what was tried, what it answered, and what to do
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With -f it resolves here and now. With NAMESPACE/NAME it prints what the objects of a cluster say, and what only the \
operator's leader knows (each place it looks in, last check, next check, age in its cache): that takes the rights to get leases and pods \
and to create pods/portforward in the operator's namespace. Never a value.\n\n\
Examples:\n  secretref explain --org acme -f payments.yaml\n  secretref explain acme-prod/payments"
)]
pub struct Args {
    /// A SecretReference of the cluster
    #[arg(value_name = "NAMESPACE/NAME", conflicts_with = "files")]
    reference: Option<String>,
    #[command(flatten)]
    question: Question,
    #[command(flatten)]
    leader: leader::Leader,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Prints it; fails when something does not resolve.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if let Some(reference) = &args.reference {
        let Some((namespace, name)) = reference.split_once('/') else {
            return Err(Exit::usage("write it as NAMESPACE/NAME, or name a file with -f"));
        };
        return runtime()?.block_on(cluster::explain(namespace, name, args.output == Output::Json, &args.leader));
    }
    let configurations = args.question.configurations()?;
    let org = args.question.org(&configurations)?;
    let resolver = args.question.resolver(configurations)?;
    let traces = runtime()?.block_on(async {
        let mut traces = Vec::new();
        for configuration in resolver.configurations() {
            traces.push((configuration, resolver.explain(&org, configuration).await?));
        }
        Ok::<_, ResolveError>(traces)
    })?;
    let mut out = io::stdout().lock();
    if args.output == Output::Json {
        let all: Vec<&Trace> = traces.iter().map(|(_, trace)| trace).collect();
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
    } else {
        for (configuration, trace) in &traces {
            text(&mut out, configuration, trace)?;
        }
    }
    out.flush()?;
    if traces.iter().any(|(_, trace)| trace.problem.is_some()) { Err(Exit::silent(NO)) } else { Ok(()) }
}

fn text(out: &mut impl Write, configuration: &Configuration, trace: &Trace) -> io::Result<()> {
    let interval = configuration.spec.refresh_interval().as_secs();
    let store = trace.store.as_deref().unwrap_or("none");
    writeln!(out, "{} (store: {store})", configuration.place)?;
    for entry in &trace.entries {
        writeln!(out, "\n{}: {}", entry.key, entry.why)?;
        let width = entry.candidates.iter().map(|c| c.place.len()).max().unwrap_or_default();
        for (index, candidate) in entry.candidates.iter().enumerate() {
            let version = candidate.version.as_ref().map(|v| format!(", version {v}")).unwrap_or_default();
            writeln!(out, "  {}. {:width$}   {}{version}", index + 1, candidate.place, candidate.answer)?;
        }
    }
    writeln!(out, "\nlast check: now; in the cache: not yet, this process has just begun")?;
    match interval {
        0 => writeln!(out, "next check: on a cluster when the reference changes, on sync-now and on notification")?,
        _ => writeln!(out, "next check: on a cluster within {interval} s (spec.refreshInterval)")?,
    }
    if let Some(problem) = &trace.problem {
        writeln!(out, "problem: {problem}")?;
    }
    if let Some(hint) = &trace.hint {
        writeln!(out, "hint: {hint}")?;
    }
    Ok(())
}
