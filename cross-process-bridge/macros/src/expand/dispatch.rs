//! The child's side: which function of the object's carries out which call.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::Ident;

use crate::block::{Block, Of};
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
    let lent = hidden("lent");
    let mut closures = 0u32..;
    let held = with_names().map(|(argument, name)| match &argument.closure {
        Some(closure) => closure.held(rt, name, closures.next().unwrap_or_default(), &lent),
        None => argument.held(rt, name),
    });
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
    if method.stream.is_some() || method.has_closures() {
        let alone = alone(block);
        let called_as = block.called(&method.name);
        let object = (method.kind == Kind::Lent).then(|| quote!(#object,));
        let called = quote!(#original(#object #passed));
        let served = match &method.stream {
            Some(stream) => {
                let run = stream.run(rt, &method.returned, called);
                let (opening, open) = (hidden("opening"), format_ident!("open{}", ending(method, "")));
                quote!(#open::<#wire>(#called_as, |#object #pattern, #opening| { #held #run }))
            }
            None => {
                let (answer, with) = (answered(called), format_ident!("answer{}", ending(method, "_with")));
                quote!(#with::<#wire, #answers>(#called_as, |#object #pattern, #lent| { #held #answer }))
            }
        };
        return quote!(#cfgs #number => { #alone #call.#served },);
    }
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
            let lent = if method.changes { quote!(answer) } else { quote!(answer_shared) };
            quote!(#lent::<#wire, #answers>(|#object, #pattern| { #held #answer }))
        }
        Kind::Consuming => {
            let answer = answered(quote!(#original(#object, #passed)));
            quote!(finish::<#wire, #answers>(|#object, #pattern| { #held #answer }))
        }
    };
    quote!(#cfgs #number => #call.#served,)
}

/// The end of the name of the function that calls such a method.
fn ending(method: &Method, rest: &str) -> String {
    if method.kind == Kind::Lent { rest.to_owned() } else { format!("_static{rest}") }
}

/// Where a trait's block can't see it, the compiler finds a main block with `threads`.
fn alone(block: &Block) -> TokenStream {
    let (rt, object) = (&block.runtime.rt, &block.object);
    match block.of {
        Of::Object(_) => TokenStream::new(),
        Of::Trait(_) => quote! {
            const {
                ::core::assert!(
                    <#object as #rt::Bridged>::THREADS == 1,
                    "with `threads` a method of a trait can't return an iterator, nor be lent a closure",
                )
            };
        },
    }
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
