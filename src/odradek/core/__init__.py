"""Values every room shares: ids, errors by kind, the clock seam, limits, configuration."""
