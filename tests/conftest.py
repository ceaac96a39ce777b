"""Fixtures that tests of every kind may ask for."""

from support.postgres import engine, postgres, server

__all__ = ["engine", "postgres", "server"]
