"""Compiled bodies of attention. Nothing here validates: the public functions do."""
