//! What calls do, between threads; what they do between processes is for the integration tests.

mod typed;
