//! A notification at the worst moment.

use serde_json::json;

use crate::{
    api_proxy::Does,
    harness::{Operator, free_address, plant_credential, seconds, signed, unique, wait_for},
    scene::Scene,
};

/// The value was read and written, the status is on its way, and now it is told that there is another value. Somebody else
/// stands on the same key, hears of it, and the look is done.
#[tokio::test]
async fn told_of_a_change_while_the_status_is_written() {
    let scene = Scene::new().await;
    let key = plant_credential(&format!("{}{}{}{}", unique(), unique(), unique(), unique()));
    scene.own.secret("secretref-hooks", &json!({ format!("{}.store", scene.acme.name): key })).await;
    let address = free_address();
    let args = [scene.args(), vec!["--hooks-addr".to_owned(), address.to_string()]].concat();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let variables = [("KUBECONFIG", scene.api.kubeconfig.to_str().unwrap())];
    let operator = Operator::start_with(&scene.own.name, &args, &variables).await;
    let old = scene.put("a").await;
    let mut spec = Scene::spec("a");
    spec["rollout"].take();
    spec["refreshInterval"] = json!("8760h");
    scene.acme.reference("seldom", &spec).await;
    scene.finished("seldom").await;

    let status = scene.api.on(1, Does::HoldAfter, |a| a.patches("/zero/status"));
    spec["refreshInterval"] = json!("0s");
    scene.acme.reference("zero", &spec).await;
    scene.holds("zero", &old).await;
    scene.met(&status).await;
    let new = scene.put("a").await;
    let body = json!({ "keys": ["acme--a"] }).to_string();
    wait_for("the notification is taken", || async {
        let url = format!("http://{address}/hooks/generic/{}/store", scene.acme.name);
        let request = reqwest::Client::new().post(url);
        let headers = signed(&key, seconds(), &body);
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        match request.body(body.clone()).send().await {
            Ok(answer) if answer.status() == 202 => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
    scene.holds("seldom", &new).await;
    status.release();
    scene.holds("zero", &new).await;
    scene.done(&[&operator]).await;
}
