"""The formats, a module each; its name is what configuration calls it."""
