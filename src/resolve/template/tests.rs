#![allow(clippy::unwrap_used)]
use super::*;

fn render(template: &str, data: &BTreeMap<String, SecretValue>) -> Result<SecretValue, String> {
    Renderer::default().render(template, data)
}

fn data() -> BTreeMap<String, SecretValue> {
    [("DB_USER", "bob"), ("DB_PASSWORD", "p@ss \"w\""), ("tls.crt", "PEM"), ("EMPTY", "")]
        .map(|(k, v)| (k.to_owned(), v.to_owned().into()))
        .into()
}

fn ok(template: &str) -> String {
    render(template, &data()).unwrap().expose_str().unwrap().to_owned()
}

#[test]
fn renders_what_the_design_promises() {
    assert_eq!(
        ok("url=postgres://{{ DB_USER }}:{{ DB_PASSWORD|urlencode }}@db\n"),
        "url=postgres://bob:p%40ss%20%22w%22@db\n"
    );
    assert_eq!(ok(r#"{"p":{{ DB_PASSWORD|tojson }},"c":"{{ data["tls.crt"] }}"}"#), r#"{"p":"p@ss \"w\"","c":"PEM"}"#);
    assert_eq!(
        ok("{% if EMPTY %}no{% elif NONE is defined %}no{% else %}{{ DB_USER|upper|b64encode }}{% endif %}"),
        "Qk9C"
    );
    assert_eq!(ok("{{ 'aGk='|b64decode }}{# gone #}{% raw %}{{ }}{% endraw %}"), "hi{{ }}");
}

#[test]
fn errors_name_the_line_and_never_a_value() {
    for bad in [
        "{{ NOPE }}",
        "{{ DB_PASSWORD.x.y }}",
        "{{ DB_PASSWORD|nope }}",
        "{{ DB_PASSWORD() }}",
        "{{ DB_PASSWORD|b64decode }}",
        "{{",
        "{% if %}",
        "{% for x in DB_PASSWORD %}{{ x }}{% endfor %}",
        "{{ DB_PASSWORD[0] }}",
        "{{ DB_PASSWORD < 3 }}{{ -DB_PASSWORD }}",
        "{{ data[DB_PASSWORD] }}",
    ] {
        let error = render(bad, &data()).map(|v| v.expose_str().map(str::to_owned)).unwrap_err();
        assert!(!error.contains("p@ss") && !error.contains("bob"), "{bad}: {error}");
    }
}

#[test]
fn refuses_what_grows() {
    for bad in [
        "{% set x = 1 %}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% block b %}{% endblock %}",
        "{%- set x = 1 -%}",
        "{{ 'a' * 1000000000 }}",
        "{{ DB_USER ~ DB_USER }}",
        "{{ range(1000000000) }}",
        "{% for a in [1,2,3,4,5,6,7,8,9] %}{% for b in [1,2,3,4,5,6,7,8,9] %}{% for c in [1,2,3,4,5,6,7,8,9] %}{% for d in [1,2,3,4,5,6,7,8,9] %}{% for e in [1,2,3,4,5,6,7,8,9] %}{{ a }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
    ] {
        assert!(render(bad, &data()).is_err(), "{bad}");
    }
    let big = BTreeMap::from([("B".to_owned(), SecretValue::new(vec![b'x'; 600_000]))]);
    assert!(render("{{ B }}{{ B }}", &big).unwrap_err().contains("longer than"));
}

/// Steps are few, and each of them is heavy.
#[test]
fn work_is_bounded_for_all_templates_together() {
    let big = BTreeMap::from([("B".to_owned(), SecretValue::new(vec![b'x'; 700_000]))]);
    let mut renderer = Renderer::default();
    for _ in 0..2 {
        renderer.render("{{ B|b64encode|b64decode }}", &big).unwrap();
    }
    let error = (0..8).find_map(|_| renderer.render("{{ B|b64encode|b64decode }}", &big).err()).unwrap();
    assert!(error.contains("does too much work"), "{error}");

    let many = format!("{{% if {}B %}}{{% endif %}}", "B|trim and ".repeat(25)).repeat(100);
    assert!(render(&many, &big).unwrap_err().contains("does too much work"));

    let mut renderer = Renderer::default();
    let steps = format!("{}{{{{ a }}}}{}", "{% for a in [1,2,3,4,5,6,7,8,9] %}".repeat(4), "{% endfor %}".repeat(4));
    let error = (0..32).find_map(|_| renderer.render(&steps, &big).err()).unwrap();
    assert!(error.contains("does too much work"), "{error}");
}

/// The engine recurses into expressions and blocks: their depth must not reach the end of a thread's stack.
#[test]
fn nesting_is_bounded() {
    for deep in [
        format!("{{{{ 'a'{} }}}}", "|trim".repeat(10_000)),
        format!("{{{{ DB_USER{} }}}}", ".a".repeat(30_000)),
        format!("{{{{ {}DB_USER }}}}", "-".repeat(60_000)),
        format!("{{{{ {}DB_USER }}}}", "not ".repeat(15_000)),
        format!("{{{{ {}DB_USER }}}}", "DB_USER and ".repeat(5_000)),
        format!("{{{{ {}DB_USER }}}}", "1 if 1 else ".repeat(5_000)),
        format!("{}x{}", "{%if 1%}".repeat(3_000), "{%endif%}".repeat(3_000)),
        format!("{{%if 0%}}{}{{%endif%}}", "{%elif 0%}".repeat(6_000)),
        format!("{{%if 0%}}{}", "{%elif 0%}".repeat(6_000)),
        format!("{}{}", "{%for a in [1]%}".repeat(3_000), "{%endfor%}".repeat(3_000)),
        format!("{{{{ {}1{} }}}}", "(".repeat(20_000), ")".repeat(20_000)),
    ] {
        assert!(render(&deep, &data()).is_err(), "{}", &deep[..40]);
    }
    for deepest in [
        format!("{{{{ DB_USER{} }}}}", "|trim".repeat(60)),
        format!("{{{{ {}1 }}}}", "-".repeat(120)),
        format!("{{{{ {}1 }}}}", "not ".repeat(120)),
        format!("{}x{}", "{%if 1%}".repeat(60), "{%endif%}".repeat(60)),
        format!("{{%if 0%}}{}{{%endif%}}", "{%elif 0%}".repeat(60)),
    ] {
        assert!(render(&deepest, &data()).is_ok(), "{}", &deepest[..40]);
    }
    assert!(render(&"{%if 1%}{%else%}x{%endif%}".repeat(1_000), &data()).is_ok(), "side by side is not deep");
}

#[test]
fn nothing_grows_inside_the_engine() {
    let binary = BTreeMap::from([("BIN".to_owned(), SecretValue::new(vec![0xff, 0xfe]))]);
    for bad in [
        "{% for a in [['x']] %}{% for b in [[a,a]] %}{% if b in 'x' %}{% endif %}{% endfor %}{% endfor %}",
        "{% for a in [BIN,BIN] %}{% endfor %}",
        "{% for a in (BIN,BIN) %}{% endfor %}",
        "{% for a in BIN,BIN %}{% endfor %}",
        "{% for a in [1] recursive %}{% if loop([1]) %}{% endif %}{% endfor %}",
        "{% if BIN in 'x' %}{% endif %}",
        "{% for a in 'x' if BIN in 'x' %}{% endfor %}",
        "{{ BIN in 'x' }}",
        "{{ 'x' if BIN not in 'x' }}",
        "{{ {'a': BIN} }}",
        "{{ 'abc'[::2] }}",
        "{{ ['a'[BIN]] }}",
    ] {
        assert!(render(bad, &binary).unwrap_err().contains("line 1: "), "{bad}");
    }
    assert!(render(&format!("{{{{ '{}' }}}}", "x".repeat(2_000)), &binary).is_err());
    assert_eq!(ok("{% for a in ['b', 2] %}{{ a }}{{ data['DB_USER'] }},{% endfor %}{{ ['y'][0] }}"), "bbob,2bob,y");
}
