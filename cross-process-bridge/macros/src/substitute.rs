//! `Self` replaced: on the bridge it would be the bridge.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Path, Type};

/// What `Self` stands for in a block.
pub(crate) struct SelfIs<'a> {
    pub(crate) object: &'a Type,
    /// The trait that is implemented, and the names of the types that the block gives it.
    pub(crate) associated: Option<(&'a Path, &'a [Ident])>,
}

impl SelfIs<'_> {
    /// The type without any `Self`.
    pub(crate) fn replaced(&self, ty: &Type) -> syn::Result<Type> {
        let tokens = ty.to_token_stream();
        if !mentions_self(&tokens) {
            return Ok(ty.clone());
        }
        syn::parse2(self.tokens(tokens))
    }

    fn tokens(&self, tokens: TokenStream) -> TokenStream {
        let object = self.object;
        let mut replaced = TokenStream::new();
        let mut rest = tokens.into_iter().peekable();
        while let Some(token) = rest.next() {
            match token {
                TokenTree::Group(group) => {
                    let mut inner = Group::new(group.delimiter(), self.tokens(group.stream()));
                    inner.set_span(group.span());
                    replaced.extend([TokenTree::Group(inner)]);
                }
                TokenTree::Ident(word) if word == "Self" => {
                    let follows: Vec<TokenTree> = path_from(&mut rest);
                    let name = follows.iter().find_map(|token| match token {
                        TokenTree::Ident(name) => Some(name),
                        _ => None,
                    });
                    replaced.extend(match (name, self.associated) {
                        (None, _) => quote!(#object),
                        (Some(name), Some((of, names))) if names.contains(name) => quote!(<#object as #of>),
                        (Some(_), _) => quote!(<#object>),
                    });
                    replaced.extend(follows);
                }
                other => replaced.extend([other]),
            }
        }
        replaced
    }
}

/// `::name`, if that comes next.
fn path_from(rest: &mut std::iter::Peekable<proc_macro2::token_stream::IntoIter>) -> Vec<TokenTree> {
    let mut taken = Vec::new();
    while taken.len() < 2 {
        match rest.peek() {
            Some(TokenTree::Punct(colon)) if colon.as_char() == ':' => taken.extend(rest.next()),
            _ => return taken,
        }
    }
    taken.extend(rest.next());
    taken
}

/// Whether there is a `Self` in it.
fn mentions_self(tokens: &TokenStream) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == "Self",
        TokenTree::Group(group) => mentions_self(&group.stream()),
        _ => false,
    })
}

/// Whether there is a `Self` in it that isn't the way to something else.
pub(crate) fn is_self_alone(ty: &Type) -> bool {
    fn is_in(tokens: TokenStream) -> bool {
        let mut rest = tokens.into_iter().peekable();
        while let Some(token) = rest.next() {
            let found = match token {
                TokenTree::Ident(word) => word == "Self" && path_from(&mut rest).is_empty(),
                TokenTree::Group(group) => is_in(group.stream()),
                _ => false,
            };
            if found {
                return true;
            }
        }
        false
    }
    is_in(ty.to_token_stream())
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn self_is_the_type() {
        let object: Type = parse_quote!(inner::Store<T>);
        let of: Path = parse_quote!(Named);
        let names = [quote::format_ident!("Item")];
        let is = SelfIs { object: &object, associated: Some((&of, &names)) };
        let replaced = |ty: Type| is.replaced(&ty).unwrap().to_token_stream().to_string();
        let same = |ty: Type| ty.to_token_stream().to_string();
        assert_eq!(replaced(parse_quote!(Vec<Self>)), same(parse_quote!(Vec<inner::Store<T>>)));
        assert_eq!(replaced(parse_quote!([u8; Self::LEN])), same(parse_quote!([u8; <inner::Store<T>>::LEN])));
        assert_eq!(
            replaced(parse_quote!((Self::Item, u8))),
            same(parse_quote!((<inner::Store<T> as Named>::Item, u8)))
        );
    }
}
