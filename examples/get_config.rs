//! `get_config` in a program of one's own: `cargo run --example get_config -- payments.yaml`
//!
//! The caller asks for a key and an organisation, and never says where the value is kept.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example")]

use std::{error::Error, sync::Arc, time::Instant};

use secretref::{
    config::{Config, Environment},
    naming::Org,
    resolver::{Configuration, Options, Resolver},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("name a file with a SecretReference, or a config.yaml")?;
    let environment = Environment::of_process();
    let config = Config::load(None, &std::env::current_dir()?, &environment)?;
    let mut options = Options::new(&environment);
    options.listener = Some(Arc::new(|sentence| eprintln!("{sentence}")));
    let resolver = Resolver::new(config, &environment, Configuration::read(file.as_ref())?, options);

    let org = Org::new("acme")?;
    let keys: Vec<String> = resolver.configurations()[0].keys().into_iter().map(str::to_owned).collect();
    for key in &keys {
        let value = resolver.get_config(&org, key).await?;
        match value.value().expose_str() {
            // A secret is for whoever needs it, not for the screen.
            _ if value.is_secret() => println!("{key}: {} bytes, a secret", value.value().len()),
            Some(text) => println!("{key}: {text}"),
            None => println!("{key}: no text"),
        }
    }
    let again = Instant::now();
    for key in &keys {
        resolver.get_config(&org, key).await?;
    }
    eprintln!("again: {:?}", again.elapsed());
    println!("the second time from memory");
    Ok(())
}
