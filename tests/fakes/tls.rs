//! A listener with TLS of its own: a CA made for it signs its certificate.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Mutex,
    time::Duration,
};

use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::task::JoinHandle;

/// A router behind TLS at 127.0.0.1, which can be stopped and started again at the same port.
pub struct Tls {
    /// `https://127.0.0.1:PORT`.
    pub address: String,
    /// The CA's certificate, PEM.
    pub ca: String,
    at: SocketAddr,
    config: RustlsConfig,
    router: Router,
    running: Mutex<Option<(Handle<SocketAddr>, JoinHandle<()>)>>,
}

impl Tls {
    pub async fn start(router: Router) -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        let config = RustlsConfig::from_pem(certificate.pem().into_bytes(), key.serialize_pem().into_bytes());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let tls = Self {
            address: format!("https://{at}"),
            ca: ca_certificate.pem(),
            at,
            config: config.await.unwrap(),
            router,
            running: Mutex::default(),
        };
        tls.serve(listener);
        tls
    }

    /// Takes no more connections, and ends those there are.
    pub async fn stop(&self) {
        let running = self.running.lock().unwrap().take();
        if let Some((handle, task)) = running {
            handle.shutdown();
            task.await.unwrap();
        }
    }

    /// Serves again, at the same address.
    pub async fn resume(&self) {
        for _ in 0..50 {
            if let Ok(listener) = TcpListener::bind(self.at) {
                return self.serve(listener);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{} is taken", self.at);
    }

    fn serve(&self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let handle = Handle::new();
        let server = axum_server::from_tcp_rustls(listener, self.config.clone()).unwrap().handle(handle.clone());
        let service = self.router.clone().into_make_service();
        let task = tokio::spawn(async move { server.serve(service).await.unwrap() });
        *self.running.lock().unwrap() = Some((handle, task));
    }
}
