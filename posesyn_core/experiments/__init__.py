"""The paper's experiments: which runs a table needs, and the table with the published numbers beside ours."""
