//! What is generated for a block that implements a trait.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ImplItem;

use crate::block::{Block, Trait};
use crate::expand::client::{self, On};
use crate::expand::dispatch;
use crate::expand::parts::{attributes, hidden, interface_of, number_of, quiet, server_of};
use crate::method::Kind;
use crate::names::is_reserved;

/// The bridge's methods, those of its twin, and the object's side.
pub(crate) fn generated(block: &Block, of: &Trait) -> TokenStream {
    let (cfgs, quiet, rt) = (attributes(&block.cfgs), quiet(), &block.runtime.rt);
    let bridge = block.impl_of(&block.bridge);
    let (generics, clause) = (&bridge.generics, &bridge.clause);
    let ours = match (of.implement, of.whole) {
        (false, _) => inherent(block, On::Bridge),
        (true, true) => implemented(block, of),
        (true, false) => TokenStream::new(),
    };
    let twin = if cfg!(feature = "tokio") { inherent(block, On::Twin) } else { TokenStream::new() };
    let (object, server, call) = (&block.object, server_of(&of.name), hidden("call"));
    let served = dispatch::by_method(block, &call, &[]);
    // The only place that asks the list: a trait that isn't in it is one error.
    let (listed, number, bridge) = (number_of(&of.name), interface_of(&of.name), &bridge.ty);
    quote! {
        #ours
        #twin
        #cfgs #quiet
        impl #generics #object #clause {
            #[doc(hidden)]
            pub(crate) const #number: ::core::primitive::u16 = <#bridge>::#listed;

            #[doc(hidden)]
            pub(crate) fn #server(#call: #rt::Call<'_, Self>) -> #rt::Served { #served }
        }
    }
}

fn inherent(block: &Block, on: On) -> TokenStream {
    let (cfgs, quiet) = (attributes(&block.cfgs), quiet());
    let path = if on == On::Twin { block.twin() } else { block.bridge.clone() };
    let of = block.impl_of(&path);
    let (generics, clause, ty) = (&of.generics, &of.clause, &of.ty);
    let methods = block.methods.iter().filter_map(|method| match method.kind {
        // Of a trait that the bridge implements: the bridge's own ones come first, as they do in a call.
        _ if on == On::Twin && is_reserved(&method.bridge_name) => None,
        Kind::Constructor(_) => (on == On::Bridge).then(|| client::constructor(block, method)),
        _ => Some(client::method(block, method, on)),
    });
    quote! {
        #cfgs #quiet
        impl #generics #ty #clause { #(#methods)* }
    }
}

/// The trait, implemented by the bridge.
fn implemented(block: &Block, of: &Trait) -> TokenStream {
    let (cfgs, quiet, path, object) = (attributes(&block.cfgs), quiet(), &of.path, &block.object);
    let bridge = block.impl_of(&block.bridge);
    let (generics, clause, ty) = (&bridge.generics, &bridge.clause, &bridge.ty);
    let methods = block.methods.iter().map(|method| client::method(block, method, On::Trait));
    let associated = of.associated.iter().map(|item| match item {
        ImplItem::Type(item) => {
            let name = &item.ident;
            quote!(type #name = <#object as #path>::#name;)
        }
        ImplItem::Const(item) => {
            let (name, ty) = (&item.ident, &item.ty);
            quote!(const #name: #ty = <#object as #path>::#name;)
        }
        _ => TokenStream::new(),
    });
    quote! {
        #cfgs #quiet
        impl #generics #path for #ty #clause { #(#associated)* #(#methods)* }
    }
}
