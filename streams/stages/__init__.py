"""The two stages: from lane records and stored rows to new rows and what goes out."""
