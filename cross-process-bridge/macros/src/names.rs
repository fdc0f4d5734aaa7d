//! The names of a bridge's methods: its own ones, the object's, the fields'.

use syn::Ident;

use crate::block::{Block, Listed, Of};
use crate::problems::Problems;

/// What every bridge has of its own. The object's `start` and `stop` are called by the bridge's.
const RESERVED: [&str; 5] = ["process", "with_timeout", "to_async", "scope", "clone"];

/// Whether a bridge, or its twin, has a method of its own of this name.
pub(crate) fn is_reserved(name: &Ident) -> bool {
    ["start", "stop"].iter().chain(&RESERVED).any(|reserved| name == reserved)
}

/// Finds those that clash, and takes them out.
pub(crate) fn clash(block: &mut Block, problems: &mut Problems) {
    // The name, and whether it is there under conditions only.
    let mut seen: Vec<(String, bool)> = Vec::new();
    let (of_trait, texts) = match &block.of {
        Of::Trait(of) if of.implement => return,
        Of::Trait(_) => (true, Vec::new()),
        Of::Object(object) => (false, object.traits.iter().filter_map(Listed::text).collect()),
    };
    block.methods.retain(|method| {
        let name = &method.bridge_name;
        let around = (name == "start" || name == "stop") && (of_trait || !method.is_around(&name.to_string()));
        if around || RESERVED.iter().chain(&texts).any(|reserved| name == reserved) {
            problems.at(
                name,
                format!(
                    "`{name}` is what a bridge has of its own: give the bridge's method another name with \
                     `#[bridge(rename = \"..\")]`, or leave it out with `#[bridge(skip)]`"
                ),
            );
            return false;
        }
        let conditional = !method.cfgs.is_empty();
        if seen.iter().any(|(known, other)| name == known && !(conditional && *other)) {
            problems.at(
                name,
                format!(
                    "another method of the bridge is called `{name}`, too: give one of them another name with \
                     `#[bridge(rename = \"..\")]`, or leave it out with `#[bridge(skip)]`"
                ),
            );
            return false;
        }
        seen.push((name.to_string(), conditional));
        true
    });
    let Of::Object(object) = &mut block.of else { return };
    object.fields.retain(|field| {
        let names = [field.name.to_string(), setter(&field.name).to_string()];
        let own = |name: &&String| ["start", "stop"].iter().chain(&RESERVED).chain(&texts).any(|own| own == *name);
        if let Some(name) = names.iter().find(own) {
            problems.at(
                &field.name,
                format!(
                    "`{name}` is what a bridge has of its own: give access to the field by methods of other names"
                ),
            );
            return false;
        }
        if let Some(name) = names.iter().find(|name| seen.iter().any(|(known, _)| known == *name)) {
            problems.at(
                &field.name,
                format!(
                    "another method of the bridge is called `{name}`, which is what gives access to this field: give \
                     the method another name with `#[bridge(rename = \"..\")]`, or leave out the field"
                ),
            );
            return false;
        }
        seen.extend(names.map(|name| (name, false)));
        true
    });
    let mut listed: Vec<Ident> = Vec::new();
    object.traits.iter().for_each(|of| {
        let Listed::Block(name) = of else { return };
        if listed.contains(name) {
            problems.at(
                name,
                format!("`{name}` is listed before; of two traits of one name only one can be bridged"),
            );
        }
        listed.push(name.clone());
    });
}

/// The name of the method that sets a field.
pub(crate) fn setter(field: &Ident) -> Ident {
    let name = field.to_string();
    Ident::new(&format!("set_{}", name.trim_start_matches("r#")), field.span())
}
