"""fastcore inside other packages. Each module imports the package it is named after, and is imported by name."""
