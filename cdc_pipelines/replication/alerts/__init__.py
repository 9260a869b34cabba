"""Telling people: what is due (`due`), its words (`message`), the ways to people (`channels`), once (`telling`)."""
