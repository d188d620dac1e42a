//! Leases, as a dispatcher asks for them.

use std::time::Duration;

use database::due::{LeaseRequest, Room};

/// Asks for a minute, for an account or an endpoint as much as for all, and sends to nobody yet. What a test is about differs.
pub fn leasing(room: Room) -> LeaseRequest<'static> {
    let (per_endpoint, per_account, lease) = (room, room, Duration::from_secs(60));
    LeaseRequest { room, per_endpoint, busy: &[], per_account, busy_accounts: &[], lease }
}
