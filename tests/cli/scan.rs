//! `secretref scan`: values where none may be.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::laptop::Laptop;

const VALUE: &str = "canary-p/ss w+rd!";
const SCAN: [&str; 6] = ["scan", "--org", "acme", "-f", "app.yaml", "tree"];

fn laptop() -> Laptop {
    let laptop = Laptop::new().set("ACME__DB_PASSWORD", VALUE).set("ACME__PIN", "123");
    laptop.reference(&[
        "{ key: DB_PASSWORD, secretRef: { name: db-password } }",
        "{ key: PIN, secretRef: { name: pin } }",
        "{ key: TIMEOUT, value: plain-text }",
    ]);
    laptop.write("tree/clean.txt", "plain-text 123\nnothing here\n");
    laptop
}

/// Where it was found; the value is not repeated.
#[test]
fn a_planted_profiles_yml_fails_it() {
    let laptop = laptop();
    laptop.secretref(&SCAN);
    laptop.write(
        "tree/dbt/profiles.yml",
        &format!("shop:\n  outputs:\n    dev:\n      user: shop\n      password: \"{VALUE}\"\n"),
    );
    let told = laptop.fails(1, &SCAN);
    assert!(told.contains("tree/dbt/profiles.yml:5: DB_PASSWORD (plain)\n"), "{told}");
    assert!(told.contains("PIN is not looked for"), "{told}");
    assert!(told.contains("1 found"), "{told}");
}

#[test]
fn base64_at_every_alignment_urls_json_hidden_ignored_and_binary_files() {
    let laptop = laptop();
    for before in ["", "u", "us", "user:"] {
        laptop.write("tree/a", &format!("\n\nauth: Basic {}\n", STANDARD.encode(format!("{before}{VALUE}@host"))));
        assert!(laptop.fails(1, &SCAN).contains("tree/a:3: DB_PASSWORD (base64)"), "{before}");
    }
    laptop.write("tree/a", "postgres://u:canary-p%2Fss%20w%2Brd%21@h\n");
    assert!(laptop.fails(1, &SCAN).contains("tree/a:1: DB_PASSWORD (URL-encoded)"));
    laptop.write("tree/a", "");
    laptop.write("tree/.gitignore", "target\n");
    laptop.write("tree/.hidden/target/app.bin", "");
    let mut binary = vec![0_u8, 159, 146, 150, b'\n', 0xff];
    binary.extend_from_slice(&vec![b'\n'; 3_000_000]);
    binary.extend_from_slice(VALUE.as_bytes());
    std::fs::write(laptop.folder.join("tree/.hidden/target/app.bin"), &binary).unwrap();
    assert!(laptop.fails(1, &SCAN).contains("tree/.hidden/target/app.bin:3000002: DB_PASSWORD (plain)"));
}

#[test]
fn what_cannot_be_read_is_no_clean_bill() {
    let laptop = laptop();
    let told = laptop.fails(1, &["scan", "--org", "acme", "-f", "app.yaml", "tree", "no-such-folder"]);
    assert!(told.contains("no-such-folder") && told.contains("not everything could be read"), "{told}");
}
