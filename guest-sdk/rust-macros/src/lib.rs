//! The derive macros of `wasmill-sdk`.

mod ports;
mod record;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a row: each field a column of the same name, in the order of the struct.
///
/// A field is a `bool`, `i64`, `f64`, `&str`, `String`, `Cow<str>`, `&[u8]`, `Vec<u8>`, `Decimal<P, S>`, `Date`,
/// `Timestamp` or `Json`, or an `Option` of one, which makes the column nullable. The struct may have one lifetime: that
/// of the batch its texts are read from.
///
/// On a field:
/// - `#[record(rename = "user-agent")]` gives the column another name;
/// - `#[record(setting = "column")]` has that key of the configuration name the input column, if it is there;
/// - `#[record(or_first)]` takes the first input column of a fitting type if none has the name.
///
/// A row whose value is null in a field that is not an `Option` is rejected before the plugin sees it.
#[proc_macro_derive(Record, attributes(record))]
pub fn record(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    record::derive(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a struct of `Emit` fields the output of a transform with several ports, each named as its field.
#[proc_macro_derive(Ports)]
pub fn ports(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    ports::derive(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// The fields of a struct with named fields; `what` names the trait in the error.
fn named_fields<'a>(input: &'a DeriveInput, what: &str) -> syn::Result<Vec<&'a syn::Field>> {
    match &input.data {
        syn::Data::Struct(syn::DataStruct {
            fields: syn::Fields::Named(fields),
            ..
        }) => Ok(fields.named.iter().collect()),
        _ => Err(syn::Error::new_spanned(
            &input.ident,
            format!("{what} is derived for a struct with named fields"),
        )),
    }
}
