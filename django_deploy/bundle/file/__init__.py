"""Bundles outside of this environment: files, their signatures, bills of materials; and live releases."""
