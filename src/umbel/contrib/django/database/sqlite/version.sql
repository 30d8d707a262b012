-- What changes with every commit of another connection.
PRAGMA data_version
