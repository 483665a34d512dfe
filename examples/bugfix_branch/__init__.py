"""Debug commits, print commits and then the fix, all stacked on a branch: main gets the fix alone, in two ways."""
