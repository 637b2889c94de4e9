//! `#[derive(Record)]`: a builder and a reader for each field.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::{DeriveInput, Field, GenericParam, Lifetime, LitStr};

/// What a field's attributes say.
struct Options {
    name: String,
    setting: Option<String>,
    or_first: bool,
}

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let fields = crate::named_fields(input, "Record")?;
    let options = fields
        .iter()
        .map(|field| options(field))
        .collect::<syn::Result<Vec<_>>>()?;
    let lifetime = lifetime(input)?;
    let builders = format_ident!("{}Builders", input.ident);
    let record = impl_record(input, &fields, &options, &builders);
    let row = impl_row(input, &fields, &options, lifetime);
    let readable = impl_readable(input);
    let builders = define_builders(&builders, &fields);
    Ok(quote! {
        const _: () = {
            use ::wasmill_sdk::derive as sdk;
            #builders
            #record
            #row
            #readable
        };
    })
}

fn options(field: &Field) -> syn::Result<Options> {
    let ident = field.ident.as_ref().expect("the struct has named fields");
    let mut options = Options {
        name: ident.to_string().trim_start_matches("r#").to_owned(),
        setting: None,
        or_first: false,
    };
    for attribute in field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("record"))
    {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename") {
                options.name = meta.value()?.parse::<LitStr>()?.value();
            } else if meta.path.is_ident("setting") {
                options.setting = Some(meta.value()?.parse::<LitStr>()?.value());
            } else if meta.path.is_ident("or_first") {
                options.or_first = true;
            } else {
                return Err(meta
                    .error("a field knows `rename = \"..\"`, `setting = \"..\"` and `or_first`"));
            }
            Ok(())
        })?;
    }
    Ok(options)
}

/// The struct's one lifetime, if it has one.
fn lifetime(input: &DeriveInput) -> syn::Result<Option<Lifetime>> {
    let mut lifetime = None;
    for parameter in &input.generics.params {
        match parameter {
            GenericParam::Lifetime(parameter) if lifetime.is_none() => {
                lifetime = Some(parameter.lifetime.clone());
            }
            other => {
                return Err(syn::Error::new_spanned(
                    other,
                    "a record has at most one lifetime and no other parameter",
                ));
            }
        }
    }
    Ok(lifetime)
}

/// The field's type with every lifetime as `'static`: its builder's type does not depend on it.
fn static_type(field: &Field) -> TokenStream {
    fn replace(tokens: TokenStream) -> TokenStream {
        let mut after_tick = false;
        tokens
            .into_iter()
            .map(|token| match token {
                TokenTree::Punct(punct) => {
                    after_tick = punct.as_char() == '\'';
                    TokenTree::Punct(punct)
                }
                TokenTree::Ident(_) if std::mem::take(&mut after_tick) => {
                    TokenTree::Ident(Ident::new("static", Span::call_site()))
                }
                TokenTree::Group(group) => {
                    TokenTree::Group(Group::new(group.delimiter(), replace(group.stream())))
                }
                other => other,
            })
            .collect()
    }
    let ty = &field.ty;
    replace(quote!(#ty))
}

fn names<'a>(fields: &[&'a Field]) -> Vec<&'a Ident> {
    fields
        .iter()
        .map(|field| field.ident.as_ref().expect("the struct has named fields"))
        .collect()
}

fn define_builders(builders: &Ident, fields: &[&Field]) -> TokenStream {
    let names = names(fields);
    let types = fields.iter().map(|field| static_type(field));
    quote! {
        pub struct #builders {
            #(#names: <#types as sdk::Value>::Builder,)*
        }

        #[automatically_derived]
        impl sdk::Builders for #builders {
            fn new(_: &[sdk::Column], size: sdk::Size) -> Self {
                let _ = size;
                Self {
                    #(#names: sdk::ColumnBuilder::with_capacity(size),)*
                }
            }

            fn truncate(&mut self, rows: usize) {
                let _ = rows;
                #(sdk::ColumnBuilder::truncate(&mut self.#names, rows);)*
            }

            fn finish(self) -> ::std::vec::Vec<sdk::Buffers> {
                ::std::vec![#(sdk::ColumnBuilder::finish(self.#names)),*]
            }
        }
    }
}

fn impl_record(
    input: &DeriveInput,
    fields: &[&Field],
    options: &[Options],
    builders: &Ident,
) -> TokenStream {
    let ident = &input.ident;
    let (generics, arguments, _) = input.generics.split_for_impl();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let names = names(fields);
    let columns = options.iter().map(|options| &options.name);
    quote! {
        #[automatically_derived]
        impl #generics sdk::Record for #ident #arguments {
            type Builders = #builders;

            fn columns(_: &[sdk::Column]) -> ::std::vec::Vec<sdk::Column> {
                ::std::vec![#(sdk::Column::new(
                    #columns,
                    <#types as sdk::Value>::data_type(),
                    <#types as sdk::Value>::NULLABLE,
                )),*]
            }

            #[inline]
            fn write(self, builders: &mut #builders) {
                let _ = &builders;
                #(sdk::Value::push(self.#names, &mut builders.#names);)*
            }
        }
    }
}

fn impl_readable(input: &DeriveInput) -> TokenStream {
    let ident = &input.ident;
    let (generics, arguments, _) = input.generics.split_for_impl();
    let buffers = match input.generics.params.is_empty() {
        true => quote!(),
        false => quote!(<'buffers>),
    };
    quote! {
        #[automatically_derived]
        impl #generics sdk::Readable for #ident #arguments {
            type In<'buffers> = #ident #buffers;
        }
    }
}

fn impl_row(
    input: &DeriveInput,
    fields: &[&Field],
    options: &[Options],
    lifetime: Option<Lifetime>,
) -> TokenStream {
    let ident = &input.ident;
    let (_, arguments, _) = input.generics.split_for_impl();
    let batch = lifetime.unwrap_or_else(|| Lifetime::new("'batch", Span::call_site()));
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let names = names(fields);
    let columns = options.iter().map(|options| &options.name);
    let settings = options.iter().map(|options| match &options.setting {
        Some(key) => quote!(::std::option::Option::Some(#key)),
        None => quote!(::std::option::Option::None),
    });
    let or_first = options.iter().map(|options| options.or_first);
    let positions: Vec<_> = (0..fields.len()).map(syn::Index::from).collect();
    let numbers = 0..fields.len();
    quote! {
        #[automatically_derived]
        impl<#batch> sdk::Row<#batch> for #ident #arguments {
            type Readers = (#(<#types as sdk::ReadValue<#batch>>::Reader,)*);

            fn wanted() -> ::std::vec::Vec<sdk::Wanted> {
                ::std::vec![#(sdk::Wanted {
                    name: #columns,
                    setting: #settings,
                    or_first: #or_first,
                    data_type: <#types as sdk::Value>::data_type(),
                    reads: <#types as sdk::Value>::reads,
                }),*]
            }

            fn readers(batch: &#batch sdk::Batch) -> Self::Readers {
                let _ = batch;
                (#(<#types as sdk::ReadValue<#batch>>::reader(batch.buffers(#positions)),)*)
            }

            #[inline]
            fn read(readers: &Self::Readers, row: usize) -> ::std::result::Result<Self, usize> {
                let _ = (readers, row);
                ::std::result::Result::Ok(Self {
                    #(#names: match <#types as sdk::ReadValue<#batch>>::get(&readers.#positions, row) {
                        ::std::option::Option::Some(value) => value,
                        ::std::option::Option::None => return ::std::result::Result::Err(#numbers),
                    },)*
                })
            }
        }
    }
}
