"""The pages that people look at. The gateway writes what it knows; scripts keep it as it is now.

`templates/` has the pages, `gateway/web/` their scripts and styles, which `make setup` bundles into `static/`.
"""
