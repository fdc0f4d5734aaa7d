//! The attribute macro of `cross-process-bridge`, which is documented where that crate re-exports it: `bridge`.
//!
//! A block is read into a model ([`block`]) of its methods ([`method`]), their arguments ([`argument`]) and results
//! ([`result`]); what is wrong with it is collected on the way ([`problems`]). Then each part of the generated code is
//! made of the model ([`expand`]).

mod argument;
mod attributes;
mod block;
mod check;
mod crate_path;
mod expand;
mod fitting;
mod header;
mod known;
mod method;
mod names;
mod opaque;
mod options;
mod owned;
mod problems;
mod result;
mod signature;
mod substitute;

/// Has the methods of an impl block carried out in another process.
#[proc_macro_attribute]
pub fn bridge(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::expand(arguments.into(), item.into()).into()
}
