use crate::Outcome;
scenarios!();
