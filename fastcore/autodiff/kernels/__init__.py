"""Compiled code of derivatives; called by fastcore.autodiff only."""
