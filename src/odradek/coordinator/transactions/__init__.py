"""The transaction coordinator as a pure machine; ``docs/transactions.md`` tells the story."""
