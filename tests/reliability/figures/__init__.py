"""The figures, one file each: `measure(gateway, options)` gives a table of what was seen, `rows` its lines for people."""
