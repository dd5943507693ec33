use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::mutants;

const TEMPLATES: [&str; 5] = [
    "url=postgres://{{ DB_USER }}:{{ DB_PASSWORD|urlencode }}@db\n",
    r#"{"p":{{ DB_PASSWORD|tojson }},"c":"{{ data["tls.crt"]|b64encode|b64decode|upper }}"}"#,
    "{% if EMPTY %}canary-no{% elif NONE is defined %}x{% else %}{{ DB_USER|trim|lower }}{% endif %}",
    "{% for x in [1, 'canary-2', 3] %}{{ x }}{{ loop.index }}{% endfor %}{# gone #}{% raw %}{{ }}{% endraw %}",
    "{{ 'canary-3'|b64encode }}{{ DB_USER == 'x' and not EMPTY }}",
];
/// Pieces of the language, right and wrong.
const PIECES: [&str; 32] = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    " DB_PASSWORD ",
    " data ",
    "[",
    "]",
    "(",
    ")",
    "|tojson",
    "|b64encode",
    "|upper",
    " if ",
    " else ",
    " elif ",
    " endif ",
    " for x in ",
    " endfor ",
    " not ",
    " and ",
    " is defined",
    "'canary-4'",
    "1e9",
    "9999999999999999999999",
    ".x",
    "-",
    "~",
    ",",
    "\n",
];

fn judge(template: &str) -> Result<(), TestCaseError> {
    let data: BTreeMap<String, SecretValue> =
        [("DB_USER", "canary-bob"), ("DB_PASSWORD", "canary-p@ss \"ß\""), ("tls.crt", "canary-PEM"), ("EMPTY", "")]
            .map(|(key, value)| (key.to_owned(), value.to_owned().into()))
            .into();
    let checked = check(template);
    match Renderer::default().render(template, &data) {
        Ok(rendered) => {
            prop_assert!(checked.is_ok() && rendered.len() <= MAX_BYTES);
        }
        Err(error) => mutants::assert_silent(&error),
    }
    if let Err(error) = checked {
        mutants::assert_silent(&error);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_template_is_rendered_or_its_line_is_named(template in mutants::texts(TEMPLATES)) {
        judge(&template)?;
    }

    #[test]
    fn any_sequence_of_pieces_ends_within_its_bounds(pieces in vec(select(&PIECES[..]), 0..40), times in 1..60_usize) {
        judge(&pieces.concat())?;
        judge(&pieces.concat().repeat(times))?;
    }
}
