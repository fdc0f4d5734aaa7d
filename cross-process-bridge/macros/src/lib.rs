//! The attribute macro of `cross-process-bridge`, which re-exports it, and has its reference.

// A block is read into a model (`block`) of its methods (`method`), with their arguments (`argument`) and results
// (`result`); what is wrong with it is collected on the way (`problems`). Then each part of the generated code is made
// of the model (`expand`).
mod argument;
mod attributes;
mod block;
mod check;
mod closure;
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
mod stream;
mod substitute;

/// # Where it is
///
/// The crate `cross-process-bridge` has this attribute, and so has the umbrella `multiprocess`. Which of the two a
/// program has, and by which name, Cargo.toml is asked; one that has it from yet another crate says so:
/// `#[bridge(crate = that_crate::cross_process_bridge)]`. Of both, `cross-process-bridge` is taken: if that one is there for
/// tests alone, the library says `#[bridge(crate = multiprocess::cross_process_bridge)]`.
#[proc_macro_attribute]
pub fn bridge(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::expand(arguments.into(), item.into()).into()
}
