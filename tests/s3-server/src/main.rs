//! An S3 server for tests: objects are files below a folder, requests must be signed.
//!
//! `s3-server FOLDER ACCESS_KEY SECRET_KEY` prints its address and serves until it is killed. A bucket is a folder in FOLDER.

use std::error::Error;
use std::sync::Arc;

use hyper::Method;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, access_key, secret_key] = arguments.as_slice() else {
        return Err("usage: s3-server FOLDER ACCESS_KEY SECRET_KEY".into());
    };
    let files = FileSystem::new(folder).map_err(|error| format!("{folder}: {error:?}"))?;
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(
        access_key.as_str(),
        secret_key.as_str(),
    ));
    let service = service.build();
    // S3 creates an object if it is absent in one step, s3s-fs in two.
    let writes = Arc::new(Mutex::new(()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let (service, writes) = (service.clone(), writes.clone());
        let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (service, writes) = (service.clone(), writes.clone());
            async move {
                let _alone = match *request.method() {
                    Method::PUT => Some(writes.lock().await),
                    _ => None,
                };
                Service::call(&service, request).await
            }
        });
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), answer);
            // A client may go as it likes.
            connection.await.ok();
        });
    }
}
