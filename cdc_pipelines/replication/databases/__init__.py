"""One package per dialect. Everything that differs between servers lives in its package."""
