"""Wheels of what no index has: its sources, their revision, the build, and what came of it."""
