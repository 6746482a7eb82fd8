"""The gateway: scores, their history and their changes over HTTP, and pages to look at them."""
