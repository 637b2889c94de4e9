//! `#[derive(Ports)]`: one output port for each field.

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let fields = crate::named_fields(input, "Ports")?;
    let ident = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let idents: Vec<_> = fields
        .iter()
        .map(|field| field.ident.as_ref().expect("the struct has named fields"))
        .collect();
    let names = idents.iter().map(|ident| ident.to_string());
    let numbers = (0u32..).take(fields.len());
    Ok(quote! {
        const _: () = {
            use ::wasmill_sdk::derive as sdk;

            #[automatically_derived]
            impl #generics sdk::Ports for #ident #arguments #bounds {
                fn ports(declared: &[sdk::Column]) -> ::std::vec::Vec<sdk::PortShape> {
                    ::std::vec![#(sdk::PortShape {
                        name: #names,
                        columns: <#types as sdk::Port>::columns(declared),
                    }),*]
                }

                fn new(declared: &[sdk::Column], size: sdk::Size) -> Self {
                    Self {
                        #(#idents: <#types as sdk::Port>::new(declared, size),)*
                    }
                }

                #[inline]
                fn end_row(&mut self, row: u32) {
                    #(<#types as sdk::Port>::end_row(&mut self.#idents, row);)*
                }

                fn undo_row(&mut self) {
                    #(<#types as sdk::Port>::undo_row(&mut self.#idents);)*
                }

                fn finish(self) -> ::std::vec::Vec<sdk::Output> {
                    ::std::vec![#(<#types as sdk::Port>::finish(self.#idents, #numbers)),*]
                }
            }
        };
    })
}
