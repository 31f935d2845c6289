"""The dashboard: pages as server-rendered shells, what they load, login, and the headers that hold them in."""
