//! The bridge's twin, whose methods are `async`.

use proc_macro2::TokenStream;
use quote::quote;

use crate::block::{Block, Object};
use crate::expand::bridge_type::{common, struct_of, without_objects};
use crate::expand::client::On;
use crate::expand::object::{hidden_handle, methods};
use crate::expand::parts::{attributes, quiet};

pub(crate) fn twin(block: &Block, object: &Object) -> TokenStream {
    let (cfgs, quiet, vis) = (attributes(&block.cfgs), quiet(), &object.vis);
    let (rt, root, path) = (&block.runtime.rt, &block.runtime.root, block.twin());
    let of = block.impl_of(&path);
    let (generics, bare, clause, ty) = (&of.generics, &of.bare, &of.clause, &of.ty);
    let bridge = block.bridge.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
    let text = format!(
        "The asynchronous twin of [`{bridge}`]: the same process and object, for tasks of a tokio runtime. Made by \
         [`to_async`]({bridge}::to_async)."
    );
    let handle = quote!(#rt::AsyncHandle);
    let declared = struct_of(block, object, &path, &text, &handle);
    let (methods, common, hidden) =
        (methods(block, object, On::Twin), common(block, object), hidden_handle(&handle));
    let start = without_objects(block, "start").map(|cfgs| {
        quote! {
            #cfgs
            /// Starts the process and has the object made in it, unless it runs. A fork blocks the thread until the
            /// constructor has returned; from a zygote or a template nothing is blocked.
            #vis async fn start(&self) -> ::core::result::Result<(), #root::BridgeError> { self.handle.start().await }
        }
    });
    let stop = without_objects(block, "stop").map(|cfgs| {
        quote! {
            #cfgs
            /// Has the object dropped, after the calls that came before, and its process ended.
            #vis async fn stop(&self) -> ::core::result::Result<(), #root::BridgeError> { self.handle.stop().await }
        }
    });
    quote! {
        #declared
        #cfgs #quiet
        impl #generics #ty #clause { #methods #start #stop #common }
        #cfgs #quiet
        impl #bare #ty { #hidden }
    }
}
