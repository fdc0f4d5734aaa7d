//! `Self` replaced: on the bridge it would be the bridge.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::parse::Parse;
use syn::{Generics, ImplItem, ItemImpl, Path, Type, WhereClause, WherePredicate};

/// What `Self` stands for in a block.
pub(crate) struct SelfIs<'a> {
    pub(crate) object: &'a Type,
    /// The trait that is implemented, and the names of the types that the block gives it.
    associated: Option<(Path, Vec<Ident>)>,
}

impl<'a> SelfIs<'a> {
    /// In this block.
    pub(crate) fn of(item: &'a ItemImpl) -> syn::Result<SelfIs<'a>> {
        let mut is = SelfIs { object: &item.self_ty, associated: None };
        if let Some((path, _)) = &item.trait_ {
            let names = item.items.iter().filter_map(|item| match item {
                ImplItem::Type(ty) => Some(ty.ident.clone()),
                _ => None,
            });
            is.associated = Some((is.replaced(path)?, names.collect()));
        }
        Ok(is)
    }

    /// The trait.
    pub(crate) fn implemented(&self) -> Option<&Path> {
        self.associated.as_ref().map(|(path, _)| path)
    }

    /// A type, or whatever it is, without any `Self`.
    pub(crate) fn replaced<T: ToTokens + Parse + Clone>(&self, of: &T) -> syn::Result<T> {
        let tokens = of.to_token_stream();
        if !mentions_self(&tokens) {
            return Ok(of.clone());
        }
        syn::parse2(self.tokens(tokens))
    }

    /// The parameters and bounds of a method. (Its clause isn't among their tokens.)
    pub(crate) fn replaced_generics(&self, of: &Generics) -> syn::Result<Generics> {
        let mut generics = self.replaced(of)?;
        let clause = of.where_clause.as_ref();
        // One about `Self` alone stays as it is: it says which methods there are.
        let names_self = |clause: &WhereClause| !clause.predicates.iter().any(is_about_self);
        generics.where_clause = match clause {
            Some(clause) if names_self(clause) => Some(self.replaced(clause)?),
            clause => clause.cloned(),
        };
        Ok(generics)
    }

    fn tokens(&self, tokens: TokenStream) -> TokenStream {
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
                    let span = word.span();
                    let object = placed(self.object.to_token_stream(), span);
                    replaced.extend(match (name, &self.associated) {
                        (None, _) => object,
                        (Some(name), Some((of, names))) if names.contains(name) => {
                            quote_spanned!(span=> <#object as #of>)
                        }
                        (Some(_), _) => quote_spanned!(span=> <#object>),
                    });
                    replaced.extend(follows);
                }
                other => replaced.extend([other]),
            }
        }
        replaced
    }
}

/// Whether it is a bound of `Self`.
fn is_about_self(predicate: &WherePredicate) -> bool {
    matches!(predicate, WherePredicate::Type(bound) if is_self_alone(&bound.bounded_ty))
}

/// The same at another place: what is wrong with it is wrong there.
fn placed(tokens: TokenStream, span: Span) -> TokenStream {
    let each = tokens.into_iter().map(|token| {
        let mut token = match token {
            TokenTree::Group(group) => {
                TokenTree::Group(Group::new(group.delimiter(), placed(group.stream(), span)))
            }
            other => other,
        };
        token.set_span(token.span().located_at(span));
        token
    });
    each.collect()
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
        let associated = Some((parse_quote!(Named), vec![quote::format_ident!("Item")]));
        let is = SelfIs { object: &object, associated };
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
