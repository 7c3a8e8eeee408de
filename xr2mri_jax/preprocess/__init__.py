"""Brings raw radiographs and volumes into the canonical frame, and records each step."""
