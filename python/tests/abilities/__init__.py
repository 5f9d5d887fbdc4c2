"""A class for each column of docs/abilities.md, a method for each row: it probes and returns the word of the cell."""
