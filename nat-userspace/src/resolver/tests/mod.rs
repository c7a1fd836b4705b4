//! The whole resolver at sockets of the loopback, asked by the library that it is built with; what the bytes
//! are is in `wire`, and what another client makes of them in `dig`.

mod answers;
mod connections;
mod dig;
mod endpoints;
mod forwarding;
mod refusals;
mod robustness;
mod server;
mod upstream;
mod wire;
