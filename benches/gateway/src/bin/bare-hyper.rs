//! `bare-hyper PORT`: an HTTP server that gives the answers of the fast child by itself, and does nothing else. The
//! floor: no gateway on this stack can be faster.

use std::convert::Infallible;
use std::process::ExitCode;

use bytes::Bytes;
use gateway_bench::answers::Server;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(port) = std::env::args().nth(1).and_then(|text| text.parse::<u16>().ok()) else {
        return ExitCode::from(2);
    };
    let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await else {
        return ExitCode::FAILURE;
    };
    loop {
        let Ok((stream, _from)) = listener.accept().await else {
            continue;
        };
        stream.set_nodelay(true).unwrap_or_default();
        tokio::spawn(async move {
            let service = service_fn(answer);
            // A connection that breaks ends; there is nobody to tell.
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST {
        let mut refused = Response::new(Full::default());
        *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return Ok(refused);
    }
    let is_modern = request.headers().get("mcp-method").is_some();
    let Ok(body) = request.into_body().collect().await else {
        return Ok(Response::new(Full::default()));
    };
    let body = body.to_bytes();
    let mut out = Vec::with_capacity(body.len() + 256);
    Server {
        is_modern,
        n_tools: 2,
    }
    .answer(&body, &mut out);
    let mut response = Response::new(Full::new(Bytes::from(out)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert("mcp-session-id", HeaderValue::from_static("none"));
    Ok(response)
}
