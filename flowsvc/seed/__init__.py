"""A seed: what is to be there, as a document; read from JSON and YAML, and written as both."""
