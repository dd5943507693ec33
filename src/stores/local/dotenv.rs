//! A `.env` file. Own code: the crates for it put a bad line, and with it a value, into their errors, name no line
//! number, and replace `$` in values.
//!
//! `NAME=value`, also after `export`. A value without quotes ends at the line's end or at a `#` after white space. In
//! single quotes everything stands for itself. In double quotes `\n`, `\r`, `\t`, `\\`, `\"` and `\$` are escapes. Both
//! may hold line breaks. Nothing is replaced. The last line for a name counts.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// What is wrong in which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub line: usize,
    pub problem: Problem,
}

/// Nothing of the line itself, which may be a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NoEquals,
    Name,
    Unclosed,
    AfterQuote,
    Escape,
    Control,
}

impl Problem {
    /// How the sentence about the line goes on.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NoEquals => "has no '=': write NAME=value, or '#' in front of a comment",
            Self::Name => "names no variable: write letters, digits and '_' before the '='",
            Self::Unclosed => "begins a quote that never ends: close it",
            Self::AfterQuote => {
                "goes on after the closing quote: put the whole value in quotes, and escape those in it"
            }
            Self::Escape => "has an unknown escape in double quotes: write \\\\ for a backslash, or use single quotes",
            Self::Control => "holds a NUL, which no variable can: remove it",
        }
    }
}

/// All variables in it.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, SecretValue>, Bad> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut values, mut line) = (BTreeMap::new(), 1);
    while !rest.is_empty() {
        let bad = |problem| Bad { line, problem };
        let end = rest.find('\n').unwrap_or(rest.len());
        let this = rest[..end].trim();
        if this.is_empty() || this.starts_with('#') {
            (rest, line) = (rest.get(end + 1..).unwrap_or_default(), line + 1);
            continue;
        }
        let equals = rest[..end].find('=').ok_or_else(|| bad(Problem::NoEquals))?;
        let name = rest[..equals].trim();
        let name = name.strip_prefix("export").filter(|n| n.starts_with([' ', '\t'])).map_or(name, str::trim);
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
            return Err(bad(Problem::Name));
        }
        let (value, used) = value(&rest[equals + 1..]).map_err(bad)?;
        if value.contains('\0') {
            return Err(bad(Problem::Control));
        }
        values.insert(name.to_owned(), SecretValue::new(value.as_bytes().to_vec()));
        let (passed, after) = rest.split_at(equals + 1 + used);
        line += passed.matches('\n').count();
        rest = after;
    }
    Ok(values)
}

/// The value at the start of this, and how much of it was its lines, line break included.
fn value(text: &str) -> Result<(Zeroizing<String>, usize), Problem> {
    let end = text.find('\n').unwrap_or(text.len());
    let start = text[..end].len() - text[..end].trim_start().len();
    let Some(quote) = text[start..end].chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let bare = &text[..end];
        let comment = bare.char_indices().find(|(at, c)| *c == '#' && bare[..*at].ends_with([' ', '\t']));
        let bare = comment.map_or(bare, |(at, _)| &bare[..at]).trim();
        return Ok((Zeroizing::new(bare.to_owned()), (end + 1).min(text.len())));
    };
    let body = &text[start + 1..];
    // As long as it can get, so that it never grows.
    let mut value = Zeroizing::new(String::with_capacity(body.len()));
    let mut chars = body.char_indices();
    let closed = loop {
        match chars.next().ok_or(Problem::Unclosed)? {
            (at, c) if c == quote => break start + 1 + at + 1,
            (_, '\\') if quote == '"' => value.push(match chars.next().ok_or(Problem::Unclosed)?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                c @ ('\\' | '"' | '$') => c,
                _ => return Err(Problem::Escape),
            }),
            // A file written on Windows: its line ends are no part of a value.
            (at, '\r') if body[at + 1..].starts_with('\n') => {}
            (_, c) => value.push(c),
        }
    };
    let end = text[closed..].find('\n').map_or(text.len(), |at| closed + at);
    let after = text[closed..end].trim();
    if !after.is_empty() && !after.starts_with('#') {
        return Err(Problem::AfterQuote);
    }
    Ok((value, (end + 1).min(text.len())))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Result<String, Problem> {
        let parsed = parse(line).map_err(|bad| bad.problem)?;
        assert_eq!(parsed.len(), 1, "{line}");
        Ok(parsed["A"].expose_str().unwrap().to_owned())
    }

    #[test]
    fn values() {
        for (line, value) in [
            ("A=x", "x"),
            ("A=", ""),
            ("A=\"\"", ""),
            ("  export A = x y \t", "x y"),
            ("export\tA=x", "x"),
            ("A=x # comment", "x"),
            ("A=# comment", "# comment"),
            ("A= # comment", ""),
            ("A=x#y", "x#y"),
            ("A=p$w\\n'\"=", "p$w\\n'\"="),
            ("A='x # $y \\n \"'   # comment", "x # $y \\n \""),
            (r#"A="a\n\t\\\"\$b # 'c'""#, "a\n\t\\\"$b # 'c'"),
            ("A=\"one\ntwo\n\"", "one\ntwo\n"),
            ("A=\"one\r\ntwo\"\r\n", "one\ntwo"),
            ("A='one\ntwo'", "one\ntwo"),
            ("\u{feff}A=x\r\n", "x"),
            ("A=1\nA=2\n", "2"),
            ("# A=1\n\n   # B\nA=ü漢🔑", "ü漢🔑"),
        ] {
            assert_eq!(one(line).as_deref(), Ok(value), "{line:?}");
        }
        let many = parse("A=\"x\ny\"\n\nB=2\nexport=3\nC_1.x-y=4").unwrap();
        assert_eq!(many.keys().collect::<Vec<_>>(), ["A", "B", "C_1.x-y", "export"]);
    }

    #[test]
    fn bad_lines_are_named_by_number() {
        for (text, line, problem) in [
            ("A=1\ncanary-x\nB=2", 2, Problem::NoEquals),
            ("=canary-x", 1, Problem::Name),
            ("\n\nA B=canary-x", 3, Problem::Name),
            ("Ä=canary-x", 1, Problem::Name),
            ("A=1\nB=\"canary-x\nC=2\n", 2, Problem::Unclosed),
            ("B='canary-x", 1, Problem::Unclosed),
            ("B=\"canary-x\\", 1, Problem::Unclosed),
            ("A=\"x\ny\nz\"\nB=\"a\" canary-x", 4, Problem::AfterQuote),
            ("A=\"canary-\\q\"", 1, Problem::Escape),
            ("A=x\nB=canary-\0", 2, Problem::Control),
        ] {
            assert_eq!(parse(text), Err(Bad { line, problem }), "{text:?}");
        }
    }

    proptest::proptest! {
        /// Whatever it is fed, it ends, and gives back what was quoted.
        #[test]
        fn what_is_quoted_comes_back(value in "[^\0\r]{0,40}", noise in "[A-Z=\"'#\\\\ \n$x]{0,40}") {
            let _ = parse(&noise);
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            let parsed = parse(&format!("B='z'\nA=\"{escaped}\" # c\nC=1")).unwrap();
            proptest::prop_assert_eq!(parsed["A"].expose_str(), Some(value.as_str()));
            proptest::prop_assert_eq!(parsed.len(), 3);
        }
    }
}
