"""Draws as files of other tools hold them: one file each, all to arrays (chain, draw, ...)."""
