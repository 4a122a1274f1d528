"""The suite that SQLAlchemy ships for makers of dialects: all of it."""

from sqlalchemy.testing.suite import *  # noqa: F403
