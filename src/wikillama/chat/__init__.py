"""Conversation with people: the server, the page, and what it knows."""
