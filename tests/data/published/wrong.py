"""Where tench's answer to a published form is still wrong: what it does today. A line goes when its reader is right."""

WRONG: dict[str, str] = {}
