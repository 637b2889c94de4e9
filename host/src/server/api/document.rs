//! The OpenAPI document: what the handlers say of themselves, and what the guards before them do, which is the same for all of them.

use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};

use super::answer;

/// What the document begins with.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Wasmill",
        description = "Plugins and pipelines of a server's tenants. Every refusal is `{\"error\": {...}}`."
    ),
    components(schemas(answer::ErrorBody))
)]
pub struct Document;

const SCHEME: &str = "token";

/// A refusal that an operation may answer with: its status, and when.
type Refused = (u16, &'static str);

const ALWAYS: [Refused; 6] = [
    (401, "without a token, or with one that opens nothing"),
    (403, "when the token is not good for it"),
    (408, "when the request came too slowly"),
    (413, "when more was sent than this takes"),
    (429, "after too many wrong tokens from this address"),
    (500, "when the server cannot do it: its log says why"),
];
const NAMED: [Refused; 1] = [(
    404,
    "when what the address names is not there, or not the caller's",
)];
const TAKES: [Refused; 1] = [(
    422,
    "when the address or what was sent is not as it has to be",
)];
const CHANGES: [Refused; 1] = [(409, "when what is there stands against it")];
const BUSY: [Refused; 1] = [(
    503,
    "when the server does as much of this as it can at once",
)];

/// Says of guarded routes that they want a token, and how they refuse.
pub fn guarded(document: &mut OpenApi) {
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(SCHEME, scheme);
    for (path, method, operation) in operations(document) {
        let needs = SecurityRequirement::new(SCHEME, [""; 0]);
        operation.security = Some(vec![needs]);
        refuses(operation, &ALWAYS);
        let is_change = method != HttpMethod::Get;
        if path.contains('{') {
            refuses(operation, &NAMED);
        }
        if operation.parameters.is_some() || is_change {
            refuses(operation, &TAKES);
        }
        if is_change {
            refuses(operation, &CHANGES);
            refuses(operation, &BUSY);
        }
    }
}

fn operations(document: &mut OpenApi) -> impl Iterator<Item = (&str, HttpMethod, &mut Operation)> {
    let paths = document.paths.paths.iter_mut();
    paths.flat_map(|(path, item)| {
        let PathItem {
            get,
            put,
            post,
            delete,
            ..
        } = item;
        let methods = [
            (HttpMethod::Get, get),
            (HttpMethod::Put, put),
            (HttpMethod::Post, post),
            (HttpMethod::Delete, delete),
        ];
        let found = methods.into_iter().filter_map(move |(method, operation)| {
            Some((path.as_str(), method, operation.as_mut()?))
        });
        found.collect::<Vec<_>>()
    })
}

fn refuses(operation: &mut Operation, refusals: &[Refused]) {
    for (status, when) in refusals {
        let body = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(ERROR)))
            .build();
        let response = ResponseBuilder::new()
            .description(*when)
            .content("application/json", body)
            .build();
        let responses = &mut operation.responses.responses;
        responses
            .entry(status.to_string())
            .or_insert(response.into());
    }
}

/// The name of [`answer::ErrorBody`]'s schema.
const ERROR: &str = "ErrorBody";

#[cfg(test)]
mod tests {
    use utoipa::ToSchema as _;

    use super::*;

    #[test]
    fn refusals_are_of_the_schema_that_is_there() {
        assert_eq!(answer::ErrorBody::name(), ERROR);
    }
}
