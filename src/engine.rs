//! Lease, reconcile: observe, decide (domain), do, look again.
