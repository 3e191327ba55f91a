//! The private half of Postern: pulls messages from the relay, asks the agent, posts the replies.

pub mod agent;
