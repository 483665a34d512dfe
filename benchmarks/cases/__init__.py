"""The cases, one file for each domain of the package (`registry.DOMAINS`), each with a function `cases()`."""
