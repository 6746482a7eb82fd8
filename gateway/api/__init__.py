"""The routes of the gateway, a module a subject."""
