"""knee_xray: single knee radiographs with Kellgren-Lawrence grade, from a folder per grade."""
