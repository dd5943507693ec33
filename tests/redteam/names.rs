//! Names of other organisations: by their prefix, by tricks with paths, case and look-alikes.

use serde_json::{Value, json};

use crate::arena::{one, secret};

fn extract(name: &str) -> Value {
    json!({ "dataFrom": [{ "extract": { "name": name } }] })
}

fn find(prefix: &str) -> Value {
    json!({ "dataFrom": [{ "find": { "prefix": prefix } }] })
}

attempts! {
    prefix_of_another_org: "asks for `VICTIM--key` by its whole store key" => Status(422, "name must be a bare name"), |a| {
        let name = format!("{}--key", a.victim_org);
        a.submit("data", one("KEY", &name)).await;
        a.submit("extract", extract(&name)).await;
    }

    rest_of_a_longer_org: "is organisation `acme`, and asks for `-corp--key` to get at `acme-corp--key`" => Status(422, ""), |a| {
        a.submit("data", one("KEY", "-corp--key")).await;
        a.submit("find", find("-corp--")).await;
        a.submit("short", find("-")).await;
    }

    org_as_a_folder: "asks for `VICTIM/key` where the store has folders" => Reason("SecretNotFound", "neither"), |a| {
        let name = format!("{}/key", a.victim_org);
        a.submit("data", one("KEY", &name)).await;
        a.submit("extract", extract(&name)).await;
    }

    way_up: "asks for `../VICTIM--key` and other ways up" => Status(422, ""), |a| {
        let (org, names) = (a.victim_org.clone(), ["../ORG--key", "../ORG/key", "x/../../ORG/key", "./key", "x/./key", "..", "x/..", "/key", "key/", "x//key"]);
        for (i, name) in names.into_iter().enumerate() {
            let name = name.replace("ORG", &org);
            a.submit(&format!("data{i}"), one("KEY", &name)).await;
            a.submit(&format!("extract{i}"), extract(&name)).await;
            a.submit(&format!("find{i}"), find(&format!("{name}/.."))).await;
        }
    }

    encoded_way_up: "asks for it encoded: `%2e%2e%2f`, `%252e`, `%2d%2d`, `\\u002e`, backslashes" => Status(422, ""), |a| {
        let (org, names) = (a.victim_org.clone(), ["%2e%2e%2fORG%2d%2dkey", "%252e%252e%252fORG", "..%2fORG--key", "ORG%2d%2dkey", "..\\ORG\\key", "\\u002e\\u002e/ORG", "..;/ORG", "key?x=ORG", "key#ORG", "key&list=true"]);
        for (i, name) in names.into_iter().enumerate() {
            a.submit(&format!("data{i}"), one("KEY", &name.replace("ORG", &org))).await;
        }
    }

    control_characters: "asks for names with line breaks, tabs, NUL and spaces in them" => Status(422, ""), |a| {
        for (i, name) in ["key\n", "\nkey", "key\r\nX-Vault-Namespace: root", "key\u{0}", "key\t", " key", "key ", "k\u{200b}ey", "\u{feff}key"].into_iter().enumerate() {
            a.submit(&format!("data{i}"), one("KEY", name)).await;
        }
    }

    capitals: "asks for `KEY` where names are in lower case" => Reason("InvalidReference", "lower-case"), |a| {
        a.submit("data", one("KEY", "KEY")).await;
        a.submit("extract", extract("Key")).await;
    }

    look_alike_name: "asks for `kеy` with a Cyrillic letter, full-width ones and other hyphens" => Status(422, ""), |a| {
        let org = a.victim_org.clone();
        for (i, name) in ["k\u{435}y", "\u{ff4b}\u{ff45}\u{ff59}", "k\u{65}\u{301}y", "ORG\u{2010}\u{2010}key", "ORG\u{2013}key", "ORG\u{ff0d}\u{ff0d}key", "ORG\u{ad}--key"].into_iter().enumerate() {
            a.submit(&format!("data{i}"), one("KEY", &name.replace("ORG", &org))).await;
        }
    }

    scope_in_the_name: "asks for `GLOBAL--key` and `global/key` as if they were names" => Status(422, "name must be a bare name"), |a| {
        for (i, name) in ["GLOBAL--key", "global--key", "global/key", "GLOBAL/key", "Global/x/key"].into_iter().enumerate() {
            a.submit(&format!("data{i}"), one("KEY", name)).await;
        }
    }

    spec_org: "writes the other organisation into `spec.org`" => Reason("OrgMismatch", "spec.org"), |a| {
        let mut rest = one("KEY", "key");
        rest["org"] = json!(a.victim_org);
        a.submit("other", rest.clone()).await;
        rest["org"] = json!("nobody");
        a.submit("nobody", rest).await;
    }

    spec_org_in_disguise: "writes it in capitals, with look-alikes, with `--`, with a slash, or as `global`" => Status(422, "spec.org"), |a| {
        let org = a.victim_org.clone();
        let disguises = [org.to_uppercase(), org.replace('a', "\u{430}"), format!("{org}--"), format!("{org}/"), format!("../{org}"), format!("{org}\n"), format!(" {org}"), "global".to_owned(), "user".to_owned(), "GLOBAL".to_owned(), String::new(), "*".to_owned()];
        for (i, disguise) in disguises.into_iter().enumerate() {
            let mut rest = one("KEY", "key");
            rest["org"] = json!(disguise);
            a.submit(&format!("app{i}"), rest).await;
        }
    }

    find_by_another_org: "finds by the prefix `VICTIM--`, by `GLOBAL--`, by nothing, by a star" => Status(422, ""), |a| {
        let org = a.victim_org.clone();
        for (i, prefix) in ["ORG--", "ORG--k", "GLOBAL--", "global/", "", "*", ".*", "^", "ORG%2d"].into_iter().enumerate() {
            a.submit(&format!("find{i}"), find(&prefix.replace("ORG", &org))).await;
        }
    }

    find_the_rest_of_a_longer_org: "is organisation `acme`, and finds by `corp` where there is `acme-corp--key`" => Reason("SecretNotFound", ""), |a| {
        a.submit("corp", find("corp")).await;
        let org = a.victim_org.clone();
        a.submit("whole", find(&org)).await;
        a.submit("folder", find(&format!("{org}/"))).await;
    }

    find_finds_its_own: "finds by `k`, which names of both organisations start with" => Harmless("it gets its own names only"), |a| {
        let spec = a.spec(json!({ "dataFrom": [{ "find": { "prefix": "k", "keyCase": "ScreamingSnake" } }] }));
        a.space.reference("app", &spec).await;
        a.own_value("app").await;
    }

    version_as_a_path: "asks for a version `../VICTIM--key`, `1/../..`, `1?x`, `1&x`" => Status(422, ""), |a| {
        let org = a.victim_org.clone();
        for (i, version) in [format!("../{org}--key"), "1/../..".to_owned(), "1?list=true".to_owned(), "1&version=2".to_owned(), "1#".to_owned(), "%2e%2e".to_owned()].into_iter().enumerate() {
            let entry = json!({ "key": "KEY", "secretRef": { "name": "key", "version": version, "scope": "Org" } });
            a.submit(&format!("app{i}"), json!({ "data": [entry] })).await;
        }
    }

    version_of_dots: "asks for a version `..` or `latest`" => Reason("StoreMisconfigured", "makes no sense"), |a| {
        for (name, version) in [("dots", ".."), ("words", "latest")] {
            let entry = json!({ "key": "KEY", "secretRef": { "name": "key", "version": version, "scope": "Org" } });
            a.submit(name, json!({ "data": [entry] })).await;
        }
    }

    property_as_a_path: "asks for properties `../value`, `data.data`, `metadata`, `__proto__`" => Reason("PropertyNotFound", "no property"), |a| {
        for (i, property) in ["../value", "data.data", "metadata", "__proto__", "$.value", "*", "value.value[0]"].into_iter().enumerate() {
            let entry = json!({ "key": "KEY", "secretRef": { "name": "key", "property": property } });
            a.submit(&format!("app{i}"), json!({ "data": [entry] })).await;
        }
    }

    global_where_it_is_not_allowed: "asks a store without `allowGlobal` for `scope: Global`" => Reason("SecretNotFound", "no scope"), |a| {
        a.bao.put("GLOBAL--shared", json!({ "value": a.value })).await;
        let store = format!("{}-no-global", a.store);
        a.put_store(&store, json!({ "tenancy": { "allowGlobal": false } })).await;
        let mut rest = json!({ "data": [{ "key": "KEY", "secretRef": { "name": "shared", "scope": "Global" } }] });
        rest["storeRef"] = json!({ "name": store });
        a.submit("global", rest).await;
        a.cluster.delete("ClusterSecretStore", None, &store).await;
    }

    one_of_many: "hides the other organisation's name among 200 of its own" => Status(422, "name must be a bare name"), |a| {
        let mut data: Vec<Value> = (0..200).map(|i| secret(&format!("K{i}"), "key")).collect();
        data.push(secret("KEY", &format!("{}--key", a.victim_org)));
        a.submit("app", json!({ "data": data })).await;
    }
}
