//! The child's side: which function of the object's carries out which call.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Ident;

use crate::block::Block;
use crate::expand::parts::{attributes, hidden, numbered, tuple};
use crate::method::{Kind, Method};
use crate::result::{Makes, remote};

/// `match call.method() { .. }`, with `more` arms.
pub(crate) fn by_method(block: &Block, call: &Ident, more: &[TokenStream]) -> TokenStream {
    let arms = block.methods.iter().map(|method| arm(block, method, call));
    quote! {
        match #call.method() {
            #(#arms)*
            #(#more)*
            _ => #call.unknown(),
        }
    }
}

fn arm(block: &Block, method: &Method, call: &Ident) -> TokenStream {
    let rt = &block.runtime.rt;
    let (cfgs, number, original) = (attributes(&method.cfgs), method.number, block.original(method));
    let names = numbered("a", method.arguments.len());
    let of_names: Vec<_> = names.iter().map(|name| quote!(#name)).collect();
    let (pattern, wire) = (tuple(&of_names), method.wire(rt));
    let with_names = || method.arguments.iter().zip(&names);
    let held = with_names().map(|(argument, name)| argument.held(rt, name));
    let held = quote!(#(#held)*);
    let passed = with_names().map(|(argument, name)| argument.passed(rt, name));
    let passed = quote!(#(#passed),*);
    let back: Vec<_> = with_names()
        .filter(|(argument, _)| argument.comes_back())
        .map(|(argument, name)| argument.back(rt, name))
        .collect();
    let answered = |called: TokenStream| {
        if back.is_empty() {
            return method.returned.to_wire(rt, called);
        }
        let result = hidden("result");
        let (value, back) = (method.returned.to_wire(rt, quote!(#result)), tuple(&back));
        quote!({ let #result = #called; (#value, #back) })
    };
    let object = hidden("object");
    let answers = method.answers(rt);
    let served = match method.kind {
        Kind::Constructor(makes) => {
            let made = made(block, method, makes, quote!(#original(#passed)));
            quote!(construct::<#wire>(|#pattern| { #held #made }))
        }
        Kind::Associated => {
            let answer = answered(quote!(#original(#passed)));
            quote!(answer_static::<#wire, #answers>(|#pattern| { #held #answer }))
        }
        Kind::Lent => {
            let answer = answered(quote!(#original(#object, #passed)));
            quote!(answer::<#wire, #answers>(|#object, #pattern| { #held #answer }))
        }
        Kind::Consuming => {
            let answer = answered(quote!(#original(#object, #passed)));
            quote!(finish::<#wire, #answers>(|#object, #pattern| { #held #answer }))
        }
    };
    quote!(#cfgs #number => #call.#served,)
}

/// `Result<object, RemoteError>`.
fn made(block: &Block, method: &Method, makes: Makes, called: TokenStream) -> TokenStream {
    let rt = &block.runtime.rt;
    let object = hidden("object");
    match makes {
        Makes::Object => quote!(::core::result::Result::Ok(#called)),
        Makes::Result => {
            let failure = remote(rt, method.returned.place);
            quote! {
                match #called {
                    ::core::result::Result::Ok(#object) => ::core::result::Result::Ok(#object),
                    #failure
                }
            }
        }
        Makes::Option => {
            let text = format!("{} returned None", block.called(&method.name));
            quote!(::core::option::Option::ok_or_else(#called, || #rt::RemoteError::msg(#text)))
        }
    }
}
