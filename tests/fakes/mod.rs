//! Stand-ins for servers that cannot run here: each answers as the real one was seen to answer.

#![allow(dead_code, reason = "not every test needs all of a fake")]

pub mod infisical;
pub mod tls;
