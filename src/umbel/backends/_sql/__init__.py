"""Queues and results in the tables of a server or a file, whatever program speaks to it.

The statements are text files, one each, in a folder for each kind of database; they have the same names, parameters and rows
in all of them. What is here knows no driver and no SQL: it asks a ``Database`` (``database``) for statements by their names.

=============  ======================================================================================
``database``   the port: a session that runs statements by name, transactions that are tried again
``entries``    messages and settlements as rows, encoded before anything is locked
``single``     sending, claiming and settling a batch by one statement each (PostgreSQL)
``steps``      the same by several statements in one transaction (SQLite, MySQL)
``messages``   everything else that a broker does
``records``    what a result store does
``presence``   nodes, signals, tidying up
``ear``        the thread that notices commits, and tells those who wait
``feeds``      those who wait for records
``broker``, ``store``   the asynchronous faces
=============  ======================================================================================

Instants are milliseconds since 1970, durations milliseconds; both are integers.
"""
