"""Compiled code of one device."""
