//! The lane data plane: entry and service-to-service routing, drain, hops.
