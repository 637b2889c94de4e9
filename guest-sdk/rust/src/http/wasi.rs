//! Requests through `wasi:http`.

use super::{MAX_BODY, Request, Response};
use crate::Error;
use crate::bindings::http::wasi::http::outgoing_handler;
use crate::bindings::http::wasi::http::types::{
    ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme,
};
use crate::bindings::http::wasi::io::streams::StreamError;

/// The most that `blocking-write-and-flush` takes at once.
const WRITE: usize = 4096;

pub(super) fn send(request: Request) -> Result<Response, Error> {
    let authority = request.authority.clone();
    let no_answer = |code: ErrorCode| failed(&authority, &code);
    let outgoing = outgoing(&request)?;
    let body = outgoing
        .body()
        .map_err(|()| "the request has a body already")?;
    let answer = outgoing_handler::handle(outgoing, Some(options(&request)?)).map_err(no_answer)?;
    // A peer may answer and close before it has read everything: then the answer says more than the failed write.
    let written = write(&body, &request.body);
    let finished = OutgoingBody::finish(body, None);
    answer.subscribe().block();
    let answer = answer
        .get()
        .and_then(Result::ok)
        .ok_or_else(|| Error::retryable(format!("no answer from {authority}")))?
        .map_err(no_answer)?;
    if answer.status() < 300 {
        written.map_err(|error| {
            Error::retryable(format!("the request to {authority} broke off: {error:?}"))
        })?;
        finished.map_err(no_answer)?;
    }
    read(answer, &authority)
}

fn outgoing(request: &Request) -> Result<OutgoingRequest, Error> {
    let mut headers: Vec<(String, Vec<u8>)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone().into_bytes()))
        .collect();
    headers.push((
        "content-length".to_owned(),
        request.body.len().to_string().into_bytes(),
    ));
    let headers =
        Fields::from_list(&headers).map_err(|error| format!("a header is not valid: {error:?}"))?;
    let outgoing = OutgoingRequest::new(headers);
    let method = match request.method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        other => Method::Other(other.to_owned()),
    };
    let scheme = if request.secure {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let set = outgoing
        .set_method(&method)
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(&request.authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(&request.path)));
    set.map_err(|()| format!("`{}{}` is not an address", request.authority, request.path))?;
    Ok(outgoing)
}

fn options(request: &Request) -> Result<RequestOptions, Error> {
    let nanos = Some(u64::try_from(request.timeout.as_nanos()).unwrap_or(u64::MAX));
    let options = RequestOptions::new();
    options
        .set_connect_timeout(nanos)
        .and_then(|()| options.set_first_byte_timeout(nanos))
        .and_then(|()| options.set_between_bytes_timeout(nanos))
        .map_err(|()| "the host does not support time-outs")?;
    Ok(options)
}

fn write(body: &OutgoingBody, bytes: &[u8]) -> Result<(), StreamError> {
    let Ok(stream) = body.write() else {
        return Err(StreamError::Closed);
    };
    bytes
        .chunks(WRITE)
        .try_for_each(|chunk| stream.blocking_write_and_flush(chunk))
}

fn read(answer: IncomingResponse, authority: &str) -> Result<Response, Error> {
    let broken = |what: &str| Error::retryable(format!("the answer from {authority} {what}"));
    let header =
        |(name, value): (String, Vec<u8>)| (name, String::from_utf8_lossy(&value).into_owned());
    let mut response = Response {
        status: answer.status(),
        headers: answer.headers().entries().into_iter().map(header).collect(),
        body: Vec::new(),
    };
    let body = answer.consume().map_err(|()| broken("has no body"))?;
    let stream = body.stream().map_err(|()| broken("has no body"))?;
    while response.body.len() < MAX_BODY {
        let room = (MAX_BODY - response.body.len()) as u64;
        match stream.blocking_read(room) {
            Ok(bytes) => response.body.extend_from_slice(&bytes),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return Err(broken("broke off")),
        }
    }
    Ok(response)
}

fn failed(authority: &str, code: &ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied => Error::fatal(format!(
            "the pipeline file does not grant requests to {authority}"
        )),
        ErrorCode::HttpRequestUriInvalid => Error::fatal(format!("`{authority}` is not a host")),
        code => Error::retryable(format!("no answer from {authority}: {code:?}")),
    }
}
