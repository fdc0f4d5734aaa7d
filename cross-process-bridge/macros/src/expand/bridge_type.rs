//! The bridge's type, and what each bridge has of its own.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{GenericParam, Path};

use crate::attributes::condition;
use crate::block::{Block, Object};
use crate::expand::docs;
use crate::expand::parts::{attributes, hidden, quiet};
use crate::method::Method;

/// The struct, and what it implements.
pub(crate) fn declared(block: &Block, object: &Object) -> TokenStream {
    let rt = &block.runtime.rt;
    let root = &block.runtime.root;
    let text = format!(
        "{} in a process of its own: a handle, each of whose methods is carried out there.\n\nClones share the \
         process and its object. Any number of threads may call at once; the process carries out one call after another. When the \
         last clone is dropped, the object is, too, and its process ends. Made by [`bridge`](macro@{}::bridge).",
        docs::link(block, ""),
        root.to_string().replace(' ', "").trim_start_matches("::"),
    );
    let declared = struct_of(block, object, &block.bridge, &text, &quote!(#rt::Handle));
    let travels = travels(block);
    quote!(#declared #travels)
}

/// Of an object in a manager it is a proxy, which may be sent.
fn travels(block: &Block) -> TokenStream {
    let (cfgs, quiet, rt) = (attributes(&block.cfgs), quiet(), &block.runtime.rt);
    let of = block.impl_of(&block.bridge);
    let (generics, clause, bare, ty, of_object) = (&of.generics, &of.clause, &of.bare, &of.ty, &block.object);
    let (given, deserializer) = (hidden("serializer"), hidden("deserializer"));
    // A lifetime goes first.
    let mut with_lifetime = block.generics.clone();
    with_lifetime.params.insert(0, syn::parse_quote!('bridge_de));
    let (with_lifetime, _, _) = with_lifetime.split_for_impl();
    quote! {
        #cfgs #quiet
        #[automatically_derived]
        impl #generics #rt::Shareable for #ty #clause {
            fn handle(&self) -> &#rt::Handle { &self.handle }
        }

        #cfgs #quiet
        #[automatically_derived]
        impl #bare #rt::Serialize for #ty {
            fn serialize<BridgeS: #rt::Serializer>(
                &self,
                #given: BridgeS,
            ) -> ::core::result::Result<BridgeS::Ok, BridgeS::Error> {
                #rt::Serialize::serialize(&self.handle, #given)
            }
        }

        #cfgs #quiet
        #[automatically_derived]
        impl #with_lifetime #rt::Deserialize<'bridge_de> for #ty #clause {
            fn deserialize<BridgeD: #rt::Deserializer<'bridge_de>>(
                #deserializer: BridgeD,
            ) -> ::core::result::Result<Self, BridgeD::Error> {
                ::core::result::Result::map(
                    #rt::Handle::receive::<#of_object, BridgeD>(#deserializer),
                    ::core::convert::From::from,
                )
            }
        }
    }
}

