"""The pages of a report: numbers to HTML, charts, maps."""
