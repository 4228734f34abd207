"""Reports: what a person reads after a run, as one HTML file or in the terminal."""