/// Of the bridge, or of its twin.
pub(crate) fn struct_of(
    block: &Block,
    object: &Object,
    bridge: &Path,
    doc: &str,
    handle: &TokenStream,
) -> TokenStream {
    let (cfgs, quiet, vis) = (attributes(&block.cfgs), quiet(), &object.vis);
    let of = block.impl_of(bridge);
    let (bare, ty) = (&of.bare, &of.ty);
    let Some(name) = bridge.segments.last().map(|last| &last.ident) else { return TokenStream::new() };
    let text = name.to_string();
    let types: Vec<&Ident> = block
        .parameters
        .iter()
        .filter(|name| block.generics.type_params().any(|parameter| parameter.ident == **name))
        .collect();
    let (declared, made) = if types.is_empty() {
        (quote!(), quote!())
    } else {
        (
            quote!(object: ::core::marker::PhantomData<fn() -> (#(#types,)*)>,),
            quote!(object: ::core::marker::PhantomData,),
        )
    };
    let (given, formatter) = (hidden("handle"), hidden("f"));
    quote! {
        #cfgs #quiet
        #[doc = #doc]
        #vis struct #name #bare { handle: #handle, #declared }

        #cfgs #quiet
        #[automatically_derived]
        impl #bare ::core::convert::From<#handle> for #ty {
            fn from(#given: #handle) -> Self { Self { handle: #given, #made } }
        }

        #cfgs #quiet
        #[automatically_derived]
        impl #bare ::core::clone::Clone for #ty {
            fn clone(&self) -> Self {
                Self { handle: ::core::clone::Clone::clone(&self.handle), #made }
            }
        }

        #cfgs #quiet
        #[automatically_derived]
        impl #bare ::core::fmt::Debug for #ty {
            fn fmt(&self, #formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                #formatter.debug_tuple(#text).field(&self.handle).finish()
            }
        }
    }
}

/// What the bridge has beside the object's methods.
pub(crate) fn own_methods(block: &Block, object: &Object) -> TokenStream {
    let (root, vis) = (&block.runtime.root, &object.vis);
    let start = without_objects(block, "start").map(|cfgs| {
        quote! {
            #cfgs
            /// Starts the process and has the object made in it, unless it runs. The constructor's failure is this
            /// call's error.
            #vis fn start(&self) -> ::core::result::Result<(), #root::BridgeError> { self.handle.start() }
        }
    });
    let stop = without_objects(block, "stop").map(|cfgs| {
        quote! {
            #cfgs
            /// Has the object dropped, after the calls that came before, and its process ended. No error if there
            /// is none.
            #vis fn stop(&self) -> ::core::result::Result<(), #root::BridgeError> { self.handle.stop() }
        }
    });
    let scope = scope(block, object);
    let common = common(block, object);
    let to_async = cfg!(feature = "tokio").then(|| {
        let twin = block.impl_of(&block.twin()).ty;
        quote! {
            /// The same bridge, for tasks of a tokio runtime.
            #[must_use]
            #vis fn to_async(&self) -> #twin { ::core::convert::From::from(self.handle.to_async()) }
        }
    });
    quote!(#start #stop #scope #common #to_async)
}

/// What the twin has, too.
pub(crate) fn common(block: &Block, object: &Object) -> TokenStream {
    let (root, vis, timeout) = (&block.runtime.root, &object.vis, hidden("timeout"));
    quote! {
        /// The process: how it is started, whether it is there, its id.
        #[must_use]
        #vis fn process(&self) -> &#root::BridgeProcess { self.handle.process() }

        /// The same bridge, each of whose calls may take so long.
        #[must_use]
        #vis fn with_timeout(&self, #timeout: impl ::core::convert::Into<#root::Timeout>) -> Self {
            ::core::convert::From::from(self.handle.with_timeout(::core::convert::Into::into(#timeout)))
        }
    }
}

/// When the object has none of its own under this name; `None`: never.
pub(crate) fn without_objects(block: &Block, name: &str) -> Option<TokenStream> {
    none_of(block.methods.iter().filter(|method| method.is_around(name)))
}

/// The condition under which none of these is there.
fn none_of<'a>(methods: impl Iterator<Item = &'a Method>) -> Option<TokenStream> {
    let mut conditions = Vec::new();
    for method in methods {
        if method.cfgs.is_empty() {
            return None;
        }
        let all = method.cfgs.iter().map(condition);
        conditions.push(quote!(all(#(#all),*)));
    }
    Some(if conditions.is_empty() { TokenStream::new() } else { quote!(#[cfg(not(any(#(#conditions),*)))]) })
}

/// If it is started and stopped without arguments, and without a result, which nobody would look at.
fn scope(block: &Block, object: &Object) -> Option<TokenStream> {
    let (root, vis) = (&block.runtime.root, &object.vis);
    let hinders = |method: &&Method| {
        (method.is_around("start") || method.is_around("stop"))
            && !(method.arguments.is_empty() && method.returned.is_unit)
    };
    let cfgs = none_of(block.methods.iter().filter(hinders))?;
    let taken = block.generics.params.iter().any(|parameter| match parameter {
        GenericParam::Type(parameter) => parameter.ident == "R",
        GenericParam::Const(parameter) => parameter.ident == "R",
        GenericParam::Lifetime(_) => false,
    });
    let output = if taken { format_ident!("Returned") } else { format_ident!("R") };
    let (body, result) = (hidden("body"), hidden("result"));
    Some(quote! {
        #cfgs
        /// Starts it, runs `body`, and stops it, also if `body` panics.
        #vis fn scope<#output>(
            self,
            #body: impl ::core::ops::FnOnce(&Self) -> #output,
        ) -> ::core::result::Result<#output, #root::BridgeError> {
            self.start()?;
            let #result = #body(&self);
            self.stop()?;
            ::core::result::Result::Ok(#result)
        }
    })
}
