"""What stands between the web server and the routes: plain ASGI, cheap enough for every request."""
