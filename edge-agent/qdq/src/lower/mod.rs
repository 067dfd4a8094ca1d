//! Which parts of a graph are lowered, and what they become.

mod anchors;
mod binary;
mod movement;
mod operator;
mod pool;
mod product;
mod real;
mod refusal;
mod resize;
mod unary;
mod window;
