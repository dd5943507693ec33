//! The layers around every store, written once.
