"""The statements of PostgreSQL, one per file in ``sql/``; the tables are those of ``umbel.contrib.django``.

Parameters are written as ``%(name)s``, psycopg's way.
"""
