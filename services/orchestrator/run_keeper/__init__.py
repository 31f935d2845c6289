"""Keeps open runs going: feeds them and commits what is finished."""
