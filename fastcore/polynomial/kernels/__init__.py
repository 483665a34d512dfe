"""Compiled bodies of `fastcore.polynomial`: they check nothing and raise nothing."""
