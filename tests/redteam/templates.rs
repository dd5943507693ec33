//! Templates and patterns: what they could reach, and what they could cost.

use serde_json::{Value, json};

use crate::arena::one;

fn template(text: &str) -> Value {
    let mut rest = one("KEY", "key");
    rest["target"] = json!({ "template": { "data": { "OUT": text } } });
    rest
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    format!("{}x{}", open.repeat(depth), close.repeat(depth))
}

attempts! {
    template_reads_files: "includes, imports and extends files of the operator" => Reason("TemplateError", "only if and for blocks"), |a| {
        for (i, text) in ["{% include '/var/run/secrets/kubernetes.io/serviceaccount/token' %}", "{% import '/etc/passwd' as p %}{{ p }}", "{% extends '/proc/self/environ' %}", "{% set x = 1 %}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% filter upper %}x{% endfilter %}"].into_iter().enumerate() {
            a.submit(&format!("app{i}"), template(text)).await;
        }
    }

    template_reaches_out: "asks for environment, internals, functions and other organisations' values" => Reason("TemplateError", ""), |a| {
        let org = a.victim_org.clone();
        for (i, text) in ["{{ env }}", "{{ self }}", "{{ KEY.__class__.__mro__ }}", "{{ range(999999999) }}", "{{ debug() }}", "{{ lookup('VICTIM--key') }}", "{{ data['VICTIM--key'] }}", "{{ KEY|attr('x') }}", "{{ KEY|safe }}", "{{ namespace() }}", "{{ loop }}"].into_iter().enumerate() {
            a.submit(&format!("app{i}"), template(&text.replace("VICTIM", &org))).await;
        }
    }

    template_that_grows: "multiplies, joins and nests until memory ends" => Reason("TemplateError", ""), |a| {
        let loops = nested("{% for a in data.KEY %}", "{% endfor %}", 3);
        let bomb = nested("{% for a in ['x','x','x','x','x','x','x','x','x','x'] %}", "{% endfor %}", 12);
        let twice = format!("{{{{ KEY{} }}}}", "|b64encode".repeat(60));
        for (i, text) in ["{{ 'x' * 999999999 }}", "{{ 2 ** 99999999 }}", "{{ KEY ~ KEY }}", &loops, &bomb, &twice, "{{ [[[[[[[[]]]]]]]] }}"].into_iter().enumerate() {
            a.submit(&format!("app{i}"), template(text)).await;
        }
    }

    template_that_is_deep: "nests brackets, blocks and filters until a stack ends" => Reason("TemplateError", ""), |a| {
        let brackets = format!("{{{{ {}KEY{} }}}}", "(".repeat(20_000), ")".repeat(20_000));
        let not = format!("{{{{ {} KEY }}}}", "not ".repeat(10_000));
        let ifs = nested("{% if KEY %}", "{% endif %}", 2_000);
        let elifs = format!("{{% if KEY %}}{}{{% endif %}}", "{% elif KEY %}x".repeat(3_000));
        let index = format!("{{{{ data{} }}}}", "['KEY']".repeat(5_000));
        for (i, text) in [&brackets, &not, &ifs, &elifs, &index].into_iter().enumerate() {
            a.submit(&format!("app{i}"), template(text)).await;
        }
    }

    template_that_is_giant: "writes a template of more than 64 KiB, and more than 32 of them" => Status(422, "spec.target.template"), |a| {
        a.submit("long", template(&"x".repeat(65_537))).await;
        let many: serde_json::Map<String, Value> = (0..33).map(|i| (format!("K{i}"), json!("x"))).collect();
        let mut rest = one("KEY", "key");
        rest["target"] = json!({ "template": { "data": many } });
        a.submit("many", rest).await;
    }

    work_of_many_templates: "spreads the work over 32 templates" => Reason("TemplateError", "too much work"), |a| {
        let text = "{% for a in ['x','x','x','x','x','x','x','x','x','x'] %}{% for b in ['x','x','x','x','x','x','x','x','x','x'] %}{% for c in ['x','x','x','x','x','x','x','x','x','x'] %}{{ KEY|b64encode|b64encode }}{% endfor %}{% endfor %}{% endfor %}";
        let many: serde_json::Map<String, Value> = (0..32).map(|i| (format!("K{i}"), json!(text))).collect();
        let mut rest = one("KEY", "key");
        rest["target"] = json!({ "template": { "data": many } });
        a.submit("app", rest).await;
    }

    patterns_that_explode: "finds by regular expressions, of which there are none" => Status(400, "unknown field"), |a| {
        for (i, find) in [json!({ "prefix": "k", "regexp": "(a+)+$" }), json!({ "prefix": "k", "name": { "regexp": "(.*)*" } }), json!({ "prefix": "k", "tags": {} })].into_iter().enumerate() {
            a.submit(&format!("app{i}"), json!({ "dataFrom": [{ "find": find }] })).await;
        }
    }

    patterns_in_prefixes: "writes a regular expression where a prefix belongs" => Status(422, "prefix"), |a| {
        for (i, prefix) in ["(a+)+$", "(.*)*", "k.*|VICTIM", "[a-z]{1,99999}", &format!("{}!", "a-".repeat(126))].into_iter().enumerate() {
            a.submit(&format!("app{i}"), json!({ "dataFrom": [{ "find": { "prefix": prefix } }] })).await;
        }
    }

    property_that_explodes: "asks for a property by a path of 120 levels" => Reason("PropertyNotFound", ""), |a| {
        let deep = format!("a{}", "[0]".repeat(80));
        let dots = vec!["a"; 120].join(".");
        for (i, property) in [deep, dots].into_iter().enumerate() {
            let entry = json!({ "key": "KEY", "secretRef": { "name": "key", "property": property } });
            a.submit(&format!("app{i}"), json!({ "data": [entry] })).await;
        }
    }
}
