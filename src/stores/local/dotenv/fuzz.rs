use proptest::prelude::*;

use super::*;
use crate::mutants;

const FILES: [&str; 3] = [
    "# local values\nexport ACME__DB=\"canary-1 \\n\\$x\" # c\nGLOBAL__A='canary-2\nb'\n\nB=canary-3 # c\n",
    "\u{feff}A=1\r\nB=\"x\r\ny\"\r\n",
    "A=\nB=\"\"\nC=''\nD=\"\\\\\\\"\"\n",
];

proptest! {
    #[test]
    fn a_file_is_read_or_its_line_is_named(text in mutants::texts(FILES)) {
        match parse(&text) {
            Ok(values) => {
                prop_assert!(values.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= text.len());
                // Written again, what was read is the same.
                let mut written = String::new();
                for (name, value) in &values {
                    let value = value.expose_str().unwrap().replace('\\', "\\\\").replace('"', "\\\"");
                    written += &format!("{name}=\"{value}\"\n");
                }
                // A line end of Windows is no part of a value, so one that was escaped is not the same again.
                prop_assert!(written.contains('\r') || parse(&written) == Ok(values));
            }
            Err(bad) => {
                prop_assert!(bad.line >= 1 && bad.line <= text.matches('\n').count() + 1);
                let shown = format!("{bad:?} {}", bad.problem.sentence());
                prop_assert!(!shown.contains(mutants::CANARY), "{}", shown);
            }
        }
    }
}
