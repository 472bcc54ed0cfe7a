//! Everything over kube::Client: connect, watch, apply, logs.
