//! The whole stage of the design's story on a simulated cluster, straight and in any interleaving.

mod any_order;
mod cluster;
mod story;
