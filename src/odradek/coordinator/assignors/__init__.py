"""KIP-848's server-side assignors: pure functions from subscriptions to who reads what."""
